"""Which cards the members of a group take on the nodes chosen for it.

Where a profile says so (`matchPositions`), members of different nodes take cards at the same positions, so that ranks
that pair up share a rail, or the column of a mesh. This never costs a domain: it chooses among nodes that serve equally
well, and among their cards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from operator import and_

from supernode.topology.cards import Packing
from supernode.topology.fleet import SuperNodeView
from supernode.topology.node import Node

Spot = tuple[int, int]
"""(index of a node in its view, members on it)."""

Parts = Sequence[tuple[SuperNodeView, Sequence[Spot]]]
"""A placement's nodes, by supernode."""

Sets = tuple[int, ...]
"""The cards (bitmask) of each member of a node."""

_MAX_PATTERNS = 64
"""Free masks whose cards are tried as the positions of all; more make no better choice worth its time."""


def card_sets(packing: Packing, free: Sequence[int], counts: Sequence[int], *, alike: bool) -> list[Sets]:
    """The cards of the members of each node: the best fit, and if `alike` at the same positions as far as they reach.

    free, counts: by node, its free cards and how many members it gets.
    """
    if not alike or len(free) < 2:
        pairs = list(zip(free, counts, strict=True))
        known = {(mask, count): packing.place(mask, count) if count else () for mask, count in set(pairs)}
        return [known[pair] for pair in pairs]
    common = reduce(and_, free)
    shared = packing.place(common, min(*counts, packing.capacity(common)))
    used = sum(shared)
    if not used or any(packing.capacity(m & ~used) < c - len(shared) for m, c in zip(free, counts, strict=True)):
        return card_sets(packing, free, counts, alike=False)
    more = [i for i, count in enumerate(counts) if count > len(shared)]
    rest = card_sets(packing, [free[i] & ~used for i in more], [counts[i] - len(shared) for i in more], alike=True)
    found = [shared] * len(free)
    for i, sets in zip(more, rest, strict=True):
        found[i] = shared + sets
    return found


def exchanged(packing: Packing, parts: Parts) -> Parts:
    """The same placement on nodes that have free cards at the same positions, if there are nodes just as good."""
    chosen = [(view, at, count) for view, spots in parts for at, count in spots]
    least = min(count for _, _, count in chosen)
    if packing.capacity(reduce(and_, (view.nodes[at].free for view, at, _ in chosen))) >= least:
        return parts
    peers = [_peers(packing, view, spots) for view, spots in parts]
    masks = dict.fromkeys(view.nodes[at].free for (view, _), of in zip(parts, peers, strict=True) for at in _flat(of))
    for mask in list(masks)[:_MAX_PATTERNS]:
        positions = sum(packing.place(mask, least)) if packing.capacity(mask) >= least else 0
        moved = [_on(view, spots, of, positions) for (view, spots), of in zip(parts, peers, strict=True)]
        if positions and all(spots is not None for spots in moved):
            return [(view, spots) for (view, _), spots in zip(parts, moved, strict=True) if spots is not None]
    return parts


def _flat(peers: Mapping[int, Sequence[int]]) -> Iterable[int]:
    return (at for group in peers.values() for at in group)


def _peers(packing: Packing, view: SuperNodeView, spots: Sequence[Spot]) -> dict[int, list[int]]:
    """For each chosen node, by index, the nodes of its domain that serve as well, itself included."""
    bounds = view.layout.node_bounds[0] if view.layout.node_bounds else (0, len(view.nodes))
    found = {}
    for start, end in pairwise(bounds):
        inside = [at for at, _ in spots if start <= at < end]
        kinds: dict[object, list[int]] = {}
        for at in range(start, end) if inside else ():
            kinds.setdefault(_worth(packing, view.nodes[at]), []).append(at)
        found.update({at: kinds[_worth(packing, view.nodes[at])] for at in inside})
    return found


def _worth(packing: Packing, node: Node) -> tuple[int, bool, int]:
    """What the choice of nodes looks at."""
    return node.free.bit_count(), node.wholly_free, packing.capacity(node.free)


def _on(
    view: SuperNodeView, spots: Sequence[Spot], peers: Mapping[int, Sequence[int]], positions: int
) -> list[Spot] | None:
    """The spots moved to peers that have these positions free; None when there are too few."""
    taken: set[int] = set()
    found = []
    for at, count in spots:
        fitting = (peer for peer in peers[at] if peer not in taken and view.nodes[peer].free & positions == positions)
        peer = next(fitting, None)
        if peer is None:
            return None
        taken.add(peer)
        found.append((peer, count))
    return sorted(found)
