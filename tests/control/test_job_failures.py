"""What goes wrong with a running job, as a decision: what counts as its failure, and what is done about it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from looks import MEMBERS, NOW, group, job, look, pod, reason, status_of

from supernode.api.conditions import ConditionType, Reason
from supernode.api.trainingjob import TrainingJob
from supernode.control.conditions import find, is_true, timestamp
from supernode.control.jobview import OBSTACLE_INTERVAL, GroupView, Obstacle, Step
from supernode.control.records import Custom, PodRecord
from supernode.control.refusals import FORGIVEN, UNBOUND_SECONDS
from supernode.control.running import LOST_SECONDS

HOURS_AGO = NOW - timedelta(hours=5)
REFUSED = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no healthy devices"}
UNBOUND: dict[str, Any] = {
    "phase": "Pending",
    "node": None,
    "pinned": "n0",
    "reason": "Unschedulable",
    "message": "1 Insufficient cpu",
}
PULLS: dict[str, Any] = {"phase": "Pending", "reason": "ImagePullBackOff", "message": "container main: not found"}


def test_drains_do_not_use_up_the_restarts() -> None:
    """Each takes a member away, and its peers fail with it, at once or as they notice."""
    status: dict[str, Any] = {"phase": "Running", "startTime": timestamp(HOURS_AGO)}
    for drain in range(5):
        now, made = NOW + drain * timedelta(hours=6), HOURS_AGO + drain * timedelta(hours=6)
        drained, peer = pod(1, deleting=True, created=made), pod(0, created=made)
        status = status_of(look(job(status), group(MEMBERS), peer, drained, now=now))
        failed = replace(peer, phase="Failed", reason="Error")
        status = status_of(look(job(status), group(MEMBERS), failed, replace(drained, phase="Failed"), now=now))
        later = pod(1, uid="new", created=now)
        status = status_of(look(job(status), group(MEMBERS), failed, later, now=now + timedelta(minutes=20)))
        assert status["restarts"] == 0
        status["phase"] = "Running"


@pytest.mark.parametrize("told", ["Terminated", "Preempting"])
def test_pods_that_kubelets_end_for_their_nodes_sake_do_not_use_up_the_restarts(told: str) -> None:
    """When a node shuts down, or has to make room: nobody deletes the pods."""
    status: dict[str, Any] = {"phase": "Running"}
    for reboot in range(5):
        now = NOW + reboot * timedelta(hours=6)
        peer, ended = (pod(rank, uid=f"{reboot}-{rank}", created=now) for rank in range(2))
        ended = replace(ended, phase="Failed", reason=told)
        step = look(job(status), group(MEMBERS), peer, ended, now=now)
        assert step.delete_pods == (ended,)
        peer = replace(peer, phase="Failed", reason="Error")
        status = status_of(look(job(status_of(step)), group(MEMBERS), peer, now=now))
        assert status["restarts"] == 0
        status["phase"] = "Running"


def test_a_member_that_is_gone_when_its_peers_are_found_to_have_failed_took_them_along() -> None:
    """As after a drain that nobody saw, since the operator was away."""
    running = {"phase": "Running", "restarts": 3, "startTime": timestamp(HOURS_AGO)}
    step = look(job(running), group(MEMBERS), pod(0, "Failed", created=HOURS_AGO))
    assert status_of(step)["restarts"] == 3
    assert step.delete_pods == (pod(0, "Failed", created=HOURS_AGO),)
    assert step.create_ranks == (1,)
    once_more = {**status_of(step), "replacing": []}
    fresh = [pod(rank, "Failed", uid=f"new-{rank}", created=NOW) for rank in range(2)]
    assert reason(look(job(once_more), group(MEMBERS), *fresh), ConditionType.SUCCEEDED) == Reason.MAX_RESTARTS_EXCEEDED


def test_who_failed_with_a_member_that_is_still_going_is_made_again_with_it() -> None:
    """A gang that cannot form yet would only fail again."""
    failed, going = pod(0, "Failed", created=HOURS_AGO), pod(1, deleting=True, created=HOURS_AGO)
    step = look(job({"phase": "Running"}), group(MEMBERS), failed, going)
    assert not step.delete_pods
    assert status_of(step)["replacing"] == [failed.uid]
    then = look(job(status_of(step)), group(MEMBERS), failed)
    assert then.delete_pods == (failed,)
    assert status_of(then)["restarts"] == 0


@pytest.mark.parametrize("settled", ["is back", "is gone", "was evicted"])
def test_a_machine_that_dies_does_not_use_up_the_restarts_before_its_pod_goes(settled: str) -> None:
    """Its node is called not ready after a minute, and its pod evicted after five more; peers fail meanwhile."""
    silent, limit = frozenset({"n0"}), {"faultPolicy": {"maxRestarts": 0}}
    hung, peer = (pod(rank, created=NOW) for rank in range(2))
    told = status_of(look(job({"phase": "Running"}, **limit), group(MEMBERS), hung, peer, unready=silent))
    assert "restartOf" not in told, "what fails later, though nothing did meanwhile, is the job's own"
    failed = replace(peer, phase="Failed", reason="Error")
    for minute in range(1, 6):
        now = NOW + timedelta(minutes=minute)
        held = look(job(told, **limit), group(MEMBERS), hung, failed, unready=silent, now=now)
        assert not held.removes, "made again it would only fail again"
        assert not held.create_ranks
        told = status_of(held)
        assert (told["phase"], told["restarts"]) == ("Starting", 0)
    ready = find(told, ConditionType.READY)
    assert (ready["status"], ready["reason"]) == ("False", Reason.NODES_NOT_READY)
    assert "1 of 2 pods run; not ready: n0; " in ready["message"]
    assert "node.kubernetes.io/out-of-service" in ready["message"]

    if settled == "is back":
        after = look(job(told, **limit), group(MEMBERS), hung, failed)
        assert after.delete_pods == (failed,)
        new = look(job(status_of(after), **limit), group(MEMBERS), hung)
        assert new.create_ranks == (1,)
        then = replace(hung, phase="Failed", reason="ContainerStatusUnknown")
        late = look(job(status_of(new), **limit), group(MEMBERS), then, pod(1, uid="new", created=NOW))
        assert late.delete_pods == (then,), "its machine was started again: it failed with the others"
        assert status_of(late)["restarts"] == 0
    elif settled == "was evicted":
        going = replace(hung, deleting=True)
        still = look(job(told, **limit), group(MEMBERS), going, failed, unready=silent, stranded=(going,))
        assert not still.removes
        assert find(status_of(still), ConditionType.READY)["message"].count("n0") == 1, "it is told of once"
        after = look(job(status_of(still), **limit), group(MEMBERS), failed)
        assert (after.delete_pods, after.create_ranks) == ((failed,), (0,))
        told = status_of(after)
    else:
        gone = {"lost": silent, "lost_for": LOST_SECONDS}
        after = look(job(told, **limit), group(MEMBERS), failed, **gone)  # type: ignore[arg-type]
        assert reason(after, ConditionType.READY) == Reason.NODES_LOST
        assert after.delete_group
    assert status_of(after)["restarts"] == 0


def test_a_node_that_is_not_ready_for_a_moment_changes_nothing() -> None:
    running = status_of(look(job(), group(MEMBERS), pod(0), pod(1)))
    step = look(job(running), group(MEMBERS), pod(0), pod(1), unready=frozenset({"n0"}))
    assert not step.removes
    assert (status_of(step)["phase"], reason(step, ConditionType.READY)) == ("Running", Reason.PODS_RUNNING)
    assert "2 of 2 pods run; not ready: n0" in find(status_of(step), ConditionType.READY)["message"]
    after = look(job(status_of(step)), group(MEMBERS), pod(0), pod(1, "Failed"))
    assert status_of(after)["restarts"] == 1


def test_containers_that_crash_while_a_machine_is_dead_do_not_use_up_the_restarts() -> None:
    """Their kubelets restart them in their place, with what they have counted; so new pods come instead."""
    silent, limit = frozenset({"n0"}), {"faultPolicy": {"maxRestarts": 1}}
    status: dict[str, Any] = {"phase": "Running", "containerRestarts": 1}
    for crashes in range(1, 6):
        peer = pod(1, restarts=crashes)
        step = look(job(status, **limit), group(MEMBERS), pod(0), peer, unready=silent)
        status = status_of(step)
        assert not step.removes
        assert (status["phase"], status["restarts"], status["containerRestarts"]) == ("Running", 0, 1)
    after = look(job(status, **limit), group(MEMBERS), pod(0), peer)
    assert after.delete_pods == (peer,)
    going = look(job(status_of(after), **limit), group(MEMBERS), pod(0), replace(peer, deleting=True))
    assert status_of(going)["restarts"] == 0
    new = look(job(status_of(going), **limit), group(MEMBERS), pod(0), pod(1, uid="new"))
    assert status_of(new)["phase"] == "Running"


def test_who_starts_the_others_work_comes_again_when_a_silent_node_does() -> None:
    silent, mpi = frozenset({"n1"}), {"runtime": "mpi", "faultPolicy": {"maxRestarts": 0}}
    failed, worker = pod(0, "Failed", created=HOURS_AGO), pod(1, created=HOURS_AGO)
    held = look(job({"phase": "Running"}, **mpi), group(MEMBERS), failed, worker, unready=silent)
    assert not held.removes
    back = look(job(status_of(held), **mpi), group(MEMBERS), failed, worker)
    assert back.delete_pods == (failed,)
    assert look(job(status_of(back), **mpi), group(MEMBERS), worker).create_ranks == (0,)


def test_who_failed_waits_while_a_pod_cannot_be_bound_to_a_node_that_is_not_ready() -> None:
    """After a while the whole group goes elsewhere."""
    stuck, failed = pod(0, unbound_since=NOW, **UNBOUND), pod(1, "Failed")
    silent = frozenset({"n0"})
    early = look(job(), group(MEMBERS), stuck, failed, unready=silent)
    assert not early.removes
    late = NOW + timedelta(seconds=UNBOUND_SECONDS)
    step = look(job(status_of(early)), group(MEMBERS), stuck, failed, unready=silent, now=late)
    assert (step.delete_group, step.avoid) == (True, "n0")
    assert status_of(step)["restarts"] == 0


def test_a_crash_loop_ends_however_long_its_pods_take_to_go() -> None:
    status: dict[str, Any] = {"phase": "Running", "startTime": timestamp(HOURS_AGO)}
    for restart in range(1, 4):
        made = NOW + timedelta(minutes=restart)
        failed = [pod(rank, "Failed", uid=f"{restart}-{rank}", created=made) for rank in range(2)]
        status = status_of(look(job(status), group(MEMBERS), *failed))
        assert status["restarts"] == restart
        going = replace(failed[0], deleting=True)
        status = status_of(look(job(status), group(MEMBERS), going, pod(1, uid=f"{restart}-1b", created=made)))
        assert status["replacing"] == [going.uid]
    last = [pod(rank, "Failed", uid=f"last-{rank}", created=NOW + timedelta(hours=1)) for rank in range(2)]
    assert reason(look(job(status), group(MEMBERS), *last), ConditionType.SUCCEEDED) == Reason.MAX_RESTARTS_EXCEEDED


def test_a_group_waits_a_minute_for_a_node_that_is_gone() -> None:
    """Its peers are left as they are meanwhile, and are no failure of the job's."""
    failed, lost = pod(0, "Failed", created=HOURS_AGO), frozenset({"n1"})
    status = {"phase": "Running", "restarts": 3}
    early = look(job(status), group(MEMBERS), failed, lost=lost, lost_for=LOST_SECONDS - 10)
    assert not early.removes
    assert not early.create_ranks
    assert status_of(early)["restarts"] == 3
    assert early.again_after == 10
    late = look(job(status_of(early)), group(MEMBERS), failed, lost=lost, lost_for=LOST_SECONDS)
    assert late.delete_group
    assert reason(late, ConditionType.READY) == Reason.NODES_LOST


def test_a_node_that_moved_is_told_apart_from_one_that_is_gone() -> None:
    lost, moved = frozenset({"n0", "n1"}), frozenset({"n1"})
    step = look(job(), group(MEMBERS), lost=lost, moved=moved)
    assert "gone: n0, in another supernode now: n1; the group" in find(status_of(step), ConditionType.READY)["message"]
    late = look(job(), group(MEMBERS), lost=lost, moved=moved, lost_for=LOST_SECONDS)
    assert late.notices[0].message == (
        "after a minute still gone: n0, in another supernode now: n1; the group is placed again"
    )


@pytest.mark.parametrize(
    "misplaced", [{"group_uid": "old"}, {"node": "elsewhere"}, {"cards": 0xFF}, {"rank": 9, "key": ("d", "j-9")}]
)
def test_a_pod_that_is_not_where_the_ledger_says_goes(misplaced: dict[str, Any]) -> None:
    stray = replace(pod(0), **misplaced)
    step = look(job(), group(MEMBERS), stray, pod(1))
    assert step.delete_pods == (stray,)


def test_failures_at_one_time_count_once_and_are_remembered_until_replaced() -> None:
    broken = (pod(0, "Failed", reason="Error"), pod(1, "Failed", reason="OutOfcards"))
    first = look(job(), group(MEMBERS), *broken)
    assert status_of(first)["restarts"] == 1
    assert first.delete_pods == broken
    again = look(job(status_of(first)), group(MEMBERS), *broken)
    assert status_of(again)["restarts"] == 1, "the status was written, the pods were not yet deleted: not counted twice"
    assert again.delete_pods == broken
    assert again.notices == ()
    fresh = look(job(status_of(again)), group(MEMBERS), pod(0, uid="new-0"), pod(1, uid="new-1"))
    assert "replacing" not in status_of(fresh)
    assert status_of(fresh)["restarts"] == 1


def test_a_gang_that_fails_one_by_one_fails_once() -> None:
    later = NOW + timedelta(seconds=9)
    old = [pod(rank, created=NOW) for rank in range(2)]
    first = look(job(), group(MEMBERS), replace(old[0], phase="Failed"), old[1])
    assert status_of(first)["restarts"] == 1
    new = pod(0, uid="new-0", created=later)
    second = look(job(status_of(first)), group(MEMBERS), new, replace(old[1], phase="Failed"))
    assert status_of(second)["restarts"] == 1
    assert [p.uid for p in second.delete_pods] == ["pod-1"], "it is replaced all the same"
    third = look(
        job(status_of(second)), group(MEMBERS), replace(new, phase="Failed"), pod(1, uid="new-1", created=later)
    )
    assert status_of(third)["restarts"] == 2, "one that came after the first failure fails anew"


def test_restarts_run_out() -> None:
    step = look(job({"restarts": 3}), group(MEMBERS), pod(0, "Failed", reason="Error"), pod(1))
    assert reason(step, ConditionType.SUCCEEDED) == Reason.MAX_RESTARTS_EXCEEDED
    assert "j-0" in find(status_of(step), ConditionType.SUCCEEDED)["message"]
    assert step.delete_pods == ()


@pytest.mark.parametrize("pods", [[pod(0), pod(1)], [pod(0)]], ids=["healthy", "one is missing"])
def test_only_another_failure_ends_a_job_whose_restarts_were_lowered(pods: list[PodRecord]) -> None:
    lowered = job({"restarts": 3}, faultPolicy={"maxRestarts": 2})
    step = look(lowered, group(MEMBERS), *pods)
    assert status_of(step)["phase"] == ("Running" if len(pods) == 2 else "Starting")
    failed = look(lowered, group(MEMBERS), pod(0), pod(1, "Failed", reason="Error"))
    assert reason(failed, ConditionType.SUCCEEDED) == Reason.MAX_RESTARTS_EXCEEDED


@pytest.mark.parametrize(
    ("restarts", "pods", "ends"),
    [
        (0, (0, 3), False),
        (0, (3, 3), False),
        (0, (0, 4), True),
        (2, (0, 1), False),
        (2, (1, 2), True),
        (4, (0, 0), False),
    ],
    ids=[
        "as often as allowed",
        "a gang that fails together fails once",
        "once more",
        "with pods that were replaced, as often as allowed",
        "with these, once more",
        "of none that is there",
    ],
)
def test_containers_restarted_in_their_place_use_restarts_up(restarts: int, pods: tuple[int, int], ends: bool) -> None:
    step = look(job({"restarts": restarts}), group(MEMBERS), *(pod(i, restarts=n) for i, n in enumerate(pods)))
    status = status_of(step)
    assert status["phase"] == ("Failed" if ends else "Running")
    if ends:
        assert reason(step, ConditionType.SUCCEEDED) == Reason.MAX_RESTARTS_EXCEEDED
        assert "maxRestarts=3 is used up; last: pod j-1" in find(status, ConditionType.SUCCEEDED)["message"]
        after = look(job(status), group(MEMBERS), pod(0), pod(1))
        assert (len(after.delete_pods), after.delete_group) == (2, True)
    else:
        assert status.get("containerRestarts", 0) == max(pods)


def test_a_restarted_container_is_told_of_once() -> None:
    told = status_of(look(job(), group(MEMBERS), pod(0, restarts=1), pod(1)))
    assert told["containerRestarts"] == 1
    assert look(job(told), group(MEMBERS), pod(0, restarts=1), pod(1, restarts=1)) == Step(status=told)
    assert "containerRestarts" not in status_of(look(job(told), group(MEMBERS), pod(0), pod(1))), "their pods are gone"
    assert "containerRestarts" not in status_of(look(job(told, suspend=True), group(MEMBERS), pod(0), pod(1)))


def test_only_another_restart_of_a_container_ends_a_job_whose_restarts_were_lowered() -> None:
    told = status_of(look(job(), group(MEMBERS), pod(0, restarts=2), pod(1)))
    lowered = job(told, faultPolicy={"maxRestarts": 1})
    assert status_of(look(lowered, group(MEMBERS), pod(0, restarts=2), pod(1)))["phase"] == "Running"
    step = look(lowered, group(MEMBERS), pod(0, restarts=3), pod(1))
    assert reason(step, ConditionType.SUCCEEDED) == Reason.MAX_RESTARTS_EXCEEDED


@pytest.mark.parametrize(
    ("of", "its_group"),
    [(job(suspend=True), group(MEMBERS)), (job(), group(MEMBERS, deleting=True)), (job(), group(MEMBERS))],
    ids=["suspended", "released", "replaced"],
)
def test_a_pod_that_cannot_end_is_named_with_its_node_and_the_remedy(
    of: Custom[TrainingJob], its_group: GroupView
) -> None:
    going = pod(1, deleting=True)
    message = find(status_of(look(of, its_group, pod(0), going, stranded=(going,))), ConditionType.READY)["message"]
    assert "j-1 cannot end on n1, not ready" in message
    assert "node.kubernetes.io/out-of-service" in message
    assert "cannot end" not in str(status_of(look(of, its_group, pod(0), going)))


def test_no_pod_is_made_for_a_node_that_is_gone() -> None:
    step = look(job(), group(MEMBERS), pod(0), lost=frozenset({"n1"}))
    assert step.create_ranks == ()
    ready = find(status_of(step), ConditionType.READY)
    assert (ready["status"], ready["reason"]) == ("False", Reason.NODES_LOST)
    assert "n1" in ready["message"]
    assert look(job(), group(MEMBERS), pod(0)).create_ranks == (1,), "it comes when the node is back"


@pytest.mark.parametrize("why", ["UnexpectedAdmissionError", "NodeShutdown", "OutOfcards"])
def test_a_pod_its_kubelet_refuses_comes_again_later_and_is_no_restart(why: str) -> None:
    refused = pod(0, **REFUSED | {"reason": why})
    first = look(job(faultPolicy={"maxRestarts": 0}), group(MEMBERS), refused, pod(1))
    assert (status_of(first)["restarts"], status_of(first)["refusals"]) == (0, 1)
    assert [p.key[1] for p in first.delete_pods] == ["j-0"]
    assert "no healthy devices" in first.notices[0].message
    again = look(job(status_of(first)), group(MEMBERS), refused, pod(1))
    assert status_of(again)["refusals"] == 1, "counted once"
    gone = look(job(status_of(again)), group(MEMBERS), pod(1))
    assert (gone.create_ranks, gone.again_after) == ((), 1.0)
    later = look(job(status_of(again)), group(MEMBERS), pod(1), now=NOW + timedelta(seconds=1))
    assert later.create_ranks == (0,)


def test_refusals_come_at_growing_distances_then_lead_elsewhere_and_at_last_count() -> None:
    status: dict[str, Any] = {}
    distances, left, now = [], [], NOW
    for number in range(1, FORGIVEN + 1):
        refused = pod(0, uid=f"pod-{number}", node="n0", **REFUSED)
        step = look(job(status, faultPolicy={"maxRestarts": 0}), group(MEMBERS), refused, pod(1), now=now)
        status = status_of(step)
        assert (status["refusals"], status["restarts"]) == (number, 0)
        if step.delete_group:
            left.append((number, step.avoid))
        waiting = look(job(status), group(MEMBERS), pod(1), now=now)
        distances.append(waiting.again_after)
        now += timedelta(seconds=waiting.again_after or 0)
    assert distances == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
    assert left == [(4, "n0"), (8, "n0"), (12, "n0")]
    last = look(
        job(status, faultPolicy={"maxRestarts": 0}), group(MEMBERS), pod(0, uid="last", **REFUSED), pod(1), now=now
    )
    assert reason(last, ConditionType.SUCCEEDED) == Reason.MAX_RESTARTS_EXCEEDED, "it does not go round for ever"


def test_refusals_are_forgotten_once_all_pods_run() -> None:
    step = look(job({"refusals": 3, "refusedAt": timestamp(NOW)}), group(MEMBERS), pod(0), pod(1))
    assert "refusals" not in status_of(step)
    assert "refusedAt" not in status_of(step)


def test_a_node_that_cannot_take_a_pod_is_left_after_a_while() -> None:
    stuck = pod(0, unbound_since=NOW, **UNBOUND)
    early = look(job(), group(MEMBERS), stuck, pod(1), now=NOW + timedelta(seconds=UNBOUND_SECONDS - 1))
    assert not early.delete_group
    assert early.again_after is not None
    late = NOW + timedelta(seconds=UNBOUND_SECONDS)
    step = look(job(faultPolicy={"maxRestarts": 0}), group(MEMBERS), stuck, pod(1), now=late)
    assert (step.delete_group, step.avoid) == (True, "n0")
    assert {p.key[1] for p in step.delete_pods} == {"j-0", "j-1"}
    assert reason(step, ConditionType.READY) == Reason.POD_UNSCHEDULABLE
    assert "j-0 cannot be bound to n0" in step.notices[0].message
    assert "Insufficient cpu" in step.notices[0].message
    assert status_of(step)["restarts"] == 0
    refused = {"type": "Allocated", "status": "False", "reason": "InsufficientCards", "message": "needs 32 cards"}
    waiting = look(job(status_of(step)), group(status={"conditions": [refused]}), now=late)
    assert (
        "needs 32 cards; nodes did not take its pods before (1 in a row"
        in find(status_of(waiting), ConditionType.READY)["message"]
    )


@pytest.mark.parametrize(
    ("known", "reason_given"),
    [
        ({"lost": frozenset({"n0"})}, Reason.NODES_LOST),
        ({"away": frozenset({"n0"})}, Reason.PODS_PENDING),
        ({"crowded": frozenset({"n0"})}, Reason.CARDS_TAKEN),
        ({"unfit": {0: "card 3 of n0 does not work"}}, Reason.CARDS_FAILED),
    ],
    ids=["gone", "without its device plugin", "crowded", "with broken cards"],
)
def test_what_is_known_of_a_node_says_more_than_that_it_takes_no_pod(
    known: dict[str, Any], reason_given: Reason
) -> None:
    late = NOW + timedelta(seconds=UNBOUND_SECONDS)
    step = look(job(), group(MEMBERS), pod(0, unbound_since=NOW, **UNBOUND), pod(1), now=late, **known)
    assert reason(step, ConditionType.READY) == reason_given
    assert step.avoid is None


def test_a_pod_that_does_not_start_is_named_with_the_reason() -> None:
    step = look(job(), group(MEMBERS), pod(0), pod(1, **PULLS))
    said = find(status_of(step), ConditionType.READY)["message"]
    assert said == "1 of 2 pods run; j-1: ImagePullBackOff: container main: not found"
    assert step.interim, "it is told in its time"
    assert not step.delete_group


@pytest.mark.parametrize(
    ("now", "anew"),
    [
        ([pod(0), pod(1, **PULLS | {"message": "container main: i/o timeout, port 40321"})], False),
        ([pod(0), pod(1, **PULLS | {"reason": "CreateContainerConfigError"})], True),
        ([pod(0, **PULLS), pod(1, **PULLS)], True),
        ([pod(0), pod(1)], True),
        ([pod(0), pod(1, **UNBOUND | {"message": "1 Insufficient memory"})], True),
    ],
    ids=["other words for it", "another reason", "another pod", "it runs", "it cannot be bound"],
)
def test_what_keeps_a_pod_from_starting_is_told_once(now: list[PodRecord], *, anew: bool) -> None:
    """A kubelet says what failed, then that it waits, and finds new words each time: no reason to write a status."""
    before = status_of(look(job(), group(MEMBERS), pod(0), pod(1, **PULLS)))
    assert (status_of(look(job(before), group(MEMBERS), *now)) != before) == anew


def test_what_the_scheduler_says_is_told_as_it_is_now() -> None:
    before = status_of(look(job(), group(MEMBERS), pod(0, **UNBOUND), pod(1)))
    now = look(job(before), group(MEMBERS), pod(0, **UNBOUND | {"message": "1 Insufficient memory"}), pod(1))
    assert find(status_of(now), ConditionType.READY)["message"].endswith("1 Insufficient memory")


def test_a_job_that_no_node_takes_comes_to_wait_at_one() -> None:
    status: dict[str, Any] = {}
    stays, now = [], NOW
    for number in range(8):
        came = now
        stuck = pod(0, uid=f"pod-{number}", unbound_since=came, **UNBOUND)
        while not (step := look(job(status), group(MEMBERS), stuck, pod(1), now=now)).delete_group:
            assert step.again_after is not None
            assert 0 < step.again_after <= OBSTACLE_INTERVAL
            assert "Insufficient cpu" in find(status_of(step), ConditionType.READY)["message"]
            now += timedelta(seconds=step.again_after)
        stays.append((now - came).total_seconds())
        status = status_of(step)
    assert stays == pytest.approx([60, 120, 240, 480, 960, 1920, 3600, 3600], abs=OBSTACLE_INTERVAL)
    assert status["phase"] == "Pending", "it does not fail: what it needs may come"


def test_a_group_whose_cards_others_took_is_placed_again() -> None:
    stuck = pod(0, "Pending", node=None, pinned="n0", reason="Unschedulable", message="insufficient cards")
    step = look(job(), group(MEMBERS), stuck, pod(1), crowded=frozenset({"n0"}))
    assert step.delete_group
    assert {p.key[1] for p in step.delete_pods} == {"j-0", "j-1"}
    assert reason(step, ConditionType.READY) == Reason.CARDS_TAKEN
    waits = look(job(), group(MEMBERS), stuck, pod(1))
    assert not waits.delete_group
    assert waits.again_after == OBSTACLE_INTERVAL, "who took the cards may be seen later"


def test_a_group_whose_cards_failed_before_its_pods_were_bound_is_placed_again() -> None:
    stuck = pod(0, "Pending", node=None, pinned="n0", reason="Unschedulable", message="cannot allocate all claims")
    troubles = {rank: f"card 3 of n{rank} does not work" for rank in (0, 1)}
    step = look(job(), group(MEMBERS), stuck, unfit=troubles)
    assert step.delete_group
    assert not step.create_ranks
    assert reason(step, ConditionType.READY) == Reason.CARDS_FAILED
    told = "card 3 of n0 does not work; card 3 of n1 does not work; the group is placed again"
    assert step.notices[0].message == told


def test_of_many_cards_that_failed_the_first_are_told_of() -> None:
    step = look(job(), group(MEMBERS), unfit={rank: f"card 0 of n{rank} does not work" for rank in range(9)})
    said = "card 0 of n0 does not work; card 0 of n1 does not work; card 0 of n2 does not work; and so on for 6 more"
    assert step.notices[0].message == f"{said}; the group is placed again"


def test_cards_that_fail_under_a_pod_are_not_the_jobs_failure() -> None:
    spec = {"faultPolicy": {"maxRestarts": 0}}
    failed = pod(0, "Failed", uid="broke", reason="Error", message="device lost")
    assert reason(look(job(**spec), group(MEMBERS), failed, pod(1)), ConditionType.READY) == (
        Reason.MAX_RESTARTS_EXCEEDED
    )
    step = look(job(**spec), group(MEMBERS), failed, pod(1), unfit={0: "card 3 of n0 does not work"})
    assert step.delete_group
    assert reason(step, ConditionType.READY) == Reason.CARDS_FAILED
    assert status_of(step)["restarts"] == 0


def test_pods_stay_while_the_ledger_is_lost() -> None:
    """Whether the group's status still says that it has its cards or was lost too."""
    told = {"conditions": [{"type": "Allocated", "status": "True"}]}
    assert look(job(), group(status=told), pod(0), pod(1)) == Step()
    assert look(job(), group(status={}), pod(0), pod(1)) == Step()


def test_a_job_says_what_to_do_about_its_ledger_where_nobody_but_a_person_can_mend_it() -> None:
    missing = {"type": "Ready", "status": "False", "reason": "SuperNodeMissing", "message": "node n0 belongs to none"}
    told = {"conditions": [missing, {"type": "Allocated", "status": "True", "reason": "Allocated"}]}
    step = look(job(), group(status=told), pod(0), pod(1))
    assert reason(step, ConditionType.STALLED) == Reason.SUPER_NODE_MISSING
    assert find(status_of(step), ConditionType.READY)["message"] == "node n0 belongs to none"
    assert is_true(status_of(step), ConditionType.RUNNING)
    assert not step.removes
    refused = {"conditions": [{"type": "Allocated", "status": "False", "reason": "NoDomainFits", "message": ""}]}
    assert len(look(job(), group(status=refused), pod(0), pod(1)).delete_pods) == 2
    assert len(look(job(), group(status={}), pod(0, group_uid="old")).delete_pods) == 1


def test_who_has_ended_well_is_not_made_again_whoever_removes_its_pod() -> None:
    told = status_of(look(job(), group(MEMBERS), pod(0, "Succeeded"), pod(1)))
    step = look(job(told), group(MEMBERS), pod(1))
    assert step.create_ranks == ()
    assert (status_of(step)["succeededRanks"], status_of(step)["phase"]) == ("0", "Running")
    done = look(job(status_of(step)), group(MEMBERS), pod(1, "Succeeded"))
    assert reason(done, ConditionType.SUCCEEDED) == Reason.ALL_SUCCEEDED
    again = status_of(look(job(told), group(deleting=True), pod(1)))
    assert "succeededRanks" not in again, "on other cards all start anew"


@pytest.mark.parametrize("runtime", ["plain", "mpi"])
@pytest.mark.parametrize("replaced", [False, True], ids=["by others", "to be replaced"])
def test_who_is_taken_away_and_exits_with_0_has_not_ended_well(runtime: str, *, replaced: bool) -> None:
    """It saved its state when it was told to end."""
    before = {"phase": "Running", "replacing": ["pod-0"] if replaced else []}
    step = look(job(before, runtime=runtime), group(MEMBERS), pod(0, "Succeeded", deleting=True), pod(1))
    status = status_of(step)
    assert ("succeededRanks" in status, status["phase"]) == (False, "Starting")
    assert find(status, ConditionType.READY)["message"].startswith("1 of 2 pods run")
    after = look(job(status, runtime=runtime), group(MEMBERS), pod(1))
    assert (after.create_ranks, status_of(after)["restarts"]) == ((0,), 0)
    drained = [pod(rank, "Succeeded", deleting=True) for rank in range(2)]
    assert status_of(look(job(before, runtime=runtime), group(MEMBERS), *drained))["phase"] == "Starting"


def test_what_a_loss_leaves_to_remember_is_written_before_anything_is_made() -> None:
    """A pod that is deleted by force may be there again before anybody looks, and its peer fails for want of it."""
    told = status_of(look(job(), group(MEMBERS), pod(0, created=NOW), pod(1, created=NOW)))
    step = look(job(told), group(MEMBERS), pod(0, created=NOW))
    assert (step.create_ranks, step.remembers, step.interim) == ((1,), True, False)
    later = NOW + timedelta(seconds=1)
    failed = look(job(status_of(step)), group(MEMBERS), pod(0, "Failed", created=NOW), pod(1, created=later), now=later)
    assert status_of(failed)["restarts"] == 0
    assert not look(job(told), group(MEMBERS), pod(0), pod(1, "Pending")).remembers, "nothing happened"


def test_what_keeps_a_job_is_noticed_once_whatever_its_numbers() -> None:
    """Each text would be an Event of its own, every ten seconds."""
    quota = "exceeded quota: team, requested: pods=1, used: pods={}, limited: pods=3; it is tried again"

    def hindered(used: int, status: dict[str, Any], reason: Reason = Reason.CREATION_FORBIDDEN) -> Step:
        return look(job(status), group(MEMBERS), obstacle=Obstacle(reason, quota.format(used)))

    first = hindered(2, {"phase": "Pending"})
    assert [notice.message for notice in first.notices] == [quota.format(2)]
    again = hindered(3, status_of(first))
    assert (again.notices, find(status_of(again), ConditionType.STALLED)["message"]) == ((), quota.format(3))
    assert len(hindered(3, status_of(again), Reason.NAME_CONFLICT).notices) == 1
