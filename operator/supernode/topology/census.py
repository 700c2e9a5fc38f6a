"""How the nodes of a supernode are grouped, and how many of them are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernode.topology.node import Node


class Layout:
    """How the nodes of one supernode are grouped: fixed while its nodes stay the same, so shared between snapshots.

    `names[l]` are the domains of `profile.above[l]`. `bounds[l]` (one longer) says which children, by index one level
    further in, each has: domain i holds children bounds[l][i] to bounds[l][i + 1]; level 0's children are nodes.
    `starts[l]` is bounds[l] as an array, without the end. `node_bounds[l]` says the same as bounds[l] in nodes.
    `largest[l]` is the nodes of the largest. `domains` remembers what `SuperNodeView.domains` answers, by index of the
    node; `grids` what `grid_of` does.
    """

    __slots__ = ("bounds", "domains", "grids", "index", "largest", "names", "node_bounds", "starts")

    def __init__(self, nodes: tuple[Node, ...], depth: int) -> None:
        self.index = {node.name: i for i, node in enumerate(nodes)}
        self.names: list[tuple[str, ...]] = []
        self.bounds: list[tuple[int, ...]] = []
        self.node_bounds: list[tuple[int, ...]] = []
        self.starts: list[NDArray[np.intp]] = []
        self.largest: list[int] = []
        self.domains: dict[int, Mapping[str, str]] = {}
        self.grids: dict[int, Any] = {}
        children = [node.path for node in nodes]
        spans = list(range(len(nodes) + 1))
        for level in range(depth):
            keep = depth - level
            starts = [i for i, path in enumerate(children) if i == 0 or children[i - 1][:keep] != path[:keep]]
            self.names.append(tuple(children[i][keep - 1] for i in starts))
            self.bounds.append((*starts, len(children)))
            self.starts.append(np.array(starts, np.intp))
            spans = [spans[i] for i in self.bounds[-1]]
            self.node_bounds.append(tuple(spans))
            self.largest.append(max((end - start for start, end in pairwise(spans)), default=0))
            children = [children[i][:keep] for i in starts]


class Kind(NamedTuple):
    """What a node offers and what stands in its way. cards: how many it has. free: bitmask. used: some cards are taken.
    closed: not schedulable and unused. ill: schedulable, with unhealthy cards. held: kept for another request."""

    cards: int
    free: int
    wholly_free: bool
    used: bool
    closed: bool
    ill: bool
    held: bool

    @classmethod
    def of(cls, node: Node) -> Kind:
        free, full = node.free, node.all_cards
        closed, ill = not node.schedulable and not node.taken, node.schedulable and node.healthy != full
        return cls(node.cards, free, node.cards > 0 and free == full, node.taken != 0, closed, ill, node.held)


STATE = attrgetter("cards", "healthy", "taken", "schedulable", "held", "unbindable")
"""What makes a node's kind."""


class Census:
    """Nodes by kind. kinds: each kind to its number; each: the number of every node."""

    __slots__ = ("_counts", "each", "kinds")

    def __init__(self, kinds: dict[Kind, int], each: NDArray[np.intp]) -> None:
        self.kinds = kinds
        self.each = each
        self._counts: list[int] | None = None

    @property
    def wholly_free(self) -> NDArray[np.bool_]:
        """For each node, whether it is wholly free."""
        return np.array([kind.wholly_free for kind in self.kinds], np.bool_)[self.each]

    def free(self, nodes: Sequence[int]) -> list[int]:
        """The free cards (bitmasks) of some nodes, by index."""
        masks = [kind.free for kind in self.kinds]
        return [masks[number] for number in self.each[nodes].tolist()]

    def counts(self) -> list[tuple[Kind, int]]:
        """How many nodes there are of each kind."""
        if self._counts is None:
            self._counts = np.bincount(self.each, minlength=len(self.kinds)).tolist()
        return list(zip(self.kinds, self._counts, strict=True))

    def part(self, start: int, end: int) -> Census:
        """The census of the nodes from index start up to end."""
        return Census(self.kinds, self.each[start:end])

    def changed(self, nodes: Mapping[int, Node]) -> Census:
        """The census after some nodes, by index, changed."""
        kinds, each = self.kinds, self.each.copy()
        if len(kinds) > 2 * len(each):
            kinds = {}
            names = {number: kind for kind, number in self.kinds.items()}
            each = np.array([kinds.setdefault(names[int(number)], len(kinds)) for number in each], np.intp)
        kinds = dict(kinds)
        for index, node in nodes.items():
            each[index] = kinds.setdefault(Kind.of(node), len(kinds))
        return Census(kinds, each)
