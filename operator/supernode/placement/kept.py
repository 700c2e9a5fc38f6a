"""What supernodes take with their reserve kept, without pricing anything.

Of every domain it is worked out how many members it takes with at most w of its wholly free nodes, beside all others.
In a domain of nodes these are the w roomiest. Further out they are shared among the children in the best way, a
max-plus sum. Blocks floor what comes of it at each w, as every multiple of a block up to the most takes no more nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from supernode.placement.ground import Plot, node_starts, plot_of
from supernode.placement.rows import Ints, cumulated
from supernode.placement.shape import Shape
from supernode.placement.spares import loose_caps
from supernode.topology.fleet import SuperNodeView


@dataclass(frozen=True)
class Kept:
    """Some supernodes and one shape that has levels above the node. caps: by level, node first, what domains take, the
    reserve aside. whole: which nodes are wholly free. loose: single members that each node takes, where spares are
    held."""

    plot: Plot
    shape: Shape
    caps: Sequence[Ints]
    whole: NDArray[np.bool_]
    loose: Ints | None

    @cached_property
    def usable(self) -> Ints:
        """By supernode, how many wholly free nodes may be taken."""
        return np.array([view.usable for view in self.plot.views], np.int64)

    def room(self) -> Ints:
        """By supernode, the members it takes; where it is `doubtful` it may be fewer."""
        shape, top = self.shape, len(self.caps) - 1
        depth = top if shape.spares_in_top else shape.within - shape.profile.node_index
        if shape.per_node and (depth == top or shape.steps[-2] == shape.steps[shape.within]):
            return self._whole_nodes(depth)
        owners, room = self.plot.owners(top), np.zeros(len(self.plot.views), np.int64)
        if len(owners):
            room[owners] = self.levels[-1][np.arange(len(owners)), self.usable[owners]]
        return room

    def _whole_nodes(self, depth: int) -> Ints:
        """The same where members and spares are so many nodes: spares in each domain that is used, the roomiest first,
        and no blocks further out but those of the whole supernode."""
        reach = cumulated(self.caps[depth], self.plot.sizes[depth])
        left = self.usable[:, None] - self.shape.spares * np.arange(reach.shape[1])
        reserved = np.array([view.reserve > 0 for view in self.plot.views])
        most = np.where(reserved[:, None], np.minimum(reach, left * self.shape.per_node), reach).max(axis=1)
        return np.asarray(most - most % self.shape.steps[-1], np.int64)

    @cached_property
    def innermost(self) -> int:
        return innermost(self.shape)

    @cached_property
    def levels(self) -> list[Ints]:
        """By level from the innermost one on: by domain and w, what it takes with at most w wholly free nodes."""
        found = [self._bound(self._roomiest(self.caps[0], self.innermost), self.innermost)]
        for level in range(self.innermost + 1, len(self.caps)):
            starts, children = self.plot.starts[level - 1], found[-1]
            sizes = np.diff(starts, append=len(children))
            sums = np.zeros((len(starts), self._width(level)), np.int64)
            for nth in range(int(sizes.max())):
                rows, reach = np.flatnonzero(sizes > nth), (nth + 1) * (children.shape[1] - 1) + 1
                sums[rows, :reach] = _shared(sums[rows, :reach], children[starts[rows] + nth])
            found.append(self._bound(np.maximum.accumulate(sums, axis=1), level))
        return found

    def opened(self) -> list[int]:
        """Of a single supernode, the wholly free nodes with which it takes most: as many as may be taken."""
        return self._opened(len(self.caps) - 1, 0, int(self.usable[0]))

    def _opened(self, level: int, domain: int, count: int) -> list[int]:
        if level == self.innermost:
            nodes = self._nodes(level, domain)
            loose = np.zeros_like(self.caps[0]) if self.loose is None else self.loose
            roomiest: list[int] = nodes[np.lexsort((-loose[nodes], -self.caps[0][nodes]))][:count].tolist()
            return roomiest
        start, end = np.append(self.plot.starts[level - 1], len(self.caps[level - 1]))[domain : domain + 2].tolist()
        rooms = self.levels[level - 1 - self.innermost]
        own = [len(self._nodes(level - 1, child)) for child in range(start, end)]
        sums = [np.zeros((1, count + 1), np.int64)]
        for child in range(start, end):
            sums.append(_shared(sums[-1], rooms[child : child + 1]))
        found: list[int] = []
        for nth in range(end - start - 1, -1, -1):
            shares = np.arange(max(0, count - sum(own[:nth])), min(count, own[nth]) + 1)
            share = int(shares[np.argmax(sums[nth][0, count - shares] + rooms[start + nth, shares])])
            found += self._opened(level - 1, start + nth, share)
            count -= share
        return found

    def _nodes(self, level: int, domain: int) -> Ints:
        """The wholly free nodes of a domain."""
        start, end = np.append(node_starts(self.plot.starts, level), len(self.whole))[domain : domain + 2]
        return np.asarray(start + np.flatnonzero(self.whole[start:end]), np.int64)

    def _bound(self, rooms: Ints, level: int) -> Ints:
        """No more than fits beside spares, no more than the domain takes, and in whole blocks."""
        index = self.shape.above[level - 1]
        if self.loose is not None and index == self.shape.within:
            rooms = np.minimum(rooms, np.maximum(0, self._roomiest(self.loose, level) - self.shape.spares))
        rooms = np.minimum(rooms, self.caps[level][:, None])
        return rooms - rooms % self.shape.steps[index]

    def _roomiest(self, nodes: Ints, level: int) -> Ints:
        """By domain and w, what its w roomiest wholly free nodes take with all others. nodes: what each takes."""
        starts = node_starts(self.plot.starts, level)
        whole = cumulated(np.where(self.whole, nodes, 0), np.diff(starts, append=len(nodes)))
        others = np.add.reduceat(np.where(self.whole, 0, nodes), starts)
        return whole[:, : self._width(level)] + others[:, None]

    def _width(self, level: int) -> int:
        """One more than the most wholly free nodes that a domain of a level can be asked for."""
        nodes = np.diff(node_starts(self.plot.starts, level), append=len(self.whole))
        return min(int(nodes.max()), int(self.usable.max())) + 1


def kept_of(view: SuperNodeView, shape: Shape, caps: Sequence[Ints]) -> Kept:
    """Of one supernode."""
    loose = loose_caps(view, shape) if shape.spares else None
    return Kept(plot_of([view], {}), shape, caps, view.census.wholly_free, loose)


def innermost(shape: Shape) -> int:
    """The first level above the node with blocks or spares of its own, else the last: inside it any nodes add up."""
    step, spares = shape.steps[shape.profile.node_index], shape.within if shape.spares else None
    binds = (index in shape.whole or index == spares or shape.steps[index] > step for index in shape.above)
    return next((level for level, bound in enumerate(binds, start=1) if bound), len(shape.above))


def doubtful(view: SuperNodeView, shape: Shape) -> bool:
    """Whether members and spares may want different wholly free nodes to be opened: these differ in size, and how
    members are shared matters inside the domains that hold spares."""
    if not view.reserve or not shape.spares or shape.within - shape.profile.node_index <= innermost(shape):
        return False
    return len({kind.free for kind, count in view.census.counts() if kind.wholly_free and count}) > 1


def _shared(rooms: Ints, more: Ints) -> Ints:
    """Max-plus sums, row by row: what both take together with at most w wholly free nodes. As wide as `rooms`, where
    more nodes than there are may take less."""
    found = rooms + more[:, :1]
    for w in range(1, min(rooms.shape[1], more.shape[1])):
        np.maximum(found[:, w:], rooms[:, :-w] + more[:, w : w + 1], out=found[:, w:])
    return found
