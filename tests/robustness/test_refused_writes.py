"""Writes that the API server refuses for as long as it likes: no hot loop, no job held up that need not be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from replica import Replica
from world import World

from testbed.errors import ApiError
from testbed.faults import FailAfter, Refuse

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


@asynccontextmanager
async def _ledger_that_may_not_change(world: World, supernode: str) -> AsyncIterator[None]:
    """Meanwhile a policy of the server refuses (422) every swap of this ledger, and takes whatever else is written."""
    name, root = f"{world.namespace}-{supernode}", "/apis/admissionregistration.k8s.io/v1"
    rule = {"apiGroups": ["supernode.io"], "apiVersions": ["*"], "operations": ["UPDATE"]}
    ledger = "(has({0}.status) && has({0}.status.ledger) ? {0}.status.ledger : [])"
    unchanged = f"{ledger.format('object')} == {ledger.format('oldObject')}"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [rule | {"resources": ["supernodes/status"], "resourceNames": [supernode]}]
        },
        "validations": [{"expression": unchanged, "message": "this ledger may not change"}],
    }
    objects = {
        "validatingadmissionpolicies": ("ValidatingAdmissionPolicy", spec),
        "validatingadmissionpolicybindings": (
            "ValidatingAdmissionPolicyBinding",
            {"policyName": name, "validationActions": ["Deny"]},
        ),
    }
    for plural, (kind, spec) in objects.items():
        body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        await world.api.request("POST", f"{root}/{plural}", body)
    try:
        while await _may_change(world, supernode):  # noqa: ASYNC110 (it has no event to set)
            await asyncio.sleep(0.1)
        yield
    finally:
        for plural in objects:
            await world.api.request("DELETE", f"{root}/{plural}/{name}")
    while not await _may_change(world, supernode):  # noqa: ASYNC110 (it has no event to set)
        await asyncio.sleep(0.1)


async def _may_change(world: World, supernode: str) -> bool:
    """Whether the server would take another ledger."""
    patch = {"status": {"ledger": ["x/x x 0@x:0"]}}
    try:
        await world.patch("SuperNode", supernode, patch, subresource="status?dryRun=All")
    except ApiError as refused:
        if refused.status != 422:
            raise
        return False
    return True


@pytest.mark.parametrize("lost", [False, True], ids=["counts are written", "the answers to counts are lost"])
async def test_a_supernode_whose_ledger_is_refused_is_left_out_until_the_ledger_is_taken(
    world: World, lost: bool
) -> None:
    """Whether its counts can be written, or are without an answer telling so, says nothing about that."""
    operator = await world.operator()
    _, other = await _fill_one(world)
    async with _ledger_that_may_not_change(world, other):
        if lost:
            operator.proxy.inject("patch", STATUS, FailAfter(504), times=None, when=lambda call: call.name == other)
        await world.submit("after", replicas=10, cards=4)
        await world.wait("it is left out", lambda: operator.leader.state.troubles.keys() == {other})
        said = lambda: str((world.get("SuperNode", other) or {})["status"]["conditions"])  # noqa: E731
        await world.wait("and says so", lambda: "takes no write of its status" in said())
        await world.quiet(within=60)
        assert _sent(operator, "patch", STATUS, other) < 30
    operator.proxy.heal()
    await world.running("after", 90)
    assert world.ledgers()[other]
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
    assert operator.writes - before < 60  # some 26; 950 where each pass asks for it anew
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
