"""What watches may tell late, twice or not at all: the operator's view may be wrong, its deeds not."""

import asyncio
from typing import Any

import pytest
from history import Json
from scenario import JOB, PODS, PODS_OF_A_LIFE, life, lose, undisturbed
from world import World

from testbed.faults import CutWatch, EditEvents, Fault, HalfOpen, HoldEvents, Late, Refuse, WatchError

pytestmark = pytest.mark.cluster

KINDS = ("nodes", "pods", "services", "supernodes", "cardgroups", "trainingjobs")


async def _same_life(world: World, fault: Fault, resource: str = "*") -> None:
    expected: list[Json] = await undisturbed(world)
    operator = await world.replica()
    operator.proxy.inject("watch", resource, fault, times=None)
    operator.start()
    assert await life(world) == expected
    operator.proxy.heal()
    operator.proxy.sever()
    await world.settled()
    assert world.promises.creations.total() == PODS_OF_A_LIFE, "no pod came twice"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(EditEvents(lambda event: [event, event]), id="each event twice"),
        pytest.param(WatchError(410, after_events=40), id="error 410"),
        pytest.param(WatchError(500, after_events=40), id="error 500", marks=pytest.mark.nightly),
        pytest.param(CutWatch(after_events=40), id="cut amid a line"),
        pytest.param(CutWatch(after_events=40, cleanly=True), id="ended amid a line", marks=pytest.mark.nightly),
    ],
)
async def test_watches_that_break_again_and_again(world: World, fault: Fault) -> None:
    await _same_life(world, fault)


@pytest.mark.parametrize("resource", ["*", *(pytest.param(kind, marks=pytest.mark.nightly) for kind in KINDS)])
async def test_news_that_come_late(world: World, resource: str) -> None:
    """One kind late is news of different kinds in the wrong order."""
    await _same_life(world, Late(0.7), resource)


async def test_a_job_whose_news_come_late_is_not_written_in_a_hot_loop(world: World) -> None:
    """Neither its status, on a version that is no more, nor its deletion, of which no event has come yet."""
    operator = await world.replica()
    operator.proxy.inject("watch", "trainingjobs", Late(4.0), times=None)
    operator.start()
    await world.submit(JOB, replicas=PODS, cards=2, ttlSecondsAfterFinished=0)
    await world.running(JOB)
    await world.edit(JOB, priority=1)
    await lose(world, f"{JOB}-5")
    await world.running(JOB)
    await world.edit(JOB, activeDeadlineSeconds=1)
    await world.gone(JOB)
    await world.quiet(5.0)
    told = [call.verb for call in operator.proxy.calls if call.resource == "trainingjobs" and call.writes]
    assert told.count("patch") < 60
    assert told.count("delete") < 10


async def test_no_watch_list(world: World) -> None:
    expected = await undisturbed(world)
    operator = await world.replica()
    refused = Refuse(422)
    operator.proxy.inject("watch", "*", refused, times=None, when=lambda call: "sendInitialEvents" in call.query)
    operator.start()
    assert await life(world) == expected


async def test_deletions_that_no_watch_told(world: World) -> None:
    def but_deletions(event: dict[str, Any]) -> list[dict[str, Any]]:
        return [] if event["type"] == "DELETED" else [event]

    operator = await world.replica()
    operator.proxy.inject("watch", "*", EditEvents(but_deletions), times=None)
    operator.start()
    await world.submit(JOB, replicas=PODS, cards=2)
    await world.running(JOB)
    await world.delete("TrainingJob", JOB)
    await world.wait("its pods are gone", lambda: not world.pods(JOB))
    await asyncio.sleep(0.5)
    assert f"{world.namespace}/{JOB}" in world.holders(), "as far as the operator knows its pods still run"
    operator.proxy.heal()
    operator.proxy.inject("watch", "*", WatchError(410), times=None, when=lambda call: "resourceVersion" in call.query)
    operator.proxy.sever()
    await world.gone(JOB)
    operator.proxy.heal()
    await world.submit(JOB, replicas=PODS, cards=2)
    await world.running(JOB)
    await world.settled()


async def test_a_watch_that_falls_silent_is_opened_anew(world: World) -> None:
    operator = await world.replica()
    operator.proxy.inject("watch", "*", HalfOpen(after_events=60), times=7)
    operator.start()
    for reflector in operator.engine.caches.always():
        reflector._idle_timeout = 2.0  # instead of 70 s, for a test of seconds
    for name in ("one", "two", "three"):
        await world.submit(name, replicas=PODS, cards=2)
        await world.running(name, 60)
    await world.settled()


async def test_objects_of_more_than_a_megabyte(world: World) -> None:
    await world.operator()
    await world.submit(JOB, replicas=1, cards=2, padding=1_200_000)
    await world.running(JOB)
    await world.delete("TrainingJob", JOB)
    await world.gone(JOB)
    await world.settled()


@pytest.mark.parametrize(
    "blind",
    [
        pytest.param(("supernodes",), id="ledgers", marks=pytest.mark.nightly),
        pytest.param(("supernodes", "cardgroups"), id="ledgers and groups"),
        pytest.param(("pods", "nodes"), id="pods and nodes", marks=pytest.mark.nightly),
        pytest.param(KINDS, id="everything"),
    ],
)
async def test_an_operator_that_takes_over_with_a_view_of_the_past(world: World, blind: tuple[str, ...]) -> None:
    """While one operator gives cards away the view of its standby stands still; then the first is gone."""
    fresh = await world.operator(elected=True)
    stale = await world.replica()
    holds = {kind: HoldEvents(after_start=True) for kind in blind}
    for kind, hold in holds.items():
        stale.proxy.inject("watch", kind, hold)
    stale.start(elected=True)
    await stale.engine.caches.synced()
    for name in ("one", "two", "three"):
        await world.submit(name, replicas=PODS, cards=2)
        await world.running(name)
    await world.delete("TrainingJob", "two")
    await world.gone("two", 60)
    await world.end(fresh)
    await world.submit("four", replicas=2 * PODS, cards=2)
    await stale.ready()
    await asyncio.sleep(1.0)
    assert await world.broken() == []
    for hold in holds.values():
        hold.release.set()
    await world.running("four")
    await world.running("one")
    await world.settled()
