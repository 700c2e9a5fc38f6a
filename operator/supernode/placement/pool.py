"""Groups over several supernodes of racks, on nodes that may be partly used: the racks of a set of supernodes, pooled.

Of a set S of supernodes, R racks hold N members on n nodes only if for all p, q, a >= 0

    q n + a R + sum over the racks of S of max(0, max over k of (p P(k) - q k) - a) >= p N,

where P(k) is what the k roomiest nodes of a rack hold: the nodes of each rack are worth no more than its best choice of
them, and a rack not more than that beyond a. With q = 0 that is all there is to say about racks. So a supernode is
judged by one short row of numbers, and the roomiest rows alone bound R and, with that, n. A set that meets all these
conditions is pooled, as if it were one supernode of many racks; where that reaches the bounds too, nothing is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from supernode.placement.board import Board
from supernode.placement.cover import Covers, mended
from supernode.placement.ground import Plot
from supernode.placement.rows import Ints
from supernode.placement.split import Shares
from supernode.placement.spread import of_racks
from supernode.topology.node import Node

RATES = ((3, 2), (2, 1), (3, 1))
"""(p, q) tried besides 1 / v for each v that a node may take: what counts where the racks are nearly full."""

TRIES = 8
"""Numbers of racks and nodes that are looked at before prices are."""

MANY = 2000
"""Sets of supernodes tried one by one."""

DEDUCTIONS = 16
"""About how many values of a are tried for a rate; for racks alone, all."""

Conditions = tuple[Ints, Ints, Ints]
"""p, q, a of every condition; the first is (1, 0, 0), by which a supernode is worth all it takes."""


def applies(board: Board) -> bool:
    """Whether racks are all that lies between nodes and supernodes, and members come in the same blocks at each."""
    shape = board.shape
    steps = shape.steps[shape.profile.node_index :]
    return (
        len(shape.above) == 2
        and len(set(steps)) == 1
        and not (shape.per_node or shape.spares or shape.whole or board.reserved)
    )


def choose(board: Board, count: int, members: int) -> tuple[int, Shares] | None:
    """The least price, and (rack, numbered over all supernodes, members), over the fewest supernodes that hold all:
    `count`. None where no set was found at the bounds.

    Racks and nodes start at their bounds, and rise by one where no set meets the conditions of so few.
    """
    step = board.shape.steps[-1]
    total = members // step
    p, q, a = conditions = _conditions(board)
    rows = board.kept("pool", partial(_rows, board, conditions))
    order = np.argsort(-rows[:, 0], kind="stable")
    sets = _Sets(rows[order], count)
    lacking = total * p - sets.top
    racks, nodes = _bound(lacking, a, q == 0), 0
    for _ in range(TRIES):
        nodes = max(nodes, _bound(lacking - a * racks, q, q > 0))
        chosen = sets.meeting(total * p - q * nodes - a * racks)
        if chosen is None:
            return None
        if len(chosen):
            return _pooled(board, order[chosen], (nodes, racks, count), members)
        bare = sets.meeting(np.where(q == 0, total * p - a * racks, 0))
        if bare is None:
            return None
        racks, nodes = (racks, nodes + 1) if len(bare) else (racks + 1, 0)
    return None


def _pooled(board: Board, supernodes: Ints, counts: tuple[int, int, int], members: int) -> tuple[int, Shares] | None:
    """Shares of the racks of these supernodes that touch so many nodes, racks and supernodes, or None."""
    racks = board.ground.within(1, np.sort(supernodes))
    reach = board.inner()[racks]
    if int(np.sort(reach[:, -1])[-counts[1] :].sum()) < members:
        return None
    covers = Covers(reach, counts[1], members, board.shape.steps[-1])
    shares = covers.shares() if covers.parts == counts[0] else None
    if shares is None:
        return None
    return board.coding.pack(counts), [(int(racks[rack]), amount) for rack, amount in shares]


class _Sets:
    """Sets of `count` supernodes. rows: by supernode, the roomiest first, what it is worth in each condition. top: no
    set is worth more in any."""

    def __init__(self, rows: Ints, count: int) -> None:
        ordered = np.sort(np.ascontiguousarray(rows.T)).T[::-1]
        self._rows = rows
        self._count = count
        self._last = ordered[count - 1]
        self._next = ordered[count] if len(rows) > count else np.full(rows.shape[1], -1)
        self.top: Ints = ordered[:count].sum(axis=0)

    def meeting(self, need: Ints) -> Ints | None:
        """A set worth what is needed in every condition, the roomiest preferred; empty where there is none, and None
        where it is not known whether there is one."""
        slack = self.top - need
        fixed = (self._rows > self._next + slack).any(axis=1)
        free = self._count - int(fixed.sum())
        among = np.flatnonzero((self._rows >= self._last - slack).all(axis=1) & ~fixed)
        if not 0 <= free <= len(among):
            return among[:0]
        found = mended(self._rows, need, np.flatnonzero(fixed), among, self._count)
        if found is not None or comb(len(among), free) > MANY:
            return found
        every = np.array(list(combinations(among.tolist(), free)), np.intp)
        missing = need - self._rows[fixed].sum(axis=0)
        meet = np.flatnonzero((self._rows[every].sum(axis=1) >= missing).all(axis=1))
        return np.concatenate((np.flatnonzero(fixed), every[meet[0]])) if len(meet) else among[:0]


def columns(board: Board, shares: Shares) -> tuple[Ints, Ints]:
    """The nodes taken, numbered over all supernodes, and the members on each."""
    first, last = board.ground.first[0], len(board.caps[0])

    def nodes(start: int, end: int) -> Sequence[Node]:
        owner = int(np.searchsorted(first, start, side="right")) - 1
        return board.views[owner].nodes[start - first[owner] : end - first[owner]]

    caps, bounds = (board.caps[0], board.caps[1]), np.append(board.ground.starts[0], last)
    return of_racks(shares, caps, bounds, nodes, (board.shape.steps[-1], board.coding.low > 0))


def _bound(missing: Ints, each: Ints, among: NDArray[np.bool_]) -> int:
    """The fewest that make up for what is missing in every condition. each: what one of them brings."""
    inside = among & (each > 0)
    return int((-(-missing[inside] // each[inside])).max())


def _conditions(board: Board) -> Conditions:
    return _conditions_of(board.inner().shape[1] - 1, board.most_of_node // board.shape.steps[-1])


@cache
def _conditions_of(nodes: int, most: int) -> Conditions:
    """nodes: of a rack. most: what a node takes."""
    found = []
    for p, q in ((1, 0), *((1, v) for v in range(1, most + 1)), *RATES):
        largest = max(0, nodes * (p * most - q))
        found += [(p, q, a) for a in range(0, largest + 1, max(1, largest // DEDUCTIONS) if q else 1)]
    p, q, a = np.array(found, np.int64).T
    return p, q, a


def _rows(board: Board, conditions: Conditions, plot: Plot) -> Ints:
    """By supernode and condition, what its racks are worth."""
    reach = board.inner().T[1:, plot.where[1]] // board.shape.steps[-1]
    p, q, a = conditions
    first, rate = np.unique(p << 32 | q, return_index=True, return_inverse=True)[1:]
    count = np.arange(1, len(reach) + 1)[:, None, None]
    worth = (p[first, None] * reach[:, None] - q[first, None] * count).max(axis=0).clip(0)
    counts, width = (len(first), len(plot.views)), max(int(worth.max(initial=0)), int(a.max())) + 2
    owners = np.arange(counts[0])[:, None] * counts[1] + plot.owners(1)
    racks = np.bincount((owners * width + worth).ravel(), minlength=counts[0] * counts[1] * width)
    beyond = racks.reshape(*counts, width)[:, :, ::-1].cumsum(axis=2).cumsum(axis=2)[:, :, ::-1]  # of a, at a + 1
    return np.asarray(beyond[rate, :, a + 1].T, np.int64)
