"""A training job that has its cards: which pods are to come and to go, and what its status says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from supernode.api.conditions import ConditionType, Reason
from supernode.api.trainingjob import TrainingJobSpec
from supernode.control.conditions import State, find, timestamp
from supernode.control.jobstatus import (
    StatusDraft,
    alive_ranks,
    draft_of,
    end,
    ended_well,
    first_decides,
    is_alive,
    priority_change,
    remaining_of,
    running_text,
    size_of,
    tally,
    tear_down,
)
from supernode.control.jobview import OBSTACLE_INTERVAL, GroupView, JobView, Notice, Step, in_place
from supernode.control.losses import Losses
from supernode.control.records import PodRecord, parse_time
from supernode.control.refusals import Refusals
from supernode.control.turns import LONG_SECONDS, TURN_SECONDS, long_awaited
from supernode.control.wording import awaited_text, former_text, stranded_text, unready_text
from supernode.topology.node import Member
from supernode.topology.ranges import format_ints, format_nodes, natural_key

Json = dict[str, Any]

LOST_SECONDS = 60.0
"""So long a group waits for a node that does not exist any more: a kubelet that registers anew makes it again."""

SHOWN = 3
"""Failures and broken cards of that many members are told of one by one."""


def run(view: JobView, spec: TrainingJobSpec, group: GroupView, members: tuple[Member, ...]) -> Step:
    """The next step of a job whose group has its cards, on these members in rank order."""
    current = in_place(view.pods, group)
    ended = ended_well(view.job, current.values())
    if (done := _succeeded(spec, current, ended, len(members))) is not None:
        return end(view, Reason.ALL_SUCCEEDED, done, succeeded=True)
    started = parse_time(view.job.status.get("startTime")) or view.now
    remaining = remaining_of(started, spec.active_deadline_seconds, view.now)
    if remaining is not None and remaining <= 0:
        text = f"had not ended after activeDeadlineSeconds={spec.active_deadline_seconds}"
        return end(view, Reason.DEADLINE_EXCEEDED, text)
    losses = Losses.of(view, current.values(), len(members) - len(ended - current.keys()))
    if (last := losses.beyond(spec.fault_policy.max_restarts)) is not None:
        return end(view, Reason.MAX_RESTARTS_EXCEEDED, _why_given_up(spec, last))
    blocked = [p for p in current.values() if p.blocked]
    if (elsewhere := _elsewhere(view, losses, blocked)) is not None:
        return elsewhere

    draft = draft_of(view)
    draft.status |= _placement_summary(view, group, members)
    draft.status["startTime"] = timestamp(started)
    held = _first_waits(view, spec, current, len(members))
    phase = _running_states(draft, list(current.values()), ended, len(members), held=held)
    refusals = Refusals() if phase == "Running" else losses.refusals
    _tell_losses(draft, losses, refusals, current.values())
    remembers = draft.status.get("restartOf") != view.job.status.get("restartOf")
    wait = refusals.wait(view.now)
    draft.status |= {"succeededRanks": format_ints(ended)} if ended else {}
    due, later = _missing(view, [m for m in members if m.rank not in ended], wait, held=held)
    kept = {p.uid for p in current.values()}
    stale = tuple(p for p in view.staying if p.uid not in kept)
    going = stale if losses.halted else losses.failed + stale
    return Step(
        status=draft.finish(phase),
        interim=phase == "Starting" and not (losses.failed or stale or view.lost or remembers),
        remembers=remembers,
        delete_pods=going,
        set_priority=priority_change(spec, group),
        create_service=not view.has_service and len(members) > 1 and not due and _settled(current.values()),
        create_ranks=due,
        notices=_failures(losses, wait),
        again_after=_soonest(
            remaining,
            wait or None,
            OBSTACLE_INTERVAL if blocked or (held and not view.has_service) else None,
            (LONG_SECONDS if long_awaited(view.later, view.now) else TURN_SECONDS) if later else None,
            LOST_SECONDS - view.lost_for if view.lost else None,
        ),
    )


def _elsewhere(view: JobView, losses: Losses, blocked: Iterable[PodRecord]) -> Step | None:
    """The step of a group that cannot stay where it was placed; ``None`` for one that can."""
    if losses.refused and losses.refusals.leaves:
        return _go_elsewhere(view, losses.refusals, losses.refused[0])
    if (crowded := next((p for p in blocked if p.place in view.crowded), None)) is not None:
        text = f"pods of others took cards of {crowded.place} that {crowded.key[1]} was to use"
        return _place_again(view, Reason.CARDS_TAKEN, text)
    if view.unfit:
        return _place_again(view, Reason.CARDS_FAILED, _card_troubles(view))
    if view.lost and view.lost_for >= LOST_SECONDS:
        return _place_again(view, Reason.NODES_LOST, f"after a minute still {_lost_nodes(view)}")
    waits = (p for p in blocked if p.place not in view.lost | view.away)
    if (unbound := next((p for p in waits if losses.refusals.unbound_too_long(p, view.now)), None)) is not None:
        text = f"pod {unbound.key[1]} cannot be bound to {unbound.place}, asks for other cards: {unbound.message}"
        refusals = losses.refusals if losses.refused else losses.refusals.once_more(view.now)
        return _avoid(view, Reason.POD_UNSCHEDULABLE, text, refusals, unbound)
    return None


def _tell_losses(draft: StatusDraft, losses: Losses, refusals: Refusals, pods: Iterable[PodRecord]) -> None:
    """What the status remembers, so that nothing is counted twice."""
    status = draft.status
    status["restarts"] = losses.restarts
    before = set(status.get("replacing", ()))
    if losses.spreads and (times := [p.created for p in pods if p.created is not None]):
        status["restartOf"] = timestamp(max(times))
    for name in ("replacing", "refusals", "refusedAt", "containerRestarts"):
        status.pop(name, None)
    if losses.crashes:
        status["containerRestarts"] = losses.crashes
    if replacing := {p.uid for p in losses.failed} | {p.uid for p in pods if p.uid in before}:
        status["replacing"] = sorted(replacing)
    status |= refusals.fields()


def _first_waits(view: JobView, spec: TrainingJobSpec, pods: Mapping[int, PodRecord], members: int) -> bool:
    """Whether rank 0 is not to come yet: where it starts the others' work it fails while one of them does not run or
    has no name."""
    if not first_decides(spec) or members == 1 or 0 in pods:
        return False
    return not view.has_service or sum(is_alive(pod) for pod in pods.values()) < members - 1


def _missing(view: JobView, members: Sequence[Member], wait: float, *, held: bool) -> tuple[tuple[int, ...], bool]:
    """(the ranks whose pods are to be created now, whether others have to wait for their turn). held: not rank 0."""
    there = {p.rank for p in (*view.pods, *view.former)} | ({0} if held else set())
    missing = [m.rank for m in members if m.rank not in there]
    if wait or view.lost:
        return (), False
    due = tuple(rank for rank in missing if rank not in view.later)
    return due, len(due) < len(missing)


def _settled(pods: Iterable[PodRecord]) -> bool:
    """Whether no pod is on its way to a node. What keeps a Service's endpoints looks at all pods for each such step."""
    return all(pod.node or pod.blocked for pod in pods)


def _failures(losses: Losses, wait: float) -> tuple[Notice, ...]:
    """Of each kind the first ones."""
    forgiven = [p for p in losses.refused if p not in losses.own]
    return (
        *(Notice(Reason.POD_FAILED, f"restarts after: {_failure(p)}", warning=True) for p in losses.own[:SHOWN]),
        *(
            Notice(Reason.POD_REFUSED, f"tries again in {wait:.0f} s after: {_failure(p)}", warning=True)
            for p in forgiven[:SHOWN]
        ),
    )


def _go_elsewhere(view: JobView, refusals: Refusals, pod: PodRecord) -> Step:
    """The node keeps refusing: give the cards back and ask again, for others."""
    text = f"refused {refusals.count} times, asks for other cards after: {_failure(pod)}"
    return _avoid(view, Reason.POD_REFUSED, text, refusals, pod)


def _avoid(view: JobView, reason: Reason, text: str, refusals: Refusals, pod: PodRecord) -> Step:
    """Give the cards back, remember the refusals, and take nothing new of the pod's node for a while."""
    job = replace(view.job, status={**view.job.status, **refusals.fields()})
    return replace(_give_back(replace(view, job=job), reason, text), avoid=pod.place)


def _place_again(view: JobView, reason: Reason, why: str) -> Step:
    """Others came first, or cards failed: the next place is free of these, because the snapshot knows of them."""
    return _give_back(view, reason, f"{why}; the group is placed again")


def _give_back(view: JobView, reason: Reason, text: str) -> Step:
    return replace(tear_down(view, reason, text), notices=(Notice(reason, text, warning=True),))


def _soonest(*seconds: float | None) -> float | None:
    return min((given for given in seconds if given is not None), default=None)


def _succeeded(spec: TrainingJobSpec, pods: Mapping[int, PodRecord], ended: frozenset[int], members: int) -> str | None:
    """Why the job has succeeded, None if it has not."""
    if first_decides(spec):
        first = pods.get(0)
        done = first is not None and first.phase == "Succeeded" and not first.deleting
        return "rank 0 succeeded" if done else None
    return f"all {members} pods succeeded" if len(ended) == members else None


def _running_states(
    draft: StatusDraft, pods: list[PodRecord], ended: frozenset[int], wanted: int, *, held: bool
) -> str:
    alive = alive_ranks(pods, ended)
    running = len(alive) == wanted
    draft.status["pods"] = tally(draft.view.pods)
    message = running_text(len(alive), wanted)
    if held:
        message += "; rank 0 comes once the others run and have names"
    message += awaited_text(long_awaited(draft.view.later, draft.view.now))
    message += former_text(draft.view.former) + stranded_text(draft.view.stranded)
    message += unready_text(draft.view.unready - {pod.node for pod in draft.view.stranded})
    reason = Reason.PODS_RUNNING if running else Reason.PODS_PENDING
    if draft.view.unready and not running:
        reason = Reason.NODES_NOT_READY
    if draft.view.lost:
        reason = Reason.NODES_LOST
        message += f"; {_lost_nodes(draft.view)}; the group is placed again unless they are back within a minute"
    if not running:
        message = _with_trouble(message, pods, find(draft.view.job.status, ConditionType.READY).get("message", ""))
    draft.states = {
        ConditionType.READY: State(running, reason, message),
        ConditionType.RECONCILING: State(not running, reason, "" if running else message),
        ConditionType.STALLED: State(False, reason),
        ConditionType.ALLOCATED: State(True, Reason.ALLOCATED, f"{wanted} members have their cards"),
        ConditionType.RUNNING: State(running, reason, message),
    }
    return "Running" if running else "Starting"


def _with_trouble(message: str, pods: Iterable[PodRecord], told: str) -> str:
    """With why a pod does not start. A kubelet has new words for that at each attempt; the first ones stay."""
    troubled = min((p for p in pods if p.phase == "Pending" and p.reason), key=lambda p: p.rank or 0, default=None)
    if troubled is None:
        return message
    start = f"{message}; {troubled.key[1]}: {troubled.reason}: "
    return told if told.startswith(start) and not troubled.blocked else start + troubled.message


def _placement_summary(view: JobView, group: GroupView, members: tuple[Member, ...]) -> Json:
    summary: Json = {
        name: group.status[name]
        for name in ("profile", "spans", "minimal", "proven", "estimate")
        if name in group.status
    }
    summary["group"] = view.job.key[1]
    summary |= size_of(group)
    summary["superNodes"] = list(dict.fromkeys(member.supernode for member in members))
    return summary


def _card_troubles(view: JobView) -> str:
    """What is wrong with the members' cards: the first by rank, and of how many more."""
    troubles = list(dict.fromkeys(view.unfit[rank] for rank in sorted(view.unfit)))
    more = len(troubles) - SHOWN
    return "; ".join(troubles[:SHOWN]) + (f"; and so on for {more} more" if more > 0 else "")


def _lost_nodes(view: JobView) -> str:
    kinds = {"gone": view.lost - view.moved, "in another supernode now": view.moved}
    named = ((what, format_nodes(sorted(nodes, key=natural_key))) for what, nodes in kinds.items() if nodes)
    return ", ".join(f"{what}: {nodes}" for what, nodes in named)


def _failure(pod: PodRecord) -> str:
    where = f" on {pod.node}" if pod.node else ""
    return f"pod {pod.key[1]}{where}: {pod.reason or 'Failed'}{': ' + pod.message if pod.message else ''}"


def _why_given_up(spec: TrainingJobSpec, last: PodRecord) -> str:
    return f"faultPolicy.maxRestarts={spec.fault_policy.max_restarts} is used up; last: {_failure(last)}"
