"""Nodes and cards go while a job starts or runs: it is placed soundly all the same, and nothing else is touched."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from history import Json
from scenario import JOB, PODS
from world import World

from supernode.control import refusals, running
from testbed.faults import Pause
from testbed.nodes import READY, UNHEALTHY

pytestmark = pytest.mark.cluster
STEPS = [
    pytest.param(2, marks=pytest.mark.nightly),
    pytest.param(3, marks=pytest.mark.nightly),
    5,
    pytest.param(9, marks=pytest.mark.nightly),
    pytest.param(18, marks=pytest.mark.nightly),
]


def _first_node(world: World) -> str:
    """The node that a job on an empty cluster gets first."""
    return min(node["metadata"]["name"] for node in world.history.every("Node") if "nvl-1" in node["metadata"]["name"])


async def _cordon(world: World, node: str) -> None:
    await world.patch("Node", node, {"spec": {"unschedulable": True}})


async def _lose(world: World, node: str) -> None:
    await world.patch("Node", node, {"metadata": {"annotations": {READY: "Unknown"}}})


async def _break_a_card(world: World, node: str) -> None:
    await world.patch("Node", node, {"metadata": {"annotations": {UNHEALTHY: "1"}}})
    await world.patch("Node", node, {"status": {"allocatable": {"nvidia.com/gpu": "3"}}}, subresource="status")


async def _heal(world: World, node: str) -> None:
    healed: Json = {"metadata": {"annotations": {READY: None, UNHEALTHY: None}}, "spec": {"unschedulable": None}}
    await world.patch("Node", node, healed)
    await world.patch("Node", node, {"status": {"allocatable": {"nvidia.com/gpu": "4"}}}, subresource="status")

    def well() -> bool:
        found = world.history.objects["Node"]["", node]
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"]["conditions"])
        return ready and not found["spec"].get("taints")

    await world.wait(f"{node} is well", well, 60)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group waits seconds instead of a minute for a node that takes no pods or is gone."""
    monkeypatch.setattr(refusals, "UNBOUND_SECONDS", 2.0)
    monkeypatch.setattr(running, "LOST_SECONDS", 2.0)


async def _begin_anew(world: World) -> None:
    """With a new operator: only the process that left a node knows it, and keeps it closed for minutes."""
    for operator in [*world.replicas]:
        await world.end(operator)
    await world.operator()


def _bound_to(world: World, node: str) -> set[str]:
    """The uids of pods on a node."""
    return {p["metadata"]["uid"] for p in world.pods().values() if p["spec"].get("nodeName") == node}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("harm", [_cordon, _lose, _break_a_card])
async def test_while_a_job_starts(world: World, harm: Callable[[World, str], Awaitable[None]], step: int) -> None:
    """Pods that are not bound yet go elsewhere, and with them their job."""
    operator = await world.operator()
    pause = Pause()
    operator.proxy.inject("*", "*", pause, nth=step, when=lambda call: call.writes)
    await world.submit(JOB, replicas=PODS, cards=2)
    await pause.reached.wait()
    node = _first_node(world)
    await harm(world, node)
    await asyncio.sleep(0.5)  # until the scheduler has seen it
    there = _bound_to(world, node)
    pause.release.set()
    try:
        state = await world.running(JOB, 60)
        assert harm is _break_a_card or _bound_to(world, node) <= there
        assert state["job"]["restarts"] == 0
        assert await world.broken() == []
    finally:
        await _heal(world, node)
    await world.running(JOB, 60)
    await _begin_anew(world)
    await world.submit("next", replicas=PODS, cards=2)
    await world.running("next", 60)
    await world.settled()


async def test_a_node_that_lacks_cpu_is_left_after_a_while(world: World) -> None:
    """Placement sees cards only; the scheduler tells of the rest."""
    node = _first_node(world)
    await world.patch("Node", node, {"status": {"allocatable": {"cpu": "1"}}}, subresource="status")
    container = {"name": "train", "image": "example.invalid/train:1", "resources": {"requests": {"cpu": "2"}}}
    template = {"spec": {"containers": [container]}}
    try:
        operator = await world.operator()
        await world.submit(JOB, workers={"replicas": PODS, "cardsPerWorker": 2, "template": template})
        await world.wait("it was placed there", lambda: world.status(JOB).get("phase") == "Starting")
        state = await world.running(JOB, 60)
        assert node not in {place for place, _ in state["pods"].values()}
        assert state["job"]["restarts"] == 0
        groups = [call for call in operator.proxy.calls if (call.verb, call.resource) == ("create", "cardgroups")]
        assert len(groups) == 2
    finally:
        await world.patch("Node", node, {"status": {"allocatable": {"cpu": "192"}}}, subresource="status")
    await _begin_anew(world)
    await world.settled()


@pytest.mark.parametrize("harm", [_cordon, _lose, _break_a_card])
async def test_a_job_that_runs_is_not_touched(world: World, harm: Callable[[World, str], Awaitable[None]]) -> None:
    await world.operator()
    await world.submit(JOB, replicas=PODS, cards=2)
    state = await world.running(JOB)
    node = _first_node(world)
    await harm(world, node)
    try:
        await world.submit("next", replicas=PODS, cards=2)
        await world.running("next")
        assert all(pod["spec"]["nodeName"] != node for pod in world.pods("next").values())
        assert await world.running(JOB) == state
    finally:
        await _heal(world, node)
    await world.settled()
    assert world.promises.creations.total() == 2 * PODS


async def _evict(world: World, node: str, **options: int) -> None:
    """As the control plane does minutes after a node has fallen silent."""
    for name, pod in world.pods().items():
        if pod["spec"].get("nodeName") == node:
            await world.delete("Pod", name, **options)


@pytest.mark.parametrize("before", ["nothing", "a peer"])
async def test_a_job_whose_node_fell_silent_and_whose_pods_were_evicted_runs_elsewhere(
    world: World, before: str
) -> None:
    """before: what has failed by then."""
    await world.operator()
    await world.submit(JOB, replicas=PODS, cards=2, faultPolicy={"maxRestarts": 0})
    await world.running(JOB)
    node = _first_node(world)
    await _lose(world, node)
    try:
        if before == "a peer":
            await world.wait("the job says so", lambda: f"not ready: {node}" in json.dumps(world.status(JOB)))
            peer = next(name for name, pod in world.pods().items() if pod["spec"]["nodeName"] != node)
            await world.patch("Pod", peer, {"metadata": {"annotations": {"testbed.supernode.io/fail-seconds": "0"}}})
            await world.wait("it waits", lambda: "NodesNotReady" in json.dumps(world.status(JOB)))
        await world.wait("the node is tainted", lambda: world.history.objects["Node"]["", node]["spec"].get("taints"))
        await _evict(world, node)
        await world.wait("it runs elsewhere", lambda: world.runs(JOB) and not _bound_to(world, node), 60)
        assert world.status(JOB)["restarts"] == 0
        assert await world.broken() == []
    finally:
        await _heal(world, node)
    await _begin_anew(world)
    await world.settled()


async def test_a_job_whose_node_is_deleted_runs_elsewhere(world: World) -> None:
    await world.operator()
    await world.submit(JOB, replicas=PODS, cards=2)
    await world.running(JOB)
    name = _first_node(world)
    node = world.history.objects["Node"]["", name]
    await world.delete("Node", name)
    try:
        await world.wait("its cards are to be given back", lambda: world.status(JOB)["phase"] == "Pending")
        await _evict(world, name, gracePeriodSeconds=0)  # as the control plane does a minute after
        await world.wait("it runs elsewhere", lambda: world.runs(JOB) and not _bound_to(world, name), 60)
        assert world.status(JOB)["restarts"] == 0
        assert await world.broken() == []
    finally:
        await world.put_back(node)
    await _begin_anew(world)
    await world.settled()
