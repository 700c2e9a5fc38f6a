"""When the allocator makes its passes. What they do is tested on a cluster, in `tests/robustness` and `engine`."""

import asyncio

import pytest
from kubernetes.client import Configuration
from test_fleet import Cluster

from supernode.cluster.credentials import Credentials
from supernode.cluster.events import EventRecorder
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control.allocator import Allocator, LedgersLost
from supernode.control.observer import Observer
from supernode.control.patience import Patience


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
def allocator() -> Counting:
    cluster, session = Cluster(), Session(Credentials(lambda: Configuration(host="http://127.0.0.1:1")))
    recorder = EventRecorder(session, instance="test")
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
