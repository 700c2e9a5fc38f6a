"""What a job stands on is deleted while it starts: its cards are given back exactly once, or it goes on."""

import asyncio

import pytest
from history import Json
from promises import Excuse
from scenario import JOB
from world import World

from testbed.faults import Pause

pytestmark = pytest.mark.cluster
PODS = 12
STEPS = [
    pytest.param(1, marks=pytest.mark.nightly),
    pytest.param(2, marks=pytest.mark.nightly),
    3,
    pytest.param(5, marks=pytest.mark.nightly),
    9,
    pytest.param(18, marks=pytest.mark.nightly),
]
"""Writes of the operator before which the deletion happens: of the group, ledgers, statuses, pods."""


async def _start_until(world: World, step: int) -> Pause:
    """Submit a job and stop its operator before a write; returns what lets it go on."""
    operator = await world.operator()
    pause = Pause()
    operator.proxy.inject("*", "*", pause, nth=step, when=lambda call: call.writes)
    await world.submit(JOB, replicas=PODS, cards=2)
    await asyncio.wait_for(pause.reached.wait(), 30)
    return pause


@pytest.mark.parametrize("step", STEPS)
async def test_the_job(world: World, step: int) -> None:
    pause = await _start_until(world, step)
    await world.delete("TrainingJob", JOB)
    await world.wait("it is deleted", lambda: world.get("TrainingJob", JOB) is None)
    pause.release.set()
    await world.gone(JOB)
    await world.settled()


@pytest.mark.parametrize("step", STEPS)
async def test_the_job_and_another_one_of_its_name(world: World, step: int) -> None:
    pause = await _start_until(world, step)
    await world.delete("TrainingJob", JOB)
    await world.wait("it is deleted", lambda: world.get("TrainingJob", JOB) is None)
    await world.submit(JOB, replicas=PODS // 2, cards=4)
    pause.release.set()
    await world.running(JOB, 60)
    await world.settled()


async def test_a_job_that_runs_and_another_one_of_its_name(world: World) -> None:
    """As `kubectl replace --force` makes it: what the first has left is waited for, and is nobody's mistake."""
    await world.operator()
    await world.submit(JOB, replicas=PODS, cards=2)
    await world.running(JOB)
    said: set[str] = set()

    def runs() -> bool:
        status = world.status(JOB)
        said.update(f"{c['reason']}: {c['message']}" for c in status.get("conditions", ()) if c["type"] == "Ready")
        said.add(str(status.get("phase")))
        return status.get("phase") == "Running" and {p["metadata"]["uid"] for p in world.pods().values()}.isdisjoint(
            old
        )

    old = {pod["metadata"]["uid"] for pod in world.pods().values()}
    await world.delete("TrainingJob", JOB)
    await world.submit(JOB, replicas=PODS // 2, cards=4)
    await world.wait("the second one runs", runs, 60)
    assert "Stalled" not in said, said
    await world.settled()


@pytest.mark.parametrize("step", STEPS)
async def test_the_group(world: World, step: int) -> None:
    pause = await _start_until(world, step)
    await world.delete("CardGroup", JOB)
    pause.release.set()
    await world.running(JOB, 60)
    await world.settled()


@pytest.mark.parametrize("step", STEPS)
async def test_the_namespace(world: World, step: int) -> None:
    pause = await _start_until(world, step)
    await world.api.request("DELETE", f"/api/v1/namespaces/{world.namespace}")
    pause.release.set()
    await world.gone(JOB, 60)
    await world.settled()


@pytest.mark.parametrize("step", STEPS)
async def test_a_supernode(world: World, step: int) -> None:
    """Its ledger goes with it. Discovery finds it again, and what was allocated is booked again."""
    pause = await _start_until(world, step)
    world.promises.excused.add(Excuse.LEDGERS_LOST)
    for name in world.ledgers():
        await world.delete("SuperNode", name)
    pause.release.set()
    await world.running(JOB, 60)
    for name in world.ledgers():
        await world.patch("SuperNode", name, {"spec": {"reserve": 0}})
    await world.settled()


@pytest.mark.parametrize("step", STEPS)
async def test_a_node(world: World, step: int) -> None:
    pause = await _start_until(world, step)
    first: Json = sorted(world.history.every("Node"), key=lambda node: node["metadata"]["name"])[0]
    names = {pod["nodeName"] for p in world.pods().values() if "nodeName" in (pod := p["spec"])}
    lost = min(names, default=first["metadata"]["name"])
    node = world.history.objects["Node"]["", lost]
    await world.delete("Node", lost)
    pause.release.set()
    try:
        await world.wait("it runs elsewhere or says so", lambda: _told(world, lost), 60)
        assert await world.broken() == []
    finally:
        await world.put_back(node)
    await world.running(JOB, 60)
    await world.settled()


def _told(world: World, lost: str) -> bool:
    status = world.status(JOB)
    messages = " ".join(condition["message"] for condition in status.get("conditions", ()))
    elsewhere = status.get("phase") == "Running" and all(p["spec"]["nodeName"] != lost for p in world.pods().values())
    return elsewhere or lost in messages
