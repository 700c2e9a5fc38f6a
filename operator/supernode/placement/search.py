"""The search for one profile: the least vector of domains over all its supernodes, and a placement that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from supernode.placement import single, whole
from supernode.placement.board import Board
from supernode.placement.coding import FAR
from supernode.placement.fronts import Dim, Front, FrontTree, Knapsack, OverBudgetError, level_out, touch
from supernode.placement.rows import Ints, fewest_whole
from supernode.placement.shape import Task
from supernode.placement.split import Shares, best_fit, cheapest_split, even_split, fewest, full_split
from supernode.placement.tables import RoughError, Tables
from supernode.topology.fleet import SuperNodeView

FLEET_BUDGET = 2_000_000_000
"""Table cells the search over supernodes under `maxSpan` may cost before it gives up exactness."""

Spot = tuple[int, int]
"""(index of a node in its view, members on it)."""

Spots = list[tuple[int, list[Spot]]]
"""By supernode, the nodes taken."""


@dataclass(frozen=True, slots=True)
class Solution:
    """spots: per supernode touched, its index in `views` and its nodes. counts: the least vector, node first, or the
    best known lower bound when not proven."""

    views: Sequence[SuperNodeView]
    spots: Spots = field(default_factory=list)
    counts: tuple[int, ...] = ()
    proven: bool = True


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
    members, coding, node = task.request.members, board.coding, task.profile.node_index
    count = _cover(board, task)
    if count is None:
        return None
    if task.spans and not coding.complete:
        raise OverBudgetError("the fleet has too many domains for prices that count every level that maxSpan may bound")
    floor = board.floor(members) if task.spans or not board.exact else ()
    choice = _choose(board, count, members)
    counts = coding.unpack(choice.price)
    if all(counts[index - node] <= most for index, most in task.spans):
        return Solution(board.views, choice.spots(), counts if board.exact else tuple(floor), board.exact)
    if any(floor[index - node] > most for index, most in task.spans):
        return None
    return _bounded(board, task, floor, board.exact)


@dataclass(frozen=True, slots=True)
class _Choice:
    """The least price, and a placement that has it, worked out when it is wanted."""

    price: int
    spots: Callable[[], Spots]


def _choose(board: Board, count: int, members: int) -> _Choice:
    """By the shortest of three ways: one node, whole nodes, or prices of every domain."""
    if whole.applies(board):
        price, shares = whole.choose(board, count, members)
        return _Choice(price, lambda: whole.spots(board, shares))
    one = single.choose(board, members) if count == 1 and not board.shape.spares else None
    if one is not None:
        return _Choice(one[0], lambda: [(one[1], [single.spot(board, one[1], members)])])
    unit = board.coding.unit(len(board.shape.above))
    price, shares = _one(board, members, unit) if count == 1 else _several(board, count, members, unit)
    return _Choice(price, lambda: [(index, place(board.table(index), amount)) for index, amount in shares])


def place(table: Tables, members: int) -> list[Spot]:
    """Nodes of one supernode for its share, of the least price. Raises RoughError."""
    top = len(table.shape.above)
    if not top:
        return [(0, members)]
    reserved = table.place_reserved(members)
    return _descend(table, top, 0, members) if reserved is None else reserved


def _cover(board: Board, task: Task) -> int | None:
    """The fewest supernodes that hold the group, or None when there are not enough, maxSpan on inner levels aside."""
    count = _fewest(board.room, task)
    if count is None and not board.exact and _fewest(board.bound, task):
        raise OverBudgetError("a reserve was followed only roughly, and so no placement was found")
    return count


def _fewest(room: Ints, task: Task) -> int | None:
    reach = np.cumsum(np.sort(room)[::-1])
    if not len(reach) or reach[-1] < task.request.members:
        return None
    count = int(np.searchsorted(reach, task.request.members)) + 1
    return None if task.most_supernodes is not None and count > task.most_supernodes else count


def _one(board: Board, members: int, unit: int) -> tuple[int, Shares]:
    """The supernode of the least price that holds all; among equals the one with least left over, then the first.

    Taken in the order of their lower bounds, few need their exact price.
    """
    floors, room = board.floors(members), board.room
    best: tuple[int, int, int] | None = None
    for index in _ascending(floors, room):
        floor = int(floors[index])
        if floor >= FAR or (best is not None and best <= (floor, int(room[index]), index)):
            break
        found = (board.table(index).price(members, floor), int(room[index]), index)
        best = found if best is None else min(best, found)
    if best is None:
        raise AssertionError(f"no supernode holds {members} members")
    return best[0] + unit, [(best[2], members)]


def _ascending(first: Ints, second: Ints) -> Iterator[int]:
    """Indices by (first, second, index). Usually only the first one is asked for, and so found without sorting."""
    equal = np.flatnonzero(first == first.min())
    yield int(equal[np.argmin(second[equal])])
    yield from np.lexsort((second, first))[1:].tolist()


def _several(board: Board, count: int, members: int, unit: int) -> tuple[int, Shares]:
    """A split over the fewest supernodes, without pricing those that cannot be part of a least cover."""
    least = max(1, members - int(np.sort(board.room)[::-1][: count - 1].sum()))
    useful = np.flatnonzero(board.room >= least).tolist()
    rows = [board.table(index).row for index in useful]
    caps = board.room[useful].tolist()
    floor = board.coding.pack(board.floor(members))
    price, parts = cheapest_split(rows, caps, members, unit, floor, board.coding.low, full_split)
    return price, [(useful[child], amount) for child, amount in parts]


def _descend(table: Tables, above: int, domain: int, members: int) -> list[Spot]:
    """Nodes under one domain of the above-th level. The domain's own price is the floor that a split must meet."""
    start, end = table.view.layout.bounds[above - 1][domain : domain + 2]
    caps: list[int] = table.caps[above - 1][start:end].tolist()
    if above == 1:
        return [(start + node, amount) for node, amount in _share_nodes(table, start, caps, members)]
    if above == len(table.shape.above):
        _, parts = table.split(members)
    else:
        row, children = table.rows(above)[domain], table.rows(above - 1)[start:end]
        price = int(row.prices[members // row.step])
        _, parts = cheapest_split(children, caps, members, table.coding.unit(above - 1), price, table.coding.low)
    return [spot for child, amount in parts for spot in _descend(table, above - 1, start + child, amount)]


def _share_nodes(table: Tables, start: int, caps: list[int], members: int) -> list[Spot]:
    """The fewest nodes, of these the fewest wholly free ones, evenly used, those with the least room first; of equals
    those with fewest free cards."""
    if members == sum(caps):
        return [(node, cap) for node, cap in enumerate(caps) if cap]
    nodes = table.view.nodes
    order = sorted(
        (node for node, cap in enumerate(caps) if cap), key=lambda node: (nodes[start + node].free.bit_count(), node)
    )
    step = table.shape.steps[table.shape.profile.node_index]
    if not table.coding.low:
        return sorted((order[at], amount) for at, amount in even_split([caps[node] for node in order], members, step))
    whole = [node for node in order if nodes[start + node].wholly_free]
    partly = [node for node in order if not nodes[start + node].wholly_free]
    count = fewest(sorted((caps[node] for node in order), reverse=True), members)
    of_whole, of_partly = (np.array([caps[node] for node in part], np.int64) for part in (whole, partly))
    taken = int(fewest_whole(of_whole, of_partly, np.array([members]), np.array([count]))[0])
    pools = _roomiest(whole, caps, taken), _roomiest(partly, caps, count - taken)
    amounts = level_out([caps[node] // step for pool in pools for node in pool], members // step)
    shares = [amount * step for amount in amounts]
    tightest = best_fit(partly + whole, caps, shares)
    if sum(node in whole for node, _ in tightest) == taken:
        return tightest
    return sorted(best_fit(whole, caps, shares[:taken]) + best_fit(partly, caps, shares[taken:]))


def _roomiest(nodes: Sequence[int], caps: Sequence[int], count: int) -> list[int]:
    return sorted(nodes, key=lambda node: -caps[node])[:count]


def _bounded(board: Board, task: Task, floor: Sequence[int], exact: bool) -> Solution | None:
    """The search with `maxSpan` as a constraint. When over budget, the same over ever fewer supernodes, unproven."""
    node = task.profile.node_index
    dims = tuple(Dim(index - node, most) for index, most in task.spans)
    chosen = sorted(np.flatnonzero(board.room).tolist(), key=lambda index: (-board.room[index], index))
    while chosen:
        try:
            solution = _bounded_over(board, sorted(chosen), task, dims)
        except OverBudgetError:
            chosen = chosen[: len(chosen) // 2]
            exact = False
            continue
        if solution is None and not exact:
            break
        if solution is None or exact:
            return solution
        return Solution(solution.views, solution.spots, tuple(floor), proven=False)
    raise OverBudgetError("the search for a placement within maxSpan ran out of its budget")


def _bounded_over(board: Board, chosen: Sequence[int], task: Task, dims: tuple[Dim, ...]) -> Solution | None:
    members, top, coding = task.request.members, len(task.shape.above), board.coding
    trees = [board.table(i).front_for(dims) for i in chosen]
    fronts = [touch(_project(tree.top, len(dims)), dims, top, coding.unit(top)) for tree in trees]
    sack = Knapsack(fronts, task.shape.steps[-1], members, dims, FLEET_BUDGET)
    final = sack.table[-1]
    at = np.unravel_index(int(np.argmin(final)), final.shape)
    if final[at] >= FAR:
        return None
    counts = coding.unpack(int(final[at]))
    if task.most_supernodes is not None and counts[-1] > task.most_supernodes:
        return None
    states = sack.split((members, *(int(i) for i in at)))
    spots = [
        (index, tree.place(_lift(tree, state)))
        for index, tree, state in zip(chosen, trees, states, strict=True)
        if state[0]
    ]
    return Solution(board.views, spots, counts)


def _project(front: Front, axes: int) -> Front:
    """A front without the counts after the first `axes`: those bounds ended with the supernode."""
    return Front(front.states[:, : axes + 1], front.prices)


def _lift(tree: FrontTree, state: tuple[int, ...]) -> tuple[int, ...]:
    """The cheapest full state of a supernode with the given members and leading counts."""
    rows = np.flatnonzero((tree.top.states[:, : len(state)] == np.array(state)).all(axis=1))
    best = rows[int(np.argmin(tree.top.prices[rows]))]
    return tuple(tree.top.states[best].tolist())
