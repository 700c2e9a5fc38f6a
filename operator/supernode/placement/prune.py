"""Which options of a split can still be part of an optimum: bounds from relaxing "the shares sum to the total".

With a price `rate` per step handed out, the relaxed problem falls apart: each child picks its best share on its own,
and the `count` children with the least reduced price are taken. rate * total plus those prices is a lower bound of
every split (Lagrange); forcing one option into it gives that option's own bound. Options above the price of a known
split go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from supernode.placement.coding import FAR
from supernode.placement.tables import Ints

_ROUNDS = 32
_SAFE = 1 << 52
"""Prices below this cannot overflow when reduced."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one child may get: steps[i] (descending by one), at prices[i]."""

    child: int
    steps: Ints
    prices: Ints


def prune(windows: Sequence[Window], count: int, total: int, known: int) -> list[Window]:
    """The windows without the options that cannot be part of a split of `total` steps over `count` children whose price
    is at most that of the best split found here or `known`. Every optimal split survives, and so do its equals."""
    width = max(len(window.steps) for window in windows)
    steps = np.zeros((len(windows), width), np.int64)
    prices = np.full((len(windows), width), FAR, np.int64)
    for row, window in enumerate(windows):
        steps[row, : len(window.steps)] = window.steps
        prices[row, : len(window.steps)] = window.prices
    if int(prices[prices < FAR].max()) > _SAFE:
        return list(windows)
    best, known = _relax(prices, steps, count, total, known)
    keep = best <= known
    pruned = []
    for row, window in enumerate(windows):
        kept = np.flatnonzero(keep[row])
        if len(kept):
            span = slice(int(kept[0]), int(kept[-1]) + 1)
            pruned.append(Window(window.child, window.steps[span], window.prices[span]))
    return pruned


def _relax(prices: Ints, steps: Ints, count: int, total: int, known: int) -> tuple[Ints, int]:
    """(a lower bound for each option, the least price of a split seen), by bisection on the rate."""
    low, high = 0, 2 * int((prices[:, 0] // steps[:, 0]).max()) + 1
    bounds = np.zeros(prices.shape, np.int64)
    mended = b""
    for _ in range(_ROUNDS):
        rate = (low + high) // 2
        reduced = prices - rate * steps
        picks = reduced.argmin(axis=1)
        least = reduced[np.arange(len(picks)), picks]
        order = np.argsort(least, kind="stable")
        taken = order[:count]
        bound = rate * total + int(least[taken].sum())
        instead = np.full(len(picks), least[order[count - 1]])
        instead[taken] = least[taken]
        np.maximum(bounds, bound + reduced - instead[:, None], out=bounds)
        chosen = taken.tobytes() + picks[taken].tobytes()
        if chosen != mended:
            known = min(known, _mend(prices, steps, taken, picks[taken], total))
            mended = chosen
        given = int(steps[taken, picks[taken]].sum())
        if given == total or high - low <= 1:
            break
        low, high = (rate, high) if given < total else (low, rate)
    return bounds, known


def _mend(prices: Ints, steps: Ints, taken: Ints, picks: Ints, total: int) -> int:
    """The price of a split near a relaxed one: shares are moved step by step where that is cheapest; FAR if none is."""
    width = prices.shape[1]
    at = picks.copy()
    while (gap := total - int(steps[taken, at].sum())) != 0:
        to = at - 1 if gap > 0 else at + 1
        inside = (to >= 0) & (to < width)
        change = np.where(inside, prices[taken, to % width] - prices[taken, at], FAR)
        best = int(change.argmin())
        if change[best] > _SAFE:
            return FAR
        at[best] = to[best]
    return int(prices[taken, at].sum())
