"""Operators that all believe to lead: the ledgers decide, whatever each of them knows."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from replica import Replica
from world import World

from testbed.faults import HoldEvents, Pause

pytestmark = pytest.mark.cluster

JOBS = 12
CHURN_SECONDS = 25.0
WATCHED = ("nodes", "pods", "services", "supernodes", "cardgroups", "trainingjobs")


async def _stubborn(lead: Callable[[], Awaitable[None]]) -> None:
    """Lead again each time another one has taken over."""
    while True:
        await lead()
        await asyncio.sleep(random.uniform(0, 0.5))


async def _two(world: World) -> list[Replica]:
    """Two operators that depose each other again and again."""
    replicas = [await world.replica() for _ in range(2)]
    for replica in replicas:
        replica.elect = _stubborn
        replica.start()
        await replica.ready()
    return replicas


async def _disturb(world: World, rng: random.Random, until: float) -> None:
    """Users and hardware act: jobs come and go, pods die, nodes are cordoned."""
    loop = asyncio.get_running_loop()
    nodes = sorted(key[1] for key in world.history.objects["Node"])
    number = 0
    while loop.time() < until:
        await asyncio.sleep(rng.uniform(0, 0.2))
        there = [name for name in (f"job-{n}" for n in range(number)) if world.get("TrainingJob", name)]
        match rng.choice(["submit", "submit", "delete", "kill", "cordon"]):
            case "submit" if len(there) < JOBS:
                await world.submit(f"job-{number}", replicas=rng.choice([1, 2, 4, 12]), cards=rng.choice([1, 2, 4]))
                number += 1
            case "delete" if there:
                await world.delete("TrainingJob", rng.choice(there))
            case "kill" if pods := sorted(world.pods()):
                await world.delete("Pod", rng.choice(pods), gracePeriodSeconds=0)
            case "cordon":
                await world.patch("Node", rng.choice(nodes), {"spec": {"unschedulable": rng.random() < 0.3}})
    for node in nodes:
        await world.patch("Node", node, {"spec": {"unschedulable": False}})


@pytest.mark.parametrize("seed", [1])
async def test_two_that_depose_each_other_share_no_card_and_come_to_rest(world: World, seed: int) -> None:
    replicas = await _two(world)
    await _disturb(world, random.Random(seed), asyncio.get_running_loop().time() + CHURN_SECONDS)
    assert all(replica.failure is None for replica in replicas)
    terms = [sn["status"]["term"] for sn in world.history.every("SuperNode")]
    assert min(terms) > 10, "they did depose each other"
    await world.end(replicas[0])
    await world.settled(within=60)
    assert {world.status(key[1]).get("phase") for key in world.history.objects["TrainingJob"]} <= {"Running", "Pending"}


async def test_of_two_that_lead_at_once_the_first_stops_by_itself(world: World) -> None:
    first = await world.operator()
    second = await world.operator()
    await world.wait("the first has noticed", lambda: first.engine.leader is None)
    await world.submit("job", replicas=4)
    await world.running("job")
    assert second.engine.leader is not None
    assert first.failure is None
    await world.settled()


async def test_a_swap_that_arrives_after_a_take_over_changes_nothing(world: World) -> None:
    first = await world.replica()
    late = Pause()
    first.start()
    await first.ready()
    await world.settled()
    first.proxy.inject("patch", "supernodes/status", late)
    await world.submit("job", replicas=4)
    await late.reached.wait()
    second = await world.operator()
    await world.running("job")
    before = world.ledgers()
    late.release.set()
    await world.wait("the first has noticed", lambda: first.engine.leader is None)
    await world.settled()
    assert world.ledgers() == before
    assert second.engine.leader is not None


async def test_a_standby_whose_watches_are_silent_takes_over_what_is_there(world: World) -> None:
    """It knows of no job, group or pod; on taking over it must not take them for leftovers."""
    first = await world.operator()
    standby = await world.replica()
    held = HoldEvents()
    go = asyncio.Event()

    async def when_told(lead: Callable[[], Awaitable[None]]) -> None:
        await go.wait()
        await lead()

    standby.elect = when_told
    standby.start()
    async with asyncio.timeout(30):
        await standby.engine.caches.synced()
    for resource in WATCHED:
        standby.proxy.inject("watch", resource, held, times=None)
    standby.proxy.sever()  # the watches opened from now on tell nothing
    await asyncio.sleep(2)
    await world.submit("job", replicas=12)
    before = await world.running("job")
    pods = {name: pod["metadata"]["uid"] for name, pod in world.pods("job").items()}
    await world.settled()
    await world.end(first)
    assert (world.namespace, "job") not in standby.engine.caches.jobs.store, "its view is old"
    go.set()
    await standby.ready()
    await world.settled()
    assert await world.running("job") == before
    assert {name: pod["metadata"]["uid"] for name, pod in world.pods("job").items()} == pods
    held.release.set()
    await world.settled()
