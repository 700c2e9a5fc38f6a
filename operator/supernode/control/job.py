"""The life of a training job as one pure decision: what is there, hence what to do next.

The caller reads the caches into a :class:`JobView`, :func:`decide` answers with a :class:`Step`, the caller carries it
out and comes back at the next event. Nothing here knows how the job came to where it is, so any path can be taken up
again after a crash.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from supernode.api.conditions import ConditionType, Reason
from supernode.api.trainingjob import TrainingJob, TrainingJobSpec
from supernode.control.conditions import State, find, is_true, timestamp, updated
from supernode.control.records import Custom, PodRecord, parse_time
from supernode.control.refusals import Refusals, is_refused
from supernode.control.turns import TURN_SECONDS
from supernode.topology.fleet import Member
from supernode.topology.ranges import format_nodes, natural_key
from supernode.workload import LAUNCHERS

Json = dict[str, Any]

OBSTACLE_INTERVAL = 10.0
"""Seconds until a job that met an obstacle tries again; what can be seen in a cache wakes it at once."""


@dataclass(frozen=True, slots=True)
class GroupView:
    """What a job needs to know of its CardGroup.

    ``size`` is the members it asks for and ``cards`` their cards in all. ``members`` is ``None`` until the ledger holds
    the cards.
    """

    uid: str
    owner_uid: str | None
    deleting: bool
    priority: int
    size: int
    cards: int
    status: Json
    members: tuple[Member, ...] | None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a job from its group or its pods; ``final`` when no waiting can help."""

    reason: Reason
    message: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class JobView:
    """Everything the decision reads.

    ``pods`` are all pods that carry the job's label and are controlled by it; ``lost`` are nodes of its members that do
    not exist any more, ``crowded`` those that blocked pods wait for while pods of others use cards given away there.
    ``unfit`` are ranks whose cards do not work or are claimed by others, so that no scheduler will bind their pods.
    ``later`` are ranks whose pods have to wait until others have been admitted on their nodes.
    """

    job: Custom[TrainingJob]
    group: GroupView | None
    pods: tuple[PodRecord, ...]
    has_service: bool
    obstacle: Obstacle | None
    lost: frozenset[str]
    now: datetime
    crowded: frozenset[str] = frozenset()
    unfit: frozenset[int] = frozenset()
    later: frozenset[int] = frozenset()


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
    progress and may wait for what comes with the next events. A step that :attr:`removes` something
    writes the status first, then deletes, then creates, so that a failure is counted exactly once even if the operator
    ends in between; any other creates at once.
    """

    status: Json | None = None
    interim: bool = False
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


@dataclass(slots=True)
class _Draft:
    """The status under construction."""

    view: JobView
    status: Json
    states: dict[ConditionType, State] = field(default_factory=dict)

    def finish(self, phase: str) -> Json:
        job = self.view.job
        self.status["phase"] = phase
        self.status["observedGeneration"] = job.generation
        self.status["conditions"] = updated(
            job.status.get("conditions", []), self.states, generation=job.generation, now=self.view.now
        )
        return self.status


def decide(view: JobView) -> Step:
    """The next step of a job; an empty step when everything is as it should be."""
    job = view.job
    if job.deleting:
        return Step()  # owner references take pods, Service and group along; the group's finalizer guards the cards
    if job.model is None:
        return _stalled(view, Reason.INVALID_SPEC, job.error or "the spec cannot be read")
    spec = job.model.spec
    if finished(job.status):
        return _after_the_end(view, spec)
    obstacle = view.obstacle
    if obstacle is not None and obstacle.final:
        return _end(view, obstacle.reason, obstacle.message)
    if spec.suspend:
        return _suspend(view)
    if obstacle is not None:
        return replace(_stalled(view, obstacle.reason, obstacle.message), again_after=OBSTACLE_INTERVAL)
    group = view.group
    if group is None:
        return _ask_for_cards(view)
    if group.owner_uid != job.uid:
        message = f"CardGroup {job.key[1]} exists and is not this job's; rename the job or delete the group"
        return _stalled(view, Reason.NAME_CONFLICT, message)
    if group.deleting:
        return _tear_down(
            view, Reason.RELEASED, "its card group is being deleted; it asks again once the cards are free"
        )
    if group.members is None:
        return Step() if _ledger_lost(view, group) else _wait(view, spec, group)
    return _run(view, spec, group, group.members)


# Before the cards are there.


def _draft(view: JobView) -> _Draft:
    status = {k: v for k, v in view.job.status.items() if k != "conditions"}
    status.setdefault("restarts", 0)
    return _Draft(view, status)


def _stalled(view: JobView, reason: Reason, message: str) -> Step:
    draft = _draft(view)
    draft.states = {
        ConditionType.READY: State(False, reason, message),
        ConditionType.RECONCILING: State(False, reason, message),
        ConditionType.STALLED: State(True, reason, message),
    }
    return Step(status=draft.finish("Stalled"), notices=(Notice(reason, message, warning=True),))


def _pending(view: JobView, reason: Reason, message: str, *, stalled: bool = False) -> Json:
    draft = _draft(view)
    draft.states = {
        ConditionType.READY: State(False, reason, message),
        ConditionType.RECONCILING: State(not stalled, reason, message),
        ConditionType.STALLED: State(stalled, reason, message if stalled else ""),
        ConditionType.ALLOCATED: State(False, reason, message),
        ConditionType.RUNNING: State(False, reason),
    }
    for name in ("profile", "superNodes", "spans", "minimal", "proven", "estimate", "startTime"):
        draft.status.pop(name, None)
    draft.status["pods"] = _tally(view.pods)
    draft.status |= _size(view.group)
    return draft.finish("Stalled" if stalled else "Pending")


def _ask_for_cards(view: JobView) -> Step:
    status = None if _said_pending(view) else _pending(view, Reason.WAITING_FOR_CARDS, "asks for cards")
    leftovers = tuple(p for p in view.pods if not p.deleting)
    return Step(status=status, delete_pods=leftovers, create_group=True)


def _wait(view: JobView, spec: TrainingJobSpec, group: GroupView) -> Step:
    condition = find(group.status, ConditionType.ALLOCATED)
    reason = _reason(condition.get("reason"), Reason.WAITING_FOR_CARDS)
    message = condition.get("message") or "waits for its card group to be decided"
    waiting_since = parse_time(group.status.get("waitingSince")) or view.now
    remaining = _remaining(waiting_since, spec.queue_deadline_seconds, view.now)
    if remaining is not None and remaining <= 0:
        text = f"got no cards within queueDeadlineSeconds={spec.queue_deadline_seconds}: {message}"
        return _end(view, Reason.QUEUE_DEADLINE_EXCEEDED, text)
    stalled = is_true(group.status, ConditionType.STALLED)
    undecided = not condition and _said_pending(view)
    return Step(
        status=None if undecided else _pending(view, reason, message, stalled=stalled),
        set_priority=_priority(spec, group),
        delete_pods=tuple(p for p in view.pods if not p.deleting),
        again_after=remaining,
    )


def _said_pending(view: JobView) -> bool:
    """Whether the status says already all there is to say of a job whose group was not decided yet."""
    return view.job.status.get("phase") == "Pending"


def _ledger_lost(view: JobView, group: GroupView) -> bool:
    """Whether the group had its cards and its ledger is gone: its pods are left alone until the ledger is mended, or
    the group's status says that it waits for cards again."""
    told = find(group.status, ConditionType.ALLOCATED).get("status")
    return told == "True" or (told != "False" and any(pod.group_uid == group.uid for pod in view.pods))


def _suspend(view: JobView) -> Step:
    message = "spec.suspend is true; cards and pods are released"
    draft = _draft(view)
    draft.states = {
        ConditionType.READY: State(False, Reason.SUSPENDED, message),
        ConditionType.RECONCILING: State(bool(view.pods or view.group), Reason.SUSPENDED, message),
        ConditionType.STALLED: State(False, Reason.SUSPENDED),
        ConditionType.ALLOCATED: State(False, Reason.SUSPENDED, message),
        ConditionType.RUNNING: State(False, Reason.SUSPENDED),
    }
    for name in ("superNodes", "spans", "minimal", "proven", "estimate", "startTime"):
        draft.status.pop(name, None)
    draft.status["pods"] = _tally(view.pods)
    return replace(_release(view), status=draft.finish("Suspended"))


def _tear_down(view: JobView, reason: Reason, message: str) -> Step:
    return replace(_release(view), status=_pending(view, reason, message))


def _release(view: JobView) -> Step:
    """Pods first go, the group is asked to go; its finalizer keeps the cards booked until the pods are gone."""
    group = view.group
    ours = group is not None and group.owner_uid == view.job.uid and not group.deleting
    return Step(delete_pods=tuple(p for p in view.pods if not p.deleting), delete_group=ours)


# With cards.


def _run(view: JobView, spec: TrainingJobSpec, group: GroupView, members: tuple[Member, ...]) -> Step:
    seats = {member.rank: member for member in members}
    current = {p.rank: p for p in view.pods if _in_place(p, group.uid, seats)}
    stale = tuple(p for p in view.pods if not p.deleting and current.get(p.rank) is not p)
    if (done := _succeeded(spec, current, len(members))) is not None:
        return _end(view, Reason.ALL_SUCCEEDED, done, succeeded=True)
    started = parse_time(view.job.status.get("startTime")) or view.now
    remaining = _remaining(started, spec.active_deadline_seconds, view.now)
    if remaining is not None and remaining <= 0:
        text = f"ran longer than activeDeadlineSeconds={spec.active_deadline_seconds}"
        return _end(view, Reason.DEADLINE_EXCEEDED, text)

    failed = tuple(p for p in current.values() if p.phase == "Failed" and not p.deleting)
    counted = set(view.job.status.get("replacing", ()))
    fresh = [p for p in failed if p.uid not in counted]
    refused = [p for p in fresh if is_refused(p)]
    refusals = Refusals.of(view.job.status)
    refusals = refusals.once_more(view.now) if refused else refusals
    own = [p for p in fresh if not (refusals.forgiven and is_refused(p))]
    counts = bool(_newly_failed(view, own))
    restarts = view.job.status.get("restarts", 0) + counts
    if restarts > spec.fault_policy.max_restarts:
        return _end(view, Reason.MAX_RESTARTS_EXCEEDED, _why_given_up(spec, own))
    blocked = [p for p in current.values() if p.blocked]
    if refused and refusals.leaves:
        return _go_elsewhere(view, refusals, refused[0])
    if (crowded := next((p for p in blocked if p.place in view.crowded), None)) is not None:
        text = f"pods of others took cards of {crowded.place} that {crowded.key[1]} was to use"
        return _place_again(view, Reason.CARDS_TAKEN, text)
    if unfit := sorted(view.unfit):
        places = format_nodes(list(dict.fromkeys(seats[rank].node for rank in unfit)))
        text = f"cards of {places} do not work or were claimed by others before pods could use them"
        return _place_again(view, Reason.CARDS_FAILED, text)

    taken_names = {p.rank for p in view.pods}
    draft = _draft(view)
    draft.status |= _placement_summary(view, group, members)
    draft.status["startTime"] = timestamp(started)
    draft.status["restarts"] = restarts
    if counts and (times := [p.created for p in current.values() if p.created is not None]):
        draft.status["restartOf"] = timestamp(max(times))
    draft.status["replacing"] = sorted(p.uid for p in failed)
    if not failed:
        del draft.status["replacing"]
    phase = _running_states(draft, list(current.values()), len(members))
    if phase == "Running":
        refusals = Refusals()
    for name in ("refusals", "refusedAt"):
        draft.status.pop(name, None)
    draft.status |= refusals.fields()
    wait = refusals.wait(view.now)
    missing = [m for m in members if m.rank not in taken_names and m.node not in view.lost]
    due = () if wait else tuple(m.rank for m in missing if m.rank not in view.later)
    in_turn = TURN_SECONDS if len(due) < len(missing) and not wait else None
    return Step(
        status=draft.finish(phase),
        interim=phase == "Starting" and not failed and not stale and not view.lost,
        delete_pods=failed + stale,
        set_priority=_priority(spec, group),
        create_service=not view.has_service and len(members) > 1 and not due and _settled(current.values()),
        create_ranks=due,
        notices=_failures(own, [p for p in refused if p not in own], wait),
        again_after=_soonest(remaining, wait or None, OBSTACLE_INTERVAL if blocked else None, in_turn),
    )


def _settled(pods: Iterable[PodRecord]) -> bool:
    """Whether no pod is on its way to a node. What keeps a Service's endpoints looks at all pods for each such step."""
    return all(pod.node or pod.blocked for pod in pods)


def _newly_failed(view: JobView, own: list[PodRecord]) -> list[PodRecord]:
    """Without the pods that were there when a failure was counted last: a gang that lost one fails one by one."""
    before = parse_time(view.job.status.get("restartOf"))
    return [pod for pod in own if before is None or pod.created is None or pod.created > before]


def _failures(own: list[PodRecord], refused: list[PodRecord], wait: float) -> tuple[Notice, ...]:
    """Of each kind the first three."""
    return (
        *(Notice(Reason.POD_FAILED, f"restarts after: {_failure(p)}", warning=True) for p in own[:3]),
        *(
            Notice(Reason.POD_REFUSED, f"tries again in {wait:.0f} s after: {_failure(p)}", warning=True)
            for p in refused[:3]
        ),
    )


def _go_elsewhere(view: JobView, refusals: Refusals, pod: PodRecord) -> Step:
    """The node keeps refusing: give the cards back and ask again, for others."""
    text = f"refused {refusals.count} times, asks for other cards after: {_failure(pod)}"
    job = replace(view.job, status={**view.job.status, **refusals.fields()})
    step = _tear_down(replace(view, job=job), Reason.POD_REFUSED, text)
    return replace(step, notices=(Notice(Reason.POD_REFUSED, text, warning=True),), avoid=pod.node)


def _place_again(view: JobView, reason: Reason, why: str) -> Step:
    """Others came first, or cards failed: the next place is free of these, because the snapshot knows of them."""
    text = f"{why}; the group is placed again"
    return replace(_tear_down(view, reason, text), notices=(Notice(reason, text, warning=True),))


def _soonest(*seconds: float | None) -> float | None:
    return min((given for given in seconds if given is not None), default=None)


def _succeeded(spec: TrainingJobSpec, pods: Mapping[int | None, PodRecord], members: int) -> str | None:
    """Why the job has succeeded, None if it has not."""
    if LAUNCHERS[spec.runtime].first_decides:
        first = pods.get(0)
        return "rank 0 succeeded" if first is not None and first.phase == "Succeeded" else None
    done = len(pods) == members and all(pod.phase == "Succeeded" for pod in pods.values())
    return f"all {members} pods succeeded" if done else None


def _in_place(pod: PodRecord, group_uid: str, seats: Mapping[int, Member]) -> bool:
    """Whether a pod belongs to this allocation and uses the cards the ledger has for its rank."""
    seat = seats.get(pod.rank) if pod.rank is not None else None
    if seat is None or pod.group_uid != group_uid or pod.cards != seat.cards:
        return False
    return pod.node in (None, seat.node)


def _running_states(draft: _Draft, pods: list[PodRecord], wanted: int) -> str:
    alive = [p for p in pods if not p.deleting and p.phase in ("Running", "Succeeded")]
    running = len(alive) == wanted
    draft.status["pods"] = _tally(draft.view.pods)
    blocked = next((p for p in pods if p.phase == "Pending" and p.reason), None)
    message = f"{len(alive)} of {wanted} pods run"
    if blocked is not None and not running:
        message += f"; {blocked.key[1]}: {blocked.reason}: {blocked.message}"
    reason = Reason.PODS_RUNNING if running else Reason.PODS_PENDING
    if lost := draft.view.lost:
        reason = Reason.NODES_LOST
        message += (
            f"; gone: {format_nodes(sorted(lost, key=natural_key))}; bring them back, or suspend and resume the job"
        )
    draft.states = {
        ConditionType.READY: State(running, reason, message),
        ConditionType.RECONCILING: State(not running, reason, "" if running else message),
        ConditionType.STALLED: State(False, reason),
        ConditionType.ALLOCATED: State(True, Reason.ALLOCATED, f"{wanted} members have their cards"),
        ConditionType.RUNNING: State(running, reason, message),
    }
    return "Running" if running else "Starting"


def _placement_summary(view: JobView, group: GroupView, members: tuple[Member, ...]) -> Json:
    summary: Json = {
        name: group.status[name]
        for name in ("profile", "spans", "minimal", "proven", "estimate")
        if name in group.status
    }
    summary["group"] = view.job.key[1]
    summary |= _size(group)
    summary["superNodes"] = list(dict.fromkeys(member.supernode for member in members))
    return summary


# The end.


def _end(view: JobView, reason: Reason, message: str, *, succeeded: bool = False) -> Step:
    draft = _draft(view)
    draft.status["completionTime"] = timestamp(view.now)
    draft.status["pods"] = _tally(view.pods)
    draft.status.pop("replacing", None)
    draft.states = {
        ConditionType.READY: State(succeeded, reason, message),
        ConditionType.RECONCILING: State(False, reason),
        ConditionType.STALLED: State(not succeeded, reason, "" if succeeded else message),
        ConditionType.RUNNING: State(False, reason),
        ConditionType.SUCCEEDED: State(succeeded, reason, message),
    }
    notice = Notice(reason, message, warning=not succeeded)
    return Step(status=draft.finish("Succeeded" if succeeded else "Failed"), notices=(notice,))


def _after_the_end(view: JobView, spec: TrainingJobSpec) -> Step:
    """Running pods go, finished ones stay for their logs; the group goes; the job itself after its time to live."""
    going = tuple(p for p in view.pods if not p.finished and not p.deleting)
    step = replace(_release(view), delete_pods=going, status=_seen(view.job))
    ended = parse_time(view.job.status.get("completionTime")) or view.now
    remaining = _remaining(ended, spec.ttl_seconds_after_finished, view.now)
    if remaining is None:
        return step
    return replace(step, delete_job=remaining <= 0, again_after=max(remaining, 0.0))


def _seen(job: Custom[TrainingJob]) -> Json | None:
    """The status of an ended job that was edited since, or else it would count as in progress for ever (kstatus)."""
    if job.status.get("observedGeneration") == job.generation:
        return None
    conditions = [{**condition, "observedGeneration": job.generation} for condition in job.status["conditions"]]
    return {**job.status, "observedGeneration": job.generation, "conditions": conditions}


# Small helpers.


def _size(group: GroupView | None) -> Json:
    return {"members": group.size, "cards": group.cards} if group else {}


def _priority(spec: TrainingJobSpec, group: GroupView) -> int | None:
    return spec.priority if spec.priority != group.priority else None


def _remaining(since: datetime, seconds: int | None, now: datetime) -> float | None:
    return None if seconds is None else (since + timedelta(seconds=seconds) - now).total_seconds()


def _tally(pods: tuple[PodRecord, ...]) -> Json:
    phases = Counter(p.phase for p in pods)
    return {name.lower(): phases[name] for name in ("Pending", "Running", "Succeeded", "Failed")}


def _failure(pod: PodRecord) -> str:
    where = f" on {pod.node}" if pod.node else ""
    return f"pod {pod.key[1]}{where}: {pod.reason or 'Failed'}{': ' + pod.message if pod.message else ''}"


def _why_given_up(spec: TrainingJobSpec, failed: list[PodRecord]) -> str:
    return f"faultPolicy.maxRestarts={spec.fault_policy.max_restarts} is used up; last: {_failure(failed[0])}"


def _reason(text: str | None, otherwise: Reason) -> Reason:
    return next((reason for reason in Reason if reason == text), otherwise)


def finished(status: Mapping[str, Any]) -> bool:
    """Whether a job's raw status says that it has ended, well or not."""
    return find(status, ConditionType.SUCCEEDED).get("status") in ("True", "False")
