"""What all supernodes of a profile can take for one shape, kept up to date from one snapshot to the next."""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernode.placement.capacity import domain_caps, open_nodes
from supernode.placement.coding import FAR, Coding
from supernode.placement.ground import Ground, Plot, plot_of
from supernode.placement.rows import Ints
from supernode.placement.shape import Shape
from supernode.placement.tables import Tables
from supernode.topology.fleet import SuperNodeView

MAX_BOARDS = 64


class Board:
    """One shape, for groups of up to `limit` members.

    caps[l]: members that each domain of level l takes, all supernodes in one array; level 0 is the node. whole: which
    nodes are wholly free. room: by supernode, what it takes with its reserve kept; bound: the same, or more where a
    budget made room inexact. exact: all that is said is exact. notes: what decisions remember until the snapshot
    changes.
    """

    def __init__(self, shape: Shape, limit: int, coding: Coding, ground: Ground) -> None:
        self.shape = shape
        self.limit = limit
        self.coding = coding
        self.ground = ground
        self.notes: dict[Hashable, Any] = {}
        self._epoch = self._tick = -1
        self._rough = False

    @property
    def views(self) -> Sequence[SuperNodeView]:
        return self.ground.views

    @property
    def exact(self) -> bool:
        return self.coding.complete and not self._inexact.any()

    def follow(self) -> None:
        """Catch up with the ground; what did not change costs nothing."""
        if self._epoch != self.ground.epoch:
            self._epoch, self._tick = self.ground.epoch, -1
            self._clear()
        plot = self.ground.since(self._tick)
        if plot is not None:
            self._tick = self.ground.tick
            self._take(plot)

    def _clear(self) -> None:
        nodes, supernodes = self.ground.first[0][-1], len(self.views)
        self.caps = [np.zeros(first[-1], np.int64) for first in self.ground.first]
        self.whole: NDArray[np.bool_] = np.zeros(nodes, np.bool_)
        self.room: Ints = np.zeros(supernodes, np.int64)
        self.bound: Ints = np.zeros(supernodes, np.int64)
        self._inexact: NDArray[np.bool_] = np.zeros(supernodes, np.bool_)
        self._kind_room: Ints = np.zeros(0, np.int64)
        self._kind_loose: Ints = np.zeros(0, np.int64)
        self._kind_whole: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._reach: dict[tuple[int, bool | None], Ints] = {}

    def _take(self, plot: Plot) -> None:
        self.notes = {}
        new = list(self.ground.kinds)[len(self._kind_room) :]
        if new:
            rooms = [self.shape.packing.capacity(kind.free) for kind in new]
            self._kind_room = np.concatenate((self._kind_room, np.array(rooms, np.int64)))
            self._kind_whole = np.concatenate((self._kind_whole, [kind.wholly_free for kind in new]))
            if self.shape.spares:
                loose = [self.shape.loose.capacity(kind.free) for kind in new]
                self._kind_loose = np.concatenate((self._kind_loose, np.array(loose, np.int64)))
        self.whole[plot.where[0]] = self._kind_whole[plot.kinds]
        by_kind = [self._kind_room, self._kind_loose] if self.shape.spares else [self._kind_room]
        nodes = [open_nodes(plot, room, self._kind_whole) for room in by_kind]
        levels = domain_caps(plot, self.shape, *nodes)
        for caps, where, part in zip(self.caps, plot.where, levels, strict=True):
            caps[where] = part
        room = np.zeros(len(plot.views), np.int64)
        room[plot.owners(len(levels) - 1)] = levels[-1]
        self._settle(plot, room)
        for (level, whole), reach in self._reach.items():
            reach[plot.index] = self._reach_of(plot, level, whole)

    def _settle(self, plot: Plot, room: Ints) -> None:
        """Keep reserves: where nodes are given whole, a matter of counting; else what the supernode's tables say."""
        self.room[plot.index] = self.bound[plot.index] = room
        self._inexact[plot.index] = False
        kept = [(i, view) for i, view in zip(plot.index.tolist(), plot.views, strict=True) if view.reserve]
        for i, view in kept:
            if self.shape.per_node and self.shape.spares_in_top:
                usable = max(0, view.wholly_free - view.reserve - self.shape.spares) * self.shape.per_node
                least = min(int(self.room[i]), usable)
                self.room[i] = self.bound[i] = least - least % self.shape.steps[-1]
            else:
                table = self.table(i)
                self.room[i], self.bound[i], self._inexact[i] = table.cap, table.bound, not table.exact

    def table(self, index: int) -> Tables:
        """The tables of one supernode."""
        view = self.views[index]
        key = ("tables", self.shape, self.limit, self.coding)
        table = view.memo(key, lambda: Tables(view, self.shape, self.limit, self.coding, self._caps_of(index)))
        return table.rough if self._rough else table

    def _caps_of(self, index: int) -> list[Ints]:
        """By level, what the domains of one supernode take."""
        ends = (first[index : index + 2] for first in self.ground.first)
        return [caps[start:end].copy() for caps, (start, end) in zip(self.caps, ends, strict=True)]

    def reach(self, level: int, whole: bool | None = None) -> Ints:
        """By supernode and k, what its k roomiest domains of a level take. whole: of its nodes, only those that are
        wholly free, or only the others."""
        key = level, whole
        if key not in self._reach:
            self._reach[key] = self._reach_of(plot_of(self.views, self.ground.kinds), level, whole)
        return self._reach[key]

    def _reach_of(self, plot: Plot, level: int, whole: bool | None) -> Ints:
        sizes, where = plot.sizes[level], plot.where[level]
        rooms = self.caps[level][where]
        if whole is not None:
            rooms[self.whole[where] != whole] = 0
        widest = int(np.diff(self.ground.first[level]).max())
        reach = np.zeros((len(plot.views), widest + 1), np.int64)
        column = np.arange(len(rooms)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        reach[plot.owners(level), column + 1] = -rooms
        reach[:, 1:].sort(axis=1)
        return np.cumsum(-reach, axis=1)

    def floors(self, members: int) -> Ints:
        """By supernode, a lower bound of the price of holding all of this many members; FAR where it cannot.

        Each level's least count taken alone; where that is one domain at each level above the node, the least count of
        wholly free nodes too. Where nodes are given whole and racks are the only level between, it is the price.
        """
        top, per_node = len(self.shape.above), self.shape.per_node
        counts = {level: (self.reach(level) < members).sum(axis=1) for level in range(1 if per_node else 0, top)}
        floors = np.where(
            self.room < members, FAR, members // per_node * self.coding.unit(0) if per_node and top else 0
        )
        if self.coding.low and top:
            alone = np.all([count <= 1 for level, count in counts.items() if level], axis=0) & (self.room >= members)
            floors += self._least_whole(members, counts[0], alone)
        for level, count in counts.items():
            floors += count * self.coding.unit(level)
        return np.minimum(floors, FAR)

    def _least_whole(self, members: int, nodes: Ints, where: NDArray[np.bool_]) -> Ints:
        """By supernode, the fewest wholly free ones among any `nodes` nodes that take all members."""
        whole, partly = self.reach(0, True), self.reach(0, False)
        last = whole.shape[1] - 1
        least = np.zeros(len(nodes), np.int64)
        open_ = where.copy()
        for taken in range(int(nodes[where].max(initial=0)) + 1):
            others = partly[np.arange(len(nodes)), np.clip(nodes - taken, 0, last)]
            holds = whole[:, min(taken, last)] + others >= members
            least[open_ & holds] = taken
            open_ &= ~holds
            if not open_.any():
                break
        return least

    def floor(self, members: int) -> list[int]:
        """Each level's least count over all supernodes, taken alone, node first: no placement has less at any level."""
        return [_fewest(np.bincount(room), members) for room in (*self.caps[:-1], self.bound)]

    def rough(self) -> Board:
        """The same with every reserve that takes a search followed only roughly."""
        board = copy(self)
        board._rough = True
        tables = [board.table(i) for i in range(len(self.views))]
        board.room = np.array([table.cap for table in tables], np.int64)
        board.bound = np.array([table.bound for table in tables], np.int64)
        board._inexact = np.array([not table.exact for table in tables])
        return board


def _fewest(histogram: Ints, members: int) -> int:
    """How many of the roomiest domains hold `members`. histogram[v]: domains that take v."""
    sizes = np.arange(len(histogram) - 1, -1, -1)
    counts = histogram[::-1]
    reach = np.cumsum(counts * sizes)
    at = int(np.searchsorted(reach, members))
    before = int(reach[at - 1]) if at else 0
    return int(counts[:at].sum()) + -(-(members - before) // int(sizes[at]))


def board_of(
    shared: MutableMapping[Hashable, Any],
    views: Sequence[SuperNodeView],
    shape: Shape,
    members: int,
    coding: Coding,
    tag: str,
) -> Board:
    """The board for groups of this many members. tag keeps boards of different kinds of snapshots apart."""
    place = ("ground", tag, shape.profile.name)
    ground: Ground = shared.get(place) or shared.setdefault(place, Ground())
    ground.follow(views)
    limit = 1 << max(0, members - 1).bit_length()
    if shape.per_node:
        limit = max(limit, 2048)
    key = ("board", tag, shape, limit, coding)
    board: Board | None = shared.get(key)
    if board is None:
        boards = [key for key in shared if isinstance(key, tuple) and key[0] == "board"]
        if len(boards) >= MAX_BOARDS:
            del shared[boards[0]]
        board = shared[key] = Board(shape, limit, coding, ground)
    board.follow()
    return board
