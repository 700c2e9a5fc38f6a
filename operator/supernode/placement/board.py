"""What all supernodes of a profile can take for one shape, kept up to date from one snapshot to the next."""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping, Sequence
from copy import copy
from functools import partial
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernode.placement.capacity import domain_caps, open_nodes
from supernode.placement.coding import FAR, Coding
from supernode.placement.ground import Ground, Plot
from supernode.placement.kept import Kept, doubtful
from supernode.placement.racks import fewest_whole
from supernode.placement.rows import Ints, cumulated, stacked
from supernode.placement.shape import Shape
from supernode.placement.sums import added_up, affordable
from supernode.placement.tables import Tables
from supernode.topology.fleet import SuperNodeView

MAX_BOARDS = 64

AILING_BITS = 16
"""More ailing nodes of a supernode than this many bits hold are as many."""


class Board:
    """One shape, for groups of up to `limit` members.

    caps[l]: members that each domain of level l takes, all supernodes in one array; level 0 is the node. whole: which
    nodes are wholly free. room: by supernode, what it takes with its reserve kept; preference: its order among equals,
    which is by room and then by its ailing nodes; bound: the same, or more where a
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
        self._widest = int(np.diff(self.ground.starts[0], append=nodes).max()) if self.shape.above else 0
        self._summable = self._ratio()
        self.caps = [np.zeros(first[-1], np.int64) for first in self.ground.first]
        self.whole: NDArray[np.bool_] = np.zeros(nodes, np.bool_)
        self.room: Ints = np.zeros(supernodes, np.int64)
        self.bound: Ints = np.zeros(supernodes, np.int64)
        self._ailing: Ints = np.zeros(supernodes, np.int64)
        self._inexact: NDArray[np.bool_] = np.zeros(supernodes, np.bool_)
        self._kind_room: Ints = np.zeros(0, np.int64)
        self._kind_loose: Ints = np.zeros(0, np.int64)
        self._kind_whole: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._kind_ill: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._kept: dict[Hashable, tuple[Callable[[Plot], Ints], Ints]] = {}
        self._inner: dict[bool | None, Ints] = {}
        self._reserves: Ints = np.zeros(supernodes, np.int64)
        self._sums: Ints = np.zeros((0, 0), np.int64)
        self._unsummed: NDArray[np.bool_] = np.ones(supernodes, np.bool_)

    def _take(self, plot: Plot) -> None:
        self.notes = {}
        self._reserves[plot.index] = [view.reserve for view in plot.views]
        kinds = plot.kinds
        new = list(self.ground.kinds)[len(self._kind_room) :]
        if new:
            rooms = [self.shape.packing.capacity(kind.free) for kind in new]
            self._kind_room = np.concatenate((self._kind_room, np.array(rooms, np.int64)))
            self._kind_whole = np.concatenate((self._kind_whole, [kind.wholly_free for kind in new]))
            self._kind_ill = np.concatenate((self._kind_ill, [kind.ill for kind in new]))
            if self.shape.spares:
                loose = [self.shape.loose.capacity(kind.free) for kind in new]
                self._kind_loose = np.concatenate((self._kind_loose, np.array(loose, np.int64)))
        self.whole[plot.where[0]] = self._kind_whole[kinds]
        by_kind = [self._kind_room, self._kind_loose] if self.shape.spares else [self._kind_room]
        nodes = [open_nodes(plot, room, self._kind_whole) for room in by_kind]
        levels = domain_caps(plot, self.shape, *nodes)
        for caps, where, part in zip(self.caps, plot.where, levels, strict=True):
            caps[where] = part
        room = np.zeros(len(plot.views), np.int64)
        np.maximum.at(room, plot.owners(len(levels) - 1), levels[-1])
        self._ailing[plot.index] = np.bincount(plot.owners(0)[self._kind_ill[kinds]], minlength=len(plot.views))
        beside = nodes[1] if self.shape.spares else None
        self._settle(plot, room, Kept(plot, self.shape, levels, self._kind_whole[kinds], beside))
        for whole, inner in self._inner.items():
            inner[plot.where[1]] = self._inner_of(plot, whole)
        for rows, kept in self._kept.values():
            kept[plot.index] = rows(plot)
        self._unsummed[plot.index] = True

    def _settle(self, plot: Plot, room: Ints, kept: Kept) -> None:
        """Take what reserves leave; where counting does not say that, a supernode's tables do."""
        self._inexact[plot.index] = False
        if self.shape.above and self._reserves[plot.index].any():
            room = kept.room()
        self.room[plot.index] = self.bound[plot.index] = room
        unsure = [doubtful(view, self.shape) for view in plot.views] if self.shape.spares else []
        for i in compress(plot.index.tolist(), unsure):
            table = self.table(i)
            self.room[i], self._inexact[i] = table.cap, not table.exact

    @property
    def preference(self) -> Ints:
        return self.room << AILING_BITS | np.minimum(self._ailing, (1 << AILING_BITS) - 1)

    def table(self, index: int) -> Tables:
        """The tables of one supernode."""
        view = self.views[index]
        key = ("tables", self.shape, self.limit, self.coding)
        table = view.memo(key, lambda: self._table_of(index))
        return table.narrowed if self._rough else table

    def _table_of(self, index: int) -> Tables:
        bound = int(self.bound[index])
        table = Tables(self.views[index], self.shape, self.limit, self.coding, self._caps_of(index), bound)
        sure = not doubtful(table.view, self.shape) or table.narrowed.cap == bound
        return table if sure else table.narrowed

    def _caps_of(self, index: int) -> list[Ints]:
        """By level, what the domains of one supernode take."""
        ends = (first[index : index + 2] for first in self.ground.first)
        return [caps[start:end].copy() for caps, (start, end) in zip(self.caps, ends, strict=True)]

    def reach(self, level: int) -> Ints:
        """By supernode and k, what its k roomiest domains of a level take."""
        return self.kept(("reach", level), partial(self._reach_of, level))

    def kept(self, key: Hashable, rows: Callable[[Plot], Ints]) -> Ints:
        """What `rows` says of each supernode, worked out again only where one changed."""
        if key not in self._kept:
            self._kept[key] = rows, rows(self.ground.everything())
        return self._kept[key][1]

    @property
    def reserved(self) -> bool:
        """Whether any supernode has a reserve."""
        return bool(self._reserves.any())

    def inner(self, whole: bool | None = None) -> Ints:
        """By domain of nodes and k, what its k roomiest nodes take. whole: only those that are wholly free, or only the
        others."""
        if whole not in self._inner:
            self._inner[whole] = self._inner_of(self.ground.everything(), whole)
        return self._inner[whole]

    def _inner_of(self, plot: Plot, whole: bool | None) -> Ints:
        rooms = self._nodes(plot, whole)
        return cumulated(rooms, np.diff(plot.starts[0], append=len(rooms)), self._widest)

    def _nodes(self, plot: Plot, whole: bool | None) -> Ints:
        """What each node takes, or only those that are wholly free, or only the others."""
        where = plot.where[0]
        rooms = self.caps[0][where]
        if whole is not None:
            rooms[self.whole[where] != whole] = 0
        return rooms

    def _reach_of(self, level: int, plot: Plot) -> Ints:
        widest = int(np.diff(self.ground.first[level]).max())
        return cumulated(self.caps[level][plot.where[level]], plot.sizes[level], widest)

    def prices(self, supernodes: Ints) -> Ints:
        """prices[i, j] of j steps of members in each of these; FAR where it takes fewer, or where none asks for more.

        Over several racks wholly free nodes may not be counted. Raises RoughError.
        """
        ratio = self._summable
        if not ratio:
            return stacked([self.table(index).row.prices for index in supernodes.tolist()])
        changed = supernodes[self._unsummed[supernodes]]
        if len(changed):
            self._sum(changed)
        found: Ints = self._sums[supernodes, ::ratio]
        for at in np.flatnonzero(self._reserves[supernodes]).tolist():
            table = self.table(int(supernodes[at]))
            if table.usable is not None:
                prices = table.row.prices[: found.shape[1]]
                found[at] = FAR
                found[at, : len(prices)] = prices
        return found

    @property
    def bounds_only(self) -> bool:
        """Whether prices cost so much that their lower bounds should be asked first."""
        steps, node = self.shape.steps, self.shape.profile.node_index
        return not self._summable and len(self.shape.above) == 2 and steps[node] == steps[node + 1]

    def price_floors(self, supernodes: Ints) -> Ints:
        """As `prices`, but lower bounds. Raises RoughError."""
        tables = [self.table(index) for index in supernodes.tolist()]
        return stacked([table.floors if table.usable is None else table.row.prices for table in tables])

    def _ratio(self) -> int:
        """How many steps of a rack are one of a supernode, where supernodes of racks can be priced together; else 0."""
        if len(self.shape.above) != 2:
            return 0
        outer, inner = self.shape.steps[-1], self.shape.steps[-2]
        nodes, racks = (int(np.diff(first).max()) for first in self.ground.first[:2])
        return outer // inner if affordable(racks, nodes, *(most // inner for most in self._largest())) else 0

    def _largest(self) -> tuple[int, int]:
        """The most members that a rack and a supernode could ever take, of those that are asked for."""
        nodes = self._widest, int(np.diff(self.ground.first[0]).max())
        return min(self.limit, nodes[0] * self.most_of_node), min(self.limit, nodes[1] * self.most_of_node)

    @property
    def most_of_node(self) -> int:
        """The most members that a node takes by its profile."""
        return self.shape.packing.capacity(self.shape.profile.all_cards)

    def _sum(self, supernodes: Ints) -> None:
        """Bring the prices of these supernodes up to date."""
        step, most = self.shape.steps[-2], self._largest()[1]
        if not len(self._sums):
            self._sums = np.full((len(self.views), most // step + 1), FAR, np.int64)
        nodes, racks = (self.ground.within(level, supernodes) for level in (0, 1))
        sizes = np.diff(self.ground.starts[0], append=len(self.caps[0]))[racks]
        each = np.diff(self.ground.first[1])[supernodes]
        units = self.coding.unit(0), self.coding.unit(1)
        caps = self.caps[0][nodes], self.caps[1][racks]
        self._sums[supernodes] = added_up(*caps, sizes, each, step, most // step, units)
        self._unsummed[supernodes] = False

    def floors(self, members: int) -> Ints:
        """By supernode, a lower bound of the price of holding all of this many members; FAR where it cannot.

        Where one domain of nodes holds all, its price, reserves aside; else each level's least count taken alone. Where
        nodes are given whole and racks are the only level between, it is the price.
        """
        top, per_node, coding = len(self.shape.above), self.shape.per_node, self.coding
        near = None if per_node or not top else self._near(members)
        if near is not None and not self.reserved and top > 1:
            return np.where(near < FAR, near, np.where(self.room < members, FAR, near.min() + 1))
        levels = range(1 if per_node else 0, top)
        floors = np.where(self.room < members, FAR, members // per_node * coding.unit(0) if per_node and top else 0)
        for level in levels:
            floors += (self.reach(level) < members).sum(axis=1) * coding.unit(level)
        return np.minimum(floors if near is None else np.where(near < FAR, near, floors), FAR)

    def _near(self, members: int) -> Ints | None:
        """By supernode, the least price of one domain of nodes that holds all, reserves aside; FAR where none does, and
        None where none does anywhere. Wholly free nodes are counted where the nodes are the fewest."""
        domains = np.flatnonzero(self.caps[1] >= members)
        owners = np.searchsorted(self.ground.first[1], domains, side="right") - 1
        inside = self.room[owners] >= members
        domains, owners = domains[inside], owners[inside]
        if not len(domains):
            return None
        count = (self.inner()[domains] < members).sum(axis=1)
        prices = count * self.coding.unit(0) + sum(map(self.coding.unit, range(1, len(self.shape.above))))
        if self.coding.low:
            fewest = np.flatnonzero(count == count.min())
            whole, partly = self.inner(True)[domains[fewest]], self.inner(False)[domains[fewest]]
            prices[fewest] += fewest_whole(whole, partly, members, count[fewest])
        found = np.full(len(self.views), FAR, np.int64)
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        found[owners[starts]] = np.minimum.reduceat(prices, starts)
        return found

    def floor(self, members: int) -> list[int]:
        """Each level's least count over all supernodes, taken alone, node first: no placement has less at any level."""
        return [_fewest(np.bincount(room), members) for room in (*self.caps[:-1], self.bound)]

    def rough(self) -> Board:
        """The same with every reserve that takes a search followed only roughly, on the nodes with which most fits."""
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
