"""All supernodes of a profile in flat arrays, so that one step of numpy looks at every node or domain at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from operator import is_not
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernode.placement.rows import Ints
from supernode.topology.census import Kind
from supernode.topology.fleet import SuperNodeView

Indices = NDArray[np.intp]

MANY_KEPT = 8
"""Arrays that `Ground.kept` keeps, those asked for last."""

MANY_KINDS = 4096
"""Kinds of nodes seen, beyond which those that are gone are forgotten."""


@dataclass(frozen=True)
class Plot:
    """Some supernodes one after the other, depth first. Level 0 is the node, 1 the first level above it, and so on.

    index: of each supernode among all. known: numbers of kinds, added to when `kinds` is first asked for. sizes[l]:
    domains of level l of each supernode. starts[l]: the first child of each domain of level l + 1. where[l]: the index
    that each domain of level l has among all supernodes.
    """

    views: Sequence[SuperNodeView]
    index: Indices
    known: dict[Kind, int]
    sizes: list[Indices]
    starts: list[Indices]
    where: list[Indices]

    @cached_property
    def kinds(self) -> Indices:
        """The number of each node's kind."""
        found = []
        for view in self.views:
            census = view.census
            numbers = [self.known.setdefault(kind, len(self.known)) for kind in census.kinds]
            found.append(np.array(numbers, np.intp)[census.each])
        return np.concatenate(found)

    def owners(self, level: int) -> Indices:
        """For each domain of a level, its supernode, by index in `views`."""
        return np.repeat(np.arange(len(self.views)), self.sizes[level])


def plot_of(views: Sequence[SuperNodeView], kinds: dict[Kind, int]) -> Plot:
    """The plot of some supernodes on their own. kinds: numbers of kinds, added to."""
    depth = len(views[0].profile.above)
    sizes = [np.array([len(view.nodes) for view in views], np.intp)]
    sizes += [np.array([len(view.layout.names[level]) for view in views], np.intp) for level in range(depth)]
    starts = [
        np.concatenate([view.layout.starts[level] for view in views]) + np.repeat(_before(sizes[level]), size)
        for level, size in enumerate(sizes[1:])
    ]
    where = [np.arange(int(size.sum())) for size in sizes]
    return Plot(views, np.arange(len(views)), kinds, sizes, starts, where)


def node_starts(starts: Sequence[Indices], level: int) -> Indices:
    """The first node of each domain of a level above the node. starts: as in `Plot`."""
    found = starts[level - 1]
    for inner in reversed(starts[: level - 1]):
        found = inner[found]
    return found


def _before(sizes: Indices) -> Indices:
    """How many come before each."""
    before: Indices = np.cumsum(sizes) - sizes
    return before


class Ground:
    """The plot of a whole snapshot, followed from one snapshot to the next.

    first[l]: by supernode, the index of its first domain of level l; one longer. starts as in `Plot`; parents[l]: by
    domain of level l, its parent, of level l + 1. epoch changes when these, or the numbers of the kinds, do.
    changed[i]: the tick at which supernode i changed last. notes: what others remember about kinds, while their numbers
    stay the same.
    """

    def __init__(self) -> None:
        self.views: Sequence[SuperNodeView] = ()
        self.kinds: dict[Kind, int] = {}
        self.first: list[Indices] = []
        self.starts: list[Indices] = []
        self.parents: list[Indices] = []
        self.changed: Indices = np.zeros(0, np.intp)
        self.epoch = self.tick = 0
        self.notes: dict[Hashable, Any] = {}
        self._kept: dict[Hashable, tuple[int, Ints]] = {}
        self._each: Indices = np.zeros(0, np.intp)
        self._each_at = -1

    def follow(self, views: Sequence[SuperNodeView]) -> None:
        """Take over another snapshot of the same supernodes, or of others. A view that did not change costs one
        comparison."""
        if views is self.views:
            return
        same = len(views) == len(self.views)
        changed = list(compress(range(len(views)), map(is_not, self.views, views))) if same else []
        if same and not changed:
            return
        same = same and all(views[i].layout is self.views[i].layout for i in changed)
        self.views = views
        self.tick += 1
        if same and len(self.kinds) <= max(MANY_KINDS, self.first[0][-1]):
            self.changed[changed] = self.tick
        else:
            self._start()

    def _start(self) -> None:
        self.epoch += 1
        self.kinds = {}
        self.notes = {}
        self._kept = {}
        self.changed = np.full(len(self.views), self.tick, np.intp)
        plot = plot_of(self.views, self.kinds)
        self.first = [np.concatenate(([0], np.cumsum(size))) for size in plot.sizes]
        self.starts = plot.starts
        self._each, self._each_at = plot.kinds, self.tick
        self.parents = [
            np.repeat(np.arange(len(starts)), np.diff(starts, append=first[-1]))
            for starts, first in zip(plot.starts, self.first, strict=False)
        ]

    @property
    def each(self) -> Indices:
        """The number of every node's kind."""
        plot = self.since(self._each_at)
        if plot is not None:
            self._each[plot.where[0]] = plot.kinds
            self._each_at = self.tick
        return self._each

    def kept(self, key: Hashable, level: int, rows: Callable[[Plot], Ints]) -> Ints:
        """What `rows` says of each domain of a level, worked out again only where a supernode changed."""
        tick, found = self._kept.pop(key, (-1, None))
        if found is None:
            found = rows(self.everything())
        elif (plot := self.since(tick)) is not None:
            found[plot.where[level]] = rows(plot)
        self._kept[key] = self.tick, found
        if len(self._kept) > MANY_KEPT:
            del self._kept[next(iter(self._kept))]
        return found

    def everything(self) -> Plot:
        """All supernodes. Needs one to be there."""
        found = self.since(-1)
        assert found is not None
        return found

    def within(self, level: int, supernodes: Indices) -> Indices:
        """The domains of a level of some supernodes, one after the other."""
        first = self.first[level]
        sizes = first[supernodes + 1] - first[supernodes]
        return np.arange(int(sizes.sum())) + np.repeat(first[supernodes] - _before(sizes), sizes)

    def since(self, tick: int) -> Plot | None:
        """The supernodes that changed after a tick; None when none did."""
        changed = np.flatnonzero(self.changed > tick)
        if not len(changed):
            return None
        views = [self.views[i] for i in changed.tolist()]
        sizes = [first[changed + 1] - first[changed] for first in self.first]
        shifts = [first[changed] - _before(size) for first, size in zip(self.first, sizes, strict=True)]
        where = [self.within(level, changed) for level in range(len(sizes))]
        starts = [
            starts[at] - np.repeat(shift, size)
            for starts, at, shift, size in zip(self.starts, where[1:], shifts, sizes[1:], strict=False)
        ]
        return Plot(views, changed, self.kinds, sizes, starts, where)
