"""The fewest cards that would have to come free for a group to get its box of a ring or torus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernode.placement.boxes import Found, Turned, sums
from supernode.placement.change import Change
from supernode.placement.shapes import Need
from supernode.topology.fleet import SuperNodeView
from supernode.topology.grid import Grid, grid_of

Ints = NDArray[np.int64]


def smallest_box_change(views: Sequence[SuperNodeView], need: Need) -> Change | None:
    """The box that lacks the fewest cards, of those that leave its supernode the reserve; None when there is none.

    With reserves another change, which frees nodes for the reserve beside the box, might take fewer cards.
    """
    cheapest = (view.memo(("box change", need), partial(_cheapest, view, need)) for view in views)
    options = [(index, option) for index, found in enumerate(cheapest) for option in found]
    if not options:
        return None
    index, best = min(options, key=lambda of: (of[1].cards, of[0]))
    view = views[index]
    grid = grid_of(view, need.level)
    children = [int(grid.child[best.box.torus][cell]) for cell in best.box.cells(need.rules.dims)]
    nodes = {at: _closed(view, at) for child in children for at in _nodes(view, need.level, child)}
    opened = {at: mask for at, mask in nodes.items() if mask}
    return Change({index: opened}, least=not any(view.reserve for view in views))


class _Option(NamedTuple):
    cards: int
    box: Found


def _cheapest(view: SuperNodeView, need: Need) -> Sequence[_Option]:
    """The cheapest place of all in this supernode, of equals that of the first way to lie; none where there is none."""
    best = min(_options(view, need), key=lambda option: option.cards, default=None)
    return () if best is None else (best,)


def _options(view: SuperNodeView, need: Need) -> Iterator[_Option]:
    """For each way a box may lie, its cheapest place in this supernode."""
    grid = grid_of(view, need.level)
    if not len(grid.child):
        return
    real = (grid.child >= 0) & grid.sound[grid.child]
    census = view.census
    closed = [kind.cards - (0 if view.cordoned else kind.free.bit_count()) for kind in census.kinds]
    lacking = np.array(closed, np.int64)[census.each]
    whole = np.zeros(len(view.nodes), np.int64) if view.cordoned else census.wholly_free.astype(np.int64)
    cost, used = _by_cell(view, grid, need.level, lacking), _by_cell(view, grid, need.level, whole)
    for box in (box for boxes in need.choices for box in boxes):
        places = need.rules.anchors(real, box.extents)
        if view.reserve:
            places &= sums(used, box.extents) <= int(whole.sum()) - view.reserve
        at = np.flatnonzero(places)
        if len(at):
            costs = sums(cost, box.extents).reshape(-1)[at]
            yield _Option(int(costs.min()), _found(int(at[costs.argmin()]), box, need))


def _found(at: int, box: Turned, need: Need) -> Found:
    torus, *anchor = np.unravel_index(at, (at + 1, *need.rules.dims))
    return Found(int(torus), tuple(int(place) for place in anchor), box)


def _by_cell(view: SuperNodeView, grid: Grid, level: int, nodes: Ints) -> Ints:
    """What the nodes of each cell's child have together; 0 in holes."""
    for inner in range(level - view.profile.node_index - 1):
        nodes = np.add.reduceat(nodes, view.layout.starts[inner])
    return np.where(grid.child >= 0, nodes[grid.child], 0)


def _nodes(view: SuperNodeView, level: int, child: int) -> range:
    depth = level - view.profile.node_index - 1
    if depth == 0:
        return range(child, child + 1)
    start, end = view.layout.node_bounds[depth - 1][child : child + 2]
    return range(start, end)


def _closed(view: SuperNodeView, at: int) -> int:
    """The cards of a node that are not available now."""
    node = view.nodes[at]
    return node.all_cards & ~(0 if view.cordoned else node.free)
