"""The search for one profile: the least vector of domains over all its supernodes, and a placement that has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from supernode.placement.coding import FAR, Coding
from supernode.placement.fronts import Dim, Front, FrontTree, Knapsack, OverBudgetError, level_out, touch
from supernode.placement.shape import Task
from supernode.placement.split import best_fit, cheapest_split, fewest
from supernode.placement.tables import Tables, tables
from supernode.topology.fleet import SuperNodeView

FLEET_BUDGET = 2_000_000_000
"""Table cells the search over supernodes under `maxSpan` may cost before it gives up exactness."""

Spot = tuple[int, int]
"""(index of a node in its view, members on it)."""


@dataclass(frozen=True, slots=True)
class Solution:
    """spots: per supernode touched, its index in `views` and its nodes. counts: the least vector, node first, or the
    best known lower bound when not proven."""

    views: Sequence[SuperNodeView]
    spots: list[tuple[int, list[Spot]]] = field(default_factory=list)
    counts: tuple[int, ...] = ()
    proven: bool = True


def search(views: Sequence[SuperNodeView], task: Task, coding: Coding) -> Solution | None:
    """The best placement, or None when there is none. Raises OverBudgetError when the budget ended without one."""
    members, shape = task.request.members, task.shape
    limit = 1 << max(0, members - 1).bit_length()
    known = [tables(view, shape, limit, coding) for view in views]
    caps = [table.cap for table in known]
    if sum(caps) < members:
        return None
    count = fewest(sorted(caps, reverse=True), members)
    if task.most_supernodes is not None and count > task.most_supernodes:
        return None
    floor = _floor(known, count, members, coding)
    top = len(shape.above)
    price, parts = _cheapest(known, caps, members, coding.unit(top), coding.pack(floor))
    exact = coding.complete and all(table.exact for table in known)
    counts = coding.unpack(price)
    if all(counts[index - shape.profile.node_index] <= most for index, most in task.spans):
        spots = [(index, place(known[index], amount)) for index, amount in parts]
        return Solution(views, spots, counts if exact else tuple(floor), exact)
    if any(floor[index - shape.profile.node_index] > most for index, most in task.spans):
        return None
    return _bounded(known, task, coding, floor, exact)


def place(table: Tables, members: int) -> list[Spot]:
    """Nodes of one supernode for its share, of the least price."""
    if table.front is not None:
        return table.front.place(table.front.cheapest(members))
    top = len(table.shape.above)
    return _descend(table, top, 0, members) if top else [(0, members)]


def _cheapest(
    known: Sequence[Tables], caps: Sequence[int], members: int, unit: int, floor: int | None
) -> tuple[int, list[tuple[int, int]]]:
    """As `cheapest_split` over supernodes, without pricing those that cannot be part of a least cover."""
    by_room = sorted(caps, reverse=True)
    count = fewest(by_room, members)
    least = members - sum(by_room[: count - 1])
    useful = [index for index, cap in enumerate(caps) if cap and cap >= least]
    price, parts = cheapest_split([known[i].row for i in useful], [caps[i] for i in useful], members, unit, floor)
    return price, [(useful[child], amount) for child, amount in parts]


def _descend(table: Tables, above: int, domain: int, members: int) -> list[Spot]:
    """Nodes under one domain of the above-th level. The domain's own price is the floor that a split must meet."""
    start, end = table.view.layout.bounds[above - 1][domain : domain + 2]
    caps: list[int] = table.caps[above - 1][start:end].tolist()
    if above == 1:
        return [(start + node, amount) for node, amount in _share_nodes(table, start, caps, members)]
    row = table.rows(above)[domain]
    children = table.rows(above - 1)[start:end]
    _, parts = cheapest_split(
        children, caps, members, table.coding.unit(above - 1), int(row.prices[members // row.step])
    )
    return [spot for child, amount in parts for spot in _descend(table, above - 1, start + child, amount)]


def _share_nodes(table: Tables, start: int, caps: list[int], members: int) -> list[Spot]:
    """The fewest nodes, evenly used, those with the least room first; among equals those with fewest free cards."""
    step = table.shape.steps[table.shape.profile.node_index]
    usable = [node for node, cap in enumerate(caps) if cap]
    roomy = sorted((caps[node] for node in usable), reverse=True)
    amounts = level_out([cap // step for cap in roomy[: fewest(roomy, members)]], members // step)
    nodes = table.view.nodes
    order = sorted(usable, key=lambda node: (nodes[start + node].free.bit_count(), node))
    return best_fit(order, caps, [amount * step for amount in amounts])


def _floor(known: Sequence[Tables], count: int, members: int, coding: Coding) -> list[int]:
    """Each level's least count taken alone, node first: no placement has less at any level."""
    floor = []
    for above in range(len(coding.widths) - 1):
        room = np.sort(np.concatenate([table.caps[above] for table in known if table.cap]))[::-1]
        floor.append(int(np.searchsorted(np.cumsum(room), members)) + 1)
    return [*floor, count]


def _bounded(known: Sequence[Tables], task: Task, coding: Coding, floor: list[int], exact: bool) -> Solution | None:
    """The search with `maxSpan` as a constraint. When over budget, the same over ever fewer supernodes, unproven."""
    node = task.profile.node_index
    dims = tuple(Dim(index - node, most) for index, most in task.spans)
    chosen = sorted((i for i, table in enumerate(known) if table.cap), key=lambda i: (-known[i].cap, i))
    while chosen:
        try:
            solution = _bounded_over(known, sorted(chosen), task, coding, dims)
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


def _bounded_over(
    known: Sequence[Tables], chosen: Sequence[int], task: Task, coding: Coding, dims: tuple[Dim, ...]
) -> Solution | None:
    members, top = task.request.members, len(task.shape.above)
    trees = [known[i].front_for(dims) for i in chosen]
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
    return Solution([table.view for table in known], spots, counts)


def _project(front: Front, axes: int) -> Front:
    """A front without the counts after the first `axes`: those bounds ended with the supernode."""
    return Front(front.states[:, : axes + 1], front.prices)


def _lift(tree: FrontTree, state: tuple[int, ...]) -> tuple[int, ...]:
    """The cheapest full state of a supernode with the given members and leading counts."""
    rows = np.flatnonzero((tree.top.states[:, : len(state)] == np.array(state)).all(axis=1))
    best = rows[int(np.argmin(tree.top.prices[rows]))]
    return tuple(tree.top.states[best].tolist())
