"""Where a refused request would fit soonest, so that smaller ones do not take what it waits for.

How long cards stay in use is not known. The best guess is the place where the fewest of them are: nobody else gets the
nodes of that place, so their number only falls, and the request fits at the latest when those who have cards there now
have ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import numpy as np

from supernode.placement.offers import Measure, needs
from supernode.placement.plan import plan
from supernode.placement.request import Request
from supernode.placement.result import Placement
from supernode.placement.rows import Ints
from supernode.placement.shape import Shape
from supernode.topology.fleet import Fleet, Node, SuperNodeView

Spot = tuple[int, int, int]
"""(cards in use, index of the supernode, index of the node)."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Nodes that would hold a request: names by supernode. missing: cards of them that are still in use."""

    nodes: Mapping[str, frozenset[str]] = field(hash=False)
    missing: int

    @property
    def count(self) -> int:
        """How many nodes."""
        return sum(map(len, self.nodes.values()))


@dataclass(frozen=True, slots=True)
class _Place:
    """A domain, or all supernodes together: the nodes it would take to hold the members, those least in use first.

    least: a lower bound of the cards in use on the nodes that a placement takes.
    """

    least: int
    views: tuple[SuperNodeView, ...]
    spots: tuple[Spot, ...]
    enough: int


def hold(fleet: Fleet, request: Request) -> Hold | None:
    """The nodes on which the fewest cards are missing; None where nothing would hold the request if all were free.

    Cordoned supernodes, unhealthy cards and nodes that are closed or held for others do not count.
    """
    places = sorted(_places(fleet, request), key=lambda place: place.least)
    best: Hold | None = None
    for place in places:
        if best is not None and best.missing <= place.least:
            break
        found = _least_drained(fleet, place, request)
        if found is not None and (best is None or found.missing < best.missing):
            best = found
    return best


def _places(fleet: Fleet, request: Request) -> Iterator[_Place]:
    for need in needs(fleet, request):
        views = [view for view in fleet.of_profile(need.measure.profile) if not view.cordoned]
        if need.measure.supernodes != 1:
            yield from _place(views, _spots(views, need.measure.shape), need.members)
            continue
        for view in views:
            spots = _spots([view], need.measure.shape)
            for start, end in _domains(view, need.measure):
                yield from _place([view], [pair for pair in spots if start <= pair[0][2] < end], need.members)


def _domains(view: SuperNodeView, measure: Measure) -> Iterator[tuple[int, int]]:
    """The nodes of each domain of the measure's level, as (first, end)."""
    if measure.depth == 0:
        return ((node, node + 1) for node in range(len(view.nodes)))
    return pairwise(view.layout.node_bounds[measure.depth - 1])


def _spots(views: Sequence[SuperNodeView], shape: Shape) -> list[tuple[Spot, int]]:
    """Each node that could take members, and how many of them, by cards in use."""
    found = []
    for index, view in enumerate(views):
        room, busy = view.memo(("drained", shape), partial(_drained, view, shape))
        usable = np.flatnonzero(room).tolist()
        found += [((int(busy[node]), index, node), int(room[node])) for node in usable]
    return sorted(found)


def _drained(view: SuperNodeView, shape: Shape) -> tuple[Ints, Ints]:
    """Per node, the members it takes once nobody uses it, and the cards in use now."""
    empty = [_emptied(node) for node in view.nodes]
    room = np.array([shape.packing.capacity(node.free) for node in empty], np.int64)
    busy = np.array([(node.taken & node.all_cards).bit_count() for node in view.nodes], np.int64)
    return room, busy


def _emptied(node: Node) -> Node:
    return replace(node, taken=0)


def _place(views: Sequence[SuperNodeView], spots: Sequence[tuple[Spot, int]], members: int) -> Iterator[_Place]:
    reached = least = 0
    for count, ((busy, _, _), room) in enumerate(spots, start=1):
        reached += room
        least += busy
        if reached >= members:
            yield _Place(least, tuple(views), tuple(spot for spot, _ in spots), count)
            return


def _least_drained(fleet: Fleet, place: _Place, request: Request) -> Hold | None:
    """The placement on the fewest of the place's nodes, those least in use first, that there is."""
    low, high = place.enough, len(place.spots)
    found = _fits(fleet, place, high, request)
    if found is None:
        return None
    while low < high:
        middle = (low + high) // 2
        smaller = _fits(fleet, place, middle, request)
        if smaller is None:
            low = middle + 1
        else:
            found, high = smaller, middle
    return found


def _fits(fleet: Fleet, place: _Place, count: int, request: Request) -> Hold | None:
    """What the request would take if nobody used the first `count` nodes and none of the others could be had."""
    chosen: dict[int, set[int]] = {}
    for _, index, node in place.spots[:count]:
        chosen.setdefault(index, set()).add(node)
    views = []
    for index, view in enumerate(place.views):
        open_ = chosen.get(index, set())
        nodes = {
            node.name: _emptied(node) if at in open_ else replace(node, held=True) for at, node in enumerate(view.nodes)
        }
        views.append(view.with_nodes(nodes))
    answer = plan(Fleet(views, fleet.profiles), request)
    if not isinstance(answer, Placement):
        return None
    taken: dict[str, set[str]] = {}
    for member in answer.held:
        taken.setdefault(member.supernode, set()).add(member.node)
    missing = 0
    for index, view in enumerate(place.views):
        if view.name in taken and view.reserve:  # the reserve must be there beside what is taken
            taken[view.name] = {view.nodes[at].name for at in chosen[index]}
        busy = (view.node(name) for name in taken.get(view.name, ()))
        missing += sum((node.taken & node.all_cards).bit_count() for node in busy)
    return Hold({name: frozenset(nodes) for name, nodes in taken.items()}, missing)
