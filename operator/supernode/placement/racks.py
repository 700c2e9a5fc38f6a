"""The domains of nodes of one supernode, all in one array: what any number of members costs in each of them.

Inside such a domain the roomiest nodes come first, which touches the fewest. So a price is read off what the k roomiest
nodes take, and nothing has to be priced for numbers that are never asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from supernode.placement.coding import Coding
from supernode.placement.cover import Covers
from supernode.placement.rows import Ints, Row, cached_row, cumulated
from supernode.placement.split import Shares, even_split, fewest


class Racks:
    """caps[0], caps[1]: members that each node and each domain of nodes takes. sizes: nodes of each domain. whole:
    which nodes are wholly free, where prices count them. step: members of a domain come in multiples of it."""

    def __init__(
        self, caps: Sequence[Ints], sizes: NDArray[np.intp], whole: NDArray[np.bool_] | None, coding: Coding, step: int
    ) -> None:
        self.caps = caps[1]
        self.coding = coding
        self.step = step
        self.reach = cumulated(caps[0], sizes)
        self._nodes = caps[0]
        self._sizes = sizes
        self._is_whole = whole

    @cached_property
    def _whole(self) -> tuple[Ints, Ints] | None:
        """By domain and k, what its k roomiest wholly free nodes, and its k roomiest others, take."""
        if self._is_whole is None:
            return None
        kinds = (self._is_whole, ~self._is_whole)
        whole, others = (cumulated(np.where(kind, self._nodes, 0), self._sizes) for kind in kinds)
        return whole, others

    def nodes(self, racks: Ints, members: Ints | int) -> Ints:
        """The fewest nodes of each of these that take so many members."""
        asked = members if isinstance(members, int) else members[:, None]
        found: Ints = (self.reach[racks] < asked).sum(axis=1)
        return found

    def prices(self, racks: Ints, members: int) -> Ints:
        """What so many members cost in each of these."""
        count = self.nodes(racks, members)
        prices = count * self.coding.unit(0)
        if self._whole is None:
            return prices
        return prices + fewest_whole(self._whole[0][racks], self._whole[1][racks], members, count)

    def split(self, members: int, floor: int | None, *, alike: bool) -> tuple[int, Shares] | None:
        """The least price of so many members over these domains, and (domain, members); None where that takes prices of
        other numbers too. floor: a lower bound of the price. alike: blocks of the domains are those of the nodes.

        An even split is preferred to all others of the least price.
        """
        unit = self.coding.unit(1)
        caps: list[int] = self.caps.tolist()
        count = fewest(sorted(caps, reverse=True), members)
        if count == 1:
            racks = np.flatnonzero(self.caps >= members)
            prices = self.prices(racks, members)
            best = np.lexsort((self.caps[racks], prices))[0]
            return int(prices[best]) + unit, [(int(racks[best]), members)]
        parts = even_split(caps, members, self.step)
        price = count * unit + self._price(parts)
        if floor is not None and price == self.coding.vector(floor):
            return price, parts
        if not alike:
            return None
        covers = Covers(np.minimum(self.reach, self.caps[:, None]), count, members, self.step)
        least = count * unit + covers.parts * self.coding.unit(0)
        if price == least:
            return price, parts
        found = covers.shares()
        return None if found is None else (least, found)

    def floors(self, most: int) -> Ints:
        """By j, a lower bound of the price of j * step members, up to `most`; wholly free nodes are not counted.

        The racks are the fewest there can be. Of the nodes it is the Lagrange bound of `Covers`, for all numbers at
        once: at a price of 1 / v nodes per member, the r best racks say how many nodes any r racks need. Between two of
        these prices, at which a node that takes v costs what it brings, every rack would have the same nodes chosen.
        """
        asked = np.arange(most // self.step + 1) * self.step
        racks = np.searchsorted(np.cumsum(np.sort(self.caps)[::-1]), asked) + 1
        reach = np.minimum(self.reach, self.caps[:, None])[self.caps > 0, 1:]
        count = np.arange(1, reach.shape[1] + 1)
        nodes = np.zeros(len(asked), np.int64)
        for v in np.flatnonzero(np.bincount(np.diff(reach, axis=1, prepend=0).ravel(), minlength=1))[1:].tolist():
            best = np.cumsum(np.sort((v * count - reach).min(axis=1)))
            np.maximum(nodes, -(-(asked + best[racks - 1]) // v), out=nodes)
        prices: Ints = racks * self.coding.unit(1) + nodes * self.coding.unit(0)
        prices[0] = 0
        return prices

    def _price(self, parts: Shares) -> int:
        racks, amounts = (np.array(column, np.int64) for column in zip(*parts, strict=True))
        return int(self.nodes(racks, amounts).sum()) * self.coding.unit(0)

    def rows(self, most: int, *, ties: bool = True) -> list[Row]:
        """The prices of each domain, up to the most that it takes and at most `most`; shared by content. ties: wholly
        free nodes are counted, where they are at all."""
        asked = np.arange(min(most, int(self.caps.max(initial=0))) // self.step + 1) * self.step
        count = node_counts(self.reach, self.step, len(asked))
        prices = count * self.coding.unit(0)
        if ties and self._whole is not None:
            prices += _fewest_whole_each(*self._whole, asked, count.clip(0, self.reach.shape[1] - 1))
        ends = (np.minimum(self.caps, most) // self.step + 1).tolist()
        return [cached_row(row[:end], self.step) for row, end in zip(prices, ends, strict=True)]


def node_counts(reach: Ints, step: int, asked: int) -> Ints:
    """counts[d, j], for j from 0 up to `asked`: the fewest nodes of domain d that take j * step members, one more than
    it has where all take less. reach[d, k]: what its k roomiest nodes take."""
    domains = np.arange(len(reach))[:, None] * (asked + 1)
    few_from = np.minimum(reach // step + 1, asked)
    few = np.bincount((domains + few_from).ravel(), minlength=len(reach) * (asked + 1))
    found: Ints = np.cumsum(few.reshape(len(reach), asked + 1)[:, :-1], axis=1)
    return found


def fewest_whole(whole: Ints, partly: Ints, members: int, count: Ints) -> Ints:
    """Row by row, the fewest wholly free ones among `count` nodes that take so many members.

    whole, partly: what the k roomiest wholly free nodes, and the k roomiest others, take; `count` of them all take all.
    """
    taken = np.arange(whole.shape[1])
    others = np.take_along_axis(partly, np.clip(count[:, None] - taken, 0, len(taken) - 1), axis=1)
    return np.asarray(((taken <= count[:, None]) & (whole + others >= members)).argmax(axis=1), np.int64)


def _fewest_whole_each(whole: Ints, partly: Ints, members: Ints, count: Ints) -> Ints:
    """The same for many numbers of members, by row and number, as count.

    The more wholly free ones are among `count` nodes, the more these take, ever less so, and then the less. So both the
    summit and the first below it that is enough are found by halves, and no table of rows by numbers by nodes is made.
    """

    def held(taken: Ints) -> Ints:
        found: Ints = np.take_along_axis(whole, taken, axis=1) + np.take_along_axis(partly, count - taken, axis=1)
        return found

    def first(end: Ints, below: Callable[[Ints], NDArray[np.bool_]]) -> Ints:
        low, high = np.zeros_like(end), end
        for _ in range(whole.shape[1].bit_length()):
            middle = (low + high) // 2
            beyond = (middle < high) & below(middle)
            low, high = np.where(beyond, middle + 1, low), np.where(beyond, high, middle)
        return low

    summit = first(count, lambda taken: held(taken) < held(np.minimum(taken + 1, count)))
    return first(summit, lambda taken: held(taken) < members)
