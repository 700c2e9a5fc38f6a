"""The tables of all supernodes of a profile for one shape, kept up to date from one snapshot to the next."""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping, Sequence
from typing import Any

import numpy as np

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
        for above, reach in enumerate(self._reach):
            widest = max(len(self.tables[i].bounds[above]) for i in changed)
            if widest >= reach.shape[1]:
                self._reach = []
                break
            for i in changed:
                self._fill(reach, above, i)

    def floors(self, members: int) -> Ints:
        """Per supernode, a lower bound of the price of holding all of this many members; FAR where it cannot.

        Each level's least count taken alone.
        """
        if not self._reach:
            for above in range(len(self.shape.above)):
                widest = max((len(table.bounds[above]) for table in self.tables), default=0)
                self._reach.append(np.zeros((len(self.tables), widest + 1), np.int64))
                for i in range(len(self.tables)):
                    self._fill(self._reach[above], above, i)
        floors = np.zeros(len(self.tables), np.int64)
        for above, reach in enumerate(self._reach):
            floors += (reach < members).sum(axis=1) * self.coding.unit(above)
        floors[self.caps < members] = FAR
        return floors

    def _fill(self, reach: Ints, above: int, index: int) -> None:
        """reach[index, k]: the members that the k roomiest domains of a level take."""
        room = self.tables[index].bounds[above]
        reach[index, 1 : len(room) + 1] = np.cumsum(np.sort(room)[::-1])
        reach[index, len(room) + 1 :] = reach[index, len(room)]

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
