"""Groups over several domains: which ones, and how much of each, touch the fewest of their children.

Supernodes and their racks, where nodes are given whole; racks and their nodes, inside one supernode. In the words of
the first: with P(s, r) what the r roomiest racks of supernode s hold, r racks of a set S of supernodes hold a total if
and only if for every t from 0 up to the largest rack: t * r + sum over S of e(s, t) >= total, where e(s, t) = max over
r of P(s, r) - t * r, because the roomiest racks of a union come first and what they hold is the least of these lines.
So a set is judged by one row of numbers per supernode, and a bound follows from the roomiest rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from supernode.placement.fronts import level_out
from supernode.placement.rows import Ints

_TRIES = 64
"""Exchanges tried to mend a set; the exact knapsack is asked after that."""


@dataclass(frozen=True, slots=True)
class Cover:
    """parts: how many children are touched, the least there can be. shares: (domain, members)."""

    parts: int
    shares: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Bound:
    """parts: no set touches fewer. fixed: rows that every set with so few has; open: those it may have."""

    parts: int
    fixed: NDArray[np.intp]
    open: NDArray[np.intp]


def cover(reach: Ints, count: int, total: int, step: int) -> Cover | None:
    """The least cover by `count` domains, the fewest that hold `total` members; None when none was found at the bound.

    As `Covers`.
    """
    covers = Covers(reach, count, total, step)
    shares = covers.shares()
    return None if shares is None else Cover(covers.parts, shares)


class Covers:
    """The covers by `count` domains, the fewest that hold `total` members.

    reach[s, r]: what the r roomiest children of s hold; its rises never grow. step: shares are multiples of it, and so
    are the rises. parts: no cover touches fewer children.
    """

    def __init__(self, reach: Ints, count: int, total: int, step: int) -> None:
        self.count = count
        self.total = total
        self.step = step
        room = reach[:, -1]
        order = np.argsort(-room, kind="stable")
        slack = int(room[order[:count]].sum()) - total
        self._order = order[room[order] >= max(1, int(room[order[count - 1]]) - slack)]
        self._reach = reach[self._order]
        self._bound = _bound(self._reach, count, total)
        self.parts = self._bound.parts

    def shares(self) -> list[tuple[int, int]] | None:
        """(domain, members) of a cover with so few parts, or None when none was found.

        Among these the roomiest domains and, last, the one that the rest fits best are preferred; over these the split
        is as even as they allow.
        """
        lines = np.arange(0, max(1, int(self._reach[:, 1].max())), self.step)
        rows = _lines(self._reach, lines)
        need = self.total - lines * self.parts
        chosen = mended(rows, need, self._bound.fixed, self._bound.open, self.count)
        if chosen is None:
            return None
        held = _held(self._reach[chosen], self.parts)
        amounts = level_out((held // self.step).tolist(), self.total // self.step)
        return sorted(zip(self._order[chosen].tolist(), (amount * self.step for amount in amounts), strict=True))


def _lines(reach: Ints, lines: Ints) -> Ints:
    """e(s, t) for each t."""
    found: Ints = (reach[:, None, :] - lines[:, None] * np.arange(reach.shape[1])).max(axis=2)
    return found


def _bound(reach: Ints, count: int, total: int) -> _Bound:
    """The Lagrange bound, its price per member p / q racks raised or lowered to where the bound is highest.

    reach: the roomiest supernode first.
    """
    racks, rows = np.arange(1, reach.shape[1]), np.arange(len(reach))
    few = int(np.sort(reach[:, 1])[-count:].sum()), count
    if few[0] >= total:
        return _Bound(count, rows[:0], rows)
    room = reach[:count, -1]
    many = int(room.sum()), int((reach[:count] < room[:, None]).sum())
    while True:
        p, q = many[1] - few[1], many[0] - few[0]
        reduced = q * racks - p * reach[:, 1:]
        at = reduced.argmin(axis=1)
        least = reduced[rows, at]
        order = np.argsort(least, kind="stable")
        taken = order[:count]
        value = int(least[taken].sum()) + p * total
        if value >= q * few[1] + p * (total - few[0]):
            break
        line = int(reach[taken, at[taken] + 1].sum()), int(at[taken].sum()) + count
        few, many = (line, many) if line[0] < total else (few, line)
    fewest = -(-value // q)
    if len(order) == count:
        return _Bound(fewest, rows, rows[:0])
    loss, last, first = fewest * q - value, int(least[order[count - 1]]), int(least[order[count]])
    inside = np.zeros(len(rows), np.bool_)
    inside[taken] = True
    fixed = inside & (least < first - loss)
    return _Bound(fewest, rows[fixed], rows[~fixed & (inside | (least <= last + loss))])


def mended(
    rows: Ints, need: Ints, fixed: NDArray[np.intp], among: NDArray[np.intp], count: int
) -> NDArray[np.intp] | None:
    """`count` rows that together reach what is needed in every column, the fixed ones and others: the first of these,
    mended by exchanges; last, the one that fits best. Rows come roomiest first, and their first column is their room.
    """
    free = count - len(fixed)
    taken, left = among[:free], among[free:]
    held = rows[fixed].sum(axis=0) + rows[taken].sum(axis=0)
    for _ in range(_TRIES):
        lacking = int(np.maximum(need - held, 0).sum())
        if not lacking:
            break
        after = held - rows[taken][:, None] + rows[left]
        lacks = np.maximum(need - after, 0).sum(axis=2)
        if not lacks.size or int(lacks.min()) >= lacking:
            return None
        out, into = divmod(int(lacks.argmin()), len(left))
        held = after[out, into]
        taken[out], left[into] = left[into], taken[out]
    else:
        return None
    if len(taken) and len(left):
        out = int(np.lexsort((-taken, rows[taken, 0]))[0])
        fits = np.flatnonzero((held - rows[taken[out]] + rows[left] >= need).all(axis=1))
        best = fits[np.lexsort((left[fits], rows[left[fits], 0]))[:1]]
        if len(best) and rows[left[best[0]], 0] < rows[taken[out], 0]:
            taken[out] = left[best[0]]
    return np.sort(np.concatenate((fixed, taken)))


def _held(reach: Ints, racks: int) -> Ints:
    """What each supernode's part of the `racks` roomiest racks of all holds; of equal racks the first."""
    sizes = np.diff(reach, axis=1)
    least = np.sort(sizes, axis=None)[-racks]
    larger, equal = (sizes > least).sum(axis=1), (sizes == least).sum(axis=1)
    before = np.cumsum(equal) - equal
    taken = larger + np.clip(racks - int(larger.sum()) - before, 0, equal)
    held: Ints = reach[np.arange(len(reach)), taken]
    return held
