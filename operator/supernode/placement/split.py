"""How a number of members is shared between sibling domains: the least price, then a rule for equal ones."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from operator import neg

import numpy as np

from supernode.placement.coding import FAR
from supernode.placement.fronts import level_out
from supernode.placement.prune import Known, Options, Window, prune
from supernode.placement.rows import Ints

Shares = list[tuple[int, int]]
"""(child, what it gets)."""

TOGETHER = 32
"""Shares of a child added to a knapsack at once: as many as stay in the cache of a processor."""

Rule = Callable[[Sequence[int], int, int], Shares]
"""Capacities, a total and the step of shares, to the split preferred among equally cheap ones."""


def even_split(caps: Sequence[int], total: int, step: int) -> Shares:
    """The most even split over the fewest children, in steps, on those children that it fits best."""
    roomy = sorted((cap for cap in caps if cap), reverse=True)
    amounts = level_out([cap // step for cap in roomy[: fewest(roomy, total)]], total // step)
    return best_fit([child for child, cap in enumerate(caps) if cap], caps, [amount * step for amount in amounts])


def full_split(caps: Sequence[int], total: int, step: int) -> Shares:
    """The roomiest children and, last, the one that the rest fits best; over these as even as they allow."""
    order: list[int] = np.argsort(-np.array(caps), kind="stable").tolist()
    room = [caps[child] for child in order]
    count = fewest(room, total)
    rest = total - sum(room[: count - 1])
    tightest = room[bisect_right(room, -rest, key=neg) - 1]
    last = order[max(count - 1, bisect_left(room, -tightest, key=neg))]
    return levelled([(child, caps[child]) for child in sorted([*order[: count - 1], last])], total, step)


def levelled(shares: Shares, total: int, step: int) -> Shares:
    """The shares taken down to a total, as evenly as they allow."""
    amounts = level_out([share // step for _, share in shares], total // step)
    return [(child, amount * step) for (child, _), amount in zip(shares, amounts, strict=True)]


def cheapest_split(
    prices: Ints,
    step: int,
    caps: Sequence[int],
    total: int,
    unit: int,
    floor: int | None,
    ties: int = 0,
    rule: Rule = even_split,
) -> tuple[int, Shares]:
    """The least price of `total` members over the children, and (child, members) of a split that has it.

    prices[child, j]: of j * step members in a child. caps: what each could take. unit: price of touching a child.
    floor: a lower bound of the price; a split that meets it ends the search. total <= sum(caps), a multiple of step.
    rule: the split taken where it has the least price. ties: low bits of the prices that decide only between children
    that hold all; a price over several children is without them.
    """
    usable = [child for child, cap in enumerate(caps) if cap >= step]
    by_room = sorted((caps[child] for child in usable), reverse=True)
    count = fewest(by_room, total)
    if count == 1:
        at = total // step
        child = min((c for c in usable if caps[c] >= total), key=lambda c: (prices[c, at], caps[c], c))
        return int(prices[child, at]) + unit, [(child, total)]
    preferred = rule(caps, total, step)
    price = sum((int(prices[child, members // step]) >> ties << ties) + unit for child, members in preferred)
    if floor is not None and price == floor >> ties << ties:
        return price, preferred
    slack = sum(by_room[:count]) - total
    children = np.array([child for child in usable if caps[child] >= by_room[count - 1] - slack])
    options = _options(prices, np.array(caps, np.int64)[children], children, slack, step, total // step, unit, ties)
    found = cheapest(options, count, total // step, Known(price))
    return found.price, levelled_steps(options, found, total, step) if found.shares else preferred


def cheapest(options: Options, count: int, total: int, known: Known) -> Known:
    """The cheapest split of at least `total` steps over `count` children; `known` where none is cheaper."""
    windows, known, bound = prune(options, count, total, known)
    if known.price <= bound or not windows:
        return known
    return min(known, _knapsack(windows, total), key=lambda split: split.price)


def levelled_steps(options: Options, split: Known, total: int, step: int) -> Shares:
    """The members of each child of a split."""
    return levelled([(int(options.children[row]), steps * step) for row, steps in split.shares], total, step)


def _options(
    prices: Ints, room: Ints, children: Ints, slack: int, step: int, size: int, unit: int, ties: int
) -> Options:
    """What each child may get: the fewest children leave `slack` unused between them, so each gives nearly all. Of
    shares at the same price only the largest counts. room: of these children."""
    high = np.minimum(room // step, size)
    low = np.maximum(1, -((slack - room) // step))
    steps = high[:, None] - np.arange(int((high - low).max()) + 1)
    inside = steps >= low[:, None]
    steps = np.where(inside, steps, 0)
    costs = (prices[children[:, None], steps] >> ties << ties) + unit
    inside[:, 1:] &= costs[:, 1:] < costs[:, :-1]
    return Options(children, room, steps, np.where(inside, costs, FAR))


def fewest(descending: Sequence[int], total: int) -> int:
    """How many of the largest capacities reach total."""
    reached = 0
    for count, cap in enumerate(descending, start=1):
        reached += cap
        if reached >= total:
            return count
    raise AssertionError(f"{total} members do not fit {reached}")


def best_fit(order: Sequence[int], caps: Sequence[int], amounts: Sequence[int]) -> Shares:
    """Each amount, largest first, given to the least capacity that holds it. order: preference among equal ones."""
    free = sorted(order, key=lambda child: caps[child])
    room = [caps[child] for child in free]
    found = []
    for amount in sorted(amounts, reverse=True):
        at = bisect_left(room, amount)
        found.append((free.pop(at), amount))
        del room[at]
    return sorted(found)


def _knapsack(windows: Sequence[Window], size: int) -> Known:
    """The exact answer for these windows by dynamic programming: prices[i] for i steps, the last for `size` or more."""
    nothing = np.full(size + 1, FAR, np.int64)
    nothing[0] = 0
    prices = nothing.copy()
    np.minimum.at(prices, np.minimum(windows[0].steps, size), windows[0].prices)
    history = [nothing, prices]
    most = [int(window.steps[0]) for window in windows]
    reached, left = most[0], sum(most[1:])
    for window, more in zip(windows[1:], most[1:], strict=True):
        reached, left = reached + more, left - more
        prices = _add(prices, window, max(0, size - left), min(size, reached))
        history.append(prices)
    if prices[size] >= FAR:
        return Known()
    shares, at = [], size
    for window, before, after in zip(windows[::-1], history[-2::-1], history[:0:-1], strict=True):
        if before[at] == after[at]:
            continue
        for share, price in zip(window.steps.tolist(), window.prices.tolist(), strict=True):
            origin = _origin(before, at, share)
            if origin is not None and before[origin] + price == after[at]:
                break
        else:
            raise AssertionError("a knapsack state has no origin")
        shares.append((window.child, share))
        at = origin
    return Known(int(prices[size]), tuple(shares[::-1]))


def _origin(before: Ints, at: int, share: int) -> int | None:
    """The cheapest state that a share leads from to `at`, the last state standing for all beyond."""
    if at < len(before) - 1:
        return at - share if at >= share else None
    first = max(0, at - share)
    return first + int(before[first:].argmin())


def _add(prices: Ints, window: Window, first: int, end: int) -> Ints:
    """One more child, which may take any of its window's shares at their prices. first, end: the states to bring up to
    date, the first from which the other children can still reach the last, and the furthest that all so far come."""
    last, most = len(prices) - 1, int(window.steps[0])
    best = prices.copy()
    if first <= min(end, last - 1):
        padded = np.concatenate((np.full(most, FAR, np.int64), prices[: end + 1]))
        shifted = np.ndarray((most + 1, end + 1), np.int64, padded, strides=padded.strides * 2)[:, first:]
        for part in range(0, len(window.steps), TOGETHER):
            steps, costs = (of[part : part + TOGETHER] for of in (window.steps, window.prices))
            found = (shifted[most - steps] + costs[:, None]).min(axis=0)
            np.minimum(best[first : end + 1], found, out=best[first : end + 1])
    if end == last:
        cheapest = np.minimum.accumulate(prices[max(0, last - most) :][::-1])
        beyond = cheapest[np.minimum(last, window.steps)] + window.prices
        best[last] = min(int(best[last]), int(beyond.min()))
    return best
