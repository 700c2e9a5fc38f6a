"""The rings and tori of a supernode as arrays: which child lies in which cell, and which cells are wholly free."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from supernode.topology.fleet import SuperNodeView

Ints = NDArray[np.intp]
Cells = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Grid:
    """The domains of one ring or torus level of a supernode, as long as its nodes stay the same.

    child[g, x, y, ...]: index of the child, one level further in, in that cell of grid g; -1 for a hole. domains[g]:
    the index of the domain that grid g belongs to. sound: for each child whether it has all it nominally has. A domain
    whose children have no known positions has a grid for each of them, with nothing else in it.
    """

    child: Ints
    domains: tuple[int, ...]
    sound: Cells


def grid_of(view: SuperNodeView, level: int) -> Grid:
    """The grid of the level with this index in the profile."""
    known: Grid | None = view.layout.grids.get(level)
    if known is None:
        known = view.layout.grids[level] = _build(view, level)
    return known


def _build(view: SuperNodeView, index: int) -> Grid:
    profile, layout = view.profile, view.layout
    level, depth = profile.levels[index], index - profile.node_index - 1
    first = range(len(view.nodes)) if depth == 0 else layout.node_bounds[depth - 1][:-1]
    at = len(profile.above) - 1 - depth
    cells: list[Ints] = []
    domains: list[int] = []
    for domain, (start, end) in enumerate(pairwise(layout.bounds[depth])):
        places = [view.nodes[first[child]].at[at : at + 1] for child in range(start, end)]
        if level.position_label is not None:
            where = [place[0] if place else -1 for place in places]
        else:
            where = list(range(end - start)) if end - start == level.fan_out else [-1] * (end - start)
        known = {cell: start + i for i, cell in enumerate(where) if cell >= 0}
        alone = [{0: start + i} for i, cell in enumerate(where) if cell < 0]
        for content in [known, *alone] if known else alone:
            grid = np.full(level.fan_out, -1, np.intp)
            grid[list(content)] = list(content.values())
            cells.append(grid.reshape(level.grid))
            domains.append(domain)
    child = np.array(cells, np.intp).reshape(len(cells), *level.grid)
    return Grid(child, tuple(domains), _sound(view, depth))


def _sound(view: SuperNodeView, depth: int) -> Cells:
    """Which children of the domains at this depth above the node have all the nodes and domains they nominally have."""
    profile, layout = view.profile, view.layout
    sound = np.array([node.cards == profile.cards_per_node for node in view.nodes], np.bool_)
    for inner in range(depth):
        starts = layout.starts[inner]
        complete = np.diff(np.asarray(layout.bounds[inner])) == profile.above[inner].fan_out
        sound = np.logical_and.reduceat(sound, starts) & complete if len(starts) else np.zeros(0, np.bool_)
    return sound


def free_cells(view: SuperNodeView, level: int) -> Cells:
    """For each grid of a level, which cells hold a child that is wholly free."""
    return view.memo(("free cells", level), lambda: _free_cells(view, level))


def _free_cells(view: SuperNodeView, level: int) -> Cells:
    grid, layout = grid_of(view, level), view.layout
    free = view.census.wholly_free
    for inner in range(level - view.profile.node_index - 1):
        free = np.logical_and.reduceat(free, layout.starts[inner]) if len(free) else free
    cells: Cells = (grid.child >= 0) & (free & grid.sound)[grid.child] if len(free) else grid.child >= 0
    return cells
