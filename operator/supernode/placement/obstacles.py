"""What stands in the way of a group: nodes that are in use, closed, tainted, unhealthy or held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from supernode.topology.fleet import SuperNodeView
from supernode.topology.taints import Tainted, described


@dataclass(frozen=True, slots=True)
class InTheWay:
    """How many nodes are used, cordoned or not ready, with unhealthy cards, and held; and tainted by taints."""

    used: int
    closed: int
    ill: int
    held: int
    tainted: Tainted


def in_the_way(view: SuperNodeView) -> InTheWay:
    """What is in the way in a whole supernode."""
    return view.memo("in the way", partial(count_in_the_way, view, 0, len(view.nodes)))


def count_in_the_way(view: SuperNodeView, start: int, end: int) -> InTheWay:
    """What is in the way on the nodes from index start up to end."""
    census = view.census.part(start, end)
    counts = census.counts()
    closed = np.flatnonzero(np.array([kind.closed for kind in census.kinds], np.bool_)[census.each])
    tainted = Counter(taints for at in closed.tolist() if (taints := view.nodes[start + at].taints))
    return InTheWay(
        used=sum(count for kind, count in counts if kind.used),
        closed=len(closed) - tainted.total(),
        ill=sum(count for kind, count in counts if kind.ill),
        held=sum(count for kind, count in counts if kind.held),
        tainted=tainted,
    )


def summed(ways: Iterable[InTheWay]) -> InTheWay:
    """What is in the way in several places together."""
    used = closed = ill = held = 0
    tainted: Tainted = Counter()
    for way in ways:
        used, closed, ill, held = used + way.used, closed + way.closed, ill + way.ill, held + way.held
        tainted.update(way.tainted)
    return InTheWay(used, closed, ill, held, tainted)


def obstacles(way: InTheWay, reserved: int, of: int) -> str:
    """What stands in the way, each part only if there is any."""
    parts = [
        f", {reserved} of {of} are reserved" if reserved else "",
        f", {way.used} {_are(way.used)} in use" if way.used else "",
        f", {way.closed} {_are(way.closed)} cordoned or not ready" if way.closed else "",
        *(f", {count} {_are(count)} {what}" for count, what in described(way.tainted)),
        f", {way.ill} {'has' if way.ill == 1 else 'have'} unhealthy cards" if way.ill else "",
        f", {way.held} {_are(way.held)} held for groups that come first" if way.held else "",
    ]
    return "".join(parts)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
