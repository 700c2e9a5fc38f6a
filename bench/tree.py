"""A fleet as flat arrays: what the peers' rules and the reference optimum work on, apart from the allocator's code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from supernode.topology.fleet import Fleet, SuperNodeView

Ints = NDArray[np.int64]
Slices = tuple[tuple[int, int], ...]
"""(level, members) of each block, inner to outer; level 0 is the node."""


@dataclass(frozen=True)
class Tree:
    """Levels inner to outer, level 0 being the node.

    caps: members that each node can take. parents[l][i]: which domain of level l + 1 holds domain i of level l; domains
    are numbered depth-first.
    """

    caps: Ints
    parents: tuple[Ints, ...]

    @property
    def levels(self) -> int:
        return len(self.parents) + 1

    @cached_property
    def starts(self) -> tuple[Ints, ...]:
        """Per level, the first child of each domain one level further out; every domain has one."""
        return tuple(np.flatnonzero(np.diff(parents, prepend=-1)) for parents in self.parents)

    def with_caps(self, caps: Ints) -> Tree:
        """The same tree with other things free."""
        tree = Tree(caps, self.parents)
        tree.__dict__["starts"] = self.starts
        return tree

    def size(self, level: int) -> int:
        """How many domains a level has."""
        return len(self.caps) if level == 0 else int(self.parents[level - 1][-1]) + 1

    def gather(self, amounts: Ints, level: int) -> Ints:
        """The sum of each domain's children: amounts belong to `level`, the result to the next one out."""
        return np.add.reduceat(amounts, self.starts[level])

    def children(self, level: int, domain: int) -> Ints:
        """Indices, one level further in, of what a domain holds."""
        starts = self.starts[level - 1]
        end = starts[domain + 1] if domain + 1 < len(starts) else len(self.parents[level - 1])
        return np.arange(starts[domain], end)

    def spans(self, counts: Ints) -> tuple[int, ...]:
        """How many domains of each level hold members, outermost first. counts: members per node."""
        found = []
        for level in range(self.levels):
            found.append(int(np.count_nonzero(counts)))
            if level + 1 < self.levels:
                counts = self.gather(counts, level)
        return tuple(reversed(found))

    def floors(self, members: int, blocks: Slices = ()) -> tuple[int, ...]:
        """The fewest domains of each level, taken alone, that hold so many members, outermost first.

        No placement has less at any level, so one that has as much is proven minimal without a search.
        """
        sizes = dict(blocks)
        found = []
        room = self.caps
        for level in range(self.levels):
            room = room - room % sizes.get(level, 1)
            found.append(int(np.searchsorted(np.cumsum(np.sort(room)[::-1]), members)) + 1)
            if level + 1 < self.levels:
                room = self.gather(room, level)
        return tuple(reversed(found))


def tree_of(fleet: Fleet, cards: int) -> Tree:
    """The tree of a fleet of one profile without levels inside the node, for members of `cards` cards."""
    views = list(fleet.supernodes.values())
    nodes = [node for view in views for node in view.nodes]
    caps = np.array([node.free.bit_count() // cards for node in nodes], np.int64)
    return Tree(caps, _parents(views))


def _parents(views: Sequence[SuperNodeView]) -> tuple[Ints, ...]:
    parents = []
    for level in range(len(views[0].profile.above)):
        widths = [np.diff(view.layout.bounds[level]) for view in views]
        joined = np.concatenate(widths)
        parents.append(np.repeat(np.arange(len(joined)), joined))
    return tuple(parents)
