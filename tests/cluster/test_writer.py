"""The writer: everything once, at a bearable pace, with fair turns."""

import asyncio
import time
from functools import partial

import pytest
from cluster_helpers import lease, until

from supernode.cluster import writer
from supernode.cluster.errors import AlreadyExists, ApiError, Conflict, NotFound, NotJson, TooManyRequests, Unavailable
from supernode.cluster.resources import LEASES, JsonObject
from supernode.cluster.session import Session
from supernode.cluster.writer import Call, Writer
from testbed.faults import Delay, DropReply, Pause, Refuse
from testbed.proxy import Proxy

pytestmark = pytest.mark.cluster


def leases(namespace: str, count: int, prefix: str = "l") -> list[JsonObject]:
    return [lease(namespace, f"{prefix}{number:03}") for number in range(count)]


async def test_results_come_in_order_and_refusals_are_results(session: Session, namespace: str) -> None:
    writer = Writer(session)
    objects = leases(namespace, 20)
    await session.create(LEASES, objects[7])
    results = await writer.create_many("job", LEASES, objects)
    assert isinstance(results[7], AlreadyExists)
    created = [result for result in results if isinstance(result, dict)]
    assert [obj["metadata"]["name"] for obj in created] == [f"l{number:03}" for number in range(20) if number != 7]

    targets = [((namespace, f"l{number:03}"), None) for number in range(19)]
    targets = [*targets, ((namespace, "l019"), "00000000-0000-0000-0000-000000000000"), ((namespace, "none"), None)]
    gone = await writer.delete_many("job", LEASES, targets)
    assert all(isinstance(result, dict) for result in gone[:19])
    assert [type(result) for result in gone[19:]] == [Conflict, NotFound]
    assert (writer.waiting, writer.limit) == (0, 64)


async def test_what_has_no_form_in_json_is_a_result_and_holds_nobody_up(session: Session, namespace: str) -> None:
    objects = leases(namespace, 3)
    objects[1]["spec"] = {"leaseTransitions": 1 << 64}
    writer = Writer(session)
    results = await writer.create_many("job", LEASES, objects)
    assert [type(result) for result in results] == [dict, NotJson, dict]
    assert "64-bit" in str(results[1])


async def test_load_shedding_slows_down_and_loses_nothing(proxy: Proxy, proxied: Session, namespace: str) -> None:
    writer = Writer(proxied, limit=16)
    proxy.inject("create", "leases", Refuse(429, retry_after=1), nth=10, times=10)
    began = asyncio.get_running_loop().time()
    running = asyncio.create_task(writer.create_many("job", LEASES, leases(namespace, 100)))
    await until(lambda: writer.limit < 16)
    assert writer.limit == 8, "refusals of one burst halve once"
    results = await running
    assert all(isinstance(result, dict) for result in results)
    assert asyncio.get_running_loop().time() - began >= 1
    assert 8 < writer.limit <= 16, "it grows again"
    assert len(proxy.calls) == 110


async def test_patience_ends(proxy: Proxy, proxied: Session, namespace: str) -> None:
    writer = Writer(proxied, limit=4, patience=1.5)
    proxy.inject("create", "leases", Refuse(429, retry_after=1), times=None)
    results = await writer.create_many("job", LEASES, leases(namespace, 2))
    assert [type(result) for result in results] == [TooManyRequests] * 2
    assert writer.limit == 1


async def test_one_call_that_is_put_off_for_long_holds_up_others_for_a_while_only(
    proxy: Proxy, proxied: Session, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a webhook that wants to be left alone for an hour."""
    monkeypatch.setattr(writer, "LONGEST_PAUSE", 0.2)
    proxy.inject("create", "leases", Refuse(429, retry_after=3))
    busy = Writer(proxied)
    began = time.monotonic()
    put_off = asyncio.create_task(busy.create_many("one", LEASES, [lease(namespace, "a")]))
    await until(lambda: any(call.verb == "create" for call in proxy.calls))
    [other] = await busy.create_many("other", LEASES, [lease(namespace, "b")])
    assert not put_off.done()
    [own] = await put_off
    assert time.monotonic() - began >= 3, "its Retry-After is heeded"
    assert not isinstance(other, ApiError)
    assert not isinstance(own, ApiError)


async def test_an_unclear_result_is_handed_over(proxy: Proxy, proxied: Session, namespace: str) -> None:
    proxy.inject("create", "leases", DropReply(), nth=3)
    results = await Writer(proxied).create_many("job", LEASES, leases(namespace, 5))
    assert [type(result) for result in results].count(Unavailable) == 1
    assert len(proxy.calls) == 5


async def test_turns_alternate_between_jobs(proxy: Proxy, proxied: Session, namespace: str) -> None:
    writer = Writer(proxied, limit=1)
    order: list[str] = []
    held = Pause()
    proxy.inject("create", "leases", held)

    async def create(of: str, obj: JsonObject, session: Session) -> None:
        await session.create(LEASES, obj)
        order.append(of)

    def calls(of: str, count: int) -> list[Call[None]]:
        return [partial(create, of, obj) for obj in leases(namespace, count, of)]

    running = asyncio.gather(writer.run("big", calls("big", 20)), writer.run("small", calls("small", 3)))
    await held.reached.wait()
    held.release.set()
    await running
    assert order[:7] == ["big", "small", "big", "small", "big", "small", "big"]
    assert order.count("big") == 20


async def test_no_more_than_the_limit_is_under_way(proxy: Proxy, proxied: Session, namespace: str) -> None:
    writer = Writer(proxied, limit=3)
    proxy.inject("create", "leases", Delay(0.05), times=None)
    most = under_way = 0

    async def create(session: Session, obj: JsonObject) -> JsonObject:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        try:
            return await session.create(LEASES, obj)
        finally:
            under_way -= 1

    await writer.run("job", [lambda session, obj=obj: create(session, obj) for obj in leases(namespace, 12)])
    assert most == 3


async def test_a_cancelled_run_leaves_room_for_others(proxy: Proxy, proxied: Session, namespace: str) -> None:
    writer = Writer(proxied, limit=2)
    proxy.inject("create", "leases", Pause(), times=2)
    running = asyncio.create_task(writer.create_many("first", LEASES, leases(namespace, 10, "first")))
    await until(lambda: len(proxy.calls) == 2)
    running.cancel()
    await asyncio.wait([running])
    results = await writer.create_many("second", LEASES, leases(namespace, 4, "second"))
    assert all(isinstance(result, dict) for result in results)
    assert writer.waiting == 0


async def test_a_call_cancelled_as_its_turn_comes_gives_the_turn_back(session: Session) -> None:
    writer = Writer(session, limit=1)
    go = asyncio.Event()
    first = asyncio.create_task(writer.run("first", [lambda _: go.wait()]))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(writer.run("second", [lambda _: go.wait()]))
    await until(lambda: writer.waiting == 1)
    go.set()
    second.cancel()  # in this order the turn is given in the same round of the event loop, before the cancellation
    await asyncio.wait([first, second])
    assert second.cancelled()
    assert await asyncio.wait_for(writer.run("third", [lambda _: go.wait()]), 5) == [True]
