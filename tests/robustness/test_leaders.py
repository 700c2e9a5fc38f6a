"""Two operators of which the one does not know that the other leads now, or that both believe they lead.

Where there is no election they depose each other every second, far more often than a Lease would let them.
"""

import asyncio

import pytest
from scenario import JOB, PODS, life, lose
from world import World

from testbed.faults import Pause, Refuse

pytestmark = pytest.mark.cluster


async def test_two_that_act_at_once_give_no_card_twice(world: World) -> None:
    first, second = await world.operator(), await world.operator()
    names = [f"job-{number}" for number in range(12)]
    for name in names:
        await world.submit(name, replicas=5, cards=2)
    for name in names:
        await world.running(name, 60)
    for name in names[::2]:
        await world.delete("TrainingJob", name)
    for name in names[1::2]:
        await lose(world, f"{name}-3")
        await world.edit(name, suspend=True)
    await world.wait("all cards are given back", lambda: not world.holders(), 60)
    for name in names[1::2]:
        await world.edit(name, suspend=False)
        await world.running(name, 60)
    assert min(first.writes, second.writes) > 50, "both took part"
    await world.end(first)
    await world.settled()


async def test_one_that_cannot_reach_the_server_is_replaced_and_comes_back(world: World) -> None:
    first = await world.operator(elected=True)
    first.proxy.inject("create", "pods", Refuse(503), nth=4, times=None)
    await world.submit(JOB, replicas=PODS, cards=2)
    await world.wait("its first pods are there", lambda: len(world.pods(JOB)) == 3)
    first.proxy.unreachable = True
    first.proxy.sever()
    await world.operator(elected=True)
    await world.running(JOB)
    await world.submit("other", replicas=PODS, cards=2)
    await world.running("other")
    first.proxy.heal()
    await asyncio.sleep(3.0)
    await world.running(JOB)
    await world.running("other")
    await world.settled()
    assert world.promises.creations.total() == 2 * PODS


async def test_a_late_pod_of_a_deposed_one_goes_with_its_job(world: World) -> None:
    """A request that was under way when its sender froze arrives after the cards went to another job."""
    first = await world.replica()
    first.start(patience=300.0)
    await first.ready()
    late = Pause()
    first.proxy.inject("create", "pods", late, nth=3)
    await world.submit(JOB, replicas=PODS, cards=2)
    await late.reached.wait()
    await world.wait("the others are there", lambda: len(world.pods(JOB)) == PODS - 1)
    first.proxy.unreachable = True
    first.proxy.sever(watches_only=True)  # all it has left is the request that is under way
    await world.operator()
    await world.running(JOB)
    await world.delete("TrainingJob", JOB)
    await world.gone(JOB)
    await world.submit("next", replicas=PODS, cards=2)
    await world.running("next")
    late.release.set()
    await world.wait("the late pod is there", lambda: world.pods(JOB), 10)
    await world.wait("the late pod is gone", lambda: not world.pods(JOB))
    await world.end(first)
    await world.running("next")
    await world.settled(without="came for a group that is gone")


async def test_a_whole_life_under_two(world: World) -> None:
    first, _ = await world.operator(), await world.operator()
    await life(world)
    await world.end(first)
    await world.settled()
    assert world.promises.creations.total() == 2 * PODS + 1
