"""The life of a training job as one pure decision: what is there, hence what to do next.

The caller reads the caches into a :class:`JobView`, :func:`decide` answers with a :class:`Step`, the caller carries it
out and comes back at the next event. Nothing here knows how the job came to where it is, so any path can be taken up
again after a crash.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from supernode.api.conditions import ConditionType, Reason
from supernode.api.trainingjob import TrainingJobSpec
from supernode.control.conditions import State, find, is_true, timestamp
from supernode.control.jobstatus import (
    draft_of,
    end,
    pending,
    priority_change,
    release,
    remaining_of,
    stall,
    tally,
    tear_down,
)
from supernode.control.jobview import OBSTACLE_INTERVAL, GroupView, JobView, Obstacle, Step
from supernode.control.records import parse_time
from supernode.control.refusals import Refusals
from supernode.control.running import run
from supernode.control.wording import orphans_text, stranded_text

Json = dict[str, Any]


def decide(view: JobView) -> Step:
    """The next step of a job; an empty step when everything is as it should be."""
    job = view.job
    if job.deleting:
        return Step()  # owner references take pods, Service and group along; the group's finalizer guards the cards
    if finished(job.status):
        return _after_the_end(view)
    if job.model is None:
        return stall(view, Reason.INVALID_SPEC, job.error or "the spec cannot be read")
    spec = job.model.spec
    obstacle = view.obstacle
    if obstacle is not None and obstacle.final:
        return end(view, obstacle.reason, obstacle.message)
    if spec.suspend:
        return _suspend(view)
    if obstacle is not None:
        return _obstructed(view, spec, obstacle)
    group = view.group
    if group is None:
        return _ask_for_cards(view)
    if group.owner_uid != job.uid:
        return _behind_another(view, spec, group)
    if group.deleting:
        text = "its card group is being deleted; it asks again once the cards are free"
        return tear_down(view, Reason.RELEASED, text + stranded_text(view.stranded))
    if group.members is None:
        return _left_alone(view, group) if _ledger_lost(view, group) else _wait(view, spec, group)
    return run(view, spec, group, group.members)


def _obstructed(view: JobView, spec: TrainingJobSpec, obstacle: Obstacle) -> Step:
    """What stands in the way may go; without a group the job waits for cards meanwhile, from when this was told.

    One that has cards holds them: its activeDeadlineSeconds begin, and are over when it is tried again.
    """
    step = replace(stall(view, obstacle.reason, obstacle.message), again_after=OBSTACLE_INTERVAL)
    if (group := view.own_group) is not None:
        if group.members is not None and step.status is not None:
            step.status.setdefault("startTime", timestamp(view.now))
        return step
    return _for_so_long(view, spec, step, _told_since(view, ConditionType.STALLED), obstacle.message)


def _behind_another(view: JobView, spec: TrainingJobSpec, group: GroupView) -> Step:
    """Another's CardGroup has the job's name: that of an earlier job goes by itself, one that nobody owns does not."""
    name = view.job.key[1]
    if group.owner_uid is None and not group.deleting:
        text = f"CardGroup {name} exists and is not this job's; rename the job or delete the group"
        stalled = stall(view, Reason.NAME_CONFLICT, text)
        return _for_so_long(view, spec, stalled, _told_since(view, ConditionType.STALLED), text)
    text = f"CardGroup {name} of an earlier job of this name has yet to go"
    text += orphans_text(view.orphans) + stranded_text(view.stranded)
    step = Step(status=pending(view, Reason.RELEASED, text))
    return _for_so_long(view, spec, step, _told_since(view, ConditionType.RECONCILING), text)


def _for_so_long(view: JobView, spec: TrainingJobSpec, step: Step, since: datetime, why: str) -> Step:
    """This step of a job that has had no cards since then, or its end once queueDeadlineSeconds are over."""
    remaining = remaining_of(since, spec.queue_deadline_seconds, view.now)
    if remaining is None:
        return step
    if remaining <= 0:
        text = f"got no cards within queueDeadlineSeconds={spec.queue_deadline_seconds}: {why}"
        return end(view, Reason.QUEUE_DEADLINE_EXCEEDED, text)
    return replace(step, again_after=min(remaining, step.again_after or remaining))


def _told_since(view: JobView, kind: ConditionType) -> datetime:
    """Since when the job's status has had this condition; now where it has not."""
    told = find(view.job.status, kind)
    since = parse_time(told.get("lastTransitionTime")) if told.get("status") == "True" else None
    return since or view.now


def _ask_for_cards(view: JobView) -> Step:
    status = None if _said_pending(view) else pending(view, Reason.WAITING_FOR_CARDS, "asks for cards")
    return Step(status=status, delete_pods=view.staying, create_group=True)


def _wait(view: JobView, spec: TrainingJobSpec, group: GroupView) -> Step:
    if view.outdated:
        return tear_down(view, Reason.RELEASED, "asks for cards anew: its profile makes other workers of them now")
    condition = find(group.status, ConditionType.ALLOCATED)
    reason = _reason(condition.get("reason"), Reason.WAITING_FOR_CARDS)
    message = condition.get("message") or "waits for its card group to be decided"
    if (refusals := Refusals.of(view.job.status)).last is not None:
        row = f"{refusals.count} in a row, last {timestamp(refusals.last)}"
        message += f"; nodes did not take its pods before ({row}): see its Events"
    waiting_since = parse_time(group.status.get("waitingSince")) or group.created
    stalled = is_true(group.status, ConditionType.STALLED)
    undecided = not condition and _said_pending(view)
    step = Step(
        status=None if undecided else pending(view, reason, message, stalled=stalled),
        set_priority=priority_change(spec, group),
        delete_pods=view.staying,
    )
    return _for_so_long(view, spec, step, waiting_since, message)


def _said_pending(view: JobView) -> bool:
    """Whether the status says already all there is to say of a job whose group was not decided yet."""
    return view.job.status.get("phase") == "Pending"


def _ledger_lost(view: JobView, group: GroupView) -> bool:
    """Whether the group had its cards and its ledger is gone: its pods are left alone until the ledger is mended, or
    the group's status says that it waits for cards again."""
    told = find(group.status, ConditionType.ALLOCATED).get("status")
    return told == "True" or (told != "False" and any(pod.group_uid == group.uid for pod in view.pods))


def _left_alone(view: JobView, group: GroupView) -> Step:
    """Mostly the ledger is mended soon; the job says what somebody has to do where it is not."""
    told = find(group.status, ConditionType.READY)
    missing = told.get("reason") == Reason.SUPER_NODE_MISSING
    return stall(view, Reason.SUPER_NODE_MISSING, told["message"]) if missing else Step()


def _suspend(view: JobView) -> Step:
    message = f"spec.suspend is true; cards and pods are released{stranded_text(view.stranded)}"
    draft = draft_of(view)
    draft.states = {
        ConditionType.READY: State(False, Reason.SUSPENDED, message),
        ConditionType.RECONCILING: State(bool(view.pods or view.strays or view.own_group), Reason.SUSPENDED, message),
        ConditionType.STALLED: State(False, Reason.SUSPENDED),
        ConditionType.ALLOCATED: State(False, Reason.SUSPENDED, message),
        ConditionType.RUNNING: State(False, Reason.SUSPENDED),
    }
    draft.forget_placement()
    draft.status["pods"] = tally(view.pods)
    return replace(release(view), status=draft.finish("Suspended"))


def _after_the_end(view: JobView) -> Step:
    """Running pods go, finished ones stay for their logs; the group goes; the job itself after its time to live."""
    model = view.job.model
    going = tuple(p for p in view.staying if not p.finished)
    step = replace(release(view), delete_pods=going, status=_seen(view))
    ended = parse_time(view.job.status.get("completionTime")) or view.now
    remaining = remaining_of(ended, model.spec.ttl_seconds_after_finished if model else None, view.now)
    if remaining is None:
        return step
    if remaining <= 0:
        return replace(step, delete_job=True, again_after=OBSTACLE_INTERVAL)  # its end comes as an event before that
    return replace(step, again_after=remaining)


def _seen(view: JobView) -> Json | None:
    """The status of an ended job once no pod of it runs any more, and of one that was edited since, or else it would
    count as in progress for ever (kstatus)."""
    job, before = view.job, view.job.status.get("pods", {})
    gone = {"pending": 0, "running": 0} if all(pod.finished for pod in view.pods) else {}
    pods = {**before, **gone}
    if job.status.get("observedGeneration") == job.generation and pods == before:
        return None
    conditions = [{**condition, "observedGeneration": job.generation} for condition in job.status["conditions"]]
    return {**job.status, "pods": pods, "observedGeneration": job.generation, "conditions": conditions}


def _reason(text: str | None, otherwise: Reason) -> Reason:
    return next((reason for reason in Reason if reason == text), otherwise)


def finished(status: Mapping[str, Any]) -> bool:
    """Whether a job's raw status says that it has ended, well or not."""
    return find(status, ConditionType.SUCCEEDED).get("status") in ("True", "False")
