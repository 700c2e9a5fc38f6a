"""The life of a job as a decision: every state it can be found in has exactly one next step."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from supernode.api.conditions import ConditionType, Reason
from supernode.api.reading import parse
from supernode.api.trainingjob import TrainingJob
from supernode.control.conditions import find, is_true, timestamp
from supernode.control.job import decide
from supernode.control.jobview import OBSTACLE_INTERVAL, GroupView, JobView, Obstacle, Step
from supernode.control.records import Custom, PodRecord
from supernode.control.refusals import FORGIVEN, UNBOUND_SECONDS
from supernode.control.running import LOST_SECONDS
from supernode.topology.fleet import Member

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
    unfit: frozenset[int] = frozenset(),
    later: frozenset[int] = frozenset(),
    stranded: tuple[PodRecord, ...] = (),
    away: frozenset[str] = frozenset(),
    **more: Any,
) -> Step:
    view = JobView(of, its_group, pods, has_service, obstacle, lost, now, crowded, unfit, later, stranded, away, **more)
    return decide(view)


def status_of(step: Step) -> dict[str, Any]:
    assert step.status is not None
    return step.status


def reason(step: Step, kind: ConditionType) -> str:
    return str(find(status_of(step), kind)["reason"])


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


def test_pods_of_an_earlier_job_of_the_same_name_are_waited_for() -> None:
    former = pod(1, "Succeeded", owner_uid="earlier", group_uid="earlier")
    step = look(job(), group(MEMBERS), former=(former,))
    assert step.create_ranks == (0,)
    assert "j-1 of an earlier job of this name has yet to go" in find(status_of(step), ConditionType.READY)["message"]
    assert status_of(step)["phase"] == "Starting"


HOURS_AGO = NOW - timedelta(hours=5)


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
    step = look(job(), group(MEMBERS), later=frozenset({1}))
    assert step.create_ranks == (0,)
    assert step.again_after is not None


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


MPI = {"runtime": "mpi"}
FOUR = tuple(Member(rank, "sn-0", f"n{rank}", 0xFFFF, {"node": f"n{rank}"}) for rank in range(4))
OTHERS = (pod(1), pod(2), pod(3))


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


def test_no_pod_is_made_for_a_node_that_is_gone() -> None:
    step = look(job(), group(MEMBERS), pod(0), lost=frozenset({"n1"}))
    assert step.create_ranks == ()
    ready = find(status_of(step), ConditionType.READY)
    assert (ready["status"], ready["reason"]) == ("False", Reason.NODES_LOST)
    assert "n1" in ready["message"]
    assert look(job(), group(MEMBERS), pod(0)).create_ranks == (1,), "it comes when the node is back"


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


WAITS = {"phase": "Pending", "node": None, "pinned": "n1"}


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


REFUSED = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no healthy devices"}


def test_a_pod_its_kubelet_refuses_comes_again_later_and_is_no_restart() -> None:
    first = look(job(faultPolicy={"maxRestarts": 0}), group(MEMBERS), pod(0, **REFUSED), pod(1))
    assert (status_of(first)["restarts"], status_of(first)["refusals"]) == (0, 1)
    assert [p.key[1] for p in first.delete_pods] == ["j-0"]
    assert "no healthy devices" in first.notices[0].message
    again = look(job(status_of(first)), group(MEMBERS), pod(0, **REFUSED), pod(1))
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


UNBOUND: dict[str, Any] = {
    "phase": "Pending",
    "node": None,
    "pinned": "n0",
    "reason": "Unschedulable",
    "message": "1 Insufficient cpu",
}


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
        ({"unfit": frozenset({0})}, Reason.CARDS_FAILED),
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


PULLS: dict[str, Any] = {"phase": "Pending", "reason": "ImagePullBackOff", "message": "container main: not found"}


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
    step = look(job(), group(MEMBERS), stuck, unfit=frozenset({0, 1}))
    assert step.delete_group
    assert not step.create_ranks
    assert reason(step, ConditionType.READY) == Reason.CARDS_FAILED
    assert "cards of n0,n1 do not work" in step.notices[0].message


def test_cards_that_fail_under_a_pod_are_not_the_jobs_failure() -> None:
    spec = {"faultPolicy": {"maxRestarts": 0}}
    failed = pod(0, "Failed", uid="broke", reason="Error", message="device lost")
    assert reason(look(job(**spec), group(MEMBERS), failed, pod(1)), ConditionType.READY) == (
        Reason.MAX_RESTARTS_EXCEEDED
    )
    step = look(job(**spec), group(MEMBERS), failed, pod(1), unfit=frozenset({0}))
    assert step.delete_group
    assert reason(step, ConditionType.READY) == Reason.CARDS_FAILED
    assert status_of(step)["restarts"] == 0


def test_pods_stay_while_the_ledger_is_lost() -> None:
    """Whether the group's status still says that it has its cards or was lost too."""
    told = {"conditions": [{"type": "Allocated", "status": "True"}]}
    assert look(job(), group(status=told), pod(0), pod(1)) == Step()
    assert look(job(), group(status={}), pod(0), pod(1)) == Step()
    refused = {"conditions": [{"type": "Allocated", "status": "False", "reason": "NoDomainFits", "message": ""}]}
    assert len(look(job(), group(status=refused), pod(0), pod(1)).delete_pods) == 2
    assert len(look(job(), group(status={}), pod(0, group_uid="old")).delete_pods) == 1
