"""What the caches tell of one job: all that its decision reads."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from supernode.api.conditions import ConditionType, Reason
from supernode.api.trainingjob import TrainingJob
from supernode.control.allocator import Allocator
from supernode.control.caches import Caches
from supernode.control.conditions import is_true
from supernode.control.fleet import FleetState
from supernode.control.grouping import claim_for, group_for
from supernode.control.job import finished
from supernode.control.jobstatus import ended_well, first_decides
from supernode.control.jobview import GroupView, JobView, Obstacle, in_place
from supernode.control.nodehealth import NodeHealth, stranded
from supernode.control.obstacles import Obstacles, mistaken
from supernode.control.records import Custom, Key, PodRecord
from supernode.control.turns import Turns
from supernode.topology.node import Member
from supernode.topology.profile import Profile
from supernode.workload import InvalidSpec, pod_name

Job = Custom[TrainingJob]


class JobReader:
    """Looks at jobs through the caches, the fleet and the ledgers."""

    def __init__(self, caches: Caches, state: FleetState, allocator: Allocator, obstacles: Obstacles) -> None:
        self._caches = caches
        self._state = state
        self._health = NodeHealth(caches, state)
        self._allocator = allocator
        self._obstacles = obstacles
        self._lost_since: dict[str, dict[str, float]] = {}
        self._turns = Turns(partial(caches.pods.store.by_index, "arriving"), state.seated)

    def view(self, job: Job) -> JobView:
        """A job as it is now."""
        labelled = self._caches.pods.store.by_index("job", job.key)
        pods = tuple(pod for pod in labelled if pod.owner_uid == job.uid and _has_name(pod))
        former = tuple(pod for pod in labelled if pod.owner_uid not in (job.uid, None) and _has_name(pod))
        group = self.group(job.key)
        current = in_place(pods, group)
        blocked = [pod for pod in current.values() if pod.blocked]
        members = self._yet_to_end(job, group, current.values())
        moved = self._moved(members, current)
        lost = moved | {m.node for m in members if ("", m.node) not in self._caches.nodes.store}
        return JobView(
            job=job,
            group=group,
            pods=pods,
            strays=tuple(pod for pod in labelled if pod.owner_uid == job.uid and not _has_name(pod)),
            former=former,
            orphans=tuple(pod for pod in labelled if pod.owner_uid is None and pod.group_uid is not None),
            has_service=job.key in self._caches.services.store,
            outdated=group is not None and group.members is None and self._outdated(job),
            lost=lost,
            moved=moved,
            lost_for=self._lost_for(job, lost),
            obstacle=self._obstacles.of(job.uid) or (self._claim_obstacle(job) if group is None else None),
            now=datetime.now(UTC),
            crowded=frozenset(p.pinned for p in blocked if p.pinned and self._health.crowded(p.pinned)),
            unfit=self._unfit(members, current),
            unready=self._unready(members, current),
            later=self._later(job, members, {pod.rank for pod in (*pods, *former)}),
            away=frozenset(p.pinned for p in blocked if p.pinned and self._health.offers_none(p.pinned)),
            stranded=stranded(labelled, self._caches.nodes.store),
        )

    @staticmethod
    def _yet_to_end(job: Job, group: GroupView | None, pods: Iterable[PodRecord]) -> Sequence[Member]:
        """The members that have not ended well: what becomes of the nodes of the others concerns nobody."""
        if group is None or group.members is None:
            return ()
        ended = ended_well(job, pods)
        return [member for member in group.members if member.rank not in ended] if ended else group.members

    def _lost_for(self, job: Job, lost: frozenset[str]) -> float:
        """Seconds for which the node has been gone that was first found so by this process, of those gone now."""
        now, before = time.monotonic(), self._lost_since.pop(job.uid, {})
        if not lost:
            return 0.0
        since = self._lost_since[job.uid] = {node: before.get(node, now) for node in lost}
        return now - min(since.values())

    def _later(
        self, job: Job, members: Sequence[Member], there: Collection[int | None]
    ) -> Mapping[int, PodRecord | None]:
        """Ranks without a pod that have to wait for pods on their way, where a device plugin could confuse the two."""
        if not self._by_turns(members):
            return {}
        missing = [member for member in members if member.rank not in there]
        if job.model is not None and first_decides(job.model.spec):
            missing.sort(key=lambda member: member.rank == 0)  # it waits for the others, so none may wait for it
        return self._turns.later(missing, datetime.now(UTC))

    def is_turn_of(self, group: GroupView, ranks: Iterable[int]) -> bool:
        """Whether pods of these ranks may be created now: another job's may have come first since it was looked at."""
        return not self._turns.later(self._confusable(group, ranks), datetime.now(UTC))

    def turn_of(self, group: GroupView, ranks: Iterable[int]) -> AbstractContextManager[None]:
        """While pods of these ranks are being created those that a device plugin could confuse with them wait."""
        return self._turns.taken(self._confusable(group, ranks))

    def doubt(self, group: GroupView, ranks: Iterable[int]) -> None:
        """The creation of these ranks' pods got no answer; for a while they may be on their way all the same."""
        self._turns.doubt(self._confusable(group, ranks))

    def _confusable(self, group: GroupView, ranks: Iterable[int]) -> list[Member]:
        """The members of these ranks, where a device plugin could confuse their pods with others."""
        members, chosen = group.members or (), set(ranks)
        return [member for member in members if member.rank in chosen] if self._by_turns(members) else []

    def _by_turns(self, members: Sequence[Member]) -> bool:
        profile = self.profile_of(members[0]) if members else None
        return profile is not None and profile.pinning.mode == "annotation"

    def _moved(self, members: Sequence[Member], pods: Mapping[int, PodRecord]) -> frozenset[str]:
        """Nodes that belong to other supernodes by now than their members', and to which a pod of these has yet to
        come. Pods that run are left alone: they know best whether they can go on."""
        bound = {rank for rank, pod in pods.items() if pod.node is not None and pod.phase != "Failed"}
        yet_to_come = (member for member in members if member.rank not in bound)
        homes = self._state.discovery.assigned
        return frozenset(m.node for m in yet_to_come if homes.get(m.node, m.supernode) != m.supernode)

    def _unready(self, members: Sequence[Member], pods: Mapping[int, PodRecord]) -> frozenset[str]:
        """Nodes that are not ready of members whose pods have not ended."""
        ended = {rank for rank, pod in pods.items() if pod.finished}
        return frozenset(m.node for m in members if m.rank not in ended and self._health.unready(m.node))

    def _unfit(self, members: Sequence[Member], pods: Mapping[int, PodRecord]) -> dict[int, str]:
        """By rank, what is wrong with the cards of members whose pods wait for a scheduler that will never bind them,
        or would come to cards that do not work. Pods that run are left alone until one of them fails: a peer may hang
        on such a card, and the gang has to start anew in any case."""
        broken = any(pod.phase == "Failed" and not pod.deleting for pod in pods.values())
        unfit = {}
        for member in members:
            pod = pods.get(member.rank)
            stuck = pod is not None and pod.blocked
            left_alone = pod is not None and not stuck and pod.phase != "Failed" and not broken
            if left_alone:
                continue
            if trouble := self._health.card_trouble(member.node, member.cards, stuck=stuck):
                unfit[member.rank] = trouble
        return unfit

    def _claim_obstacle(self, job: Job) -> Obstacle | None:
        if job.model is None or job.deleting or finished(job.status):
            return None
        try:
            self.claim(job.model)
        except InvalidSpec as problem:
            return Obstacle(problem.reason, str(problem))
        except Exception as mistake:  # the job would be silent for ever
            return Obstacle(Reason.DECISION_FAILED, mistaken("what it asks for", job.key, mistake))
        return None

    def _outdated(self, job: Job) -> bool:
        """Whether the job's group is stalled as it is, and its profile, edited since, makes another one of the job."""
        group = self._caches.groups.store.get(job.key)
        if (
            group is None
            or not is_true(group.status, ConditionType.STALLED)
            or group.model is None
            or job.model is None
        ):
            return False
        try:
            claim = claim_for(job.model, self._state.fleet)
        except InvalidSpec:
            return False
        return claim.model_copy(update={"priority": group.model.spec.priority}) != group.model.spec

    def claim(self, job: TrainingJob) -> dict[str, Any]:
        """The CardGroup the job asks for."""
        return group_for(job, self._state.fleet)

    def group(self, key: Key) -> GroupView | None:
        """The CardGroup of a job's name, the job's own or not."""
        group = self._caches.groups.store.get(key)
        if group is None:
            return None
        spec, members = group.model.spec if group.model else None, self._allocator.members_of(key, group.uid)
        return GroupView(
            uid=group.uid,
            owner_uid=group.owner_uid,
            deleting=group.deleting,
            priority=spec.priority if spec else None,
            size=spec.members if spec else len(members or ()),
            cards=spec.cards if spec else sum(member.cards.bit_count() for member in members or ()),
            status=group.status,
            members=members,
            created=group.created,
        )

    def profile_of(self, member: Member) -> Profile | None:
        """The profile of a member's supernode, unless it is missing."""
        view = self._state.fleet.supernodes.get(member.supernode)
        return view.profile if view else None

    def forget(self, uid: str) -> None:
        """A job is gone."""
        self._lost_since.pop(uid, None)


def _has_name(pod: PodRecord) -> bool:
    """Whether a pod has the name of the member that its labels make of it."""
    return pod.job is not None and pod.rank is not None and pod.key[1] == pod_name(pod.job, pod.rank)
