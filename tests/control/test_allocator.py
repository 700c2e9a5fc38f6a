"""When the allocator makes its passes, and how much each does. There is no server here: every write fails at once.

What passes write is tested on a cluster, in `tests/robustness` and `engine`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from known_cluster import Cluster
from kubernetes.client import Configuration

from supernode.api.conditions import Reason
from supernode.cluster.credentials import Credentials
from supernode.cluster.events import EventRecorder
from supernode.cluster.resources import SUPERNODES
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control import groups, slices, status
from supernode.control.allocator import Allocator, LedgersLost
from supernode.control.draft import Group
from supernode.control.groups import WRITTEN_AT_ONCE
from supernode.control.observer import Observer
from supernode.control.outbox import Outbox
from supernode.control.patience import Patience
from supernode.control.records import Key
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


class Noting(Writer):
    """Notes what it is asked to write."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.runs: list[tuple[str, int]] = []

    async def run(self, turn: Any, calls: Iterable[Any]) -> list[Any]:
        made = list(calls)
        if made:
            self.runs.append((turn, len(made)))
        return await super().run(turn, made)

    @property
    def calls(self) -> Counter[str]:
        return sum((Counter({turn: count}) for turn, count in self.runs), Counter())


class Passing(Allocator):
    """Real passes, counted. ``told`` are the groups whose jobs are asked to look again."""

    def __init__(self, cluster: Cluster, session: Session) -> None:
        self.writer = Noting(session)
        self.told: list[Key] = []
        self.passes = 0
        recorder = EventRecorder(session, instance="test")
        parts = (cluster.caches, cluster.state, recorder, Observer(), self.told.append)
        super().__init__(session, self.writer, *parts, term=1, patience=Patience())

    async def _one_pass(self) -> float:
        self.passes += 1
        return await super()._one_pass()

    async def make_passes(self, seconds: float) -> None:
        """Run for so long."""
        running = asyncio.create_task(self.run())
        await asyncio.sleep(seconds)
        running.cancel()


def _to_post(recorder: EventRecorder) -> list[str]:
    """The reasons of the Events that are to be posted."""
    return [recorder._queue.get_nowait().body["reason"] for _ in range(recorder._queue.qsize())]


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    """Nobody listens at its other end."""
    session = Session(Credentials(lambda: Configuration(host="http://127.0.0.1:1")), timeout=0.1)
    yield session
    await session.close()


@pytest.fixture
def recorder(session: Session) -> EventRecorder:
    return EventRecorder(session, instance="test")


@pytest.fixture
def allocator(session: Session, recorder: EventRecorder) -> Counting:
    cluster = Cluster()
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


DAMAGED = {
    "half of it": ["ml/g CardGroup-g 0-1@sn-0-n[0-1]:0-3"],
    "what another has": ["ml/h CardGroup-h 0-3@sn-0-n[0-3]:0-3", "ml/g CardGroup-g 0-3@sn-0-n[0-3]:0-3"],
}
"""Ledgers that name what the group ``g`` of four members cannot keep."""


@pytest.mark.parametrize("damage", DAMAGED)
async def test_what_cannot_be_taken_back_now_is_tried_now_and_then(session: Session, damage: str) -> None:
    """The ledger that names it belongs to a supernode whose ledger cannot be written."""
    cluster = Cluster()
    for line in DAMAGED[damage]:
        cluster.ask(line.split(" ")[0].removeprefix("ml/"), 4)
    cluster.write("sn-0", *DAMAGED[damage])
    cluster.state.leave_out({"sn-0": "policy"})
    allocator = Passing(cluster, session)
    await allocator.make_passes(3.0)
    assert allocator.passes < 20, "each is due to a write that failed some time ago"
    assert allocator.writer.calls["ledger"] <= 8
    assert ("ml", "g") not in allocator.told, "nothing was repaired yet"


async def test_many_groups_whose_cards_cannot_be_taken_back_now_are_tried_now_and_then(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More are deleted, in a supernode whose ledger cannot be written, than one pass lets go."""
    monkeypatch.setattr(groups, "WRITTEN_AT_ONCE", 2)
    cluster, lines = Cluster(), [f"ml/g{n} CardGroup-g{n} 0@sn-0-n{n // 4}:{n % 4}" for n in range(5)]
    for number in range(len(lines)):
        cluster.ask(f"g{number}", 1, metadata={"deletionTimestamp": "2026-01-01T00:00:01Z"}, cardsPerMember=1)
    cluster.write("sn-0", *lines)
    cluster.state.leave_out({"sn-0": "policy"})
    allocator = Passing(cluster, session)
    await allocator.make_passes(3.0)
    assert allocator.passes < 20, "each is due to a write that failed some time ago"
    assert allocator.writer.calls["groups"] == 0, "no finalizer goes before the ledger is written"
    cluster.write("sn-0")
    cluster.state.written("sn-0")
    await allocator.make_passes(1.0)
    assert allocator.writer.calls["groups"] >= len(lines)


async def test_a_group_whose_status_is_refused_is_written_at_the_pace_of_its_pauses(session: Session) -> None:
    """However often something happens to it."""
    cluster = Cluster()
    cluster.ask("g", 9)
    allocator = Passing(cluster, session)
    running = asyncio.create_task(allocator.make_passes(2.5))
    for _ in range(200):
        await asyncio.sleep(0.01)
        allocator.group_touched(("ml", "g"))
    await running
    assert 3 <= allocator.writer.calls["groups"] <= 7
    assert len(allocator._put_off) == 1


class Stretches:
    """How many groups are handled while no other task gets its turn."""

    def __init__(self) -> None:
        self.longest = self._now = 0

    def count(self) -> None:
        self._now += 1
        self.longest = max(self.longest, self._now)

    async def others(self) -> None:
        while True:
            self._now = 0
            await asyncio.sleep(0)


@pytest.mark.parametrize("running", [False, True], ids=["their pods are gone", "their pods end"])
async def test_many_groups_deleted_together_make_short_passes(
    session: Session, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    """Each writes to some of them, and others get their turn between any two."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    cluster, stretches, count = Cluster(), Stretches(), 2 * WRITTEN_AT_ONCE + 1
    for number in range(count):
        cluster.ask(f"g{number}", 1, metadata={"deletionTimestamp": "2026-01-01T00:00:01Z"})
        if running:
            cluster.pod(f"g{number}-0", "sn-0-n0", 0, group=f"g{number}")
    allocator = Passing(cluster, session)
    difference = status.difference

    def counted(*args: Any) -> Any:
        stretches.count()
        return difference(*args)

    monkeypatch.setattr(status, "difference", counted)
    await cluster.state.refresh()
    others = asyncio.create_task(stretches.others())
    allocator._groups.touch_all()
    for _ in range(3):
        await allocator._one_pass()
    others.cancel()
    assert [made for turn, made in allocator.writer.runs if turn == "groups"][:2] == [WRITTEN_AT_ONCE] * 2
    assert allocator.writer.calls["groups"] >= count
    assert stretches.longest <= 2


async def test_many_repairs_are_told_in_short_stretches(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after all ledgers were wiped: one line of the log for each supernode and kind, one turn for each group."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    cluster, stretches = Cluster(), Stretches()
    allocator = Passing(cluster, session)
    await cluster.state.refresh()
    draft = await allocator._groups.draft()
    for number in range(50):
        draft.changed.setdefault("sn-0", set()).add(("ml", f"g{number}"))
        draft.repair("rebuilt", ["sn-0"], f"g{number}")
    monkeypatch.setattr(allocator, "_on_change", lambda _key: stretches.count())
    others = asyncio.create_task(stretches.others())
    await allocator._tell_repairs(draft, set())
    others.cancel()
    assert 1 <= stretches.longest <= 2


async def test_every_answer_is_a_sign_of_life(session: Session) -> None:
    """Or hundreds of writes that time out one after the other would look as if the operator hung."""
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    outbox = Outbox(Writer(session, limit=2), beat)
    await outbox.run("any", [lambda session: session.get(SUPERNODES, ("", "sn-0"))] * 7)
    assert beats == 7
