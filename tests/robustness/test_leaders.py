"""Two operators of which the one does not know that the other leads now, or that both believe they lead.

Where there is no election they depose each other every second, far more often than a Lease would let them.
"""

import asyncio
import random

import pytest
from history import Event
from promises import Excuse
from replica import once
from scenario import JOB, PODS, life, lose
from world import World

from supernode.control import engine
from testbed.faults import Delay, Pause, Refuse

pytestmark = pytest.mark.cluster

JOBS = 12
CHURN_SECONDS = 25.0


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
    world.promises.excused.add(Excuse.LATE_PODS)
    first = await world.replica()
    first.start(within=300.0)
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
    told = len(world.history.events)
    late.release.set()
    await world.wait("the late pod came", lambda: any(_is_pod_of(JOB, event) for event in world.history.events[told:]))
    await world.wait("the late pod is gone", lambda: not world.pods(JOB), 60)
    await world.end(first)
    await world.running("next")
    await world.settled()


def _is_pod_of(job: str, event: Event) -> bool:
    """Whether it tells of one of a job's pods. The pod may be gone before anybody looks."""
    return event.kind == "Pod" and event.obj is not None and event.key[1].startswith(f"{job}-")


async def test_a_whole_life_under_two(world: World) -> None:
    first, _ = await world.operator(), await world.operator()
    await life(world)
    await world.end(first)
    await world.settled()
    assert world.promises.creations.total() == 2 * PODS + 1


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


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(2, 10))])
async def test_two_that_depose_each_other_share_no_card_and_come_to_rest(world: World, seed: int) -> None:
    world.promises.excused.add(Excuse.LATE_PODS)
    replicas = [await world.operator(), await world.operator()]
    await _disturb(world, random.Random(seed), asyncio.get_running_loop().time() + CHURN_SECONDS)
    assert all(replica.failure is None for replica in replicas)
    terms = [sn["status"]["term"] for sn in world.history.every("SuperNode")]
    assert min(terms) > 10, "they did depose each other"
    assert all(replica.observer.count > 2 for replica in replicas), "an alert tells of it"
    await world.end(replicas[0])
    await world.settled(within=60)
    assert {world.status(key[1]).get("phase") for key in world.history.objects["TrainingJob"]} <= {"Running", "Pending"}


@pytest.mark.parametrize("code", [422, 500])
async def test_a_supernode_whose_status_is_refused_holds_up_no_other(world: World, code: int) -> None:
    """By an admission policy, say, or a webhook that fails: its ledger cannot be taken over, so it gives no cards."""
    refused, other = sorted(name for _, name in world.history.objects["SuperNode"])
    operator = await world.replica()
    operator.proxy.inject(
        "patch", "supernodes/status", Refuse(code), times=None, when=lambda call: call.name == refused
    )
    operator.start(elect=once)
    await operator.ready()
    for number in range(2):  # more than one supernode's nodes together
        await world.submit(f"job-{number}", replicas=10, cards=4)
    await world.wait("one runs", lambda: any(world.status(f"job-{n}").get("phase") == "Running" for n in range(2)))
    assert {name for name, entries in world.ledgers().items() if entries} == {other}
    assert operator.leader.state.troubles.keys() == {refused}
    operator.proxy.heal()
    for number in range(2):
        await world.running(f"job-{number}", 90)
    assert not operator.leader.state.troubles
    await world.settled(within=60)


async def test_a_term_begins_though_every_supernode_is_refused(world: World) -> None:
    """It tells so, gives no cards, and does all else."""
    names = {name for _, name in world.history.objects["SuperNode"]}
    operator = await world.replica()
    operator.proxy.inject("patch", "supernodes/status", Refuse(403), times=None)
    operator.start(elect=once)
    await operator.ready()
    await world.submit("job")
    await world.wait("it waits", lambda: world.status("job").get("phase") == "Pending")
    assert operator.leader.state.troubles.keys() == names
    operator.proxy.heal()
    await world.running("job", 90)
    await world.settled(within=60)


async def test_a_swap_that_arrives_after_a_take_over_changes_nothing(world: World) -> None:
    first = await world.replica()
    late = Pause()
    first.start(elect=once)
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


async def test_a_term_begins_without_devices_that_are_not_served_any_more(world: World) -> None:
    """As after a cluster was set back to a version that does not have them."""
    replica = await world.replica()
    replica.proxy.inject("list", "devicetaintrules", Refuse(404), times=None)
    replica.start()
    replica.engine.caches.taint_rules.synced.set()  # they were read before
    await replica.ready()
    assert replica.failure is None
    await world.settled()


async def test_a_term_that_cannot_begin_is_told_by_the_probe(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A right may be missing that only it needs, and another replica could not lead meanwhile."""
    monkeypatch.setattr(engine, "STALE_AFTER", 1.0)
    replica = await world.replica()
    replica.proxy.inject("list", "nodes", Refuse(403), times=None)
    replica.start()
    await world.wait("the probe fails", lambda: "the term cannot begin" in str(replica.engine.health()))
    replica.proxy.heal()
    await replica.ready()
    assert replica.engine.health() is None
    await world.settled()


async def test_a_take_over_that_goes_on_lives(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of ledgers at a slow server take long, and who ended it would only begin anew."""
    monkeypatch.setattr(engine, "STALE_AFTER", 5.0)
    replica = await world.replica()
    for seconds in (3.0, 6.0):
        replica.proxy.inject("patch", "supernodes/status", Delay(seconds))
    replica.start(elect=once)
    said = set()
    async with asyncio.timeout(30):
        while replica.engine.leader is None and replica.failure is None:
            said.add(replica.engine.health())
            await asyncio.sleep(0.05)
    assert said == {None}
    await world.settled()
