"""Spares: single members that each domain of a level holds besides its ranks, for repairs.

They are bound by no block, so ranks that are placed as closely as can be leave to them all the room they do not take
themselves: x ranks and s spares fit a domain exactly when the ranks fit and x + s single members do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from supernode.placement.shape import Shape
from supernode.topology.fleet import SuperNodeView
from supernode.topology.node import Member

Ints = NDArray[np.int64]

_Home = tuple[int, int]
"""(level above the node, domain): the innermost domain that a node shares with ranks."""

_Offer = tuple[bool, int, bool, bool, int, int]
"""A node, the best of a home first: whether it opens a scarce wholly free node, and how large a one; whether it has
ranks; whether it opens a node; its free cards; its index."""


def loose_caps(view: SuperNodeView, shape: Shape) -> Ints:
    """Single members each node takes, blocks and the reserve aside."""
    census = view.census
    return np.array([shape.loose.capacity(kind.free) for kind in census.kinds], np.int64)[census.each]


def choose_spares(
    view: SuperNodeView, shape: Shape, ranks: Sequence[Member], present: Iterable[Member] = ()
) -> tuple[list[Member], int]:
    """The spares of one supernode that its ranks lack, as many as fit, numbered from 0; and how many do not.

    ranks, present: members and spares the group has in this supernode; `view` may count their cards as free or as
    taken. A node without ranks comes first, which does not fail together with one; then those nearest to ranks, evenly;
    then partly used ones. Where the reserve leaves few wholly free nodes, these come last.
    """
    return _Choice(view, shape, ranks, tuple(present)).run()


@dataclass
class _Choice:
    view: SuperNodeView
    shape: Shape
    ranks: Sequence[Member]
    present: Sequence[Member]
    held: dict[int, int] = field(default_factory=dict)
    homes: list[Counter[int]] = field(default_factory=list)
    chosen: list[Member] = field(default_factory=list)
    opens: int = 0
    tight: bool = False

    def run(self) -> tuple[list[Member], int]:
        view, depth = self.view, self.shape.within - self.shape.profile.node_index
        nodes = [view.layout.index[member.node] for member in self.ranks]
        spares = [view.layout.index[member.node] for member in self.present]
        for node, member in zip((*nodes, *spares), (*self.ranks, *self.present), strict=True):
            self.held[node] = self.held.get(node, 0) | member.cards
        self.ranked = set(nodes)
        self.homes = [Counter({self._domain(level, node): 0 for node in nodes}) for level in range(self._levels)]
        for node in spares:
            self._count(node)
        there = Counter(self._domain(depth, node) for node in spares)
        wanted = {d: self.shape.spares - there[d] for d in sorted({self._domain(depth, node) for node in nodes})}
        whole = sum(view.nodes[node].wholly_free for node in self.held)
        self.opens = view.usable - whole if view.reserve else len(view.nodes)
        self.tight = self.opens < sum(count for count in wanted.values() if count > 0)
        for domain, count in wanted.items():
            self._add(self._range(depth, domain), count)
        return self.chosen, sum(count for count in wanted.values() if count > 0) - len(self.chosen)

    @property
    def _levels(self) -> int:
        return len(self.shape.above) + 1

    def _range(self, depth: int, domain: int) -> range:
        bounds = self.view.layout.node_bounds[depth - 1] if depth else range(len(self.view.nodes) + 1)
        return range(bounds[domain], bounds[domain + 1])

    def _domain(self, depth: int, node: int) -> int:
        return bisect_right(self.view.layout.node_bounds[depth - 1], node) - 1 if depth else node

    def _count(self, node: int) -> None:
        """A spare on this node belongs to the innermost domain it shares with ranks."""
        near = self._near(node)
        if near is not None:
            self.homes[near][self._domain(near, node)] += 1

    def _near(self, node: int) -> int | None:
        levels = range(1, self._levels)
        return next((level for level in levels if self._domain(level, node) in self.homes[level]), None)

    def _add(self, nodes: range, count: int) -> None:
        """Choose up to so many, each on the node that is best once those before it are chosen.

        Nodes near the same ranks share how many spares lie there already, so the order among them stands: only the
        first of each home is compared.
        """
        homes: dict[_Home, list[_Offer]] = {}
        for node in () if self.view.cordoned else nodes:
            self._offer(homes, node)
        for _ in range(count):
            heads = [self._rank(home, offers[0]) for home, offers in homes.items() if self._has_open(offers)]
            if not heads:
                return
            node = min(heads)[-1]
            heappop(homes[self._home(node)])
            self._take(node)
            self._offer(homes, node)

    def _take(self, node: int) -> None:
        self.opens -= self._opens(node)
        [cards] = self.shape.loose.place(self._free(node), 1)
        self._count(node)
        self.held[node] = self.held.get(node, 0) | cards
        found = self.view.nodes[node]
        self.chosen.append(Member(len(self.chosen), self.view.name, found.name, cards, self.view.domains(found)))

    def _offer(self, homes: dict[_Home, list[_Offer]], node: int) -> None:
        """Put a node where it can take one more."""
        free = self._free(node)
        if self.shape.loose.capacity(free):
            opens, bits = self._opens(node), free.bit_count()
            scarce = (opens, -bits if opens else 0) if self.tight else (False, 0)
            heappush(homes.setdefault(self._home(node), []), (*scarce, node in self.ranked, opens, bits, node))

    def _has_open(self, offers: list[_Offer]) -> bool:
        """Whether any is left; those that would open a node go once none may be."""
        while offers and offers[0][3] and self.opens <= 0:
            heappop(offers)
        return bool(offers)

    def _free(self, node: int) -> int:
        return self.view.nodes[node].free & ~self.held.get(node, 0)

    def _opens(self, node: int) -> bool:
        return node not in self.held and self.view.nodes[node].wholly_free

    def _home(self, node: int) -> _Home:
        near = self._near(node)
        return (self._levels, 0) if near is None else (near, self._domain(near, node))

    def _rank(self, home: _Home, offer: _Offer) -> tuple[int, ...]:
        """The order among nodes of all homes, with the node."""
        near, domain = home
        there = self.homes[near][domain] if near < self._levels else 0
        return (*offer[:3], near, there, *offer[3:])
