"""Nodes held for groups that have waited long at the head of their priority, so that smaller ones do not starve them.

Groups that come later in turn still start wherever they need none of the held nodes. The head itself starts wherever
it fits first. A hold stays as it is while the head fits its nodes once they are free: then the head starts at the
latest when those who run on them now have ended, whatever comes and goes elsewhere. Once too many of their cards have
failed, or nodes of them have been closed for long, another is looked for.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from supernode.control.conditions import timestamp
from supernode.control.ledgers import group_text
from supernode.control.patience import Patience
from supernode.control.planner import Planner
from supernode.control.waiting import Head, Turn, waiting_since
from supernode.placement import Hold, Refusal, hold
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.ranges import natural_key

NOWHERE_SECONDS = 60.0
"""A head that fits nowhere, whoever ends, is looked at again after so long: hardware may come back."""

CLOSED_SECONDS = 60.0
"""So long at least a hold outlasts that nodes of it are closed: mostly a device plugin or a kubelet starts anew, or a
ledger cannot be written, and what was drained since would be lost. Closed nodes give nothing to anyone meanwhile."""

REVIEW_SECONDS = 2.0
"""Once a review has taken so long it looks for no further hold: nobody gets cards meanwhile. It looks for one at least.
Most take some hundredths of a second, the longest in a large fleet some seconds."""

_Kind = tuple[int, str]
"""Of groups that one hold is for at a time: priority (negative) and profile."""

Footing = Mapping[str, tuple[int, Mapping[str, tuple[int, int]]]]
"""What decides whether a group fits a hold: by supernode, how many nodes its reserve lacks beside those held, and for
each of these how many cards it has and which are healthy."""


@dataclass(frozen=True, slots=True)
class Held:
    """A hold in force: for whom, since when it was due, a footing on which the group fits it, and since when (monotonic
    clock) nodes of it are closed."""

    turn: Turn
    since: datetime
    hold: Hold
    footing: Footing | None = field(compare=False)
    closed_since: float | None = field(default=None, compare=False)

    @property
    def group(self) -> str:
        return group_text(self.turn[2])


class Holds:
    """The holds in force, by turn. ``version`` rises when they change, ``released`` says that nodes came free of one;
    who handles that resets it."""

    def __init__(self, patience: Patience, clock: Callable[[], float] = time.monotonic) -> None:
        self._after = timedelta(seconds=patience.hold_after)
        self._closed_for = max(CLOSED_SECONDS, patience.device_grace)
        self._clock = clock
        self._held: list[Held] = []
        self._views: dict[tuple[str, frozenset[str]], tuple[SuperNodeView, SuperNodeView]] = {}
        self._nowhere: dict[Turn, float] = {}
        self._served: set[_Kind] = set()
        self.version = 0
        self.released = False

    @property
    def turns(self) -> list[Turn]:
        """Of those for whom nodes are held."""
        return [held.turn for held in self._held]

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
        known = self._views.get((view.name, names))
        if known is None or known[0] is not view:
            known = (view, view.holding(name for name in names if name in view.layout.index))
            self._views[view.name, names] = known
        return known[1]

    def started(self, turn: Turn) -> None:
        """A group has its cards: what was held for it is given free."""
        if any(held.turn == turn for held in self._held):
            self._replace([held for held in self._held if held.turn != turn])

    def lacks(self, heads: Iterable[Head], wall: datetime) -> bool:
        """Whether any of these has waited long enough, and was not looked at since."""
        return any(
            waiting_since(head.group) + self._after <= wall
            and head.turn not in self._nowhere
            and not _kinds(head) <= self._served
            for head in heads
        )

    async def review(
        self, fleet: Fleet, heads: Iterable[Head], planner: Planner, wall: datetime, moment: float
    ) -> float | None:
        """Hold what the first of each priority and profile have waited long enough for; heads are given by turn.

        One that fits nowhere, or has not waited for long itself, keeps its place in turn, and those behind it are
        looked at meanwhile. Returns the seconds until the next review can change anything by time alone.
        """
        before = {held.turn: held for held in self._held}
        self._nowhere = {turn: until for turn, until in self._nowhere.items() if until > moment}
        kept: list[Held] = []
        served: set[_Kind] = set()
        starts: list[float] = []
        until, looked = self._clock() + REVIEW_SECONDS, False
        for head in heads:
            kinds = _kinds(head)
            if kinds <= served or head.turn in self._nowhere:
                continue
            since = waiting_since(head.group) + self._after
            if since > wall:
                starts.append((since - wall).total_seconds())
                continue
            known = before.get(head.turn)
            if known is not None:
                known = await self._standing(known, head, fleet, kept, planner, moment)
            if known is None:
                if looked and self._clock() >= until:
                    starts.append(0.0)
                    continue  # those behind it who have a hold keep it until it was looked at
                looked = True
                known = await self._look_for(head, since, fleet, kept, planner, moment)
            if known is not None:
                kept.append(known)
                served |= kinds
        if kept != self._held:
            self._replace(kept)
        self._held, self._served = kept, served
        return min(starts, default=None)

    async def _standing(
        self, known: Held, head: Head, fleet: Fleet, earlier: Iterable[Held], planner: Planner, moment: float
    ) -> Held | None:
        """The hold, if its group can still be given its nodes, or may be soon."""
        others = _held_nodes(earlier)
        footing = _footing(known.hold, fleet, others)
        if footing is None:
            return None
        if _closed(known.hold, fleet):
            since = moment if known.closed_since is None else known.closed_since
            return replace(known, closed_since=since) if moment < since + self._closed_for else None
        fits = footing == known.footing or await planner.run(
            known.hold.fits, self._without(fleet, others), head.request
        )
        return replace(known, footing=footing, closed_since=None) if fits else None

    async def _look_for(
        self, head: Head, since: datetime, fleet: Fleet, earlier: Iterable[Held], planner: Planner, moment: float
    ) -> Held | None:
        others = _held_nodes(earlier)
        found = await planner.run(hold, self._without(fleet, others), head.request)
        if found is None:
            self._nowhere[head.turn] = moment + NOWHERE_SECONDS
            return None
        return Held(head.turn, since, found, _footing(found, fleet, others))

    def _replace(self, held: list[Held]) -> None:
        self.released |= bool(self._held)
        self._held = held
        self._views.clear()
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


def _kinds(head: Head) -> set[_Kind]:
    return {(head.turn[0], profile) for profile in head.profiles}


def _held_nodes(held: Iterable[Held]) -> dict[str, frozenset[str]]:
    nodes: dict[str, frozenset[str]] = {}
    for one in held:
        for name, names in one.hold.nodes.items():
            nodes[name] = nodes.get(name, frozenset()) | names
    return nodes


def _footing(one: Hold, fleet: Fleet, others: Mapping[str, frozenset[str]]) -> Footing | None:
    """None where not every node of the hold is there for its group. others: nodes held for those before it."""
    found = {}
    for name, nodes in one.nodes.items():
        view, taken = fleet.supernodes.get(name), others.get(name, frozenset())
        if view is None or nodes & taken or not nodes <= view.layout.index.keys():
            return None
        seats = [view.node(node) for node in nodes]
        if any(node.gone for node in seats):
            return None
        used = (view.node(node).wholly_free for node in nodes | taken if node in view.layout.index)
        lacking = max(0, view.reserve - view.wholly_free + sum(used))
        found[name] = lacking, {node.name: (node.cards, node.healthy & node.all_cards) for node in seats}
    return found


def _closed(one: Hold, fleet: Fleet) -> bool:
    """Whether nodes of the hold, all of which are there, give nothing at the moment."""
    views = ((fleet.supernodes[name], nodes) for name, nodes in one.nodes.items())
    return any(view.cordoned or not all(view.node(node).schedulable for node in nodes) for view, nodes in views)


def _missing(one: Hold, fleet: Fleet) -> int:
    """Cards of held nodes that are in use now."""
    views = ((fleet.supernodes[name], nodes) for name, nodes in one.nodes.items() if name in fleet.supernodes)
    seats = (view.node(node) for view, nodes in views for node in nodes if node in view.layout.index)
    return sum((node.taken & node.all_cards).bit_count() for node in seats)
