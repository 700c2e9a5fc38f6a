"""Which options of a split can still be part of an optimum: bounds from relaxing "the shares sum to the total".

With a price `rate` per step handed out, the relaxed problem falls apart: each child picks its best share on its own,
and the `count` children with the least reduced price are taken. rate * total plus those prices is a lower bound of
every split (Lagrange); forcing one option into it gives that option's own bound. Options above the price of a known
split go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from supernode.placement.coding import FAR
from supernode.placement.rows import Ints

_ROUNDS = 32
_SAFE = 1 << 52
"""Prices below this cannot overflow when reduced."""


@dataclass(frozen=True, slots=True)
class Options:
    """What children may get, one row each: steps (descending by one) and their prices; FAR beyond the last option.

    children: their numbers, ascending; caps: what they could take.
    """

    children: Ints
    caps: Ints
    steps: Ints
    prices: Ints


@dataclass(frozen=True, slots=True)
class Window:
    """What one child may get: steps[i] (descending), at prices[i]."""

    child: int
    steps: Ints
    prices: Ints


def prune(options: Options, count: int, total: int, known: int) -> tuple[list[Window], int]:
    """(the windows left without the options that cannot be part of a split of `total` steps over `count` children whose
    price is at most that of the best split found here or `known`, a lower bound of every split's price).

    Of equal shares, the `count` ones with the least (price, capacity, number) are kept: a split that uses another can
    have it exchanged. Otherwise every optimal split survives.
    """
    inside = options.prices < FAR
    bound = 0
    if int(options.prices[inside].max()) <= _SAFE:
        best, known, bound = _relax(options.prices, options.steps, count, total, known)
        inside &= best <= known
    return _windows(options, _thinned(options, inside, count)), bound


def _thinned(options: Options, keep: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    rows, columns = np.nonzero(keep)
    steps = options.steps[rows, columns]
    order = np.lexsort((rows, options.caps[rows], options.prices[rows, columns], steps))
    shares = steps[order]
    rank = np.arange(len(order)) - np.searchsorted(shares, shares)
    thinned = np.zeros_like(keep)
    kept = order[rank < count]
    thinned[rows[kept], columns[kept]] = True
    return thinned


def _windows(options: Options, keep: NDArray[np.bool_]) -> list[Window]:
    return [
        Window(int(options.children[row]), options.steps[row, keep[row]], options.prices[row, keep[row]])
        for row in np.flatnonzero(keep.any(axis=1)).tolist()
    ]


def _relax(prices: Ints, steps: Ints, count: int, total: int, known: int) -> tuple[Ints, int, int]:
    """(a lower bound for each option, the least price of a split seen, the best lower bound of all splits).

    The bound is concave in the rate, a minimum of straight lines of slope total - given: the next rate is where the
    lines on both sides of the summit cross, and the summit is reached when none lies below that crossing.
    """
    high = 2 * int((prices[:, 0] // steps[:, 0]).max()) + 1
    left: tuple[int, int] | None = None
    right: tuple[int, int] | None = None
    bounds = np.zeros(prices.shape, np.int64)
    rows = np.arange(len(prices))
    summit, rate, tried = 0, high // 2, set[int]()
    for _ in range(_ROUNDS):
        tried.add(rate)
        reduced = prices - rate * steps
        picks = reduced.argmin(axis=1)
        least = reduced[rows, picks]
        order = np.argsort(least, kind="stable")
        taken = order[:count]
        bound = rate * total + int(least[taken].sum())
        instead = np.full(len(picks), least[order[count - 1]])
        instead[taken] = least[taken]
        np.maximum(bounds, bound + reduced - instead[:, None], out=bounds)
        summit = max(summit, bound)
        given = int(steps[taken, picks[taken]].sum())
        line = given, bound - rate * (total - given)
        left, right = (line, right) if given < total else (left, line)
        if given == total or (left is not None and right is not None):
            known = min(known, _mend(prices, steps, taken, picks[taken], total))
        if given == total or known <= summit:
            break
        if left is None or right is None:
            rate = 0 if right is not None and left is None else high
        else:
            rate = (right[1] - left[1]) // (right[0] - left[0])
        if rate in tried:
            break
    return bounds, known, summit


def _mend(prices: Ints, steps: Ints, taken: Ints, picks: Ints, total: int) -> int:
    """The price of a split near a relaxed one: shares are moved a step where that is cheapest, equally cheap ones at
    once, until they sum to the total; FAR if they cannot."""
    width = prices.shape[1]
    at = picks.copy()
    while (gap := total - int(steps[taken, at].sum())) != 0:
        to = at - 1 if gap > 0 else at + 1
        inside = (to >= 0) & (to < width)
        change = np.where(inside, prices[taken, to % width] - prices[taken, at], FAR)
        best = change.min()
        if best > _SAFE:
            return FAR
        moved = np.flatnonzero(change == best)[: abs(gap)]
        at[moved] = to[moved]
    return int(prices[taken, at].sum())
