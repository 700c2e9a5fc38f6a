"""From the nodes that a search chose to the placement it answers: spans at once, members when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, count, groupby, pairwise, repeat
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np

from supernode.placement.alike import Parts, Sets, card_sets, exchanged
from supernode.placement.ground import Indices
from supernode.placement.result import LaterPlacement, Placement
from supernode.placement.rows import Ints
from supernode.placement.search import Solution
from supernode.placement.shape import Task
from supernode.placement.spares import choose_spares
from supernode.topology.fleet import SuperNodeView
from supernode.topology.node import Member
from supernode.topology.profile import NODE

_member: Callable[[Iterable[Any]], Member] = partial(tuple.__new__, Member)
"""As `Member._make`, without its check of the length, which takes longer than all the rest."""


def placement_of(solution: Solution, task: Task) -> Placement:
    """Members in depth-first order of the tree, so that blocks, which divide every domain's share, never straddle."""
    profile, shape = task.profile, task.shape
    alike = profile.match_positions and not shape.whole_nodes
    parts = partial(_parts, solution.ground.views, solution.ground.first[0], solution.nodes, solution.amounts)
    if not alike and not shape.spares:
        later = partial(_members_later, parts, task)
        return LaterPlacement.of(profile.name, later, _spans(solution, task), _minimal(solution, task), solution.proven)
    found = _lay(solution, task, exchanged(shape.packing, parts()), alike=True) if alike else None
    found = found or _lay(solution, task, parts(), alike=False)  # which leaves all the room there can be to spares
    if found is None:
        raise AssertionError("there is no room for spares that was counted on")
    return found


def _parts(views: Sequence[SuperNodeView], first: Indices, nodes: Ints, amounts: Ints) -> Parts:
    """Nodes, numbered over all supernodes, by supernode as (index in its view, members). first: of each supernode's."""
    owners = np.searchsorted(first, nodes, side="right") - 1
    pairs = list(zip((nodes - first[owners]).tolist(), amounts.tolist(), strict=True))
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    chosen = [views[owner] for owner in owners[starts].tolist()]
    return [(view, pairs[a:b]) for view, (a, b) in zip(chosen, pairwise([*starts.tolist(), len(pairs)]), strict=True)]


def _members_later(parts: Callable[[], Parts], task: Task) -> tuple[Member, ...]:
    return _members(parts(), task)


def _spans(solution: Solution, task: Task) -> dict[str, int]:
    """How many domains of each level, outermost first, the nodes lie in."""
    return dict(zip(_levels(task), reversed(solution.touched), strict=True))


def _minimal(solution: Solution, task: Task) -> dict[str, int]:
    return dict(zip(_levels(task), reversed(solution.counts), strict=True))


def _levels(task: Task) -> Sequence[str]:
    """From the outermost level down to the node."""
    return task.profile.level_names[task.profile.node_index :][::-1]


def _lay(solution: Solution, task: Task, parts: Parts, *, alike: bool) -> Placement | None:
    """Members on these nodes and spares beside; None where members leave too little room to these."""
    members = _members(parts, task, alike=alike)
    spares = _spares(parts, task, members) if task.shape.spares else ()
    if spares is None:
        return None
    spans, minimal = _spans(solution, task), _minimal(solution, task)
    return Placement(task.profile.name, members, spans, minimal, solution.proven, spares=spares)


def _spares(parts: Parts, task: Task, members: Iterable[Member]) -> tuple[Member, ...] | None:
    """The spares of each supernode, or None when members leave too little room."""
    spares: list[Member] = []
    for (view, _), (_, here) in zip(parts, groupby(members, key=attrgetter("supernode")), strict=True):
        found, missing = choose_spares(view, task.shape, tuple(here))
        if missing:
            return None
        spares += [spare._replace(rank=len(spares) + spare.rank) for spare in found]
    return tuple(spares)


def _members(parts: Parts, task: Task, *, alike: bool = False) -> tuple[Member, ...]:
    """Member by member, in columns: a large group has thousands."""
    amounts = [amount for _, spots in parts for _, amount in spots]
    homes: Sequence[Mapping[str, str]]
    homes = [home for view, spots in parts for home in view.domains_at([at for at, _ in spots])]
    supernodes = chain.from_iterable(repeat(view.name, sum(amount for _, amount in spots)) for view, spots in parts)
    domains = homes if max(amounts) == 1 else list(chain.from_iterable(map(repeat, homes, amounts)))
    cards = chain.from_iterable(_card_sets(parts, task, amounts, alike=alike))
    return tuple(map(_member, zip(count(), supernodes, map(itemgetter(NODE), domains), cards, domains, strict=False)))


def _card_sets(parts: Parts, task: Task, amounts: Sequence[int], *, alike: bool) -> Iterable[Sets]:
    """The cards of the members of each node."""
    packing, per_node = task.shape.packing, task.shape.per_node
    if per_node:
        return repeat(packing.place(task.profile.all_cards, per_node))
    free = [mask for view, spots in parts for mask in view.census.free([at for at, _ in spots])]
    return card_sets(packing, free, amounts, alike=alike)
