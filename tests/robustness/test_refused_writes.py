"""Writes that the API server refuses for as long as it likes: no hot loop, no job held up that need not be."""

import asyncio

import pytest
from replica import Replica
from world import World

from testbed.faults import Refuse

pytestmark = pytest.mark.cluster

STATUS = "supernodes/status"
SECONDS = 5.0
"""How long requests are counted."""


def _sent(operator: Replica, verb: str, resource: str, name: str = "") -> int:
    """How many such requests were sent so far."""
    return sum((c.verb, c.resource) == (verb, resource) and name in ("", c.name) for c in operator.proxy.calls)


async def _wake(operator: Replica, seconds: float) -> None:
    """Events without end, which a refused write must not follow."""
    for _ in range(int(seconds / 0.02)):
        operator.leader.allocator.wake()
        await asyncio.sleep(0.02)


async def _fill_one(world: World) -> tuple[str, str]:
    """A job that holds more than half of a supernode; the names of this one and of the other."""
    await world.submit("before", replicas=10, cards=4)
    await world.running("before")
    await world.settled()
    [taken] = {name for name, entries in world.ledgers().items() if entries}
    [other] = {name for _, name in world.history.objects["SuperNode"]} - {taken}
    return taken, other


@pytest.mark.parametrize("code", [403, 422, 500])
async def test_a_ledger_that_is_refused_from_now_on_holds_up_no_job(world: World, code: int) -> None:
    """Its supernode is chosen a few times, then it gives no cards until its status can be written again."""
    operator = await world.operator()
    taken, other = await _fill_one(world)
    operator.proxy.inject("patch", STATUS, Refuse(code), times=None, when=lambda call: call.name == other)
    await world.submit("after", replicas=10, cards=4)
    waking = asyncio.create_task(_wake(operator, 2 * SECONDS))
    await world.wait("it is left out", lambda: operator.leader.state.troubles.keys() == {other})
    await world.delete("TrainingJob", "before")
    await world.running("after")
    assert {name for name, entries in world.ledgers().items() if entries} == {taken}
    await waking
    assert _sent(operator, "patch", STATUS, other) < 20
    operator.proxy.heal()
    await world.submit("last", replicas=10, cards=4)
    await world.running("last", 90)
    assert {name for name, entries in world.ledgers().items() if entries} == {taken, other}
    await world.settled(within=60)


async def test_cards_that_cannot_be_given_back_are_asked_about_now_and_then(world: World) -> None:
    operator = await world.operator()
    taken, other = await _fill_one(world)
    operator.proxy.inject("patch", STATUS, Refuse(403), times=None, when=lambda call: call.name == taken)
    await world.delete("TrainingJob", "before")
    await world.wait("it is left out", lambda: operator.leader.state.troubles.keys() == {taken})
    before = operator.writes
    await _wake(operator, SECONDS)
    assert operator.writes - before < 10
    await world.submit("meanwhile", replicas=10, cards=4)
    await world.running("meanwhile")
    operator.proxy.heal()
    await world.wait("they are free", lambda: not world.ledgers()[taken], 90)
    assert world.ledgers()[other]
    await world.settled(within=60)


async def test_a_server_that_takes_no_ledger_at_all_is_not_asked_without_end(world: World) -> None:
    """As when etcd is full: nobody is to blame, and all goes on when it is over."""
    operator = await world.operator()
    await world.settled()
    operator.proxy.inject("patch", STATUS, Refuse(500), times=None)
    await world.submit("job", replicas=10, cards=4)
    await world.wait("it was tried", lambda: _sent(operator, "patch", STATUS) > 0)
    before = operator.writes
    await _wake(operator, SECONDS)
    assert operator.writes - before < 25
    operator.proxy.heal()
    await world.running("job", 90)
    await world.settled(within=60)


async def test_a_supernode_that_may_not_be_created_is_told_of(world: World) -> None:
    operator = await world.operator()
    await world.settled()
    name = sorted(name for _, name in world.history.objects["SuperNode"])[0]
    profile = world.history.objects["SuperNode"][("", name)]["spec"]["profile"]
    operator.proxy.inject("create", "supernodes", Refuse(403, "label team is required"), times=None)
    await world.delete("SuperNode", name)

    def ready() -> dict[str, str]:
        found = (world.get("SuperNodeProfile", profile) or {}).get("status", {})
        return next(condition for condition in found["conditions"] if condition["type"] == "Ready")

    await world.wait("its profile tells", lambda: ready()["reason"] == "CreationForbidden")
    assert name in ready()["message"]
    assert "injected" in ready()["message"]
    assert (world.get("SuperNodeProfile", profile) or {})["status"]["superNodes"] == 1
    before = _sent(operator, "create", "supernodes")
    await _wake(operator, SECONDS)
    assert _sent(operator, "create", "supernodes") - before < 8
    operator.proxy.heal()
    await world.wait("it is there again", lambda: ready()["status"] == "True", 90)
    assert world.get("SuperNode", name) is not None
    await world.settled(within=60)
