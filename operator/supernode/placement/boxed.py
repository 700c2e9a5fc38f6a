"""Groups that take part of a ring or torus: a box in one domain, of whole children, or why there is none."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from operator import is_not
from typing import Any

import numpy as np

from supernode.api.conditions import Reason
from supernode.placement.box_change import smallest_box_change
from supernode.placement.boxes import Cells, Found
from supernode.placement.refusal import advise, cordoned, lending
from supernode.placement.result import Box, Placement, Refusal
from supernode.placement.shape import Task
from supernode.placement.shapes import Need
from supernode.topology.fleet import SuperNodeView
from supernode.topology.grid import free_cells, grid_of
from supernode.topology.node import Member, Node
from supernode.topology.profile import Level

Notes = dict[Hashable, Any]
"""What is remembered of some supernodes until one changes."""


def box_notes(shared: MutableMapping[Hashable, Any], views: Sequence[SuperNodeView], tag: str) -> Notes:
    """What is remembered of these supernodes of one profile. shared: of their fleet. tag keeps snapshots of different
    kinds apart."""
    place = ("boxes", tag, views[0].profile.name)
    known: tuple[Sequence[SuperNodeView], Notes] | None = shared.get(place)
    if known is None or len(known[0]) != len(views) or any(map(is_not, known[0], views)):
        known = shared[place] = views, {}
    return known[1]


def place_box(views: Sequence[SuperNodeView], task: Task, need: Need) -> Placement | None:
    """The most cube-like free box, of these the one that breaks the fewest free places of larger ones; None where none
    is free.

    All of it lies in one domain of its level, and its nodes are whole, so that every span is the least there can be.
    """
    stack = _stack(views, task, need)
    found = _best(stack, need)
    if found is None:
        return None
    view, torus = stack.owners[found.torus]
    grid = grid_of(view, need.level)
    members: list[Member] = []
    for cell in found.cells(need.rules.dims):
        for node in _nodes(view, task, need, int(grid.child[torus][cell])):
            domains = view.domains(node)
            for cards in task.shape.packing.place(node.free, task.profile.cards_per_node // task.shape.cards):
                members.append(Member(len(members), view.name, node.name, cards, domains))
    levels = [level.name for level in reversed(task.profile.levels[task.profile.node_index :])]
    spans = {level: len({member.domains[level] for member in members}) for level in levels}
    level = task.profile.levels[need.level]
    unit = task.profile.child_extents(need.level)
    box = Box(level.name, members[0].domains[level.name], found.anchor, found.box.extents, unit)
    return Placement(task.profile.name, tuple(members), spans, spans, box=box)


@dataclass(frozen=True, slots=True)
class _Stack:
    """The grids of all supernodes that may give the box. owners: for each its view, and its index in that view."""

    free: Cells
    owners: list[tuple[SuperNodeView, int]]


def _stack(views: Iterable[SuperNodeView], task: Task, need: Need) -> _Stack:
    owners: list[tuple[SuperNodeView, int]] = []
    parts = [np.zeros((0, *need.rules.dims), np.bool_)]
    for view in views:
        if not view.cordoned and view.usable >= _nodes_needed(task):
            cells = free_cells(view, need.level)
            parts.append(cells)
            owners += [(view, torus) for torus in range(len(cells))]
    return _Stack(np.concatenate(parts), owners)


def _best(stack: _Stack, need: Need) -> Found | None:
    found = (need.rules.best(stack.free, boxes) for boxes in need.choices)
    return next((box for box in found if box is not None), None)


def _nodes_needed(task: Task) -> int:
    return task.request.cards // task.profile.cards_per_node


def _nodes(view: SuperNodeView, task: Task, need: Need, child: int) -> Sequence[Node]:
    """The nodes of a child of the box's level."""
    depth = need.level - task.profile.node_index - 1
    if depth == 0:
        return view.nodes[child : child + 1]
    start, end = view.layout.node_bounds[depth - 1][child : child + 2]
    return view.nodes[start:end]


def box_refusal(
    shared: MutableMapping[Hashable, Any], views: Sequence[SuperNodeView], task: Task, need: Need
) -> Refusal:
    """Why there is no such box. shared: as in `box_notes`."""
    emptied = [view.emptied() for view in views]
    never = not _fits(shared, emptied, task, need, "empty")
    open_ = emptied if never else [view for view in views if not view.cordoned]
    request, level = task.request, task.profile.levels[need.level]
    child = task.profile.levels[need.level - 1]
    size, has = _offered(open_, task, need)
    text = f"needs {_wanted(task, need, child)} in one {level.name}; {has}"
    if reserved := sum(min(view.reserve, len(view.nodes)) for view in open_):
        text += f"; {reserved} of {sum(len(view.nodes) for view in open_)} nodes are reserved"
    best = min(request.members, size * child.cards // request.cards_per_member)
    if never:
        text += "; this is with every card healthy and free, so ask for less or another shape"
        lent = [view.emptied(keep_reserve=False) for view in views]
        if reserved and _fits(shared, lent, task, need, "lent"):
            text += lending(views)
        return Refusal(Reason.NEVER_FITS, text, level.name, request.members, best, stalled=True)
    text += cordoned(views)
    free = sum(int(free_cells(view, need.level).sum()) for view in open_)
    reason = Reason.NO_DOMAIN_FITS if free * child.cards >= request.cards else Reason.INSUFFICIENT_CARDS
    change = smallest_box_change(views, need)
    if change is None or not change.cards:
        return Refusal(reason, text, level.name, request.members, best)
    advice, openings = advise(views, change, level.name)
    return Refusal(reason, text + advice, level.name, request.members, best, change=openings, least=change.least)


def _fits(
    shared: MutableMapping[Hashable, Any], views: Sequence[SuperNodeView], task: Task, need: Need, tag: str
) -> bool:
    """Whether there is such a box. shared, tag: as in `box_notes`."""
    notes, key = box_notes(shared, views, tag), (task.shape, task.request.members, need)
    if key not in notes:
        notes[key] = _best(_stack(views, task, need), need) is not None
    fits: bool = notes[key]
    return fits


def _offered(views: Sequence[SuperNodeView], task: Task, need: Need) -> tuple[int, str]:
    """The cells of the largest legal box of any domain, and that domain in words."""
    level, child = task.profile.levels[need.level], task.profile.levels[need.level - 1]
    best, text = (0, 0), f"no {level.name} has a {child.name} wholly free"
    for view in views:
        grid, free = grid_of(view, need.level), free_cells(view, need.level)
        largest = view.memo(("largest box", need.level, need.rules), partial(need.rules.largest, free))
        for torus, size in enumerate(largest.tolist()):
            count = int(free[torus].sum())
            if (size, count) > best:
                best = (size, count)
                name = view.layout.names[need.level - task.profile.node_index - 1][grid.domains[torus]]
                text = (
                    f"the best, {name}, has {count} of {prod(need.rules.dims)} {child.name} domains wholly free, "
                    f"at most {size} of them in a legal {'run' if level.fabric == 'ring' else 'box'}"
                )
    return best[0], text


def _wanted(task: Task, need: Need, child: Level) -> str:
    cells = task.request.cards // child.cards
    what = f"{cells} whole node{'' if cells == 1 else 's'}" if child.name == "node" else f"{cells} whole {child.name}s"
    if task.request.shape:
        return f"a box of {'x'.join(map(str, task.request.shape))} cards ({what})"
    if len(need.rules.dims) == 1:
        return f"a run of {what}"
    return f"a box of {what}"
