"""What one supernode can take, and at what price: the tables a decision reads, remembered per view and shape.

The price of x members in a domain is the least vector (domains touched, outer level first, down to the node) inside it,
packed into one integer so that numpy can add and compare whole tables. Adding packed vectors keeps lexicographic order,
which is what makes the tree knapsack exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernode.placement.coding import FAR, Coding
from supernode.placement.fronts import Dim, FrontTree, OverBudgetError
from supernode.placement.shape import Shape
from supernode.topology.fleet import SuperNodeView

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


class Tables:
    """One view and one shape, for groups of up to `limit` members. caps[0] counts members per node, caps[i] per domain
    of the i-th level above the node; `cap` is what the whole supernode takes with its reserve kept. bounds: the same as
    caps unless a budget made them inexact; then no less than the truth. bound: the same for cap."""

    def __init__(self, view: SuperNodeView, shape: Shape, limit: int, coding: Coding) -> None:
        self.view = view
        self.shape = shape
        self.limit = limit
        self.coding = coding
        self.caps = self.bounds = domain_caps(view, shape)
        usable = max(0, view.wholly_free - view.reserve)
        room = 0 if view.cordoned or not len(self.caps[-1]) else int(self.caps[-1][0])
        self.front: FrontTree | None = None
        self.exact = True
        if view.reserve and shape.whole_nodes:
            room = min(room, usable)
        elif view.reserve and room and 0 < usable < min(limit, int((self.caps[0][view.census.wholly_free] > 0).sum())):
            room = self._bind_reserve(usable)
        self.cap = room - room % shape.steps[-1]
        self.bound = self.cap if self.exact or not len(self.bounds[-1]) else int(self.bounds[-1][0])

    def _bind_reserve(self, usable: int) -> int:
        """Members that fit when only `usable` wholly free nodes may be taken; inexact when that costs too much."""
        dim = Dim(None, usable)
        tree = FrontTree(self.view, self.shape, self.caps, (dim,), self.limit, self.coding)
        try:
            most = tree.top.most
        except OverBudgetError:
            self.exact = False
            blocked = np.flatnonzero(self.view.census.wholly_free)[usable:]
            self.caps = domain_caps(self.view, self.shape, blocked)
            return int(self.caps[-1][0])
        self.front = tree
        return most

    @cached_property
    def row(self) -> Row:
        """Prices of the whole supernode."""
        step, most = self.shape.steps[-1], min(self.cap, self.limit)
        if most < step:
            return make_row(np.zeros(1, np.int64), step)
        if self.front is not None:
            return make_row(self.front.prices(step, most), step)
        if not self.shape.above:
            return make_row(np.zeros(most // step + 1, np.int64), step)
        return make_row(self.rows(len(self.shape.above))[0].prices[: most // step + 1], step)

    @cached_property
    def uniform(self) -> int:
        """The members each usable node takes when all take as many and none is ever used for less; else 0.

        Then the nodes a group touches are fixed by its size, and only the levels above are left to choose.
        """
        held = self.caps[0][self.caps[0] > 0]
        same = len(held) > 0 and held.min() == held.max() and self.shape.steps[self.shape.above[0]] % held[0] == 0
        return int(held[0]) if same or (len(held) and held.max() == 1) else 0

    def rows(self, above: int) -> list[Row]:
        """Prices of each domain of the above-th level (1 is the first above the node)."""
        rows: dict[int, list[Row]] = self._rows
        if above not in rows:
            rows[above] = self._price_nodes() if above == 1 else self._price(above)
        return rows[above]

    @cached_property
    def _rows(self) -> dict[int, list[Row]]:
        return {}

    def _price_nodes(self) -> list[Row]:
        bounds, caps = self.view.layout.bounds[0], self.caps[0]
        step = self.shape.steps[self.shape.above[0]]
        rows = []
        for start, end, most in zip(bounds, bounds[1:], self.caps[1], strict=False):
            held = np.sort(caps[start:end])[::-1]
            rows.append(
                _node_row(
                    held[: np.count_nonzero(held)].tobytes(), self.coding.unit(0), step, int(min(most, self.limit))
                )
            )
        return rows

    def _price(self, above: int) -> list[Row]:
        if above == 2 and self.uniform:
            return self._price_uniform()
        bounds, children = self.view.layout.bounds[above - 1], self.rows(above - 1)
        step = self.shape.steps[self.shape.above[above - 1]]
        unit = self.coding.unit(above - 1)
        rows = []
        for start, end, most in zip(bounds, bounds[1:], self.caps[above], strict=False):
            parts = sorted((child for child in children[start:end] if child.most), key=lambda row: row.content)
            rows.append(_parent_row(_Key(parts), unit, step, int(min(most, self.limit))))
        return rows

    def _price_uniform(self) -> list[Row]:
        """The second level above the node when nodes are uniform: the fewest children, any of them."""
        bounds, caps, unit = self.view.layout.bounds[1], self.caps[1], self.coding.unit(1)
        step = self.shape.steps[self.shape.above[1]]
        rows = []
        for start, end, most in zip(bounds, bounds[1:], self.caps[2], strict=False):
            asked = np.arange(int(min(most, self.limit)) // step + 1) * step
            count = np.searchsorted(np.cumsum(np.sort(caps[start:end])[::-1]), asked) + 1
            count[0] = 0
            rows.append(make_row(count * unit + asked // self.uniform * self.coding.unit(0), step))
        return rows

    def front_for(self, dims: tuple[Dim, ...]) -> FrontTree:
        """Fronts under bounds on the domains touched, and the reserve where it binds (as the last bound)."""
        if self.front is not None:
            dims = (*dims, *self.front.dims)
        key = ("front", self.shape, self.limit, self.coding, dims)
        tree: FrontTree = self.view.memo(
            key, lambda: FrontTree(self.view, self.shape, self.caps, dims, min(self.limit, self.cap), self.coding)
        )
        return tree


def tables(view: SuperNodeView, shape: Shape, limit: int, coding: Coding) -> Tables:
    """The remembered tables of a view."""
    found: Tables = view.memo(("tables", shape, limit, coding), lambda: Tables(view, shape, limit, coding))
    return found


def domain_caps(view: SuperNodeView, shape: Shape, blocked: NDArray[np.intp] | None = None) -> list[Ints]:
    """Members each node and each domain above can take, inner to outer, blocks floored; the supernode level last.

    blocked: nodes that may not be used; by default the wholly free ones when the reserve needs them all. The reserve's
    finer effect, that only some of them may be taken, is left to the caller.
    """
    per_kind = np.array([shape.packing.capacity(free) for free, _ in view.census.kinds], np.int64)
    nodes = per_kind[view.census.each]
    if blocked is None and view.reserve and view.wholly_free <= view.reserve:
        blocked = np.flatnonzero(view.census.wholly_free)
    if blocked is not None:
        nodes[blocked] = 0
    caps = [nodes]
    for depth, index in enumerate(shape.above):
        starts = np.asarray(view.layout.bounds[depth][:-1], np.intp)
        sums = np.add.reduceat(caps[-1], starts) if len(starts) else np.zeros(0, np.int64)
        if index in shape.whole:
            sums = np.where(_nominal(view, depth, index), sums, 0)
        caps.append(sums - sums % shape.steps[index])
    return caps


def _nominal(view: SuperNodeView, depth: int, index: int) -> NDArray[np.bool_]:
    """Which domains have exactly the nodes the profile says: a ring or torus with a hole is none."""
    bounds = np.asarray(view.layout.node_bounds[depth])
    want = view.profile.levels[index].cards // view.profile.cards_per_node
    sizes: NDArray[np.bool_] = np.equal(np.diff(bounds), want)
    return sizes


class _Key:
    """Child rows compared by content, so that equal domains anywhere in the fleet are priced once."""

    __slots__ = ("_content", "rows")

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._content = tuple(row.content for row in rows)

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Key) and self._content == other._content


@lru_cache(maxsize=4096)
def _node_row(held: bytes, unit: int, step: int, most: int) -> Row:
    """A domain of nodes: taking the roomiest first touches the fewest. held: capacities, descending, as int64 bytes."""
    reach = np.cumsum(np.frombuffer(held, np.int64))
    asked = np.arange(most // step + 1) * step
    return make_row(np.where(asked > 0, np.searchsorted(reach, asked) + 1, 0) * unit, step)


@lru_cache(maxsize=4096)
def _parent_row(key: _Key, unit: int, step: int, most: int) -> Row:
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
