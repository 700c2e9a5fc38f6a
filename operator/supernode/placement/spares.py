"""Spares: single members that each domain of a level holds besides its ranks, for repairs.

They are bound by no block, so ranks that are placed as closely as can be leave to them all the room they do not take
themselves: x ranks and s spares fit a domain exactly when the ranks fit and x + s single members do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from supernode.placement.shape import Shape
from supernode.topology.fleet import Member, SuperNodeView

Ints = NDArray[np.int64]


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
        self.opens = max(0, view.wholly_free - view.reserve) - whole if view.reserve else len(view.nodes)
        self.tight = self.opens < sum(count for count in wanted.values() if count > 0)
        for domain, count in wanted.items():
            for _ in range(count):
                self._add(self._range(depth, domain))
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

    def _add(self, nodes: range) -> None:
        best: tuple[tuple[int, ...], int] | None = None
        for node in () if self.view.cordoned else nodes:
            if self.shape.loose.capacity(self._free(node)):
                opens = self._opens(node)
                if not (opens and self.opens <= 0):
                    key = self._rank(node, opens), node
                    best = key if best is None else min(best, key)
        if best is None:
            return
        node = best[1]
        self.opens -= self._opens(node)
        [cards] = self.shape.loose.place(self._free(node), 1)
        self._count(node)
        self.held[node] = self.held.get(node, 0) | cards
        found = self.view.nodes[node]
        self.chosen.append(Member(len(self.chosen), self.view.name, found.name, cards, self.view.domains(found)))

    def _free(self, node: int) -> int:
        return self.view.nodes[node].free & ~self.held.get(node, 0)

    def _opens(self, node: int) -> bool:
        return node not in self.held and self.view.nodes[node].wholly_free

    def _rank(self, node: int, opens: bool) -> tuple[int, ...]:
        near = self._near(node)
        near = self._levels if near is None else near
        there = self.homes[near][self._domain(near, node)] if near < self._levels else 0
        bits = self._free(node).bit_count()
        scarce = (opens, -bits if opens else 0) if self.tight else (0, 0)
        return (*scarce, node in self.ranked, near, there, opens, bits)
