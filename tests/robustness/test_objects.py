"""Objects that should not be there: each is told so, and no other object is held up."""

import asyncio
from typing import Any

import pytest
from definitions import loosened, until_taken
from history import CUSTOM, Json
from object_tables import TABLES, merged
from promises import Excuse
from scenario import JOB, PODS, life
from world import World

from supernode.api.errors import InvalidObject
from supernode.api.reading import KINDS, parse_stored
from supernode.control import planner
from supernode.control.draft import Draft
from supernode.placement import Placement, Refusal
from supernode.topology.fleet import Fleet
from testbed.errors import ApiError

pytestmark = pytest.mark.cluster
_MERGE = "application/merge-patch+json"


def _bad(namespace: str) -> list[Json]:
    """Every object of the tables that the API server refuses, each under a name of its own, but for those in which only
    a field is unknown: it may be of a newer definition."""
    found = []
    for table in TABLES:
        for number, row in enumerate(table.get("cases", ())):
            obj = merged(table["base"], row["patch"])
            scope = {"namespace": namespace} if "namespace" in table["base"]["metadata"] else {}
            obj = {**obj, "metadata": {"name": f"bad-{number}", **scope}}
            if _is_unreadable(obj):
                found.append(obj)
    return found


def _is_unreadable(obj: Json) -> bool:
    try:
        parse_stored(KINDS[obj["kind"]], obj)
    except InvalidObject:
        return True
    return False


@pytest.mark.parametrize("strict", [False, True], ids=["while the definitions are loose", "once they are strict again"])
async def test_invalid_objects_that_were_stored_all_the_same(world: World, strict: bool) -> None:
    """As after a change of the definitions, or by a write straight into etcd.

    Once the definitions are strict the API server takes no status of some of them any more: of these an Event tells.
    """
    if not strict:
        await world.operator()
    stored: list[tuple[str, Json]] = []
    async with loosened(world):
        bad = _bad(world.namespace)
        await until_taken(lambda: world.api.request("POST", _path(bad[0]), bad[0]))
        for obj in bad[1:]:
            stored.append((_path(obj), obj))
            await world.api.request("POST", _path(obj), obj)
        stored.append((_path(bad[0]), bad[0]))
    try:
        if strict:
            await _until_refused(world, bad[0])
            await world.operator()
        other = await world.neighbour()
        await life(other)
        jobs = [obj["metadata"]["name"] for _, obj in stored if obj["kind"] == "TrainingJob"]
        assert await _untold(world, jobs) == []
        await asyncio.sleep(5.0)
        before = sum(replica.writes for replica in world.replicas)
        await asyncio.sleep(5.0)
        assert sum(replica.writes for replica in world.replicas) - before < len(stored), "no hot loop"
    finally:
        async with loosened(world):
            await asyncio.sleep(1.0)
            for path, obj in stored:
                await _remove(world, f"{path}/{obj['metadata']['name']}")


def _path(obj: Json) -> str:
    plural = f"{obj['kind'].lower()}s"
    namespace = obj["metadata"].get("namespace")
    return f"{CUSTOM}/namespaces/{namespace}/{plural}" if namespace else f"{CUSTOM}/{plural}"


async def _until_refused(world: World, obj: Json) -> None:
    """The API server takes up a definition that is strict again a moment later, too."""
    trial = {**obj, "metadata": {**obj["metadata"], "name": "trial"}}
    async with asyncio.timeout(30):
        while True:
            try:
                await world.api.request("POST", _path(trial), trial)
            except ApiError:
                return
            await _remove(world, f"{_path(trial)}/trial")
            await asyncio.sleep(0.2)


async def _untold(world: World, jobs: list[str], seconds: float = 60.0) -> list[str]:
    """The jobs of which neither status nor Event says after so long what is wrong with them."""
    until = asyncio.get_running_loop().time() + seconds
    while True:
        warned = await _warned(world)
        untold = [name for name in jobs if name not in warned and not _told(world, name)]
        if not untold or asyncio.get_running_loop().time() > until:
            return untold
        await asyncio.sleep(0.5)


async def _warned(world: World) -> set[str]:
    """The TrainingJobs of which an Event warns that their spec is invalid."""
    page = await world.api.request("GET", f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events")
    warnings = [event for event in page["items"] if (event["reason"], event["type"]) == ("InvalidSpec", "Warning")]
    return {e["regarding"]["name"] for e in warnings if e["regarding"]["kind"] == "TrainingJob"}


async def _remove(world: World, path: str) -> None:
    try:
        await world.api.request("PATCH", path, {"metadata": {"finalizers": None}}, content_type=_MERGE)
        await world.api.request("DELETE", path, {})
    except ApiError as error:
        if error.status != 404:
            raise


def _told(world: World, name: str) -> bool:
    status = world.status(name)
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    return conditions.get("Stalled", {}).get("status") == "True" and bool(conditions["Stalled"]["message"])


async def test_a_job_that_always_raises_holds_up_no_other(world: World) -> None:
    operator = await world.operator()
    jobs = operator.leader._jobs
    reconcile, tries = jobs.reconcile, 0

    async def poisoned(key: tuple[str, str]) -> Any:
        nonlocal tries
        if key == (world.namespace, "poison"):
            tries += 1
            raise ZeroDivisionError("a mistake of ours that one object brings to light")
        return await reconcile(key)

    jobs.reconcile = poisoned  # type: ignore[method-assign]
    await world.submit("poison", replicas=1, cards=1)
    await life(world)
    await asyncio.sleep(2.0)
    assert 3 < tries < 30, "it is tried again, more and more rarely"
    jobs.reconcile = reconcile  # type: ignore[method-assign]
    await world.running("poison", 60)
    await world.settled()


@pytest.mark.parametrize("place", ["decision", "look"])
async def test_a_group_that_always_raises_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    operator = await world.operator()
    groups, other = operator.leader.allocator._groups, await world.neighbour()
    look_at, decide = groups._look_at, planner.decide

    def looked_at(key: tuple[str, str], draft: Draft) -> bool:
        if place == "look" and key == (world.namespace, "poison"):
            raise ZeroDivisionError("a mistake of ours that one group brings to light")
        return look_at(key, draft)

    def decided(fleet: Fleet, ask: planner.Ask) -> Placement | Refusal:
        if place == "decision" and ask.request.members == 7:
            raise ZeroDivisionError("a mistake of ours that one claim brings to light")
        return decide(fleet, ask)

    with monkeypatch.context() as patched:
        patched.setattr(groups, "_look_at", looked_at)
        patched.setattr(planner, "decide", decided)
        await world.submit("poison", replicas=7, cards=1)
        await life(other)
        if place == "decision":
            await world.phase("poison", "Stalled")
            assert "ZeroDivisionError" in str(world.status("poison")["conditions"])
    await life(other)
    await world.running("poison", 60)
    await world.settled()


@pytest.mark.parametrize("runs", ["0-@x:0", ""], ids=["unreadable", "lost"])
async def test_a_ledger_that_cannot_be_read_or_is_lost_ends_no_pod(world: World, runs: str) -> None:
    await world.operator()
    await world.submit(JOB, replicas=PODS, cards=2)
    state = await world.running(JOB)
    [supernode] = state["job"]["superNodes"]
    ledger = (world.get("SuperNode", supernode) or {})["status"]["ledger"]
    lines = [" ".join([*line.split(" ")[:2], runs]) for line in ledger] if runs else []
    await world.patch("SuperNode", supernode, {"status": {"ledger": lines}}, subresource="status")
    await world.submit("next", replicas=PODS, cards=2)
    await world.running("next")
    await asyncio.sleep(2.0)
    assert len(world.pods(JOB)) == PODS
    if runs:
        await world.patch("SuperNode", supernode, {"status": {"ledger": ledger}}, subresource="status")
    assert await world.running(JOB) == state
    world.promises.excused.add(Excuse.LEDGERS_LOST)
    await world.settled()
    assert world.promises.creations.total() == 2 * PODS
