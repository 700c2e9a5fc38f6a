"""The tables of all supernodes of a profile for one shape, kept up to date from one snapshot to the next."""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernode.placement.coding import FAR, Coding
from supernode.placement.rows import Ints
from supernode.placement.shape import Shape
from supernode.placement.tables import Tables, tables_of
from supernode.topology.fleet import SuperNodeView

MAX_BOARDS = 128


class Board:
    """tables[i] and caps[i] belong to views[i]; exact: no budget cut any table short. notes: what decisions remember
    until the snapshot changes.

    A view that did not change since the last snapshot costs one comparison.
    """

    def __init__(self, shape: Shape, limit: int, coding: Coding) -> None:
        self.shape = shape
        self.limit = limit
        self.coding = coding
        self.views: list[SuperNodeView] = []
        self.tables: list[Tables] = []
        self.caps: Ints = np.zeros(0, np.int64)
        self.exact = True
        self.notes: dict[Hashable, Any] = {}
        self._reach: list[Ints] = []

    def follow(self, views: Sequence[SuperNodeView]) -> None:
        """Take over another snapshot of the same supernodes, or of others."""
        if len(views) != len(self.views):
            self.tables = tables_of(views, self.shape, self.limit, self.coding)
            self.caps = np.zeros(len(views), np.int64)
            self._reach = []
            changed = list(range(len(views)))
        else:
            changed = [i for i, (old, new) in enumerate(zip(self.views, views, strict=True)) if old is not new]
            for i, table in zip(changed, tables_of([views[i] for i in changed], *self._key), strict=True):
                self.tables[i] = table
        if changed or not views:
            self._changed(views, changed)

    @property
    def _key(self) -> tuple[Shape, int, Coding]:
        return self.shape, self.limit, self.coding

    def _changed(self, views: Sequence[SuperNodeView], changed: Sequence[int]) -> None:
        self.views = list(views)
        self.notes = {}
        for i in changed:
            self.caps[i] = self.tables[i].cap
        self.exact = self.coding.complete and all(table.exact for table in self.tables)
        if self._reach and all(self._fill(i) for i in changed):
            return
        self._reach = []

    def floors(self, members: int) -> Ints:
        """Per supernode, a lower bound of the price of holding all of this many members; FAR where it cannot.

        Each level's least count taken alone; where that is one domain at each level above the node, the least count of
        wholly free nodes too.
        """
        if not self._reach:
            rooms = [self._rooms(i) for i in range(len(self.tables))]
            self._reach = [
                np.zeros((len(rooms), max(map(len, level)) + 1), np.int64) for level in zip(*rooms, strict=True)
            ]
            for i in range(len(rooms)):
                self._fill(i)
        counts = [(reach < members).sum(axis=1) for reach in self._reach[: len(self.shape.above)]]
        floors = np.where(self.caps < members, FAR, 0)
        if self.coding.low and self._reach:
            alone = np.all([count <= 1 for count in counts[1:]], axis=0) & (self.caps >= members)
            floors += self._least_whole(members, counts[0] if counts else np.ones(len(floors), np.int64), alone)
        for above, count in enumerate(counts):
            floors += count * self.coding.unit(above)
        return np.minimum(floors, FAR)

    def _rooms(self, index: int) -> list[Ints]:
        """What the domains of one supernode take: each level below the outermost, node first; then, where they are
        counted, the wholly free nodes and the others."""
        table = self.tables[index]
        rooms = table.bounds[: len(self.shape.above)]
        if not self.coding.low:
            return rooms
        whole = table.view.census.wholly_free
        return [*rooms, np.where(whole, table.bounds[0], 0), np.where(whole, 0, table.bounds[0])]

    def _fill(self, index: int) -> bool:
        """Set reach[index, k] to what the k roomiest take, for each of `_rooms`; false where a row is too short."""
        for reach, room in zip(self._reach, self._rooms(index), strict=True):
            if len(room) >= reach.shape[1]:
                return False
            reach[index, 1 : len(room) + 1] = np.cumsum(np.sort(room)[::-1])
            reach[index, len(room) + 1 :] = reach[index, len(room)]
        return True

    def _least_whole(self, members: int, nodes: Ints, where: NDArray[np.bool_]) -> Ints:
        """Per supernode, the fewest wholly free ones among any `nodes` nodes that take all members."""
        whole, partly = self._reach[-2:]
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
        usable = [table for table in self.tables if table.bound]
        levels = [np.concatenate([table.bounds[above] for table in usable]) for above in range(len(self.shape.above))]
        levels.append(np.array([table.bound for table in usable], np.int64))
        return [_fewest(np.bincount(room), members) for room in levels]

    def rough(self) -> Board:
        """The same with every reserve that takes a search followed only roughly."""
        board: Board | None = self.notes.get("rough")
        if board is None:
            board = self.notes["rough"] = Board(*self._key)
            board.tables = [table.rough for table in self.tables]
            board.caps = np.zeros(len(self.views), np.int64)
            board._changed(self.views, range(len(self.views)))
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
    limit = 1 << max(0, members - 1).bit_length()
    if shape.whole_nodes:
        limit = max(limit, 2048)
    key = ("board", tag, shape, limit, coding)
    board: Board | None = shared.get(key)
    if board is None:
        boards = [key for key in shared if isinstance(key, tuple) and key[0] == "board"]
        if len(boards) >= MAX_BOARDS:
            del shared[boards[0]]
        board = shared[key] = Board(shape, limit, coding)
    board.follow(views)
    return board
