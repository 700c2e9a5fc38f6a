"""Which options of a split can still be part of a better one: bounds from relaxing "the shares reach the total".

With a price `rate` per step handed out, the relaxed problem falls apart: each child picks its best share on its own,
and the `count` children with the least reduced price are taken. rate * total plus those prices is a lower bound of
every split (Lagrange); forcing one option into it gives that option's own bound. Options that no split cheaper than a
known one can have go.
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
    """What children may get, one row each: steps (descending) and their prices; FAR where there is no option.

    children: their numbers, ascending; caps: what they could take. grain: every split's price is a multiple of it.
    """

    children: Ints
    caps: Ints
    steps: Ints
    prices: Ints
    grain: int = 1


@dataclass(frozen=True, slots=True)
class Window:
    """What one child may get: steps[i] (descending), at prices[i]."""

    child: int
    steps: Ints
    prices: Ints


@dataclass(frozen=True, slots=True)
class Known:
    """The cheapest split seen: its price, and (row of the options, steps) of each child in it."""

    price: int = FAR
    shares: tuple[tuple[int, int], ...] = ()


def prune(options: Options, count: int, total: int, known: Known) -> tuple[list[Window], Known, int]:
    """(the windows left, the best split found here or `known`, a lower bound of every split's price), for splits of
    at least `total` steps over `count` children.

    Windows keep every option that a split cheaper than the best one found can have; but of equal shares only the
    `count` ones with the least (price, capacity, number), since a split that uses another can have it exchanged.
    """
    inside = options.prices < FAR
    bound = 0
    if int(options.prices[inside].max()) <= _SAFE:
        bounds, known, bound = _relax(options, count, total, known)
        inside &= bounds <= known.price - options.grain
    return _windows(options, _thinned(options, inside, count)), known, bound


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
        Window(row, options.steps[row, keep[row]], options.prices[row, keep[row]])
        for row in np.flatnonzero(keep.any(axis=1)).tolist()
    ]


def _relax(options: Options, count: int, total: int, known: Known) -> tuple[Ints, Known, int]:
    """(a lower bound for each option, the cheapest split seen, the best lower bound of all splits).

    The bound is concave in the rate, a minimum of straight lines of slope total - given: the next rate is where the
    lines on both sides of the summit cross, and the summit is reached when none lies below that crossing.
    """
    prices, steps = options.prices, options.steps
    high = 2 * int((np.where(prices < FAR, prices, 0) // np.maximum(steps, 1)).max()) + 1
    left: tuple[int, int] | None = None
    right: tuple[int, int] | None = None
    bounds = np.zeros(prices.shape, np.int64)
    rows = np.arange(len(prices))
    start = min(high, known.price // total) if known.price < FAR else high // 2
    summit, rate, tried = 0, start, set[int]()
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
        summit = max(summit, -(-bound // options.grain) * options.grain)
        given = int(steps[taken, picks[taken]].sum())
        line = given, bound - rate * (total - given)
        left, right = (line, right) if given < total else (left, line)
        if given >= total:
            known = min(known, _trimmed(options, taken, picks[taken], given - total), key=lambda split: split.price)
        if given == total or known.price <= summit:
            break
        if left is None or right is None:
            rate = 0 if right is not None and left is None else high
        else:
            rate = (right[1] - left[1]) // (right[0] - left[0])
        if rate in tried:
            break
    return bounds, known, summit


def _trimmed(options: Options, taken: Ints, picks: Ints, spare: int) -> Known:
    """A split near a relaxed one that hands out `spare` steps too many: shares fall where that saves most."""
    steps, prices, at = options.steps[taken], options.prices[taken], picks.copy()
    rows = np.arange(len(taken))
    while spare > 0:
        drop = steps[rows, at][:, None] - steps
        saved = np.where((drop > 0) & (drop <= spare), prices[rows, at][:, None] - prices, 0)
        best = int(saved.argmax())
        row, column = divmod(best, saved.shape[1])
        if saved[row, column] <= 0:
            break
        spare -= int(drop[row, column])
        at[row] = column
    shares = tuple(sorted(zip(taken.tolist(), steps[rows, at].tolist(), strict=True)))
    return Known(int(prices[rows, at].sum()), shares)
