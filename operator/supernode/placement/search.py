"""The search for one profile: the least vector of domains over all its supernodes, and a placement that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations

import numpy as np

from supernode.placement import lone, pool, single, whole
from supernode.placement.board import Board
from supernode.placement.coding import FAR
from supernode.placement.fronts import Dim, Front, FrontTree, Knapsack, OverBudgetError, touch
from supernode.placement.ground import Ground
from supernode.placement.rows import Ints
from supernode.placement.shape import Task
from supernode.placement.split import Shares, cheapest_split, full_split
from supernode.placement.spread import Spot, place
from supernode.placement.tables import RoughError

FLEET_BUDGET = 2_000_000_000
"""Table cells that the searches over supernodes under `maxSpan` may cost together before a decision is not exact."""

FLOOR_TRIES = 24
"""Splits by lower bounds that are tried before every price is worked out."""

Span = tuple[int, int]
"""(level index, most domains)."""

Columns = tuple[Ints, Ints]
"""Nodes taken, numbered over all supernodes, ascending; and the members on each."""


class ReserveBudgetError(OverBudgetError):
    """A reserve could be followed only roughly, and so there may be a place that was not found."""


@dataclass(frozen=True, slots=True)
class Solution:
    """nodes, amounts: as `Columns`. counts: the least vector, node first, or the best known lower bound when not
    proven."""

    ground: Ground
    nodes: Ints
    amounts: Ints
    counts: tuple[int, ...] = ()
    proven: bool = True

    @property
    def touched(self) -> tuple[int, ...]:
        """How many domains of each level the nodes lie in, node first."""
        domains = self.nodes
        found = [len(domains)]
        for parents in self.ground.parents:
            domains = parents[domains]
            found.append(1 + int(np.count_nonzero(np.diff(domains))))
        return tuple(found)


def fits(board: Board, task: Task) -> bool:
    """Whether there is a placement at all. Raises OverBudgetError when the budget ended before that was known."""
    if task.spans:
        return search(board, task) is not None
    return _cover(board, task) is not None


def search(board: Board, task: Task) -> Solution | None:
    """The best placement, or None when there is none. Raises OverBudgetError when the budget ended without one."""
    try:
        return _search(board, task)
    except RoughError:
        return _search(board.rough(), task)


def _search(board: Board, task: Task) -> Solution | None:
    members, coding = task.request.members, board.coding
    count = _cover(board, task)
    if count is None:
        return None
    if task.spans and not coding.complete:
        raise OverBudgetError("the fleet has too many domains for prices that count every level that maxSpan may bound")
    floor = board.floor(members) if task.spans or not board.exact else ()
    choice = _choose(board, count, members)
    counts = coding.unpack(choice.price)
    if _keeps(counts, task, task.spans):
        found = _solution(board, choice.columns(), counts if board.exact else tuple(floor), proven=board.exact)
        if board.exact or _keeps(found.touched, task, task.spans):
            return found
        counts = found.touched  # more than it was priced at, as a reserve was followed only roughly
    if not _keeps(floor, task, task.spans):
        return None
    return _bounded(board, task, floor, counts)


def _keeps(counts: Sequence[int], task: Task, spans: Sequence[Span]) -> bool:
    """Whether these counts, node first, are within bounds."""
    return all(counts[index - task.profile.node_index] <= most for index, most in spans)


def _solution(board: Board, columns: Columns, counts: tuple[int, ...], *, proven: bool = True) -> Solution:
    """Whatever went wrong before: no node gives more than it has."""
    nodes, amounts = columns
    if (amounts > board.caps[0][nodes]).any():
        raise AssertionError("nodes would give more than they have")
    return Solution(board.ground, nodes, amounts, counts, proven)


@dataclass(frozen=True, slots=True)
class _Choice:
    """The least price, and a placement that has it, worked out when it is wanted."""

    price: int
    columns: Callable[[], Columns]


def _choose(board: Board, count: int, members: int) -> _Choice:
    """By the shortest way there is: one node, whole nodes, nodes that lie in nothing, or prices of every domain."""
    if whole.applies(board):
        price, shares = whole.choose(board, count, members)
        return _Choice(price, lambda: whole.columns(board, shares))
    one = single.choose(board, members) if count == 1 and not board.shape.spares else None
    if one is not None:
        return _Choice(one[0], lambda: _columns(board, [(one[1], [single.spot(board, one[1], members)])]))
    unit = board.coding.unit(len(board.shape.above))
    if count > 1 and not board.shape.above:
        return _Choice(count * unit, lambda: lone.columns(board, count, members))
    if count > 1:
        pooled = pool.choose(board, count, members) if pool.applies(board) else None
        if pooled is None:
            return _several(board, count, members, unit)
        price, racks = pooled
        return _Choice(price, lambda: pool.columns(board, racks))
    price, index = _one(board, members, unit)
    return _Choice(price, lambda: _columns(board, [(index, place(board.table(index), members))]))


def _cover(board: Board, task: Task) -> int | None:
    """The fewest supernodes that hold the group, or None when there are not enough, maxSpan on inner levels aside."""
    count = _fewest(board.room, task)
    if count is None and not board.exact and _fewest(board.bound, task):
        raise ReserveBudgetError("a reserve was followed only roughly, and so no placement was found")
    return count


def _fewest(room: Ints, task: Task) -> int | None:
    reach = np.cumsum(np.sort(room)[::-1])
    if not len(reach) or reach[-1] < task.request.members:
        return None
    count = int(np.searchsorted(reach, task.request.members)) + 1
    return None if task.most_supernodes is not None and count > task.most_supernodes else count


def _one(board: Board, members: int, unit: int) -> tuple[int, int]:
    """(price, supernode) of the least price that holds all; of equals the one with least left over, the fewest ailing
    nodes, the lowest index.

    Taken in the order of their lower bounds, few need their exact price.
    """
    floors, preference = board.floors(members), board.preference
    best: tuple[int, int, int] | None = None
    for index in _ascending(floors, preference):
        floor = int(floors[index])
        if floor >= FAR or (best is not None and best <= (floor, int(preference[index]), index)):
            break
        found = (board.table(index).price(members, floor), int(preference[index]), index)
        best = found if best is None else min(best, found)
    if best is None:
        raise AssertionError(f"no supernode holds {members} members")
    return best[0] + unit, best[2]


def _ascending(first: Ints, second: Ints) -> Iterator[int]:
    """Indices by (first, second, index). Usually only the first one is asked for, and so found without sorting."""
    equal = np.flatnonzero(first == first.min())
    yield int(equal[np.argmin(second[equal])])
    yield from np.lexsort((second, first))[1:].tolist()


def _several(board: Board, count: int, members: int, unit: int) -> _Choice:
    """A split over the fewest supernodes, without pricing those that cannot be part of a least cover."""
    least = max(1, members - int(np.sort(board.room)[::-1][: count - 1].sum()))
    useful = np.flatnonzero(board.room >= least)
    found = _by_floors(board, useful, members, unit) if board.bounds_only else None
    prices, (price, shares) = found or _split(board, useful, board.prices(useful), members, unit)
    step = board.shape.steps[-1]
    parts = [(int(useful[child]), amount, int(prices[child, amount // step])) for child, amount in shares]
    return _Choice(price, lambda: _several_columns(board, parts))


_Priced = tuple[Ints, tuple[int, Shares]]
"""Prices by supernode and steps, and the cheapest split by them."""


def _split(board: Board, useful: Ints, prices: Ints, members: int, unit: int) -> _Priced:
    caps: list[int] = board.room[useful].tolist()
    floor = board.coding.pack(board.floor(members))
    ties = board.coding.low
    return prices, cheapest_split(prices, board.shape.steps[-1], caps, members, unit, floor, ties, full_split)


def _by_floors(board: Board, useful: Ints, members: int, unit: int) -> _Priced | None:
    """The cheapest split by lower bounds, raised to true prices where it has shares, until it has only such: then no
    other is cheaper. None where that takes too long."""
    floors, step = board.price_floors(useful), board.shape.steps[-1]
    for _ in range(FLOOR_TRIES):
        prices, (price, shares) = _split(board, useful, floors, members, unit)
        raised = False
        for child, amount in shares:
            table, at = board.table(int(useful[child])), amount // step
            floor = int(prices[child, at])
            if table.usable is None and (true := table.split(amount, floor)[0]) > floor:
                np.maximum(prices[child, at:], true, out=prices[child, at:])  # more members never cost less
                raised = True
        if not raised:
            return prices, (price, shares)
    return None


def _several_columns(board: Board, parts: Sequence[tuple[int, int, int]]) -> Columns:
    """The nodes of (supernode, members, their price): all it has where it gives all, which needs no second look."""
    nodes = board.caps[0]
    held = np.diff(np.concatenate(([0], np.cumsum(nodes)))[board.ground.first[0]])
    given = np.zeros(len(held), np.bool_)
    rest = []
    for index, members, price in parts:
        if held[index] == members:
            given[index] = True
            continue
        table = board.table(index)
        rest.append((index, place(table, members, price if table.usable is None else None)))
    whole = np.flatnonzero(np.repeat(given, np.diff(board.ground.first[0])) & (nodes > 0))
    taken, amounts = _columns(board, rest)
    taken, amounts = np.concatenate((whole, taken)), np.concatenate((nodes[whole], amounts))
    order = np.argsort(taken)
    return taken[order], amounts[order]


def _columns(board: Board, spots: Sequence[tuple[int, Sequence[Spot]]]) -> Columns:
    """By supernode, in order, its nodes as (index in its view, members), as columns over all."""
    first = board.ground.first[0]
    pairs = [np.array(of, np.int64).reshape(-1, 2) for _, of in spots]
    nodes = [pair[:, 0] + first[index] for (index, _), pair in zip(spots, pairs, strict=True)]
    none = np.zeros(0, np.int64)
    return np.concatenate([none, *nodes]), np.concatenate([none, *(pair[:, 1] for pair in pairs)])


def _bounded(board: Board, task: Task, floor: Sequence[int], counts: Sequence[int]) -> Solution | None:
    """The search with `maxSpan` as a constraint. When over budget, the same over ever fewer supernodes, unproven.

    counts: the least vector without it.
    """
    chosen = sorted(np.flatnonzero(board.room).tolist(), key=lambda index: (-board.room[index], index))
    bounded = _Bounded(board, task, counts)
    proven = board.exact
    while chosen:
        try:
            solution = bounded.best(sorted(chosen))
        except OverBudgetError:
            chosen = chosen[: len(chosen) // 2]
            proven = False
            continue
        if solution is None and not proven:
            break
        if solution is None or proven:
            return solution
        return replace(solution, counts=tuple(floor), proven=False)
    raise OverBudgetError("the search for a placement within maxSpan ran out of its budget")


class _Bounded:
    """The best placement within `maxSpan`, for all that one decision may cost.

    Each bound makes the tables larger. So bounds are left out first: the best placement under some of them that keeps
    all is the best under all, and where there is none under some there is none.
    """

    def __init__(self, board: Board, task: Task, counts: Sequence[int]) -> None:
        self._board = board
        self._task = task
        self._counts = counts
        self._left = FLEET_BUDGET

    def best(self, chosen: Sequence[int]) -> Solution | None:
        """Over some supernodes; None where there is none. Raises OverBudgetError."""
        spans = self._task.spans[::-1]
        known: list[tuple[set[Span], Sequence[int]]] = [(set(), self._counts)]
        for some in chain.from_iterable(combinations(spans, size) for size in range(1, len(spans) + 1)):
            if any(fewer.issubset(some) and _keeps(counts, self._task, some) for fewer, counts in known):
                continue
            try:
                solution = self._under(some, chosen)
            except OverBudgetError:
                if some == spans:
                    raise
                continue
            if solution is None or _keeps(solution.counts, self._task, spans):
                return solution
            known.append((set(some), solution.counts))
        raise AssertionError("the best placement under all bounds keeps all of them")

    def _under(self, spans: Sequence[Span], chosen: Sequence[int]) -> Solution | None:
        board, task, top = self._board, self._task, len(self._task.shape.above)
        dims = tuple(Dim(index - task.profile.node_index, most) for index, most in spans)
        trees = [board.table(index).front_for(dims) for index in chosen]
        unit = board.coding.unit(top)
        fronts = [touch(_project(tree.top, len(dims)), dims, top, unit) for tree in trees]
        sack = Knapsack(fronts, task.shape.steps[-1], task.request.members, dims, self._left)
        self._left -= sack.cells
        final = sack.table[-1]
        at = np.unravel_index(int(np.argmin(final)), final.shape)
        if final[at] >= FAR:
            return None
        counts = board.coding.unpack(int(final[at]))
        if task.most_supernodes is not None and counts[-1] > task.most_supernodes:
            return None
        states = sack.split((task.request.members, *(int(i) for i in at)))
        spots = [
            (index, tree.place(_lift(tree, state)))
            for index, tree, state in zip(chosen, trees, states, strict=True)
            if state[0]
        ]
        return _solution(board, _columns(board, spots), counts)


def _project(front: Front, axes: int) -> Front:
    """A front without the counts after the first `axes`: those bounds ended with the supernode."""
    return Front(front.states[:, : axes + 1], front.prices)


def _lift(tree: FrontTree, state: tuple[int, ...]) -> tuple[int, ...]:
    """The cheapest full state of a supernode with the given members and leading counts."""
    rows = np.flatnonzero((tree.top.states[:, : len(state)] == np.array(state)).all(axis=1))
    best = rows[int(np.argmin(tree.top.prices[rows]))]
    return tuple(tree.top.states[best].tolist())
