"""A job is looked at while the allocator, the other task of the loop, goes on."""

import asyncio
from typing import Any

import pytest
from kubernetes.client import Configuration
from test_fleet import Cluster

from supernode.api import names
from supernode.cluster.credentials import Credentials
from supernode.cluster.errors import Unavailable
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control import jobreader, launch
from supernode.control.job import decide
from supernode.control.leader import Leader
from supernode.control.observer import Observer
from supernode.control.patience import Patience

JOB = ("ml", "j")
OWNER = {"uid": "job", "controller": True, "kind": "TrainingJob", "name": "j"}


def _put_group(cluster: Cluster, **metadata: Any) -> None:
    meta = {"uid": "g", "finalizers": [names.FINALIZER_CARDS], "ownerReferences": [OWNER], **metadata}
    spec = {"members": 2, "cardsPerMember": 4}
    cluster.caches.groups.put(cluster._object("j", "CardGroup", namespace="ml", metadata=meta, spec=spec))


async def _allocated() -> tuple[Cluster, Leader]:
    """A job whose group has its cards and whose pods are to be created, at a server that answers nothing."""
    cluster = Cluster()
    session = Session(Credentials(lambda: Configuration(host="http://127.0.0.1:1")), timeout=0.1)
    leader = Leader(session, Writer(session), cluster.caches, Observer(), identity="me", term=1, patience=Patience())
    cluster.caches.listener = leader
    template = {"spec": {"containers": [{"name": "main", "image": "i"}]}}
    workers = {"replicas": 2, "cardsPerWorker": 4, "template": template}
    job = cluster._object("j", "TrainingJob", namespace="ml", metadata={"uid": "job"}, spec={"workers": workers})
    cluster.caches.jobs.put(job)
    _put_group(cluster)
    cluster.write("sn-0", "ml/j g 0-1@sn-0-n[0-1]:0-3")
    await leader.state.refresh()
    return cluster, leader


async def test_no_pod_is_created_for_a_group_that_is_let_go_in_the_same_turn() -> None:
    cluster, leader = await _allocated()

    async def let_go() -> None:
        _put_group(cluster, deletionTimestamp="2026-01-01T00:00:01Z")

    again, _ = await asyncio.gather(leader._jobs.reconcile(JOB), let_go())
    assert again == 0.0, "it is looked at anew, and nothing was asked of the server"


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
        cluster.caches.groups.store.remove(cluster._object("j", "CardGroup", namespace="ml", metadata={"uid": "g"}))
    monkeypatch.setattr(module, function, _mistake)
    with pytest.raises(Unavailable):  # the status cannot be written here
        await leader._jobs.reconcile(JOB)
    job = cluster.caches.jobs.store.get(JOB)
    assert job is not None
    step = decide(leader._jobs._reader.view(job))
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
        ("annotation", ["Running", "Failed"], set()),
        ("annotation", ["", "Running"], {0}),
        ("env", ["Failed", "Running"], {0}),
        ("none", ["Failed", "Running"], set()),
    ],
    ids=[
        "pods that run go on",
        "the pod on it has failed",
        "another has failed",
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
            cluster.pod(f"j-{rank}", f"sn-0-n{rank}", 4, group="j", phase=phase, rank=rank, job=OWNER)
    if tell == "report":
        cluster.report("sn-0-n0", "2")
    else:
        cluster.node("sn-0-n0", ill="2")
    await leader.state.refresh()
    job = cluster.caches.jobs.store.get(JOB)
    assert job is not None
    assert leader._jobs._reader.view(job).unfit == unfit
