"""The tables of all supernodes of a profile for one shape, kept up to date from one snapshot to the next."""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping, Sequence
from typing import Any

import numpy as np

from supernode.placement.coding import FAR, Coding
from supernode.placement.shape import Shape
from supernode.placement.tables import Ints, Tables, tables
from supernode.topology.fleet import SuperNodeView

MAX_BOARDS = 128
MAX_COLUMNS = 32


class Board:
    """tables[i] and caps[i] belong to views[i]; exact: no budget cut any table short.

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
        self._columns: dict[int, Ints] = {}

    def follow(self, views: Sequence[SuperNodeView]) -> None:
        """Take over another snapshot of the same supernodes, or of others."""
        if len(views) != len(self.views):
            self.views, self.tables, self._columns = [], [], {}
            self.caps = np.zeros(len(views), np.int64)
            changed = list(range(len(views)))
            self.tables = [tables(view, self.shape, self.limit, self.coding) for view in views]
        else:
            changed = [i for i, (old, new) in enumerate(zip(self.views, views, strict=True)) if old is not new]
            for i in changed:
                self.tables[i] = tables(views[i], self.shape, self.limit, self.coding)
        self.views = list(views)
        for i in changed:
            self.caps[i] = self.tables[i].cap
        if changed:
            self.exact = self.coding.complete and all(table.exact for table in self.tables)
        for members, column in self._columns.items():
            for i in changed:
                column[i] = self._price(i, members)

    def column(self, members: int) -> Ints:
        """Per supernode, the price of holding all of this many members; FAR where it cannot."""
        column = self._columns.get(members)
        if column is None:
            if len(self._columns) >= MAX_COLUMNS:
                del self._columns[next(iter(self._columns))]
            column = np.array([self._price(i, members) for i in range(len(self.views))], np.int64)
            self._columns[members] = column
        return column

    def _price(self, index: int, members: int) -> int:
        if self.caps[index] < members:
            return FAR
        row = self.tables[index].row
        return int(row.prices[members // row.step])


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
