"""From what a supernode gives to the nodes that give it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np

from supernode.placement.fronts import level_out
from supernode.placement.rows import Ints, stacked
from supernode.placement.split import Shares, best_fit, cheapest_split, even_split, fewest
from supernode.placement.tables import Tables
from supernode.topology.node import Node

Spot = tuple[int, int]
"""(index of a node in its view, members on it)."""


Rules = tuple[int, bool]
"""Members of a node come in multiples of the first; whether wholly free nodes are counted."""


def place(table: Tables, members: int, floor: int | None = None) -> list[Spot]:
    """Nodes of one supernode for its share, of the least price. floor: a lower bound of it. Raises RoughError."""
    top = len(table.shape.above)
    if not top:
        return [(table.home, members)]
    if table.breaks_reserve(members):
        if top > 1:
            return table.front.place(table.front.cheapest(members))
        table = table.narrowed
    return _over_racks(table, members, floor) if top == 2 else _descend(table, top, 0, members)


def _over_racks(table: Tables, members: int, floor: int | None) -> list[Spot]:
    """Nodes of a supernode of racks."""
    view, shares = table.view, table.split(members, floor)[1]
    caps, bounds = (table.caps[0], table.racks.reach[:, -1]), np.array(view.layout.bounds[0])
    nodes, amounts = of_racks(shares, caps, bounds, lambda start, end: view.nodes[start:end], _rules(table))
    return list(zip(nodes.tolist(), amounts.tolist(), strict=True))


def of_racks(
    shares: Shares, caps: tuple[Ints, Ints], bounds: Ints, nodes: Callable[[int, int], Sequence[Node]], rules: Rules
) -> tuple[Ints, Ints]:
    """Nodes, ascending, and their members, for (rack, members). Racks that give all they have need no second look.

    caps: what each node and each rack takes. bounds: of the racks' nodes. nodes: those from an index up to another.
    """
    given = np.zeros(len(caps[1]), np.bool_)
    spots: list[Spot] = []
    for rack, amount in shares:
        if amount == caps[1][rack]:
            given[rack] = True
            continue
        start, end = bounds[rack : rack + 2].tolist()
        part = _share_nodes(nodes(start, end), caps[0][start:end].tolist(), amount, rules)
        spots += [(start + node, share) for node, share in part]
    amounts = np.where(np.repeat(given, np.diff(bounds)), caps[0], 0)
    if spots:
        taken, of = np.array(spots, np.int64).T
        amounts[taken] = of
    chosen = np.flatnonzero(amounts)
    return chosen, amounts[chosen]


def _descend(table: Tables, above: int, domain: int, members: int) -> list[Spot]:
    """Nodes under one domain of the above-th level. The domain's own price is the floor that a split must meet."""
    start, end = table.view.layout.bounds[above - 1][domain : domain + 2]
    caps: list[int] = table.caps[above - 1][start:end].tolist()
    if above == 1:
        found = _share_nodes(table.view.nodes[start:end], caps, members, _rules(table))
        return [(start + node, amount) for node, amount in found]
    if above == len(table.shape.above):
        _, parts = table.split(members)
    else:
        row, children = table.rows(above)[domain], table.rows(above - 1)[start:end]
        price, unit = int(row.prices[members // row.step]), table.coding.unit(above - 1)
        _, parts = cheapest_split(
            stacked([row.prices for row in children]), children[0].step, caps, members, unit, price, table.coding.low
        )
    return [spot for child, amount in parts for spot in _descend(table, above - 1, start + child, amount)]


def _share_nodes(nodes: Sequence[Node], caps: list[int], members: int, rules: Rules) -> list[Spot]:
    """The fewest nodes, of these the fewest wholly free ones, evenly used, those with the least room first; of equals
    those with fewest free cards, and none ailing."""
    if members == sum(caps):
        return [(node, cap) for node, cap in enumerate(caps) if cap]
    usable = [node for node, cap in enumerate(caps) if cap]
    order = sorted(usable, key=lambda at: (nodes[at].free.bit_count(), nodes[at].ailing, at))
    step, counts_whole = rules
    if not counts_whole:
        return sorted((order[at], amount) for at, amount in even_split([caps[node] for node in order], members, step))
    whole = [node for node in order if nodes[node].wholly_free]
    partly = [node for node in order if not nodes[node].wholly_free]
    count = fewest(sorted((caps[node] for node in order), reverse=True), members)
    roomy, others = (sorted(part, key=lambda node: -caps[node]) for part in (whole, partly))
    taken = _fewest_whole([caps[node] for node in roomy], [caps[node] for node in others], members, count)
    pools = roomy[:taken] + others[: count - taken]
    shares = [amount * step for amount in level_out([caps[node] // step for node in pools], members // step)]
    tightest = best_fit(partly + whole, caps, shares)
    if sum(nodes[node].wholly_free for node, _ in tightest) == taken:
        return tightest
    return sorted(best_fit(whole, caps, shares[:taken]) + best_fit(partly, caps, shares[taken:]))


def _rules(table: Tables) -> Rules:
    return table.shape.steps[table.shape.profile.node_index], table.coding.low > 0


def _fewest_whole(whole: Sequence[int], partly: Sequence[int], members: int, count: int) -> int:
    """The fewest wholly free ones among `count` nodes that take all members, of which there are such. whole, partly:
    what nodes take, the roomiest first."""
    by_whole, by_partly = [0, *accumulate(whole)], [0, *accumulate(partly)]
    return next(
        taken for taken, room in enumerate(by_whole) if room + by_partly[min(count - taken, len(partly))] >= members
    )
