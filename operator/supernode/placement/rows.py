"""Prices of one domain: the least inner vector for each number of members in it.

Rows are shared by content: equal domains anywhere in the fleet are priced once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernode.placement.coding import FAR

Ints = NDArray[np.int64]

KEPT = 1024
"""Rows of more prices than this are not shared: thousands of them would fill the memory, and few are equal."""

TOGETHER = 1 << 20
"""Table cells worked out at once: a few megabytes."""


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """Prices of one domain: prices[j] for j * step members, j from 0 to the most it takes (or is ever asked for).

    slope: set when prices[j] == slope * j throughout, so that splitting members between such domains costs nothing.
    """

    prices: Ints
    step: int
    slope: int | None
    content: bytes

    @property
    def most(self) -> int:
        """The most members this row covers."""
        return (len(self.prices) - 1) * self.step


def make_row(prices: Ints, step: int) -> Row:
    slope = int(prices[1]) if len(prices) > 1 else 0
    linear = bool((prices == slope * np.arange(len(prices))).all())
    return Row(prices, step, slope if linear else None, step.to_bytes(4, "little") + prices.tobytes())


def stacked(prices: Sequence[Ints]) -> Ints:
    """Prices of one step as one array, FAR beyond their ends."""
    found = np.full((len(prices), max(map(len, prices))), FAR, np.int64)
    for line, part in zip(found, prices, strict=True):
        line[: len(part)] = part
    return found


class Key:
    """Child rows compared by content, so that equal domains anywhere in the fleet are priced once."""

    __slots__ = ("_content", "rows")

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._content = tuple(row.content for row in rows)

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Key) and self._content == other._content


def cached_row(prices: Ints, step: int) -> Row:
    """The row of these prices, the same one for the same prices."""
    return _cached_row(prices.tobytes(), step) if len(prices) <= KEPT else make_row(prices, step)


@lru_cache(maxsize=16384)
def _cached_row(prices: bytes, step: int) -> Row:
    return make_row(np.frombuffer(prices, np.int64), step)


def parent_row(children: Sequence[Row], unit: int, step: int, most: int) -> Row:
    """A domain of domains, the same row for equal children. unit: the price of touching one child."""
    if most // step >= KEPT:
        return _sum_row(children, unit, step, most)
    return _cached_sum(Key(children), unit, step, most)


@lru_cache(maxsize=16384)
def _cached_sum(key: Key, unit: int, step: int, most: int) -> Row:
    return _sum_row(key.rows, unit, step, most)


def _sum_row(children: Sequence[Row], unit: int, step: int, most: int) -> Row:
    if not children or most < step:
        return make_row(np.zeros(1, np.int64), step)
    inner = children[0].step
    asked = np.arange(most // step + 1) * step
    if children[0].slope is not None and all(child.slope == children[0].slope for child in children):
        reach = np.cumsum(np.sort([child.most for child in children])[::-1])
        count = np.where(asked > 0, np.searchsorted(reach, asked) + 1, 0)
        return make_row(count * unit + asked // inner * children[0].slope, step)
    best = np.full(most // inner + 1, FAR, np.int64)
    best[0] = 0
    for child in children:
        best = add_child(best, child.prices, unit)
    return make_row(best[:: step // inner][: len(asked)].copy(), step)


def add_child(best: Ints, prices: Ints, unit: int) -> Ints:
    """Min-plus step: the least price of each number of members when one more child may take some of them."""
    offers = prices[: len(best)] + unit
    offers[0] = 0
    width = len(offers)
    padded = np.concatenate((np.full(width - 1, FAR, np.int64), best))
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    found = np.empty(len(best), np.int64)
    few = max(1, TOGETHER // width)
    for first in range(0, len(best), few):
        found[first : first + few] = (windows[first : first + few] + offers[::-1]).min(axis=1)
    return found


def cumulated(rooms: Ints, sizes: NDArray[np.intp], widest: int | None = None) -> Ints:
    """By domain and k, what its k roomiest children take. rooms: of the children of all domains, one after the other;
    sizes: how many each has; widest: the most that one has, here or elsewhere."""
    reach = np.zeros((len(sizes), (int(sizes.max(initial=0)) if widest is None else widest) + 1), np.int64)
    if len(rooms) == reach.size - len(reach):
        reach[:, 1:] = -rooms.reshape(len(sizes), reach.shape[1] - 1)
    else:
        column = np.arange(len(rooms)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        reach[np.repeat(np.arange(len(sizes)), sizes), column + 1] = -rooms
    reach[:, 1:].sort(axis=1)
    return np.cumsum(-reach, axis=1)
