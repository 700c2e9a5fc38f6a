"""What tests of a job's decision look at: a job, its group and its pods, as they are unless a test says otherwise."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from supernode.api.conditions import ConditionType
from supernode.api.reading import parse
from supernode.api.trainingjob import TrainingJob
from supernode.control.conditions import find
from supernode.control.job import decide
from supernode.control.jobview import GroupView, JobView, Obstacle, Step
from supernode.control.records import Custom, PodRecord
from supernode.topology.node import Member

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
MEMBERS = tuple(
    Member(rank, "sn-0", f"n{rank}", 0xFFFF, {"node": f"n{rank}", "supernode": "sn-0"}) for rank in range(2)
)


def job(status: dict[str, Any] | None = None, **spec: Any) -> Custom[TrainingJob]:
    """A job of two workers with 16 cards each."""
    template = {"spec": {"containers": [{"name": "main", "image": "i"}]}}
    manifest = {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "j", "namespace": "d", "uid": "job"},
        "spec": {"workers": {"replicas": 2, "cardsPerWorker": 16, "template": template}, **spec},
    }
    return Custom(
        key=("d", "j"),
        uid="job",
        resource_version="1",
        generation=1,
        created=NOW,
        deleting=False,
        finalizers=(),
        labels={},
        owner_uid=None,
        model=parse(TrainingJob, manifest),
        error=None,
        status=status or {},
    )


def group(members: tuple[Member, ...] | None = None, **fields: Any) -> GroupView:
    """The job's group; with members it is allocated."""
    status = fields.pop("status", {"profile": "p", "spans": {"node": 2}, "minimal": {"node": 2}, "proven": True})
    view = GroupView(
        uid="g",
        owner_uid="job",
        deleting=False,
        priority=0,
        size=2,
        cards=32,
        status=status,
        members=members,
        created=NOW,
    )
    return replace(view, **fields)


def pod(rank: int, phase: str = "Running", **fields: Any) -> PodRecord:
    """A pod of the job's present allocation, in its place."""
    record = PodRecord(
        key=("d", f"j-{rank}"),
        uid=f"pod-{rank}",
        owner_uid="job",
        node=f"n{rank}",
        phase=phase,
        deleting=False,
        group="j",
        group_uid="g",
        job="j",
        rank=rank,
        cards=0xFFFF,
        files=None,
        requests=(),
        reason="",
        message="",
    )
    return replace(record, **fields)


def look(
    of: Custom[TrainingJob],
    its_group: GroupView | None = None,
    *pods: PodRecord,
    obstacle: Obstacle | None = None,
    has_service: bool = True,
    lost: frozenset[str] = frozenset(),
    now: datetime = NOW,
    crowded: frozenset[str] = frozenset(),
    unfit: Mapping[int, str] | None = None,
    later: Mapping[int, PodRecord | None] | None = None,
    stranded: tuple[PodRecord, ...] = (),
    away: frozenset[str] = frozenset(),
    **more: Any,
) -> Step:
    known = {"crowded": crowded, "unfit": unfit or {}, "later": later or {}, "stranded": stranded, "away": away, **more}
    view = JobView(of, its_group, pods, has_service, obstacle, lost, now, **known)
    return decide(view)


def status_of(step: Step) -> dict[str, Any]:
    assert step.status is not None
    return step.status


def reason(step: Step, kind: ConditionType) -> str:
    return str(find(status_of(step), kind)["reason"])
