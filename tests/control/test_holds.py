"""Nodes held for those who have waited long: for whom, and what one who fits nowhere means for those behind."""

from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from test_waiting import NOW, PROFILE, REFUSED, group

from supernode.control.holds import CLOSED_SECONDS, NOWHERE_SECONDS, REVIEW_SECONDS, Holds
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.control.planner import Planner
from supernode.control.records import Custom
from supernode.control.waiting import Turn, Waiting, turn_of
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node

HOLD_AFTER = 300.0


def fleet(*, ill: bool = True) -> Fleet:
    """Two supernodes of four nodes: of each the second node is in use, and a card of the first may be ill."""

    def node(supernode: str, number: int) -> Node:
        healthy = 0b0111 if ill and number == 0 else 0b1111
        return Node(f"{supernode}n{number}", 4, healthy, 0b1111 if number == 1 else 0, path=(supernode,))

    return Fleet(SuperNodeView(name, PROFILE, [node(name, number) for number in range(4)]) for name in ("s0", "s1"))


def within(name: str, members: int, *, age: float, nodes: int = 4, **spec: Any) -> Custom[Any]:
    """A group that must lie in one supernode, on so many nodes of it at most."""
    return group(name, members, age=age, topology={"required": "supernode", "maxSpan": {"node": nodes}}, **spec)


class Queue:
    """Groups that were refused, and the holds for them."""

    def __init__(self, *groups: Custom[Any], seconds: float = 0.0) -> None:
        """seconds: what it takes to look for a hold."""
        self._waiting = Waiting()
        self._holds = Holds(Patience(HOLD_AFTER), partial(next, count(0.0, seconds)))
        self._planner = Planner(Observer())
        self._turns: dict[Turn, Custom[Any]] = {}
        self.due: float | None = None
        self.join(*((one, turn_of(one, None)) for one in groups))

    def join(self, *groups: tuple[Custom[Any], Turn]) -> None:
        """These wait from now on, at these turns."""
        for one, turn in groups:
            self._turns[turn] = one
            self._waiting.put(one, turn, NOW, 0.0)
        for _, line in self._waiting.queue():
            self._waiting.refused(line, REFUSED, fleet(), (1, 0))

    async def review(self, moment: float, *, ill: bool = True) -> list[str]:
        """The groups that nodes are held for, ``moment`` seconds after all were refused."""
        return list(await self.held(moment, fleet(ill=ill)))

    async def held(self, moment: float, seen: Fleet) -> dict[str, str]:
        """The same, and what their messages say is held for them."""
        now = NOW + timedelta(seconds=moment)
        self.due = await self._holds.review(seen, self._waiting.heads(self._holds.turns), self._planner, now, moment)
        turns = self._turns.items()
        told = {one.key[1]: self._holds.explained(REFUSED, turn, seen).message for turn, one in turns}
        parts = {name: text.partition("; ")[2].partition(" held for it since") for name, text in told.items()}
        return {name: nodes for name, (nodes, found, _) in parts.items() if found}

    def open_to(self, seen: Fleet, turn: Turn) -> Fleet:
        """The fleet as a group of this turn may use it."""
        return self._holds.open_to(seen, turn)

    @property
    def version(self) -> int:
        """Of the holds."""
        return self._holds.version


async def test_who_fits_nowhere_takes_no_hold_from_those_behind() -> None:
    queue = Queue(within("hopeless", 4, age=900), within("feasible", 3, age=600), within("later", 2, age=500))
    assert await queue.review(0.0) == ["feasible"], "one of each priority"
    assert await queue.review(1.0) == ["feasible"]
    assert await queue.review(NOWHERE_SECONDS + 1.0) == ["feasible"], "the other is looked at again, and keeps nothing"
    assert await queue.review(2 * NOWHERE_SECONDS + 2.0, ill=False) == ["hopeless"], "its turn, once its cards are back"


async def test_what_different_turns_may_use_is_the_same_object_as_long_as_it_is_the_same() -> None:
    """Decisions remember what they computed of it; of one supernode different nodes are held for two."""
    first, second = within("first", 1, age=900, priority=5), within("second", 1, age=900)
    queue, seen = Queue(first, second), Fleet([fleet(ill=False).supernodes["s0"]])
    assert set(await queue.held(0.0, seen)) == {"first", "second"}
    turns = [turn_of(second, None), turn_of(within("third", 1, age=0), None)]
    before = [queue.open_to(seen, turn).supernodes["s0"] for turn in turns]
    assert [sum(node.held for node in view.nodes) for view in before] == [1, 2]
    after = [queue.open_to(seen, turn).supernodes["s0"] for turn in turns]
    assert all(one is other for one, other in zip(before, after, strict=True))


async def test_one_of_each_priority_that_has_waited_long_enough() -> None:
    queue = Queue(within("old", 3, age=600), within("not-so-old", 2, age=500), within("urgent", 3, age=200, priority=5))
    assert await queue.review(0.0) == ["old"]
    assert queue.due == HOLD_AFTER - 200.0
    assert await queue.review(100.0) == ["old", "urgent"]
    assert queue.due is None


async def test_a_job_that_is_placed_again_takes_no_hold_from_those_behind_it() -> None:
    """It comes before them, also in a line with them, and its new group has not waited for long."""
    queue = Queue(within("behind", 3, age=600))
    assert await queue.review(0.0) == ["behind"]
    older = NOW - timedelta(seconds=900)
    for again in (within("again", 3, age=0), within("other", 2, age=0)):
        queue.join((again, (0, older, again.key)))
    assert await queue.review(1.0) == ["behind"]
    assert queue.due == HOLD_AFTER - 1.0
    assert await queue.review(HOLD_AFTER) == ["again"], "it has waited for long, and comes first"


async def test_many_who_fit_nowhere_are_looked_at_some_at_a_time() -> None:
    """And whoever behind them has a hold keeps it when they are looked at again."""
    many, seconds = 8, REVIEW_SECONDS / 4
    hopeless = (within(f"hopeless-{number}", 4, age=900.0 - number, nodes=4 + number) for number in range(many))
    queue = Queue(*hopeless, within("feasible", 3, age=600), seconds=seconds)
    held = {moment: await queue.review(moment) for moment in (0.0, 1.0, 2.0)}
    assert held == {0.0: [], 1.0: [], 2.0: ["feasible"]}
    for moment in (0.0, 1.0, 2.0):
        assert await queue.review(NOWHERE_SECONDS + moment) == ["feasible"]


EMPTY, BUSY = 0, 0b1111


def used(
    s0: list[int], s1: list[int], *, reserve: int = 0, ill: tuple[str, ...] = (), closed: tuple[str, ...] = ()
) -> Fleet:
    """Two supernodes whose nodes have these cards in use; the first two cards of ill ones have failed. closed: nodes or
    supernodes that give nothing new."""

    def node(name: str, taken: int) -> Node:
        healthy = 0b1100 if name in ill else 0b1111
        return Node(name, 4, healthy, taken, schedulable=name not in closed, path=(name[:2],))

    views = {
        name: [node(f"{name}n{at}", taken) for at, taken in enumerate(of)] for name, of in (("s0", s0), ("s1", s1))
    }
    return Fleet(
        SuperNodeView(name, PROFILE, nodes, reserve=reserve, cordoned=name in closed) for name, nodes in views.items()
    )


@pytest.mark.parametrize(
    ("cards", "members", "ill", "then"),
    [
        (4, 3, (), "3 nodes of s0"),
        (4, 3, ("s0n0",), "3 nodes of s1"),
        (4, 3, ("s0n3",), "3 nodes of s0"),
        (4, 3, ("s1n0",), "3 nodes of s0"),
        (2, 6, ("s0n0",), "3 nodes of s1"),
        (2, 5, ("s0n0",), "3 nodes of s0"),
    ],
)
async def test_a_hold_stays_until_its_group_does_not_fit_it(
    cards: int, members: int, ill: tuple[str, ...], then: str
) -> None:
    """Whose cards fail is asked, not where fewer are in use by now."""
    spec = {"cardsPerMember": cards, "topology": {"required": "supernode", "maxSpan": {"node": 3}}}
    queue = Queue(group("large", members, age=600, **spec))
    before = used([EMPTY, EMPTY, BUSY, BUSY], [BUSY] * 4)
    assert await queue.held(0.0, before) == {"large": "3 nodes of s0"}
    after = used([EMPTY, EMPTY, BUSY, BUSY], [EMPTY] * 4, ill=ill)
    assert await queue.held(1.0, after) == {"large": then}
    version = queue.version
    assert await queue.held(2.0, after) == {"large": then}
    assert queue.version == version


@pytest.mark.parametrize("closed", ["s0n0", "s0n3", "s0"])
async def test_a_hold_outlasts_that_nodes_of_it_are_closed_for_a_moment(closed: str) -> None:
    """A device plugin or a kubelet starts anew, or the ledger could not be written; but one may stay cordoned."""
    queue = Queue(within("large", 4, age=600))
    cards = [EMPTY, EMPTY, BUSY, BUSY], [BUSY, BUSY, BUSY, EMPTY]
    held, other = {"large": "4 nodes of s0"}, {"large": "4 nodes of s1"}
    assert await queue.held(0.0, used(*cards)) == held
    version = queue.version
    for begun in (1.0, 2 * CLOSED_SECONDS):
        for moment in (0.0, CLOSED_SECONDS - 1.0):
            assert await queue.held(begun + moment, used(*cards, closed=(closed,))) == held
        assert await queue.held(begun + CLOSED_SECONDS - 0.5, used(*cards)) == held
    assert queue.version == version
    for moment, where in ((1.0, held), (CLOSED_SECONDS + 1.0, other)):
        assert await queue.held(4 * CLOSED_SECONDS + moment, used(*cards, closed=(closed,))) == where


@pytest.mark.parametrize(
    ("lost", "then"), [((), "2 nodes of s0"), (("s0n3",), "3 nodes of s0"), (("s0n2", "s0n3"), "3 nodes of s1")]
)
async def test_a_hold_that_the_reserve_is_not_beside_any_more_is_looked_for_anew(
    lost: tuple[str, ...], then: str
) -> None:
    """A repair took a node of the reserve, or its cards failed."""
    queue = Queue(group("large", 2, age=600, topology={"required": "supernode"}))
    before = used([BUSY, BUSY, 1, EMPTY], [BUSY] * 4, reserve=1)
    assert await queue.held(0.0, before) == {"large": "2 nodes of s0"}
    assert await queue.held(1.0, used([BUSY, BUSY, 1, EMPTY], [BUSY] * 4, reserve=1, ill=lost)) == {"large": then}
