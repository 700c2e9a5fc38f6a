"""Nodes held for groups that have waited long at the head of their priority, so that smaller ones do not starve them.

Groups that come later in turn still start wherever they need none of the held nodes. The head itself starts wherever
it fits first. A hold stays as it is while its nodes can be given at all: then the head starts at the latest when those
who run on them now have ended, whatever comes and goes elsewhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from supernode.control.conditions import timestamp
from supernode.control.ledgers import group_text
from supernode.control.planner import Planner
from supernode.control.waiting import Head, Turn, waiting_since
from supernode.placement import Hold, Refusal, hold
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.ranges import natural_key

NOWHERE_SECONDS = 60.0
"""A head that fits nowhere, whoever ends, is looked at again after so long: hardware may come back."""

REVIEW_QUESTIONS = 8
"""So many holds are looked for in one review: each may take a tenth of a second in a large fleet."""


@dataclass(frozen=True, slots=True)
class Held:
    """A hold in force: for whom, and since when it was due."""

    turn: Turn
    since: datetime
    hold: Hold

    @property
    def group(self) -> str:
        return group_text(self.turn[2])


class Holds:
    """The holds in force, by turn. ``version`` rises when they change, ``released`` says that nodes came free of one;
    who handles that resets it."""

    def __init__(self, hold_after: float) -> None:
        self._after = timedelta(seconds=hold_after)
        self._held: list[Held] = []
        self._views: dict[str, tuple[SuperNodeView, frozenset[str], SuperNodeView]] = {}
        self._nowhere: dict[Turn, float] = {}
        self.version = 0
        self.released = False

    def open_to(self, fleet: Fleet, turn: Turn) -> Fleet:
        """The fleet as a group of this turn may use it: without the nodes held for those before it."""
        nodes = _held_nodes(held for held in self._held if held.turn < turn)
        return self._without(fleet, nodes)

    def _without(self, fleet: Fleet, nodes: Mapping[str, frozenset[str]]) -> Fleet:
        known = ((fleet.supernodes.get(name), names) for name, names in nodes.items())
        views = [self._closed(view, names) for view, names in known if view is not None]
        return fleet.replace(*views) if views else fleet

    def _closed(self, view: SuperNodeView, names: frozenset[str]) -> SuperNodeView:
        """The same object for the same question: decisions remember what they computed of it."""
        known = self._views.get(view.name)
        if known is None or known[0] is not view or known[1] != names:
            known = (view, names, view.holding(name for name in names if name in view.layout.index))
            self._views[view.name] = known
        return known[2]

    def started(self, turn: Turn) -> None:
        """A group has its cards: what was held for it is given free."""
        if any(held.turn == turn for held in self._held):
            self._replace([held for held in self._held if held.turn != turn])

    async def review(
        self, fleet: Fleet, heads: Iterable[Head], planner: Planner, wall: datetime, moment: float
    ) -> float | None:
        """Hold what the first of each priority and profile have waited long enough for; heads are given by turn.

        One that fits nowhere keeps its place in turn, and those behind it are looked at meanwhile. Returns the seconds
        until the next review can change anything by time alone.
        """
        before = {held.turn: held for held in self._held}
        self._nowhere = {turn: until for turn, until in self._nowhere.items() if until > moment}
        kept: list[Held] = []
        served: set[tuple[int, str]] = set()
        starts: list[float] = []
        questions = REVIEW_QUESTIONS
        for head in heads:
            kinds = {(head.turn[0], profile) for profile in head.profiles}
            if kinds <= served or head.turn in self._nowhere:
                continue
            since = waiting_since(head.group) + self._after
            if since > wall:
                starts.append((since - wall).total_seconds())
                served |= kinds
                continue
            known = before.get(head.turn)
            if known is None or not _stands(known, fleet, kept):
                if not questions:
                    starts.append(0.0)
                    continue  # those behind it who have a hold keep it until it was looked at
                questions -= 1
                known = await self._look_for(head, since, self._without(fleet, _held_nodes(kept)), planner, moment)
            if known is not None:
                kept.append(known)
                served |= kinds
        if kept != self._held:
            self._replace(kept)
        return min(starts, default=None)

    async def _look_for(
        self, head: Head, since: datetime, fleet: Fleet, planner: Planner, moment: float
    ) -> Held | None:
        found = await planner.run(hold, fleet, head.request)
        if found is None:
            self._nowhere[head.turn] = moment + NOWHERE_SECONDS
            return None
        return Held(head.turn, since, found)

    def _replace(self, held: list[Held]) -> None:
        self.released |= bool(self._held)
        self._held = held
        self.version += 1

    def explained(self, answer: Refusal, turn: Turn, fleet: Fleet) -> Refusal:
        """The refusal of a group of this turn, with what is held for it, else for others before it."""
        for held in sorted(self._held, key=lambda held: held.turn != turn):
            count = held.hold.count
            where = ", ".join(sorted(held.hold.nodes, key=natural_key)[:3])
            nodes = f"{count} node{'' if count == 1 else 's'} of {where}"
            since = timestamp(held.since)
            if held.turn == turn:
                text = f"{nodes} held for it since {since}, {_missing(held.hold, fleet)} of their cards in use"
                return replace(answer, message=f"{answer.message}; {text}")
            if held.turn < turn and not answer.stalled:
                return replace(answer, message=f"{answer.message}; {nodes} held for {held.group} since {since}")
        return answer


def _held_nodes(held: Iterable[Held]) -> dict[str, frozenset[str]]:
    nodes: dict[str, frozenset[str]] = {}
    for one in held:
        for name, names in one.hold.nodes.items():
            nodes[name] = nodes.get(name, frozenset()) | names
    return nodes


def _stands(held: Held, fleet: Fleet, earlier: Iterable[Held]) -> bool:
    """Whether every node of a hold can still be given to its group."""
    others = _held_nodes(earlier)
    for name, nodes in held.hold.nodes.items():
        view = fleet.supernodes.get(name)
        if view is None or view.cordoned or nodes & others.get(name, frozenset()):
            return False
        if any(node not in view.layout.index or not view.node(node).schedulable for node in nodes):
            return False
    return True


def _missing(one: Hold, fleet: Fleet) -> int:
    """Cards of held nodes that are in use now."""
    views = ((fleet.supernodes[name], nodes) for name, nodes in one.nodes.items() if name in fleet.supernodes)
    seats = (view.node(node) for view, nodes in views for node in nodes if node in view.layout.index)
    return sum((node.taken & node.all_cards).bit_count() for node in seats)
