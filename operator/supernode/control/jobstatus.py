"""The statuses of a training job short of running, and the steps that lead there."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from supernode.api.conditions import ConditionType, Reason
from supernode.api.trainingjob import TrainingJob, TrainingJobSpec
from supernode.control.conditions import State, find, is_news, timestamp, updated
from supernode.control.jobview import GroupView, JobView, Notice, Step
from supernode.control.records import Custom, PodRecord, parse_time
from supernode.topology.ranges import parse_ints
from supernode.workload import LAUNCHERS

Json = dict[str, Any]


@dataclass(slots=True)
class StatusDraft:
    """The status under construction."""

    view: JobView
    status: Json
    states: dict[ConditionType, State] = field(default_factory=dict)

    def forget_placement(self) -> None:
        """Say no more where the job runs, how well it was placed, since when and how its pods fared."""
        where = ("superNodes", "spans", "minimal", "proven", "estimate")
        for name in (*where, "startTime", "containerRestarts", "succeededRanks"):
            self.status.pop(name, None)

    def finish(self, phase: str) -> Json:
        """The whole status, of this phase. A condition that did not change keeps its time."""
        job = self.view.job
        self.status["phase"] = phase
        self.status["observedGeneration"] = job.generation
        self.status["conditions"] = updated(
            job.status.get("conditions", []), self.states, generation=job.generation, now=self.view.now
        )
        return self.status


def draft_of(view: JobView) -> StatusDraft:
    """A draft that keeps what the status says, but its conditions."""
    status = {k: v for k, v in view.job.status.items() if k != "conditions"}
    status.setdefault("restarts", 0)
    if view.pods:
        status["templateTaken"] = True
    return StatusDraft(view, status)


def stall(view: JobView, reason: Reason, message: str) -> Step:
    """Say what keeps the job from going on, and do nothing. Other words for the same are no notice."""
    draft = draft_of(view)
    draft.states = {
        ConditionType.READY: State(False, reason, message),
        ConditionType.RECONCILING: State(False, reason, message),
        ConditionType.STALLED: State(True, reason, message),
        ConditionType.RUNNING: _running(view, reason),
    }
    draft.status["pods"] = tally(view.pods)
    status = draft.finish("Stalled")
    news = is_news(view.job.status, find(status, ConditionType.STALLED))
    return Step(status=status, notices=(Notice(reason, message, warning=True),) if news else ())


def _running(view: JobView, reason: Reason) -> State:
    """Whether all pods run, of a job that cannot go on."""
    wanted = view.own_group.size if view.own_group else 0
    alive = len(alive_ranks(view.pods, ended_well(view.job, view.pods)))
    return State(0 < wanted <= alive, reason, running_text(alive, wanted) if wanted else "")


def pending(view: JobView, reason: Reason, message: str, *, stalled: bool = False) -> Json:
    """The status of a job that has no cards; `stalled` when no waiting can help."""
    draft = draft_of(view)
    draft.states = {
        ConditionType.READY: State(False, reason, message),
        ConditionType.RECONCILING: State(not stalled, reason, message),
        ConditionType.STALLED: State(stalled, reason, message if stalled else ""),
        ConditionType.ALLOCATED: State(False, reason, message),
        ConditionType.RUNNING: State(False, reason),
    }
    draft.forget_placement()
    draft.status.pop("profile", None)
    draft.status["pods"] = tally(view.pods)
    draft.status |= size_of(view.own_group)
    return draft.finish("Stalled" if stalled else "Pending")


def tear_down(view: JobView, reason: Reason, message: str) -> Step:
    """Give the cards back and ask again."""
    return replace(release(view), status=pending(view, reason, message))


def release(view: JobView) -> Step:
    """Pods first go, the group is asked to go; its finalizer keeps the cards booked until the pods are gone."""
    group = view.own_group
    return Step(delete_pods=view.staying, delete_group=group is not None and not group.deleting)


def end(view: JobView, reason: Reason, message: str, *, succeeded: bool = False) -> Step:
    """The job ends here, well or not; what it holds is released by the next steps."""
    draft = draft_of(view)
    draft.status["completionTime"] = timestamp(view.now)
    draft.status["pods"] = tally(view.pods)
    draft.status.pop("replacing", None)
    draft.states = {
        ConditionType.READY: State(succeeded, reason, message),
        ConditionType.RECONCILING: State(False, reason),
        ConditionType.STALLED: State(not succeeded, reason, "" if succeeded else message),
        ConditionType.ALLOCATED: State(False, Reason.RELEASED, "the job has ended; cards are free once pods are gone"),
        ConditionType.RUNNING: State(False, reason),
        ConditionType.SUCCEEDED: State(succeeded, reason, message),
    }
    notice = Notice(reason, message, warning=not succeeded)
    return Step(status=draft.finish("Succeeded" if succeeded else "Failed"), notices=(notice,))


def size_of(group: GroupView | None) -> Json:
    """What a status says of the size of the group."""
    return {"members": group.size, "cards": group.cards} if group else {}


def priority_change(spec: TrainingJobSpec, group: GroupView) -> int | None:
    """The priority that the group should have, ``None`` when it has it or cannot be read."""
    return spec.priority if group.priority not in (None, spec.priority) else None


def remaining_of(since: datetime, seconds: int | None, now: datetime) -> float | None:
    """The seconds that are left of `seconds` since then; ``None`` for no limit, not positive when they are over."""
    return None if seconds is None else (since + timedelta(seconds=seconds) - now).total_seconds()


def first_start(before: Json, after: Json) -> datetime | None:
    """When a job got its cards that runs after a change of its status, and had not run on these cards before; ``None``
    for any other, as one whose pods run again after a restart."""
    started = parse_time(after.get("startTime"))
    if started is None or after.get("phase") != "Running" or before.get("phase") == "Running":
        return None
    if before.get("startTime") != after["startTime"]:
        return started
    running = find(before, ConditionType.RUNNING)
    since = parse_time(running.get("lastTransitionTime"))
    return started if running.get("status") == "False" and since is not None and since <= started else None


def first_decides(spec: TrainingJobSpec) -> bool:
    """Whether the job is what its rank 0 does."""
    return LAUNCHERS[spec.runtime].first_decides


def ended_well(job: Custom[TrainingJob], pods: Iterable[PodRecord]) -> frozenset[int]:
    """The ranks that have ended well: of these pods of the present placement, and of those that were there before. None
    where the first one decides, which may need any of them again.

    One that is being deleted was told to end, and may have saved its state and exited with 0.
    """
    if job.model is None or first_decides(job.model.spec):
        return frozenset()
    told = parse_ints(job.status.get("succeededRanks") or "")
    stay = (p for p in pods if p.phase == "Succeeded" and not p.deleting)
    return frozenset(told) | {p.rank for p in stay if p.rank is not None}


def alive_ranks(pods: Iterable[PodRecord], ended: frozenset[int]) -> frozenset[int]:
    """The ranks whose pods run, and those that have ended well."""
    return ended | {p.rank for p in pods if is_alive(p) and p.rank is not None}


def running_text(alive: int, wanted: int) -> str:
    """How many pods run."""
    return f"{alive} of {wanted} pods run"


def is_alive(pod: PodRecord) -> bool:
    """Whether a pod runs or has ended well, and stays."""
    return not pod.deleting and pod.phase in ("Running", "Succeeded")


def tally(pods: tuple[PodRecord, ...]) -> Json:
    """How many pods are in which phase."""
    phases = Counter(p.phase for p in pods)
    return {name.lower(): phases[name] for name in ("Pending", "Running", "Succeeded", "Failed")}
