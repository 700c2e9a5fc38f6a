"""What the decision about a training job reads, and what it says is to be done."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from supernode.api.conditions import Reason
from supernode.api.trainingjob import TrainingJob
from supernode.control.records import Custom, PodRecord
from supernode.topology.node import Member

Json = dict[str, Any]

OBSTACLE_INTERVAL = 10.0
"""Seconds until a job that met an obstacle tries again; what can be seen in a cache wakes it at once."""


@dataclass(frozen=True, slots=True)
class GroupView:
    """What a job needs to know of its CardGroup.

    ``size`` is the members it asks for and ``cards`` their cards in all; of one whose spec cannot be read those that it
    has, and its ``priority`` is ``None``. ``members`` is ``None`` until the ledger holds the cards. It waits since it
    was ``created`` where its status does not tell.
    """

    uid: str
    owner_uid: str | None
    deleting: bool
    priority: int | None
    size: int
    cards: int
    status: Json
    members: tuple[Member, ...] | None
    created: datetime


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a job from its group or its pods; ``final`` when no waiting can help."""

    reason: Reason
    message: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class JobView:
    """Everything the decision reads.

    ``pods`` are the job's own, by their names: others may carry its labels, too, as a copy of a worker that somebody
    debugs. Of these ``strays`` are controlled by the job, and go.
    ``lost`` are nodes of its members that do not exist any more, or belong to another supernode by now and have yet to
    get the member's pod: these are ``moved``.
    ``crowded`` are nodes that blocked pods wait for while pods of others use cards given away there. ``unfit`` says by
    rank what is wrong with cards that no pod can use, of pods that do not run or have a peer that failed.
    ``later`` are ranks whose pods have to wait until others have been admitted on their nodes, with those others as far
    as they are there. ``stranded`` are pods that are being deleted on nodes that are not ready: they stay until
    somebody does something about the node. ``away`` are nodes, of those that blocked pods wait for, that offer no card
    at all because their device plugin is away.
    ``lost_for`` is for how many seconds one of ``lost`` has been known to be gone. ``former`` are pods that an earlier
    job of the same name has left, that go by themselves, and whose names this one's are to have; ``orphans`` those,
    whatever their names, that nobody owns. ``outdated`` says that no waiting can help the group, and that the job would
    ask for another one now. ``unready`` are nodes of its members that are not ready, where the member's pod has not
    ended: it may be hung.
    """

    job: Custom[TrainingJob]
    group: GroupView | None
    pods: tuple[PodRecord, ...]
    has_service: bool
    obstacle: Obstacle | None
    lost: frozenset[str]
    now: datetime
    crowded: frozenset[str] = frozenset()
    unfit: Mapping[int, str] = field(default_factory=dict)
    later: Mapping[int, PodRecord | None] = field(default_factory=dict)
    stranded: tuple[PodRecord, ...] = ()
    away: frozenset[str] = frozenset()
    lost_for: float = 0.0
    former: tuple[PodRecord, ...] = ()
    outdated: bool = False
    unready: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()
    orphans: tuple[PodRecord, ...] = ()
    strays: tuple[PodRecord, ...] = ()

    @property
    def own_group(self) -> GroupView | None:
        """The CardGroup of the job's name, where it is the job's own."""
        return self.group if self.group is not None and self.group.owner_uid == self.job.uid else None

    @property
    def staying(self) -> tuple[PodRecord, ...]:
        """The pods and strays that are not being deleted."""
        return tuple(pod for pod in (*self.pods, *self.strays) if not pod.deleting)


def in_place(pods: Iterable[PodRecord], group: GroupView | None) -> dict[int, PodRecord]:
    """By rank, the pods of a job that belong to its group's present allocation and use the cards the ledger has."""
    if group is None or group.members is None:
        return {}
    seats = {member.rank: member for member in group.members}
    ours = ((pod.rank, pod) for pod in pods if pod.rank is not None and pod.group_uid == group.uid)
    return {rank: pod for rank, pod in ours if rank in seats and _uses(pod, seats[rank])}


def _uses(pod: PodRecord, seat: Member) -> bool:
    return pod.cards == seat.cards and pod.node in (None, seat.node)


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event to be recorded on the job."""

    reason: Reason
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What to do.

    ``status`` is the whole status the job should have, ``None`` to leave it; one that is only ``interim`` tells of
    progress and may wait for what comes with the next events. A step that :attr:`removes` something, or whose status
    ``remembers`` what is not to be seen any more afterwards, writes the status first, then deletes, then creates, so
    that a failure is counted exactly once even if the operator ends in between; any other creates at once.
    """

    status: Json | None = None
    interim: bool = False
    remembers: bool = False
    delete_pods: tuple[PodRecord, ...] = ()
    delete_group: bool = False
    delete_job: bool = False
    create_group: bool = False
    set_priority: int | None = None
    create_service: bool = False
    create_ranks: tuple[int, ...] = ()
    avoid: str | None = None
    notices: tuple[Notice, ...] = ()
    again_after: float | None = None

    @property
    def removes(self) -> bool:
        """Whether the step deletes anything."""
        return bool(self.delete_pods or self.delete_group or self.delete_job)
