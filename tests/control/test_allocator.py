"""When the allocator makes its passes. What they do is tested on a cluster, in `tests/robustness` and `engine`."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.client import Configuration
from test_fleet import Cluster

from supernode.api.conditions import Reason
from supernode.cluster.credentials import Credentials
from supernode.cluster.events import EventRecorder
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control import status
from supernode.control.allocator import Allocator, LedgersLost
from supernode.control.draft import Group
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.placement import Refusal


class Counting(Allocator):
    """Passes that only count themselves; ``lose`` makes them lose a ledger."""

    lose = False
    passes = 0

    async def _one_pass(self) -> float:
        self.passes += 1
        if self.lose:
            raise LedgersLost("a ledger")
        return 0.2


@pytest.fixture
def recorder() -> EventRecorder:
    return EventRecorder(Session(Credentials(lambda: Configuration(host="http://127.0.0.1:1"))), instance="test")


def _to_post(recorder: EventRecorder) -> list[str]:
    """The reasons of the Events that are to be posted."""
    return [recorder._queue.get_nowait().body["reason"] for _ in range(recorder._queue.qsize())]


@pytest.fixture
def allocator(recorder: EventRecorder) -> Counting:
    cluster, session = Cluster(), Session(Credentials(lambda: Configuration(host="http://127.0.0.1:1")))
    return Counting(
        session,
        Writer(session),
        cluster.caches,
        cluster.state,
        recorder,
        Observer(),
        lambda _: None,
        term=1,
        patience=Patience(),
    )


async def test_events_leave_no_passes_behind(allocator: Counting) -> None:
    """One that asked to be made again soon is, once: not once for every event since."""
    running = asyncio.create_task(allocator.run())
    for _ in range(50):
        allocator.wake()
        await asyncio.sleep(0.01)
    woken, allocator.passes = allocator.passes, 0
    await asyncio.sleep(1.0)
    running.cancel()
    assert woken >= 25
    assert 3 <= allocator.passes <= 6


async def test_a_pass_that_lost_ledgers_is_not_made_again_at_the_pace_of_events(allocator: Counting) -> None:
    allocator.lose = True
    running = asyncio.create_task(allocator.run())
    for _ in range(100):
        allocator.wake()
        await asyncio.sleep(0.01)
    running.cancel()
    assert 2 <= allocator.passes <= 6


def _refused(group: Group, reason: Reason, message: str) -> dict[str, Any]:
    return status.waiting_group(group, Refusal(reason, message), datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("reason", "generation", "news"),
    [
        (Reason.INSUFFICIENT_CARDS, 1, False),
        (Reason.INSUFFICIENT_CARDS, 2, True),
        (Reason.ILLEGAL_MEMBER_SIZE, 1, True),
        (Reason.WAITING_FOR_CARDS, 1, False),
    ],
    ids=["other numbers", "of another spec", "another reason", "not decided"],
)
async def test_a_group_that_waits_is_announced_once(
    allocator: Counting, recorder: EventRecorder, reason: Reason, generation: int, news: bool
) -> None:
    """What a refusal counts changes with every job that comes or goes: the status tells, and no Event."""
    cluster = Cluster()
    cluster.caches.groups.put(
        cluster._object("g", "CardGroup", namespace="ml", spec={"members": 24, "cardsPerMember": 4})
    )
    group = cluster.caches.groups.store.get(("ml", "g"))
    assert group is not None
    first = _refused(group, Reason.INSUFFICIENT_CARDS, "needs 24 whole nodes; the best has 18")
    allocator._announce(group, status.difference(group.status, first))
    assert _to_post(recorder) == ["InsufficientCards"]
    group = replace(group, status=first, generation=generation)
    patch = status.difference(first, _refused(group, reason, "needs 24 whole nodes; the best has 19"))
    assert "conditions" in patch, "it is written all the same"
    allocator._announce(group, patch)
    assert _to_post(recorder) == ([reason] if news else [])
