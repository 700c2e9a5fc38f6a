"""Events as people see them, and how the recorder keeps out of the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cluster_helpers import NAMESPACES, lease, until

from supernode.cluster.events import EventRecorder, Reference
from supernode.cluster.resources import EVENTS, LEASES, JsonObject
from supernode.cluster.session import Session
from testbed.faults import DropReply
from testbed.proxy import Proxy

pytestmark = pytest.mark.cluster


@asynccontextmanager
async def recording(session: Session, **options: Any) -> AsyncIterator[EventRecorder]:
    recorder = EventRecorder(session, **options)
    running = asyncio.create_task(recorder.run())
    try:
        yield recorder
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])


async def new_job(session: Session, namespace: str, name: str = "job") -> Reference:
    """An object for events to be about."""
    created = await session.create(LEASES, lease(namespace, name))
    return Reference(LEASES, namespace, name, created["metadata"]["uid"])


async def events_of(session: Session, uid: str, count: int, namespace: str) -> list[JsonObject]:
    async with asyncio.timeout(10):
        while True:
            listed = await session.list(EVENTS, namespace)
            found = [event for event in listed["items"] if event["regarding"].get("uid") == uid]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


async def test_an_event_says_who_what_and_why(session: Session, namespace: str) -> None:
    job = await new_job(session, namespace)
    async with recording(session, instance="me") as recorder:
        recorder.record(job, "Allocated", "768 cards: " + "é" * 1000, action="Placing")
        recorder.record(job, "PodFailed", "job-3 failed", action="Watching", warning=True)
        events = {event["reason"]: event for event in await events_of(session, job.uid, 2, namespace)}
    allocated = events["Allocated"]
    assert allocated["note"].startswith("768 cards: é")
    assert len(allocated["note"].encode()) <= 1024
    assert (allocated["type"], allocated["action"]) == ("Normal", "Placing")
    assert (allocated["reportingController"], allocated["reportingInstance"]) == ("supernode.io/operator", "me")
    assert events["PodFailed"]["type"] == "Warning"
    assert recorder.dropped == 0


@pytest.mark.parametrize("cut_behind", ["-", "."])
async def test_what_happens_to_an_object_of_a_long_name_is_told(
    session: Session, namespace: str, cut_behind: str
) -> None:
    job = await new_job(session, namespace, "a" * 229 + cut_behind + "b" * 9)
    async with recording(session) as recorder:
        recorder.record(job, "Allocated", "768 cards", action="Placing")
        await events_of(session, job.uid, 1, namespace)


async def test_repeats_are_one_event_with_a_count(session: Session, namespace: str) -> None:
    job = await new_job(session, namespace)
    async with recording(session, repeat_every=0.3) as recorder:
        recorder.record(job, "Waiting", "for 16 cards", action="Placing")
        await events_of(session, job.uid, 1, namespace)
        for _ in range(100):
            recorder.record(job, "Waiting", "for 16 cards", action="Placing")
        recorder.record(job, "Waiting", "for 8 cards", action="Placing")
        counted: list[int] = []

        async def look() -> None:
            while 101 not in counted:
                found = await events_of(session, job.uid, 2, namespace)
                counted[:] = [event.get("series", {}).get("count", 1) for event in found]

        await asyncio.wait_for(look(), 10)
        assert sorted(counted) == [1, 101]


async def test_events_of_cluster_scoped_objects_lie_in_default(session: Session, namespace: str) -> None:
    found = await session.get(NAMESPACES, ("", namespace))
    about = Reference(NAMESPACES, "", namespace, found["metadata"]["uid"])
    async with recording(session) as recorder:
        recorder.record(about, "Seen", "it is there", action="Looking")
        [event] = await events_of(session, about.uid, 1, "default")
    await session.delete(EVENTS, ("default", event["metadata"]["name"]))


async def test_what_cannot_be_posted_is_dropped(proxy: Proxy, proxied: Session, namespace: str) -> None:
    nowhere = Reference(LEASES, "no-such-namespace", "job", "uid")
    job = await new_job(proxied, namespace)
    proxy.inject("create", "events", DropReply())
    async with recording(proxied) as recorder:
        recorder.record(job, "Lost", "its answer is lost", action="Testing")
        recorder.record(nowhere, "Nowhere", "no namespace", action="Testing")
        await until(lambda: recorder.dropped == 2)
        recorder.record(job, "Next", "goes on", action="Testing")
        await events_of(proxied, job.uid, 2, namespace)


async def test_a_flood_is_cut(session: Session, namespace: str) -> None:
    job = await new_job(session, namespace)
    async with recording(session, rate=5, burst=10) as recorder:
        for number in range(2000):
            recorder.record(job, "Flood", f"number {number}", action="Testing")
        assert recorder.dropped == 1000
        await asyncio.sleep(1)
        assert 10 <= len(await events_of(session, job.uid, 1, namespace)) <= 20


async def test_of_a_flood_late_warnings_are_posted_and_late_good_news_are_not(session: Session, namespace: str) -> None:
    job = await new_job(session, namespace)
    async with recording(session, rate=20, burst=1) as recorder:
        for number in range(200):
            recorder.record(job, "Fine", f"number {number}", action="Testing")
        for number in range(10):
            recorder.record(job, "Wrong", f"number {number}", action="Testing", warning=True)
        await until(lambda: recorder.dropped > 100)
        wrong = 0
        async with asyncio.timeout(10):
            while wrong < 10:
                wrong = sum(event["reason"] == "Wrong" for event in await events_of(session, job.uid, 1, namespace))
