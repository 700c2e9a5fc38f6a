"""How a number of members is shared between sibling domains: the least price, then evenly, then the best fit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from supernode.placement.coding import FAR
from supernode.placement.fronts import level_out
from supernode.placement.prune import Options, Window, prune
from supernode.placement.rows import Ints, Row

_EVENNESS = 1 << 22
"""Weight of the sum of squares over the sum of capacities in the second-order price."""


def cheapest_split(
    rows: Sequence[Row], caps: Sequence[int], total: int, unit: int, floor: int | None, ties: int = 0
) -> tuple[int, list[tuple[int, int]]]:
    """The least price of `total` members over the children, and (child, members) of a split that has it.

    rows, caps: per child, its prices and what it could take. unit: price of touching a child. floor: a lower bound of
    the price; a split that meets it ends the search. total <= sum(caps), a multiple of the rows' step. Among splits of
    the least price: the most even, then the one whose children have least left over, then the lowest indices. ties: low
    bits of the prices that decide only between children that hold all; a price over several children is without them.
    """
    usable = [child for child, row in enumerate(rows) if caps[child] and row.most]
    step = rows[usable[0]].step
    by_room = sorted((caps[child] for child in usable), reverse=True)
    count = fewest(by_room, total)
    if count == 1:
        at = total // step
        child = min((c for c in usable if caps[c] >= total), key=lambda c: (rows[c].prices[at], caps[c], c))
        return int(rows[child].prices[at]) + unit, [(child, total)]
    even = even_split(caps, total, step)
    price = sum((int(rows[child].prices[members // step]) >> ties << ties) + unit for child, members in even)
    if floor is not None and price == floor >> ties << ties:
        return price, even
    slack = sum(by_room[:count]) - total
    children = [child for child in usable if caps[child] >= by_room[count - 1] - slack]
    windows, bound = prune(
        _options(rows, caps, children, slack, step, total // step, unit, ties), count, total // step, price
    )
    if price <= bound:
        return price, even
    return _knapsack(windows, caps, total // step, step)


def _options(
    rows: Sequence[Row],
    caps: Sequence[int],
    children: Sequence[int],
    slack: int,
    step: int,
    size: int,
    unit: int,
    ties: int,
) -> Options:
    """What each child may get: the fewest children leave `slack` unused between them, so each gives nearly all."""
    room = np.array([caps[child] for child in children], np.int64)
    prices = [rows[child].prices for child in children]
    high = np.minimum(room // step, size)
    low = np.maximum(1, -((slack - room) // step))
    steps = high[:, None] - np.arange(int((high - low).max()) + 1)
    inside = steps >= low[:, None]
    steps = np.where(inside, steps, 0)
    offsets = np.cumsum([0, *(len(row) for row in prices[:-1])])
    costs = (np.concatenate(prices)[offsets[:, None] + steps] >> ties << ties) + unit
    return Options(np.array(children), room, steps, np.where(inside, costs, FAR))


def fewest(descending: Sequence[int], total: int) -> int:
    """How many of the largest capacities reach total."""
    reached = 0
    for count, cap in enumerate(descending, start=1):
        reached += cap
        if reached >= total:
            return count
    raise AssertionError(f"{total} members do not fit {reached}")


def even_split(caps: Sequence[int], total: int, step: int) -> list[tuple[int, int]]:
    """The most even split over the fewest children, in steps, on those children that it fits best."""
    roomy = sorted((cap for cap in caps if cap), reverse=True)
    amounts = level_out([cap // step for cap in roomy[: fewest(roomy, total)]], total // step)
    return best_fit([child for child, cap in enumerate(caps) if cap], caps, [amount * step for amount in amounts])


def best_fit(order: Sequence[int], caps: Sequence[int], amounts: Sequence[int]) -> list[tuple[int, int]]:
    """Each amount, largest first, given to the least capacity that holds it. order: preference among equal ones."""
    free = sorted(order, key=lambda child: caps[child])
    room = [caps[child] for child in free]
    found = []
    for amount in sorted(amounts, reverse=True):
        at = bisect_left(room, amount)
        found.append((free.pop(at), amount))
        del room[at]
    return sorted(found)


def _knapsack(
    windows: Sequence[Window], caps: Sequence[int], size: int, step: int
) -> tuple[int, list[tuple[int, int]]]:
    """Exact split of `size` steps by dynamic programming on (price, unevenness).

    The fewest children leave little unused between them, so each child chosen gives nearly all it has: only the window
    of its prices that reaches the total is tried.
    """
    prices = np.full(size + 1, FAR, np.int64)
    rough = np.full(size + 1, FAR, np.int64)
    prices[0] = rough[0] = 0
    history = [(prices, rough)]
    costs = [window.steps * window.steps * _EVENNESS + caps[window.child] // step for window in windows]
    for window, cost in zip(windows, costs, strict=True):
        prices, rough = _add(prices, rough, window, cost)
        history.append((prices, rough))
    found = []
    at = size
    for index in range(len(windows) - 1, -1, -1):
        (after, rough_after), (before, rough_before) = history[index + 1], history[index]
        if before[at] == after[at] and rough_before[at] == rough_after[at]:
            continue
        window = windows[index]
        origin = at - window.steps
        hits = (before[origin] + window.prices == after[at]) & (rough_before[origin] + costs[index] == rough_after[at])
        taken = int(window.steps[np.flatnonzero(hits & (origin >= 0))[0]])
        found.append((window.child, taken * step))
        at -= taken
    return int(prices[size]), found[::-1]


def _add(prices: Ints, rough: Ints, window: Window, costs: Ints) -> tuple[Ints, Ints]:
    """One more child, which may take any of its window's shares at their prices and costs."""
    best, smooth = prices.copy(), rough.copy()
    for share, offer, cost in zip(window.steps.tolist(), window.prices.tolist(), costs.tolist(), strict=True):
        first, second = prices[: len(prices) - share] + offer, rough[: len(rough) - share] + cost
        into, smoothed = best[share:], smooth[share:]
        better = (first < into) | ((first == into) & (second < smoothed))
        np.copyto(into, first, where=better)
        np.copyto(smoothed, second, where=better)
    return best, smooth
