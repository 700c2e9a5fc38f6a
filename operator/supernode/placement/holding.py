"""Where a refused request would fit soonest, so that smaller ones do not take what it waits for.

How long cards stay in use is not known. The best guess is the place where the fewest of them are: nobody else gets the
nodes of that place, so their number only falls, and the request fits at the latest when those who have cards there now
have ended.

A supernode's reserve must be there beside the request. Wholly free nodes elsewhere in it count towards the reserve and
need no hold: nobody is given them while it needs them. What it lacks then is held with the rest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

from supernode.placement.offers import Measure, Need, needs
from supernode.placement.plan import decide, plan
from supernode.placement.request import Request
from supernode.placement.result import Opening, Placement, Refusal
from supernode.placement.shape import Shape
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node

PLACES = 32
"""Domains that are tried at most, the most promising first: each takes a plan or several. One that fits is mostly among
the first; if none is, whatever place there is must do."""

Spot = tuple[bool, int, int, int]
"""(left to the reserve while others do, cards in use, index of the supernode, index of the node)."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Nodes that would hold a request: names by supernode. missing: cards of them that are still in use."""

    nodes: Mapping[str, frozenset[str]] = field(hash=False)
    missing: int

    @property
    def count(self) -> int:
        """How many nodes."""
        return sum(map(len, self.nodes.values()))

    def fits(self, fleet: Fleet, request: Request) -> bool:
        """Whether the request fits these nodes once nobody uses them, with the reserve that is free beside them."""
        views = []
        for name, nodes in self.nodes.items():
            view = fleet.supernodes.get(name)
            if view is None or not nodes <= view.layout.index.keys():
                return False
            own = {view.layout.index[node] for node in nodes}
            views.append(_opened(view, own, view.wholly_free - sum(view.nodes[at].wholly_free for at in own)))
        return decide(Fleet(views, fleet.profiles), request) is not None


@dataclass(frozen=True, slots=True)
class _Drained:
    """The nodes of a supernode, by index, if nobody used them.

    room: members each takes. busy: cards of each in use now. usable: those that take any; whole: those that would be
    wholly free; both with the least in use first.
    """

    room: Sequence[int]
    busy: Sequence[int]
    usable: Sequence[int]
    whole: Mapping[int, None]

    def reserve(self, count: int, taken: Collection[int]) -> list[int]:
        """The nodes least in use that can be so many reserved ones beside those taken; none where no wholly free node
        is taken, which leaves the reserve as it is."""
        if not count or not any(node in self.whole for node in taken):
            return []
        return list(islice((node for node in self.whole if node not in taken), count))


@dataclass(frozen=True, slots=True)
class _Place:
    """A domain, or several supernodes together: the nodes it would take to hold the members, in the order to take them.

    enough: so many of them could hold the members. least: cards in use on these, and on what the reserve lacks then.
    """

    least: int
    views: tuple[SuperNodeView, ...]
    drained: tuple[_Drained, ...]
    spots: tuple[Spot, ...]
    enough: int

    def no_better(self, known: Hold | None) -> bool:
        """Whether what it would take is, by its bounds, no better than a hold that is known."""
        return known is not None and (known.missing, known.count) <= (self.least, self.enough)


def hold(fleet: Fleet, request: Request) -> Hold | None:
    """The nodes on which the fewest cards are missing; None where nothing would hold the request if all were free.

    Cordoned supernodes, unhealthy cards and nodes that are closed or held for others do not count. Where there are very
    many domains to choose from, only the most promising are looked at.
    """
    wanted = needs(fleet, request)
    best, proven = _by_change(fleet, request, wanted)
    if proven:
        return best
    places: list[_Place] = []
    for need in wanted:
        views = [view for view in fleet.of_profile(need.measure.profile) if not view.cordoned]
        everything = _whole_place(views, need.measure.shape, need.members)
        if everything is None or everything.no_better(best):
            continue
        found = _fits(fleet, everything, len(everything.spots), request)
        if found is None:
            continue
        best = _better(best, found)
        places += [everything] if need.measure.supernodes != 1 else _domains(everything, need.measure, need.members)
    for place in sorted(places, key=lambda place: place.least)[:PLACES]:
        if not place.no_better(best):
            best = _better(best, _least_drained(fleet, place, request))
    return best


def _better(one: Hold | None, other: Hold | None) -> Hold | None:
    """Where fewer cards are missing, then the one of fewer nodes."""
    return min((hold for hold in (one, other) if hold), key=lambda hold: (hold.missing, hold.count), default=None)


def _by_change(fleet: Fleet, request: Request, wanted: Sequence[Need]) -> tuple[Hold | None, bool]:
    """Where the request would go once the cards came free that a refusal of it names, if all of them are just in use.
    And whether that ends the search: it fits now, or no change of fewer cards than are missing would do."""
    answer = plan(fleet, request)
    freed = _released(fleet, answer.change) if isinstance(answer, Refusal) else fleet
    placed = answer if isinstance(answer, Placement) else decide(freed, request) if freed else None
    if placed is None:
        return None, False
    [shape] = (need.measure.shape for need in wanted if need.measure.profile == placed.profile)
    views = [fleet.supernodes[name] for name in dict.fromkeys(member.supernode for member in placed.held)]
    found = _hold(views, [_drained_of(view, shape) for view in views], placed)
    if not found.fits(fleet, request):
        return None, False
    if isinstance(answer, Placement):
        return found, True
    return found, answer.least and found.missing == answer.cards and not any(view.reserve for view in views)


def _released(fleet: Fleet, change: Sequence[Opening]) -> Fleet | None:
    """The fleet with these cards handed back; None where that does not make all of them available. It remembers apart
    from the fleet as it is, which is asked again."""
    cards: dict[str, dict[str, int]] = {}
    for opening in change:
        cards.setdefault(opening.supernode, {}).update(opening.nodes)
    views = {name: fleet.supernodes[name].release(of) for name, of in cards.items()}
    closed = (mask & ~views[name].node(node).free for name, of in cards.items() for node, mask in of.items())
    if not views or any(view.cordoned for view in views.values()) or any(closed):
        return None
    freed = fleet.replace(*views.values())
    freed.shared = {}
    return freed


def _whole_place(views: Sequence[SuperNodeView], shape: Shape, members: int) -> _Place | None:
    """All supernodes together; None where they do not hold the members."""
    drained = [_drained_of(view, shape) for view in views]
    return _place(views, drained, [one.usable for one in drained], members)


def _domains(everything: _Place, measure: Measure, members: int) -> Iterator[_Place]:
    """The domains of the measure's level that may hold the members."""
    for view, drained in zip(everything.views, everything.drained, strict=True):
        starts = view.layout.node_bounds[measure.depth - 1] if measure.depth else range(len(view.nodes))
        found: dict[int, list[int]] = {}
        for node in drained.usable:
            found.setdefault(bisect_right(starts, node), []).append(node)
        for nodes in found.values():
            place = _place([view], [drained], [nodes], members)
            if place is not None:
                yield place


def _drained_of(view: SuperNodeView, shape: Shape) -> _Drained:
    return view.memo(("drained", shape), partial(_drained, view, shape))


def _drained(view: SuperNodeView, shape: Shape) -> _Drained:
    empty = [_emptied(node) for node in view.nodes]
    room = [shape.packing.capacity(node.free) for node in empty]
    busy = [(node.taken & node.all_cards).bit_count() for node in view.nodes]
    order = sorted(range(len(empty)), key=busy.__getitem__)
    usable = [node for node in order if room[node]]
    return _Drained(room, busy, usable, {node: None for node in order if empty[node].wholly_free})


def _emptied(node: Node) -> Node:
    return replace(node, taken=0, unbindable=0)


def _place(
    views: Sequence[SuperNodeView], drained: Sequence[_Drained], nodes: Sequence[Sequence[int]], members: int
) -> _Place | None:
    """These nodes of each supernode, the least in use first; None where they do not hold the members."""
    spots: list[Spot] = []
    for index, (view, one, own) in enumerate(zip(views, drained, nodes, strict=True)):
        kept = _kept_back(view.reserve, one, own) if view.reserve else ()
        spots += ((node in kept, one.busy[node], index, node) for node in own)
    spots.sort()
    reached = least = 0
    for count, (_, busy, index, node) in enumerate(spots, start=1):
        reached += drained[index].room[node]
        least += busy
        if reached >= members:
            for at, taken in _by_view(spots[:count]).items():
                least += sum(drained[at].busy[node] for node in drained[at].reserve(views[at].reserve, taken))
            return _Place(least, tuple(views), tuple(drained), tuple(spots), count)
    return None


def _kept_back(reserve: int, drained: _Drained, nodes: Sequence[int]) -> Collection[int]:
    """Of these nodes, those that the reserve needs as the rest of the supernode has too few."""
    whole = [node for node in nodes if node in drained.whole]
    elsewhere = len(drained.whole) - len(whole)
    return set(whole[: max(0, reserve - elsewhere)])


def _by_view(spots: Sequence[Spot]) -> dict[int, set[int]]:
    chosen: dict[int, set[int]] = {}
    for _, _, index, node in spots:
        chosen.setdefault(index, set()).add(node)
    return chosen


def _least_drained(fleet: Fleet, place: _Place, request: Request) -> Hold | None:
    """The placement on the fewest of the place's nodes, in their order, that there is."""
    low, high = place.enough, len(place.spots)
    found = _fits(fleet, place, low, request)
    if found is not None or low == high:
        return found
    found = _fits(fleet, place, high, request)
    if found is None:
        return None
    low += 1
    while low < high:
        middle = (low + high) // 2
        smaller = _fits(fleet, place, middle, request)
        if smaller is None:
            low = middle + 1
        else:
            found, high = smaller, middle
    return found


def _fits(fleet: Fleet, place: _Place, count: int, request: Request) -> Hold | None:
    """What the request would take if nobody used the first `count` nodes and none of the others could be had, but for
    the reserve."""
    views = []
    for index, own in _by_view(place.spots[:count]).items():
        reserved = sum(node not in own for node in place.drained[index].whole)
        views.append(_opened(place.views[index], own, reserved))
    placed = decide(Fleet(views, fleet.profiles), request)
    return None if placed is None else _hold(place.views, place.drained, placed)


def _hold(views: Sequence[SuperNodeView], drained: Sequence[_Drained], placed: Placement) -> Hold:
    """What a placement in these supernodes takes, and what their reserves lack then."""
    taken: dict[str, set[str]] = {}
    for member in placed.held:
        taken.setdefault(member.supernode, set()).add(member.node)
    missing, nodes = 0, {}
    for view, one in zip(views, drained, strict=True):
        if view.name in taken:
            own = {view.layout.index[node] for node in taken[view.name]}
            own |= {node for node in one.reserve(view.reserve, own) if one.busy[node]}
            missing += sum(one.busy[node] for node in own)
            nodes[view.name] = frozenset(view.nodes[node].name for node in own)
    return Hold(nodes, missing)


def _opened(view: SuperNodeView, nodes: Collection[int], reserved: int) -> SuperNodeView:
    """The supernode if nobody used these nodes and none of the others could be had; so many of them are its reserve."""
    opened = {node.name: _emptied(node) for at, node in enumerate(view.nodes) if at in nodes and node.taken}
    closed = {
        node.name: replace(node, held=True) for at, node in enumerate(view.nodes) if at not in nodes and node.free
    }
    return view.with_nodes(opened | closed, reserve=max(0, view.reserve - reserved))
