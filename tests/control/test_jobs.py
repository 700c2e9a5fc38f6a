"""A job is looked at while the allocator, the other task of the loop, goes on."""

import asyncio
import contextlib
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from known_cluster import CARD, Cluster
from kubernetes.client import Configuration

from supernode.api import names
from supernode.api.conditions import ConditionType, Reason
from supernode.cluster.credentials import Credentials
from supernode.cluster.errors import ApiError, BadRequest, Conflict, Forbidden, Invalid, Unavailable
from supernode.cluster.resources import CARDGROUPS
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control import jobreader, launch, turns
from supernode.control.conditions import find
from supernode.control.job import decide
from supernode.control.jobview import JobView
from supernode.control.leader import Leader
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.control.running import LOST_SECONDS
from supernode.control.turns import TURN_SECONDS

Json = dict[str, Any]

JOB = ("ml", "j")
OWNER = {"uid": "job", "controller": True, "kind": "TrainingJob", "name": "j"}


def _put_group(cluster: Cluster, members: int = 2, **metadata: Any) -> None:
    meta = {"finalizers": [names.FINALIZER_CARDS], "ownerReferences": [OWNER], **metadata}
    spec = {"members": members, "cardsPerMember": 4}
    cluster.caches.groups.put(cluster._object("j", "CardGroup", namespace="ml", metadata=meta, spec=spec))


def _put_job(cluster: Cluster, status: Json | None = None, **spec: Any) -> None:
    template = {"spec": {"containers": [{"name": "main", "image": "i"}]}}
    workers = {"replicas": 2, "cardsPerWorker": 4, "template": template}
    parts: Json = {"metadata": {"uid": "job"}, "spec": {"workers": workers, **spec}, "status": status or {}}
    cluster.caches.jobs.put(cluster._object("j", "TrainingJob", namespace="ml", **parts))


def _put_pod(cluster: Cluster, rank: int, phase: str = "Running", *, name: str = "", **more: Any) -> None:
    """The pod of a rank in its place, or one that looks like it."""
    more = {"job": OWNER, "phase": phase, **more}
    cluster.pod(name or f"j-{rank}", f"sn-0-n{rank}", 4, named="0-3", group="j", rank=rank, **more)


class _Server:
    """Takes pods, or answers as it is told to by their names; takes no patch, as others wrote or forbid it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: dict[str, ApiError] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []
        self.strict: set[bool] = set()
        monkeypatch.setattr(Session, "create", self._create)
        monkeypatch.setattr(Session, "merge_patch", self._patch)

    async def _create(self, _resource: Any, obj: Json, *, strict: bool = False) -> Json:
        name = obj["metadata"]["name"]
        if obj["kind"] == "Pod":
            self.asked.append(name)
            self.strict.add(strict)
            await asyncio.sleep(0.005 if name in self.answers else 0.01)  # refusals are known first
            if name in self.answers:
                raise self.answers[name]
        made = {"uid": name, "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
        return {**obj, "metadata": obj["metadata"] | made}

    async def no_answer(self, *_: Any, **__: Any) -> Json:
        raise NO_ANSWER

    async def _patch(self, resource: Any, *_: Any, **__: Any) -> Json:
        raise Forbidden("priorities are bounded") if resource is CARDGROUPS else Conflict("it was written meanwhile")


def _look(leader: Leader) -> JobView:
    job = leader._caches.jobs.store.get(JOB)
    assert job is not None
    return leader._jobs._reader.view(job)


async def _allocated(members: int = 2, *, at_once: int = 64) -> tuple[Cluster, Leader]:
    """A job whose group has its cards and whose pods are to be created, at a server that answers nothing; so many
    requests are under way at once."""
    cluster = Cluster()
    session = Session(Credentials(lambda: Configuration(host="http://127.0.0.1:1")), timeout=0.1)
    writer = Writer(session, at_once)
    leader = Leader(session, writer, cluster.caches, Observer(), identity="me", term=1, patience=Patience())
    cluster.caches.listener = leader
    _put_job(cluster)
    _put_group(cluster, members)
    cluster.write("sn-0", f"ml/j CardGroup-j 0-{members - 1}@sn-0-n[0-{members - 1}]:0-3")
    await leader.state.refresh()
    return cluster, leader


async def test_no_pod_is_created_for_a_group_that_is_let_go_in_the_same_turn() -> None:
    cluster, leader = await _allocated()

    async def let_go() -> None:
        _put_group(cluster, deletionTimestamp="2026-01-01T00:00:01Z")

    again, _ = await asyncio.gather(leader._jobs.reconcile(JOB), let_go())
    assert again == 0.0, "it is looked at anew, and nothing was asked of the server"


async def test_of_two_jobs_looked_at_in_the_same_turn_one_creates_its_pod() -> None:
    """Their pods want equally many cards of a node, and its device plugin tells them apart by nothing else."""
    cluster = Cluster()
    session = Session(Credentials(lambda: Configuration(host="http://127.0.0.1:1")), timeout=0.1)
    leader = Leader(session, Writer(session), cluster.caches, Observer(), identity="me", term=1, patience=Patience())
    cluster.caches.listener = leader
    cluster.edit(pinning={"mode": "annotation", "key": CARD})
    template = {"spec": {"containers": [{"name": "main", "image": "i"}]}}
    for name, cards in (("a", "0-1"), ("b", "2-3")):
        owner = {**OWNER, "uid": f"job-{name}", "name": name}
        meta = {"finalizers": [names.FINALIZER_CARDS], "ownerReferences": [owner]}
        spec: Json = {"members": 1, "cardsPerMember": 2}
        cluster.caches.groups.put(cluster._object(name, "CardGroup", namespace="ml", metadata=meta, spec=spec))
        cluster.book("sn-0", f"ml/{name} CardGroup-{name} 0@sn-0-n0:{cards}")
        spec = {"workers": {"replicas": 1, "cardsPerWorker": 2, "template": template}}
        parts: Json = {"metadata": {"uid": f"job-{name}"}, "spec": spec}
        cluster.caches.jobs.put(cluster._object(name, "TrainingJob", namespace="ml", **parts))
    await leader.state.refresh()
    both = (leader._jobs.reconcile(("ml", name)) for name in "ab")
    asked, waits = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(asked, Unavailable)
    assert waits == TURN_SECONDS


def _mistake(*_: Any, **__: Any) -> Any:
    raise AttributeError("'list' object has no attribute 'get'")


@pytest.mark.parametrize(
    ("module", "function", "allocated", "said"),
    [(jobreader, "group_for", False, "what it asks for"), (launch, "render_pod", True, "its pods")],
)
async def test_a_mistake_of_the_operator_is_told_in_the_status_of_the_job(
    monkeypatch: pytest.MonkeyPatch, module: Any, function: str, allocated: bool, said: str
) -> None:
    cluster, leader = await _allocated()
    if not allocated:
        cluster.caches.groups.store.remove(cluster._object("j", "CardGroup", namespace="ml"))
    monkeypatch.setattr(module, function, _mistake)
    with pytest.raises(Unavailable):  # the status cannot be written here
        await leader._jobs.reconcile(JOB)
    step = decide(_look(leader))
    assert step.status is not None
    [stalled] = [each for each in step.status["conditions"] if each["type"] == "Stalled"]
    assert (stalled["status"], stalled["reason"]) == ("True", "DecisionFailed")
    assert stalled["message"].startswith(f"the operator failed to make out {said} (AttributeError")
    assert step.again_after is not None, "it is tried again"


@pytest.mark.parametrize("tell", ["report", "annotation"])
@pytest.mark.parametrize(
    ("mode", "phases", "unfit"),
    [
        ("annotation", ["Running", "Running"], set()),
        ("annotation", ["Failed", "Running"], {0}),
        ("annotation", ["Running", "Failed"], {0}),
        ("annotation", ["Succeeded", "Failed"], set()),
        ("annotation", ["", "Running"], {0}),
        ("env", ["Failed", "Running"], {0}),
        ("none", ["Failed", "Running"], set()),
    ],
    ids=[
        "pods that run go on",
        "the pod on it has failed",
        "another has failed, and it may be hung",
        "another has failed, and it has ended",
        "the pod on it is yet to be made",
        "it is told its cards by a variable",
        "the kubelet may give it other cards",
    ],
)
async def test_no_pod_is_made_again_on_cards_that_are_called_unhealthy(
    tell: str, mode: str, phases: list[str], unfit: set[int]
) -> None:
    cluster, leader = await _allocated()
    cluster.edit(pinning={"mode": mode, **({} if mode == "none" else {"key": "CARDS"})})
    for rank, phase in enumerate(phases):
        if phase:
            _put_pod(cluster, rank, phase)
    if tell == "report":
        cluster.report("sn-0-n0", "2")
    else:
        cluster.node("sn-0-n0", ill="2")
    await leader.state.refresh()
    assert _look(leader).unfit == {rank: f"card 2 of sn-0-n{rank} does not work" for rank in unfit}


@pytest.mark.parametrize(
    ("harm", "reason", "said"),
    [
        ("card reported", Reason.CARDS_FAILED, "card 2 of sn-0-n0 does not work; the group is placed again"),
        ("card annotated", Reason.CARDS_FAILED, "card 2 of sn-0-n0 does not work; the group is placed again"),
        ("node not ready", Reason.NODES_NOT_READY, "1 of 2 pods run; not ready: sn-0-n0; pods that fail meanwhile"),
        ("node gone", Reason.NODES_LOST, "1 of 2 pods run; gone: sn-0-n0; the group is placed again unless"),
    ],
)
async def test_who_fails_because_hardware_under_a_hung_peer_did_is_no_failure_of_the_job(
    harm: str, reason: Reason, said: str
) -> None:
    cluster, leader = await _allocated()
    cluster.edit(pinning={"mode": "annotation", "key": "CARDS"})
    for rank in (0, 1):
        _put_pod(cluster, rank)
    await leader.state.refresh()
    running = decide(_look(leader)).status
    _put_job(cluster, running, faultPolicy={"maxRestarts": 0})
    match harm:
        case "card reported":
            cluster.report("sn-0-n0", "2")
        case "card annotated":
            cluster.node("sn-0-n0", ill="2")
        case "node not ready":
            cluster.node("sn-0-n0", ready=False)
        case _:
            cluster.node_goes("sn-0-n0")
    await leader.state.refresh()
    assert not decide(_look(leader)).removes, "what runs is left alone"
    _put_pod(cluster, 1, "Failed")
    status = decide(_look(leader)).status
    assert status is not None
    assert status["restarts"] == 0
    ready = find(status, ConditionType.READY)
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert ready["message"].startswith(said)


@pytest.mark.parametrize(
    ("home", "phases", "lost", "created"),
    [
        ("sn-1", ["", "Running"], True, ()),
        ("sn-1", ["Failed", "Running"], True, ()),
        ("sn-1", ["Running", "Running"], False, ()),
        ("sn-1", ["Succeeded", "Running"], False, ()),
        ("sn-0", ["", "Running"], False, (0,)),
    ],
    ids=[
        "its pod is yet to be made",
        "its pod is to be made again",
        "its pod runs",
        "its pod has ended",
        "it is where it was",
    ],
)
async def test_no_pod_is_made_on_a_node_that_belongs_to_another_supernode_by_now(
    home: str, phases: list[str], lost: bool, created: tuple[int, ...]
) -> None:
    """A machine was replaced under the same name elsewhere, or cabled anew: the group would straddle supernodes."""
    cluster, leader = await _allocated()
    for rank, phase in enumerate(phases):
        if phase:
            _put_pod(cluster, rank, phase)
    cluster.node("sn-0-n0", home=home)
    await leader.state.refresh()
    view = _look(leader)
    assert view.lost == ({"sn-0-n0"} if lost else set())
    step = decide(view)
    assert step.create_ranks == created
    assert not step.removes
    if lost:
        after = decide(replace(view, lost_for=LOST_SECONDS))
        assert after.delete_group
        assert after.notices[0].message.startswith("after a minute still in another supernode now: sn-0-n0")


async def test_nodes_that_go_one_after_the_other_are_each_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when machines get new ones in a row: only one that is away for long has the group placed again."""
    cluster, leader = await _allocated()
    _put_job(cluster)
    clock = 1000.0
    monkeypatch.setattr(jobreader.time, "monotonic", lambda: clock)
    job = cluster.caches.jobs.store.get(JOB)
    assert job is not None
    away = []
    for seconds, goes, comes in ((0, "sn-0-n0", ""), (38, "sn-0-n1", ""), (2, "", "sn-0-n0"), (20, "", "")):
        clock += seconds
        if goes:
            cluster.node_goes(goes)
        if comes:
            cluster.node(comes)
        away.append(leader._jobs._reader.view(job).lost_for)
    assert away == [0, 38, 2, 22]


async def test_what_becomes_of_the_node_of_a_member_that_ended_well_concerns_nobody() -> None:
    cluster, leader = await _allocated()
    _put_job(cluster)
    _put_pod(cluster, 0, "Succeeded")
    _put_pod(cluster, 1)
    job = cluster.caches.jobs.store.get(JOB)
    assert job is not None
    cluster.node_goes("sn-0-n0")
    assert leader._jobs._reader.view(job).lost == frozenset()
    cluster.node_goes("sn-0-n1")
    assert leader._jobs._reader.view(job).lost == {"sn-0-n1"}


async def test_a_node_of_an_mpi_worker_that_ended_matters_to_the_rank_that_starts_it_again() -> None:
    cluster, leader = await _allocated()
    _put_job(cluster, runtime="mpi")
    _put_pod(cluster, 1, "Succeeded")
    cluster.node_goes("sn-0-n1")
    assert _look(leader).lost == {"sn-0-n1"}


async def test_pods_that_keep_the_group_of_an_earlier_job_are_named() -> None:
    cluster, leader = await _allocated()
    earlier = {**OWNER, "uid": "earlier"}
    _put_group(cluster, ownerReferences=[earlier], deletionTimestamp="2026-01-01T00:00:01Z")
    _put_job(cluster)
    job = cluster.caches.jobs.store.get(JOB)
    assert job is not None
    cluster.node("sn-0-n0", ready=False)
    cluster.pod("j-0", "sn-0-n0", 4, named="0-3", group="j", rank=0, job=earlier, going=True)
    cluster.pod("j-1", "sn-0-n1", 4, named="0-3", group="j", rank=1, job=earlier, owned=False)
    message = find(decide(leader._jobs._reader.view(job)).status or {}, ConditionType.READY)["message"]
    assert "j-0 cannot end on sn-0-n0, not ready" in message
    assert "j-1, which nobody owns, keeps its cards: delete them" in message


@pytest.mark.parametrize("phase", ["Pending", "Running", "Succeeded", "Failed"])
@pytest.mark.parametrize("names", [["j-0", "debug"], ["debug", "j-0"]])
async def test_a_copy_of_a_worker_goes_and_not_the_worker(names: list[str], phase: str) -> None:
    """Made to debug it from all that the server says of it, labels, annotations and owner included."""
    cluster, leader = await _allocated()
    cluster.node("sn-0-n0", ready=False)
    for name in names:
        _put_pod(cluster, 0, "Running" if name == "j-0" else phase, name=name)
    _put_pod(cluster, 1)
    view = _look(leader)
    step = decide(view)
    assert [pod.key[1] for pod in step.delete_pods] == ["debug"]
    assert step.status is not None
    assert (step.status["pods"]["running"], step.status["restarts"]) == (2, 0)
    assert "succeededRanks" not in step.status
    assert view.unready == {"sn-0-n0"}, "its worker has not ended"


@pytest.mark.parametrize("owned", [False, True], ids=["nobody's", "a Deployment's"])
async def test_what_others_run_with_the_labels_of_a_worker_is_not_waited_for(
    owned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "UNBOUND_SECONDS", math.inf)
    cluster, leader = await _allocated()
    cluster.edit(pinning={"mode": "annotation", "key": CARD})
    await leader.state.refresh()
    _put_pod(cluster, 0)
    _put_pod(cluster, 1, name="copy", job={**OWNER, "uid": "replicas"}, owned=owned)
    view = _look(leader)
    assert (view.former, decide(view).create_ranks) == ((), (1,))
    cluster.pod("other", "sn-0-n1", 4, named="0-3", group="j", phase="Pending", pinned=True)
    assert decide(_look(leader)).create_ranks == (), "it is another's turn"


MISSPELT = BadRequest('Pod in version "v1" cannot be handled as a Pod: unknown field "spec.toleratons"')
NAMED = Invalid("Pod is invalid: spec.priority", details={"causes": [{"field": "spec.priority"}]})


async def test_a_template_of_which_no_pod_was_taken_is_checked_to_its_last_field_however_long_its_turn_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster, leader = await _allocated()
    waits = decide(replace(_look(leader), later={0: None, 1: None}))
    assert (waits.create_ranks, "startTime" in (waits.status or {})) == ((), True)
    _put_job(cluster, waits.status)
    server = _Server(monkeypatch, {"j-0": MISSPELT, "j-1": MISSPELT})
    await leader._jobs.reconcile(JOB)
    assert server.strict == {True}
    status = decide(_look(leader)).status or {}
    assert (status["phase"], find(status, ConditionType.STALLED)["reason"]) == ("Failed", Reason.POD_REJECTED)


async def test_what_refuses_pods_of_a_job_that_ran_before_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a webhook that makes pods invalid for some minutes, while the job is resumed or placed again."""
    cluster, leader = await _allocated()
    for rank in (0, 1):
        _put_pod(cluster, rank)
    for suspend in (False, True):
        _put_job(cluster, decide(_look(leader)).status, suspend=suspend)
    for rank in (0, 1):
        cluster.pod_goes(f"j-{rank}")
    _put_job(cluster, decide(_look(leader)).status)
    server = _Server(monkeypatch, {"j-0": NAMED, "j-1": NAMED})
    await leader._jobs.reconcile(JOB)
    assert server.strict == {False}
    status = decide(_look(leader)).status or {}
    assert (status["phase"], find(status, ConditionType.STALLED)["reason"]) == ("Stalled", Reason.CREATION_FORBIDDEN)


async def test_of_pods_that_are_forbidden_few_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, leader = await _allocated(4, at_once=2)
    quota = Forbidden("exceeded quota: team")
    server = _Server(monkeypatch, {f"j-{rank}": quota for rank in range(1, 4)})
    await leader._jobs.reconcile(JOB)
    assert server.asked == ["j-0", "j-1"], "no more, once one was refused, than were under way with it"
    for _ in range(2):
        _put_job(cluster, decide(_look(leader)).status)
        leader._jobs.forget("job")  # ten seconds later
        server.asked.clear()
        await leader._jobs.reconcile(JOB)
        assert server.asked == ["j-1"]
        assert find((decide(_look(leader)).status or {}), ConditionType.STALLED)["message"].startswith(quota.message)
    server.answers.clear()
    leader._jobs.forget("job")
    await leader._jobs.reconcile(JOB)
    assert server.asked == ["j-1", "j-1", "j-2", "j-3"], "all, once the first was taken"
    assert decide(_look(leader)).create_ranks == ()


NO_ANSWER = Unavailable("no answer")


@pytest.mark.parametrize(
    ("answers", "doubtful"),
    [
        ({0: NO_ANSWER, 1: NO_ANSWER}, {0, 1}),
        ({0: Forbidden("exceeded quota"), 1: NO_ANSWER}, {1}),
        ({0: NO_ANSWER, 1: Forbidden("exceeded quota")}, {0}),
        ({0: NAMED, 1: NO_ANSWER}, {1}),
        ({0: NO_ANSWER}, {0}),
        ({0: Unavailable("refused connection", maybe_applied=False)}, set()),
        ({}, set()),
    ],
    ids=["all", "beside a quota", "before a quota", "beside a mistake", "beside one taken", "never sent", "none"],
)
async def test_pods_whose_creation_got_no_answer_are_in_doubt_and_no_others(
    answers: dict[int, ApiError], doubtful: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever became of the others, and of the status after them."""
    cluster, leader = await _allocated()
    cluster.edit(pinning={"mode": "annotation", "key": CARD})
    await leader.state.refresh()
    group = _look(leader).group
    assert group is not None
    assert group.members is not None
    server = _Server(monkeypatch, {f"j-{rank}": answer for rank, answer in answers.items()})
    monkeypatch.setattr(Session, "merge_patch", server.no_answer)
    with contextlib.suppress(ApiError):
        await leader._jobs.reconcile(JOB)
    assert server.asked == ["j-0", "j-1"]
    others = [member._replace(cards=member.cards << 4) for member in group.members]
    later = leader._jobs._reader._turns.later(others, datetime.now(UTC))
    assert {rank for rank, awaited in later.items() if awaited is None} == doubtful, "caches know of those taken"


async def test_a_priority_that_is_refused_keeps_no_pod_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, leader = await _allocated()
    _put_job(cluster, priority=7)
    server = _Server(monkeypatch)
    await leader._jobs.reconcile(JOB)
    assert server.asked == ["j-0", "j-1"]
    assert find((decide(_look(leader)).status or {}), ConditionType.STALLED)["reason"] == Reason.CREATION_FORBIDDEN
