"""Prices under bounds: the tree knapsack with one more axis per bound.

Needed where the cheapest vector is not enough: when `maxSpan` bounds an inner level, or a reserve bounds how many
wholly free nodes may be taken while partly used ones may be taken too. A state is (members, count per bound); a
domain's front holds, per state, the least price, without the states that another one beats in every count and in
price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from supernode.api.errors import SupernodeError
from supernode.placement.coding import FAR, Coding
from supernode.placement.shape import Shape
from supernode.placement.spares import loose_caps
from supernode.topology.fleet import SuperNodeView

Ints = NDArray[np.int64]
State = tuple[int, ...]

TREE_BUDGET = 200_000_000
"""Table cells one supernode's fronts may cost before the search gives up exactness."""


KEPT_BUDGET = 50_000_000
"""Table cells that one sum of fronts, or the front of one domain of nodes, may keep at a time, of eight bytes each."""

LEAF_COPIES = 4
"""Arrays as large as its table that making the front of a domain of nodes takes."""


class OverBudgetError(SupernodeError):
    """The exact search would cost more than its budget; raised by counting work, never by a clock."""


@dataclass(frozen=True, slots=True)
class Dim:
    """A bound. above: the level whose touched domains it counts (0 the node, 1 the first level above it), or None when
    it counts wholly free nodes taken. most: its limit."""

    above: int | None
    most: int


class Front:
    """The states of one domain: row i of `states` is (members, count per bound), `prices[i]` its least price."""

    __slots__ = ("prices", "states")

    def __init__(self, states: Ints, prices: Ints) -> None:
        self.states = states
        self.prices = prices

    @property
    def most(self) -> int:
        return int(self.states[:, 0].max(initial=0))


def clamped(dims: Sequence[Dim], view: SuperNodeView, above: int, domain: int = 0) -> tuple[Dim, ...]:
    """Bounds that say no more than a domain of the above-th level has inside, so that tables are no larger."""
    layout, start, end = view.layout, domain, domain + 1
    inside = [0] * (len(layout.names) + 1)
    for level in reversed(range(above)):
        start, end = layout.bounds[level][start], layout.bounds[level][end]
        inside[level] = end - start
    whole = int(view.census.wholly_free[start:end].sum())
    return tuple(Dim(dim.above, min(dim.most, whole if dim.above is None else inside[dim.above])) for dim in dims)


def front_of(dense: Ints, unit: int, step: int) -> Front:
    """The undominated states of a dense table whose first axis counts `unit` members, at multiples of `step`."""
    dense = dense[:: step // unit]
    reach = dense
    for axis in range(1, dense.ndim):
        reach = np.minimum.accumulate(reach, axis=axis)
    beaten = np.zeros(dense.shape, bool)
    for axis in range(1, dense.ndim):
        rest = [slice(None)] * dense.ndim
        inner = list(rest)
        rest[axis], inner[axis] = slice(1, None), slice(None, -1)
        beaten[tuple(rest)] |= reach[tuple(inner)] <= dense[tuple(rest)]
    states = np.argwhere((dense < FAR) & ~beaten)
    prices = dense[tuple(states.T)]
    return Front(states * np.array([step] + [1] * (dense.ndim - 1)), prices)


def touch(front: Front, dims: Sequence[Dim], above: int, price: int) -> Front:
    """A child's front as its parent sees it: taking anything touches one more domain of the child's level."""
    used = front.states[:, 0] > 0
    states = front.states.copy()
    for axis, dim in enumerate(dims, start=1):
        if dim.above == above:
            states[used, axis] += 1
    return Front(states, np.where(used, front.prices + price, front.prices))


class Knapsack:
    """Min-plus sum of fronts over (members // unit, count per bound), with its history, so that states can be split.

    cells: what it cost. Raises OverBudgetError where that would be more than the budget.
    """

    def __init__(self, fronts: Sequence[Front], unit: int, most: int, dims: Sequence[Dim], budget: int) -> None:
        shape = (most // unit + 1, *(dim.most + 1 for dim in dims))
        self.cells = prod(shape) * sum(len(front.prices) for front in fronts)
        kept = prod(shape) * (len(fronts) + 1)
        if self.cells > budget or kept > KEPT_BUDGET:
            raise OverBudgetError(f"the search needs {self.cells} steps and keeps {kept}; its budget is {budget}")
        self.unit = unit
        self.fronts = fronts
        table = np.full(shape, FAR, np.int64)
        table[(0,) * len(shape)] = 0
        self.history = [table]
        for front in fronts:
            table = self._with(table, front)
            self.history.append(table)

    @property
    def table(self) -> Ints:
        return self.history[-1]

    def _with(self, table: Ints, front: Front) -> Ints:
        result = table.copy()
        for state, price in zip(front.states.tolist(), front.prices.tolist(), strict=True):
            offset = (state[0] // self.unit, *state[1:])
            if state[0] == 0 or any(o >= size for o, size in zip(offset, table.shape, strict=True)):
                continue
            target = tuple(slice(o, None) for o in offset)
            source = tuple(slice(0, size - o) for o, size in zip(offset, table.shape, strict=True))
            np.minimum(result[target], table[source] + price, out=result[target])
        return result

    def split(self, state: State) -> list[State]:
        """The state of each child in a cheapest way to reach `state`; children left out get the zero state."""
        at = [state[0] // self.unit, *state[1:]]
        parts: list[State] = []
        for index in range(len(self.fronts) - 1, -1, -1):
            price = int(self.history[index + 1][tuple(at)])
            part = self._part(self.history[index], self.fronts[index], at, price)
            parts.append(part)
            at = [have - took for have, took in zip(at, (part[0] // self.unit, *part[1:]), strict=True)]
        return parts[::-1]

    def _part(self, before: Ints, front: Front, at: list[int], price: int) -> State:
        for state, cost in zip(front.states.tolist(), front.prices.tolist(), strict=True):
            rest = [have - took for have, took in zip(at, (state[0] // self.unit, *state[1:]), strict=True)]
            if min(rest) >= 0 and int(before[tuple(rest)]) + cost == price:
                return tuple(state)
        raise AssertionError("a knapsack state has no origin")


class FrontTree:
    """Fronts of every domain of one supernode. caps as in `Tables`; members are counted up to `limit`.

    They are made when they are asked for, which raises OverBudgetError where they would cost too much.
    """

    def __init__(
        self,
        view: SuperNodeView,
        shape: Shape,
        caps: Sequence[Ints],
        dims: tuple[Dim, ...],
        limit: int,
        coding: Coding,
    ) -> None:
        self.dims = dims
        self._view = view
        self._shape = shape
        self._caps = caps
        self._limit = limit
        self._coding = coding
        self._left = TREE_BUDGET
        self._fronts: dict[int, list[Front]] = {}
        self._bare: list[Front] = []
        self._bounds_full = any(dim.above is None for dim in dims)
        self._counts_full = coding.low > 0 or self._bounds_full
        self._loose = loose_caps(view, shape) if shape.spares else np.zeros(len(view.nodes), np.int64)
        depth = shape.within - shape.profile.node_index
        self._opens_at = depth if shape.spares and self._bounds_full else 0

    @cached_property
    def top(self) -> Front:
        """The whole supernode's front."""
        return self.fronts(len(self._shape.above))[0]

    def prices(self, step: int, most: int) -> Ints:
        """The least price of each multiple of `step` up to `most`, whatever the counts."""
        prices = np.full(most // step + 1, FAR, np.int64)
        inside = self.top.states[:, 0] <= most
        np.minimum.at(prices, self.top.states[inside, 0] // step, self.top.prices[inside])
        return prices

    def cheapest(self, members: int) -> State:
        """The state with the least price for this many members."""
        rows = np.flatnonzero(self.top.states[:, 0] == members)
        best = rows[int(np.argmin(self.top.prices[rows]))]
        return tuple(self.top.states[best].tolist())

    def fronts(self, above: int) -> list[Front]:
        """The fronts of the above-th level's domains (1 is the first level above the node)."""
        if above not in self._fronts:
            count = len(self._view.layout.names[above - 1])
            make = self._leaf if above == 1 else self._inner
            found = [make(domain, above) for domain in range(count)]
            if above == self._opens_at:
                self._bare = found
                found = [self._with_spares(front, domain, above) for domain, front in enumerate(found)]
            self._fronts[above] = found
        return self._fronts[above]

    def _with_spares(self, front: Front, domain: int, above: int) -> Front:
        """A front that counts the wholly free nodes that the domain's spares take, too.

        Spares first take what the ranks leave of their nodes and of those partly used, then the roomiest others.
        """
        axis = next(axis for axis, dim in enumerate(self.dims, start=1) if dim.above is None)
        used = front.states[:, 0] > 0
        states = front.states.copy()
        states[used, axis] = self._opened(front.states[used, 0], front.states[used, axis], domain, above)
        inside = states[:, axis] <= self.dims[axis - 1].most
        return Front(states[inside], front.prices[inside])

    def _opened(self, members: Ints, taken: Ints, domain: int, above: int) -> Ints:
        """How many wholly free nodes members and spares take, where members alone take the roomiest `taken`.

        Raises OverBudgetError where it may matter that further out it is unknown which ones they took.
        """
        start, end = self._view.layout.node_bounds[above - 1][domain : domain + 2]
        loose, whole = self._loose[start:end], self._view.census.wholly_free[start:end]
        missing = members + self._shape.spares - int(loose[~whole].sum())
        rooms = np.sort(loose[whole & (loose > 0)])
        roomiest, tightest = (np.concatenate(([0], np.cumsum(part))) for part in (rooms[::-1], rooms))
        least = np.maximum(taken, np.searchsorted(roomiest, missing))
        if above > 1 and len(rooms) and rooms[0] != rooms[-1]:
            most = taken + np.searchsorted(roomiest, missing - tightest[taken])
            if (least != most).any():
                raise OverBudgetError("which wholly free nodes are taken matters, and is not followed")
        return least

    def place(self, state: State) -> list[tuple[int, int]]:
        """(node index, members) of a cheapest placement with the given state of the whole supernode."""
        return self._place(len(self._shape.above), 0, state)

    def _place(self, above: int, domain: int, state: State) -> list[tuple[int, int]]:
        if above == self._opens_at:
            state = self._without_spares(domain, state)
        if above == 1:
            return self._place_nodes(domain, state)
        start = self._view.layout.bounds[above - 1][domain]
        parts = self._knapsack(domain, above, state[0], TREE_BUDGET).split(state)
        found: list[tuple[int, int]] = []
        for child, part in enumerate(parts, start=start):
            if part[0]:
                own = tuple(
                    count - 1 if axis and self.dims[axis - 1].above == above - 1 else count
                    for axis, count in enumerate(part)
                )
                found += self._place(above - 1, child, own)
        return found

    def _without_spares(self, domain: int, state: State) -> State:
        """The cheapest state of the ranks alone that `_with_spares` makes this one, or one with fewer nodes open."""
        bare = self._bare[domain]
        rows = np.flatnonzero((bare.states[:, 0] == state[0]) & (bare.states <= np.array(state)).all(axis=1))
        return tuple(bare.states[rows[int(np.argmin(bare.prices[rows]))]].tolist())

    def _step(self, above: int) -> int:
        return self._shape.steps[self._shape.above[above - 1]]

    def _inner(self, domain: int, above: int) -> Front:
        most = min(int(self._caps[above][domain]), self._limit)
        sack = self._knapsack(domain, above, most, self._left)
        self._left -= sack.cells
        return front_of(sack.table, self._step(above - 1), self._step(above))

    def _knapsack(self, domain: int, above: int, most: int, budget: int) -> Knapsack:
        bounds = self._view.layout.bounds[above - 1]
        children = self.fronts(above - 1)[bounds[domain] : bounds[domain + 1]]
        price = self._coding.unit(above - 1)
        touched = [touch(front, self.dims, above - 1, price) for front in children]
        dims = clamped(self.dims, self._view, above, domain)
        return Knapsack(touched, self._step(above - 1), most, dims, budget)

    def _nodes(self, domain: int) -> tuple[list[int], list[int]]:
        """Usable nodes of a leaf domain, roomiest first: (wholly free, others) if these are counted, else ([], all)."""
        bounds = self._view.layout.bounds[0]
        caps = self._caps[0]
        order = sorted(
            (node for node in range(bounds[domain], bounds[domain + 1]) if caps[node]),
            key=lambda node: (
                -int(caps[node]),
                -int(self._loose[node]),
                self._view.nodes[node].free.bit_count(),
                node,
            ),
        )
        if not self._counts_full:
            return [], order
        nodes = self._view.nodes
        return [n for n in order if nodes[n].wholly_free], [n for n in order if not nodes[n].wholly_free]

    def _leaf(self, domain: int, above: int) -> Front:
        full, rest = self._nodes(domain)
        dims = clamped(self.dims, self._view, above, domain)
        full_most = next((dim.most for dim in dims if dim.above is None), len(full))
        node_most = next((dim.most for dim in dims if dim.above == 0), len(full) + len(rest))
        full_reach = np.concatenate(([0], np.cumsum(self._caps[0][full]))).astype(np.int64)
        rest_reach = np.concatenate(([0], np.cumsum(self._caps[0][rest]))).astype(np.int64)
        step, most = self._step(above), min(int(self._caps[above][domain]), self._limit)
        asked = np.arange(most // step + 1) * step
        shape = (len(asked), *(dim.most + 1 for dim in dims))
        cells = prod(shape)
        if cells > self._left or cells * LEAF_COPIES > KEPT_BUDGET:
            raise OverBudgetError(f"the front of a domain of nodes has {cells} cells; its budget is {self._left}")
        self._left -= cells
        dense = np.full(shape, FAR, np.int64)
        for taken in range(min(len(full), full_most) + 1):
            nodes = taken + np.searchsorted(rest_reach, asked - full_reach[taken])
            rows = np.flatnonzero((nodes <= taken + len(rest)) & (nodes <= node_most))
            nodes = nodes[rows]
            counts = (taken if dim.above is None else nodes if dim.above == 0 else 0 for dim in dims)
            at = (rows, *counts)
            dense[at] = np.minimum(dense[at], nodes * self._coding.unit(0) + taken * self._coding.whole)
        return front_of(dense, step, step)

    def _place_nodes(self, domain: int, state: State) -> list[tuple[int, int]]:
        """Nodes for a leaf state: its count of wholly free nodes if that is bound, and as few others as reach."""
        full, rest = self._nodes(domain)
        counted = next((count for dim, count in zip(self.dims, state[1:], strict=True) if dim.above is None), None)
        options = range(len(full) + 1) if counted is None else [counted]
        choices = (self._choose(full[:taken], rest, state[0]) for taken in options)
        chosen = min((choice for choice in choices if choice is not None), key=len)
        step = self._shape.steps[self._shape.profile.node_index]
        amounts = level_out([int(self._caps[0][node]) // step for node in chosen], state[0] // step)
        return sorted((node, amount * step) for node, amount in zip(chosen, amounts, strict=True) if amount)

    def _choose(self, full: list[int], rest: list[int], members: int) -> list[int] | None:
        """These wholly free nodes and as few others as reach; None where all do not."""
        room = members - sum(int(self._caps[0][node]) for node in full)
        reach = np.cumsum(self._caps[0][rest])
        others = 0 if room <= 0 else int(np.searchsorted(reach, room)) + 1
        return None if others > len(rest) else full + rest[:others]


def level_out(caps: Sequence[int], total: int) -> list[int]:
    """Amounts <= caps that sum to total <= sum(caps), as even as the caps allow; the first ones get the odd ones."""
    amounts = [0] * len(caps)
    left = total
    open_ = len(caps)
    for index in sorted(range(len(caps) - 1, -1, -1), key=caps.__getitem__):
        amounts[index] = min(caps[index], left // open_)
        left -= amounts[index]
        open_ -= 1
    return amounts
