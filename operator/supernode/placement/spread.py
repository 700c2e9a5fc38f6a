"""From what a supernode gives to the nodes that give it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from supernode.placement.fronts import level_out
from supernode.placement.rows import stacked
from supernode.placement.split import best_fit, cheapest_split, even_split, fewest
from supernode.placement.tables import Tables

Spot = tuple[int, int]
"""(index of a node in its view, members on it)."""


def place(table: Tables, members: int, floor: int | None = None) -> list[Spot]:
    """Nodes of one supernode for its share, of the least price. floor: a lower bound of it. Raises RoughError."""
    top = len(table.shape.above)
    if not top:
        return [(0, members)]
    reserved = table.place_reserved(members)
    if reserved is not None:
        return reserved
    return _over_racks(table, members, floor) if top == 2 else _descend(table, top, 0, members)


def _over_racks(table: Tables, members: int, floor: int | None) -> list[Spot]:
    """Nodes of a supernode of racks. Racks that give all they have need no second look."""
    caps, held = table.caps[0], table.racks.reach[:, -1]
    given = np.zeros(len(held), np.bool_)
    spots: list[Spot] = []
    bounds = table.view.layout.bounds[0]
    for rack, amount in table.split(members, floor)[1]:
        if amount == held[rack]:
            given[rack] = True
            continue
        start, end = bounds[rack : rack + 2]
        spots += [(start + node, share) for node, share in _share_nodes(table, start, caps[start:end].tolist(), amount)]
    nodes = np.flatnonzero(np.repeat(given, np.diff(bounds)) & (caps > 0))
    return sorted([*spots, *zip(nodes.tolist(), caps[nodes].tolist(), strict=True)])


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
        price, unit = int(row.prices[members // row.step]), table.coding.unit(above - 1)
        _, parts = cheapest_split(
            stacked([row.prices for row in children]), children[0].step, caps, members, unit, price, table.coding.low
        )
    return [spot for child, amount in parts for spot in _descend(table, above - 1, start + child, amount)]


def _share_nodes(table: Tables, start: int, caps: list[int], members: int) -> list[Spot]:
    """The fewest nodes, of these the fewest wholly free ones, evenly used, those with the least room first; of equals
    those with fewest free cards, and none ailing."""
    if members == sum(caps):
        return [(node, cap) for node, cap in enumerate(caps) if cap]
    nodes = table.view.nodes
    usable = [node for node, cap in enumerate(caps) if cap]
    order = sorted(usable, key=lambda at: (nodes[start + at].free.bit_count(), nodes[start + at].ailing, at))
    step = table.shape.steps[table.shape.profile.node_index]
    if not table.coding.low:
        return sorted((order[at], amount) for at, amount in even_split([caps[node] for node in order], members, step))
    whole = [node for node in order if nodes[start + node].wholly_free]
    partly = [node for node in order if not nodes[start + node].wholly_free]
    count = fewest(sorted((caps[node] for node in order), reverse=True), members)
    roomy, others = (sorted(part, key=lambda node: -caps[node]) for part in (whole, partly))
    taken = _fewest_whole([caps[node] for node in roomy], [caps[node] for node in others], members, count)
    pools = roomy[:taken] + others[: count - taken]
    shares = [amount * step for amount in level_out([caps[node] // step for node in pools], members // step)]
    tightest = best_fit(partly + whole, caps, shares)
    if sum(node in whole for node, _ in tightest) == taken:
        return tightest
    return sorted(best_fit(whole, caps, shares[:taken]) + best_fit(partly, caps, shares[taken:]))


def _fewest_whole(whole: Sequence[int], partly: Sequence[int], members: int, count: int) -> int:
    """The fewest wholly free ones among `count` nodes that take all members, of which there are such. whole, partly:
    what nodes take, the roomiest first."""
    by_whole, by_partly = [0, *accumulate(whole)], [0, *accumulate(partly)]
    return next(
        taken for taken, room in enumerate(by_whole) if room + by_partly[min(count - taken, len(partly))] >= members
    )
