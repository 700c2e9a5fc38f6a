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


@lru_cache(maxsize=16384)
def node_row(held: bytes, whole: bytes, unit: int, step: int, most: int) -> Row:
    """A domain of nodes: taking the roomiest first touches the fewest. held: capacities, as int64 bytes. whole: which
    nodes are wholly free, as bool bytes, where taking one costs 1 more; else empty."""
    reach = _reach(held)
    asked = np.arange(most // step + 1) * step
    count = np.where(asked > 0, np.searchsorted(reach, asked) + 1, 0)
    prices = count * unit
    if whole:
        room, free = np.frombuffer(held, np.int64), np.frombuffer(whole, np.bool_)
        prices += fewest_whole(room[free], room[~free], asked, count)
    return make_row(prices, step)


def fewest_whole(whole: Ints, partly: Ints, asked: Ints, count: Ints) -> Ints:
    """The fewest wholly free ones among `count` nodes that take `asked` members, element by element.

    whole, partly: capacities of the nodes that are wholly free and of the others; `count` of them all take `asked`.
    """
    by_whole = np.concatenate(([0], np.cumsum(np.sort(whole)[::-1])))
    by_partly = np.concatenate(([0], np.cumsum(np.sort(partly)[::-1])))
    fewest = np.full(len(asked), -1, np.int64)
    for taken, room in enumerate(by_whole.tolist()):
        others = by_partly[np.clip(count - taken, 0, len(partly))]
        fewest[(fewest < 0) & (taken <= count) & (room + others >= asked)] = taken
        if (fewest >= 0).all():
            break
    return fewest


@lru_cache(maxsize=16384)
def parent_row(key: Key, unit: int, step: int, most: int) -> Row:
    """A domain of domains. unit: the price of touching one child."""
    children = key.rows
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
    return np.asarray((windows + offers[::-1]).min(axis=1), np.int64)


def _reach(caps: bytes) -> Ints:
    """What the roomiest children take together: one, two, ... of them."""
    return np.cumsum(np.sort(np.frombuffer(caps, np.int64))[::-1])
