"""The life of a job as a decision: every state it can be found in has exactly one next step."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from looks import MEMBERS, NOW, group, job, look, pod, reason, status_of

from supernode.api.conditions import ConditionType, Reason
from supernode.control.conditions import find, is_true, timestamp
from supernode.control.jobview import OBSTACLE_INTERVAL, Obstacle, Step
from supernode.control.records import PodRecord
from supernode.control.turns import LONG_SECONDS, TURN_SECONDS
from supernode.topology.node import Member

WAITS = {"phase": "Pending", "node": None, "pinned": "n1"}
MPI = {"runtime": "mpi"}
FOUR = tuple(Member(rank, "sn-0", f"n{rank}", 0xFFFF, {"node": f"n{rank}"}) for rank in range(4))
OTHERS = (pod(1), pod(2), pod(3))


def test_a_new_job_asks_for_cards() -> None:
    step = look(job())
    assert step.create_group
    assert status_of(step)["phase"] == "Pending"
    assert is_true(status_of(step), ConditionType.RECONCILING)


def test_a_job_being_deleted_is_left_to_its_owner_references() -> None:
    assert look(replace(job(), deleting=True), group(MEMBERS), pod(0)) == Step()


def test_an_unreadable_spec_stalls() -> None:
    step = look(replace(job(), model=None, error="spec.cards: must be positive"))
    assert reason(step, ConditionType.STALLED) == Reason.INVALID_SPEC
    assert "spec.cards" in find(status_of(step), ConditionType.STALLED)["message"]
    assert not step.create_group


def test_an_ended_job_whose_spec_cannot_be_read_any_more_has_ended() -> None:
    """One of before its definition became stricter."""
    done = job(status_of(look(job(), group(MEMBERS), pod(0, "Succeeded"), pod(1, "Succeeded"))))
    step = look(replace(done, model=None, error="spec.cards: must be positive"), group(MEMBERS), pod(0, "Succeeded"))
    assert (step.status, step.notices, step.again_after) == (None, (), None)
    assert step.delete_group


def test_a_group_of_somebody_else_is_not_used() -> None:
    step = look(job(), group(MEMBERS, owner_uid=None))
    assert reason(step, ConditionType.STALLED) == Reason.NAME_CONFLICT
    assert not step.create_ranks
    assert not step.delete_group


@pytest.mark.parametrize("deleting", [False, True])
def test_the_group_of_an_earlier_job_of_the_same_name_is_waited_for(deleting: bool) -> None:
    step = look(job(), group(MEMBERS, owner_uid="earlier", deleting=deleting))
    assert status_of(step)["phase"] == "Pending"
    assert reason(step, ConditionType.READY) == Reason.RELEASED
    assert not step.removes
    assert not step.create_group
    assert not step.create_ranks


@pytest.mark.parametrize("owner", ["earlier", None])
def test_the_queue_deadline_counts_behind_a_group_of_another(owner: str | None) -> None:
    another = group(MEMBERS, owner_uid=owner)
    first = look(job(queueDeadlineSeconds=60), another)
    assert first.again_after == 60
    status = status_of(first)
    assert "members" not in status, "they are another's"
    later = look(job(status, queueDeadlineSeconds=60), another, now=NOW + timedelta(seconds=50))
    assert later.again_after == 10
    late = look(job(status_of(later), queueDeadlineSeconds=60), another, now=NOW + timedelta(seconds=60))
    assert reason(late, ConditionType.SUCCEEDED) == Reason.QUEUE_DEADLINE_EXCEEDED
    assert f"CardGroup j {'of an earlier job' if owner else 'exists'}" in late.notices[0].message
    suspended = status_of(look(job({"phase": "Running"}, suspend=True)))
    resumed = look(job(suspended, queueDeadlineSeconds=60), another, now=NOW + timedelta(hours=1))
    assert resumed.again_after == 60, "it has waited for cards since then"
    met = Obstacle(Reason.UNKNOWN_PROFILE, "there is no profile h200")
    assert look(job(queueDeadlineSeconds=5), another, obstacle=met).again_after == 5, "whatever stands in the way"


def test_pods_of_an_earlier_job_of_the_same_name_are_waited_for() -> None:
    former = pod(1, "Succeeded", owner_uid="earlier", group_uid="earlier")
    step = look(job(), group(MEMBERS), former=(former,))
    assert step.create_ranks == (0,)
    assert "j-1 of an earlier job of this name has yet to go" in find(status_of(step), ConditionType.READY)["message"]
    assert status_of(step)["phase"] == "Starting"


def test_a_group_that_a_corrected_profile_makes_another_of_is_asked_for_anew() -> None:
    step = look(job(), group(), outdated=True)
    assert step.delete_group
    assert status_of(step)["phase"] == "Pending"


def test_a_waiting_job_says_what_its_group_says() -> None:
    refused = {"type": "Allocated", "status": "False", "reason": "InsufficientCards", "message": "needs 32 cards"}
    step = look(job(), group(status={"conditions": [refused]}))
    assert reason(step, ConditionType.ALLOCATED) == Reason.INSUFFICIENT_CARDS
    assert find(status_of(step), ConditionType.ALLOCATED)["message"] == "needs 32 cards"
    assert status_of(step)["phase"] == "Pending"


def test_a_stalled_group_stalls_its_job() -> None:
    conditions = [
        {"type": kind, "status": status, "reason": "NeverFits", "message": "too large"}
        for kind, status in (("Allocated", "False"), ("Stalled", "True"))
    ]
    step = look(job(), group(status={"conditions": conditions}))
    assert status_of(step)["phase"] == "Stalled"
    assert not is_true(status_of(step), ConditionType.RECONCILING)


def test_the_queue_deadline_counts_from_when_the_group_began_to_wait() -> None:
    waiting = group(status={"waitingSince": timestamp(NOW - timedelta(seconds=50))})
    assert look(job(queueDeadlineSeconds=60), waiting).again_after == 10
    step = look(job(queueDeadlineSeconds=40), waiting)
    assert reason(step, ConditionType.SUCCEEDED) == Reason.QUEUE_DEADLINE_EXCEEDED


def test_the_queue_deadline_counts_from_the_creation_of_a_group_without_a_status() -> None:
    untold = group(status={}, created=NOW - timedelta(seconds=50))
    assert look(job(queueDeadlineSeconds=60), untold).again_after == 10
    step = look(job(queueDeadlineSeconds=40), untold)
    assert reason(step, ConditionType.SUCCEEDED) == Reason.QUEUE_DEADLINE_EXCEEDED


def test_an_allocated_job_gets_the_pods_it_lacks() -> None:
    step = look(job(), group(MEMBERS), pod(1), has_service=False)
    assert not step.create_service
    assert step.create_ranks == (0,)
    assert status_of(step)["phase"] == "Starting"
    assert status_of(step)["superNodes"] == ["sn-0"]
    assert status_of(step)["cards"] == 32


def test_a_pod_whose_turn_it_is_not_yet_comes_later() -> None:
    step = look(job(), group(MEMBERS), later={1: None})
    assert step.create_ranks == (0,)
    assert step.again_after == TURN_SECONDS


def test_a_job_says_for_whose_pod_it_has_waited_for_long_and_looks_again_less_often() -> None:
    theirs = replace(pod(0, **WAITS), key=("x", "theirs-0"), created=NOW - timedelta(seconds=LONG_SECONDS + 1))
    step = look(job(), group(MEMBERS), pod(0), later={1: theirs})
    message = find(status_of(step), ConditionType.READY)["message"]
    assert message == "1 of 2 pods run; waits for pod x/theirs-0 on n1"
    assert step.again_after == LONG_SECONDS


def test_a_running_job_needs_nothing() -> None:
    settled = job(status_of(look(job(), group(MEMBERS), pod(0), pod(1))))
    step = look(settled, group(MEMBERS), pod(0), pod(1), now=NOW + timedelta(hours=1))
    assert step == Step(status=settled.status)


def test_a_changed_priority_is_passed_on() -> None:
    assert look(job(priority=7), group(MEMBERS)).set_priority == 7
    assert look(job(priority=7), group(priority=7)).set_priority is None
    assert look(job(priority=7), group(priority=None)).set_priority is None, "of a group that cannot be read"


def test_a_pod_being_deleted_keeps_its_name_until_it_is_gone() -> None:
    step = look(job(), group(MEMBERS), pod(0, deleting=True), pod(1))
    assert step.create_ranks == ()
    assert step.delete_pods == ()


def test_success_needs_every_rank() -> None:
    assert status_of(look(job(), group(MEMBERS), pod(0, "Succeeded"), pod(1)))["phase"] == "Running"
    step = look(job(), group(MEMBERS), pod(0, "Succeeded"), pod(1, "Succeeded"))
    assert status_of(step)["phase"] == "Succeeded"
    assert is_true(status_of(step), ConditionType.READY)


def test_an_mpi_job_ends_with_its_first_rank() -> None:
    of = job(runtime="mpi")
    assert status_of(look(of, group(MEMBERS), pod(0), pod(1, "Succeeded")))["phase"] == "Running"
    step = look(of, group(MEMBERS), pod(0, "Succeeded"), pod(1))
    assert status_of(step)["phase"] == "Succeeded"


def test_the_start_is_when_the_job_has_its_cards() -> None:
    assert "startTime" not in status_of(look(job(), group()))
    assert status_of(look(job(), group(MEMBERS)))["startTime"] == timestamp(NOW), "no pod is there yet"
    before = timestamp(NOW - timedelta(seconds=90))
    assert status_of(look(job({"startTime": before}), group(MEMBERS), pod(0)))["startTime"] == before
    assert "startTime" not in status_of(look(job({"startTime": before}, suspend=True)))


@pytest.mark.parametrize(
    ("there", "has_service", "created"),
    [
        ((), False, (1, 2, 3)),
        ((pod(1), pod(2, "Pending")), True, (3,)),
        ((pod(1), pod(2), pod(3, "Pending")), True, ()),
        (OTHERS, False, ()),
        (OTHERS, True, (0,)),
        ((pod(1), pod(2), pod(3, deleting=True)), True, ()),
        ((pod(1), pod(2), pod(3, "Failed")), True, ()),
        ((pod(1), pod(2), pod(3, group_uid="old")), True, ()),
        ((pod(0), pod(1), pod(2)), True, (3,)),
    ],
    ids=[
        "none is there",
        "one is missing",
        "one starts",
        "none has a name",
        "all run and have names",
        "one is being deleted",
        "one failed",
        "one is of another allocation",
        "it is there, and one was lost",
    ],
)
def test_the_first_rank_of_an_mpi_job_comes_once_the_others_run_and_have_names(
    there: tuple[PodRecord, ...], has_service: bool, created: tuple[int, ...]
) -> None:
    step = look(job(**MPI), group(FOUR), *there, has_service=has_service)
    assert step.create_ranks == created


def test_a_rank_that_is_held_back_is_told_of_and_keeps_nobody_awake() -> None:
    starting = (pod(1), pod(2), pod(3, "Pending"))
    step = look(job(**MPI), group(FOUR), *starting)
    said = find(status_of(step), ConditionType.READY)["message"]
    assert said == "2 of 4 pods run; rank 0 comes once the others run and have names"
    assert (status_of(step)["phase"], step.again_after) == ("Starting", None)
    assert look(job(status_of(step), **MPI), group(FOUR), *starting).status == step.status, "nothing new to say"
    assert "rank 0" not in find(status_of(look(job(**MPI), group(FOUR), *OTHERS)), ConditionType.READY)["message"]


def test_the_service_of_an_mpi_job_does_not_wait_for_its_first_rank() -> None:
    assert not look(job(**MPI), group(FOUR), pod(1), pod(2), pod(3, **WAITS), has_service=False).create_service
    step = look(job(**MPI), group(FOUR), pod(1), pod(2), pod(3, "Pending"), has_service=False)
    assert step.create_service
    assert step.again_after == OBSTACLE_INTERVAL, "another's Service of its name may go unseen"


def test_the_first_rank_of_an_mpi_job_is_replaced_when_those_it_needs_run_again() -> None:
    lost = look(job(**MPI), group(FOUR), pod(0, "Failed"), pod(1, "Failed"), pod(2), pod(3))
    assert (status_of(lost)["restarts"], len(lost.delete_pods)) == (1, 2)
    both_gone = look(job(status_of(lost), **MPI), group(FOUR), pod(2), pod(3))
    assert both_gone.create_ranks == (1,)
    assert look(job(status_of(both_gone), **MPI), group(FOUR), *OTHERS).create_ranks == (0,)


def test_the_only_rank_of_an_mpi_job_waits_for_nobody() -> None:
    assert look(job(**MPI), group(MEMBERS[:1]), has_service=False).create_ranks == (0,)


def test_the_running_deadline_counts_from_the_start() -> None:
    started = {"startTime": timestamp(NOW - timedelta(seconds=90))}
    step = look(job(started, activeDeadlineSeconds=60), group(MEMBERS), pod(0), pod(1))
    assert reason(step, ConditionType.SUCCEEDED) == Reason.DEADLINE_EXCEEDED
    assert look(job(started, activeDeadlineSeconds=100), group(MEMBERS), pod(0), pod(1)).again_after == 10


def test_the_running_deadline_counts_for_a_job_whose_pods_are_forbidden_from_the_start() -> None:
    forbidden = Obstacle(Reason.CREATION_FORBIDDEN, "exceeded quota")
    asks = status_of(look(job(activeDeadlineSeconds=60), group(), obstacle=forbidden))
    assert "startTime" not in asks, "it has no cards yet"
    told = status_of(look(job(asks, activeDeadlineSeconds=60), group(MEMBERS), obstacle=forbidden))
    later = NOW + timedelta(seconds=30)
    again = look(job(told, activeDeadlineSeconds=60), group(MEMBERS), obstacle=forbidden, now=later)
    told = status_of(again) if again.status else told
    assert told["startTime"] == timestamp(NOW)
    step = look(job(told, activeDeadlineSeconds=60), group(MEMBERS), now=NOW + timedelta(seconds=60))
    assert reason(step, ConditionType.SUCCEEDED) == Reason.DEADLINE_EXCEEDED


def test_an_ended_job_releases_its_group_and_keeps_finished_pods() -> None:
    ended = job(status_of(look(job({"restarts": 3}), group(MEMBERS), pod(0, "Failed"), pod(1))))
    step = look(ended, group(MEMBERS), pod(0, "Failed"), pod(1))
    assert step.delete_group
    assert step.delete_pods == (pod(1),)
    assert step.status is None
    assert not step.create_ranks


def test_time_to_live_deletes_an_ended_job() -> None:
    done = status_of(look(job(), group(MEMBERS), pod(0, "Succeeded"), pod(1, "Succeeded")))
    early = look(job(done, ttlSecondsAfterFinished=30), now=NOW + timedelta(seconds=10))
    assert (early.delete_job, early.again_after) == (False, 20)
    late = look(job(done, ttlSecondsAfterFinished=30), now=NOW + timedelta(seconds=30))
    assert (late.delete_job, late.again_after) == (True, OBSTACLE_INTERVAL), "its end is told before that"


def test_an_ended_job_that_is_edited_says_that_this_was_seen() -> None:
    done = status_of(look(job(), group(MEMBERS), pod(0, "Succeeded"), pod(1, "Succeeded")))
    assert look(job(done)).status is None
    seen = look(replace(job(done, priority=3), generation=2)).status
    assert seen is not None
    assert {condition["observedGeneration"] for condition in seen["conditions"]} == {seen["observedGeneration"]} == {2}
    assert {**seen, "observedGeneration": 1, "conditions": done["conditions"]} == done


def test_suspending_takes_pods_and_group() -> None:
    step = look(job(suspend=True), group(MEMBERS), pod(0), pod(1, deleting=True))
    assert step.delete_group
    assert step.delete_pods == (pod(0),)
    assert status_of(step)["phase"] == "Suspended"
    assert is_true(status_of(step), ConditionType.RECONCILING)
    another = look(job(suspend=True), group(owner_uid=None))
    assert not is_true(status_of(another), ConditionType.RECONCILING)
    assert not another.delete_group


def test_a_group_on_its_way_out_takes_the_pods_along_and_is_not_asked_for_again_before() -> None:
    step = look(job(), group(MEMBERS, deleting=True), pod(0))
    assert step.delete_pods == (pod(0),)
    assert not step.delete_group
    assert not step.create_group


def test_a_final_obstacle_ends_the_job_and_another_is_tried_again() -> None:
    refused = Obstacle(Reason.POD_REJECTED, "spec.containers[0].image: required", final=True)
    assert reason(look(job(), group(MEMBERS), obstacle=refused), ConditionType.SUCCEEDED) == Reason.POD_REJECTED
    blocked = look(job(), obstacle=Obstacle(Reason.UNKNOWN_PROFILE, "create it"))
    assert reason(blocked, ConditionType.STALLED) == Reason.UNKNOWN_PROFILE
    assert blocked.again_after == OBSTACLE_INTERVAL
    assert not blocked.create_group


def test_a_blocked_pod_is_named_while_the_job_starts() -> None:
    stuck = pod(1, "Pending", node=None, reason="Unschedulable", message="0/9 nodes are available")
    step = look(job(), group(MEMBERS), pod(0), stuck)
    message = find(status_of(step), ConditionType.READY)["message"]
    assert "1 of 2 pods run" in message
    assert "j-1: Unschedulable" in message


def test_a_new_job_says_nothing_until_its_group_is_decided() -> None:
    """Its CRD says for it that it is pending; two writes fewer for each of thousands of jobs."""
    new = {"phase": "Pending", "conditions": []}
    asked = look(job(new))
    assert asked.create_group
    assert asked.status is None
    assert look(job(new), group(status={})).status is None
    assert status_of(look(job({"phase": "Suspended"}), group(status={})))["phase"] == "Pending"


def test_progress_may_be_told_later_but_what_has_to_be_done_may_not() -> None:
    assert look(job(), group(MEMBERS), pod(0)).interim
    assert look(job(), group(MEMBERS), pod(0), pod(1, "Pending")).interim
    assert not look(job(), group(MEMBERS), pod(0), pod(1)).interim
    assert not look(job(), group(MEMBERS), pod(0), pod(1, "Failed")).interim
    assert not look(job(), group(MEMBERS), pod(0), lost=frozenset({"n1"})).interim


@pytest.mark.parametrize(
    ("second", "comes"),
    [({}, True), (WAITS, False), (WAITS | {"reason": "Unschedulable"}, True)],
    ids=["on its node", "on its way", "cannot be bound"],
)
def test_the_service_comes_when_no_pod_is_on_its_way(second: dict[str, Any], comes: bool) -> None:
    assert look(job(), group(MEMBERS), pod(0), pod(1, **second), has_service=False).create_service is comes
    assert not look(job(), group(MEMBERS), pod(0), pod(1, **second)).create_service


def test_a_group_of_one_needs_no_service() -> None:
    assert not look(job(), group(MEMBERS[:1]), pod(0), has_service=False).create_service


def test_a_stalled_job_says_how_many_of_its_pods_run_by_now() -> None:
    told = status_of(look(job(), group(MEMBERS), pod(0), pod(1)))
    forbidden = Obstacle(Reason.CREATION_FORBIDDEN, "exceeded quota")
    status = status_of(look(job(told), group(MEMBERS), pod(0), obstacle=forbidden))
    assert (status["pods"]["running"], is_true(status, ConditionType.RUNNING)) == (1, False)
    assert find(status, ConditionType.RUNNING)["message"] == "1 of 2 pods run"
    status = status_of(look(job(told), group(MEMBERS), pod(0), pod(1), obstacle=forbidden))
    assert is_true(status, ConditionType.RUNNING), "one that lacks a Service only"
    told = status_of(look(job(), group(MEMBERS), pod(0, "Succeeded"), pod(1)))
    status = status_of(look(job(told), group(MEMBERS), pod(1), obstacle=forbidden))
    assert find(status, ConditionType.RUNNING)["message"] == "2 of 2 pods run", (
        "whoever removed the pod that ended well"
    )


def test_an_ended_job_holds_no_cards_and_runs_no_pods_once_they_are_gone() -> None:
    told = status_of(look(job(), group(MEMBERS), pod(0), pod(1)))
    status = status_of(look(job(told, runtime="mpi"), group(MEMBERS), pod(0, "Succeeded"), pod(1)))
    assert not is_true(status, ConditionType.ALLOCATED)
    going = look(job(status, runtime="mpi"), None, pod(0, "Succeeded"), pod(1, deleting=True))
    assert going.status is None, "it is told once, not pod by pod"
    status = status_of(look(job(status, runtime="mpi"), None, pod(0, "Succeeded")))
    assert status["pods"] == {"pending": 0, "running": 0, "succeeded": 1, "failed": 0}
    assert look(job(status, runtime="mpi"), None).status is None, "what ended well did, whoever cleans up"


def test_the_queue_deadline_counts_for_a_job_that_cannot_even_ask_for_cards() -> None:
    unknown = Obstacle(Reason.UNKNOWN_PROFILE, "there is no profile h200")
    first = look(job(queueDeadlineSeconds=5), obstacle=unknown)
    assert (reason(first, ConditionType.STALLED), first.again_after) == (Reason.UNKNOWN_PROFILE, 5)
    told = status_of(first)
    late = look(job(told, queueDeadlineSeconds=5), obstacle=unknown, now=NOW + timedelta(seconds=5))
    assert reason(late, ConditionType.SUCCEEDED) == Reason.QUEUE_DEADLINE_EXCEEDED
    holds = look(job(told, queueDeadlineSeconds=5), group(MEMBERS), obstacle=unknown, now=NOW + timedelta(hours=1))
    assert reason(holds, ConditionType.STALLED) == Reason.UNKNOWN_PROFILE, "it has its cards"
