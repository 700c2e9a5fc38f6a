"""Refusals with numbers: what was needed, the best any domain offers, what stands in the way, and what would help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from supernode.api.conditions import Reason
from supernode.placement.change import Change, smallest_change
from supernode.placement.ground import Ground
from supernode.placement.result import Opening, Refusal
from supernode.placement.shape import Task
from supernode.placement.shortfall import Shortfall
from supernode.topology.fleet import Census, SuperNodeView

SHOWN = 3
"""Domains and groups a message names before it only counts the others."""

ASKED = 8
"""Supernodes whose ledgers are read for who holds the cards; with more, a message only counts them."""

Counts = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Best:
    """The domain of a level that could hold most: members healthy and free in it, reserve included."""

    members: int
    domain: str
    view: SuperNodeView
    nodes: Census


@dataclass(frozen=True, slots=True)
class _Cause:
    reason: Reason
    level: int | None
    best: int
    text: str


def refusal(ground: Ground, task: Task, *, never: bool | None = None) -> Refusal:
    """Why a legal request has no place. never: it would have none with every card healthy and free either; counted
    here where it is not given, which maxSpan on an inner level and spares forbid."""
    prices = Shortfall(ground, task.shape)
    if never is None:
        never = not _could_ever(prices, task)
    if never:
        prices = Shortfall(ground, task.shape, empty=True)
    room = prices.room()
    least = task.request.members + task.shape.spares
    cause = _too_few(prices, task, room) if room < least else _too_scattered(prices, task)
    level = None if cause.level is None else task.profile.levels[cause.level].name
    refused = partial(Refusal, level=level, needed=task.request.members, best=cause.best)
    if never:
        text = f"{cause.text}; this is with every card healthy and free, so ask for less or loosen the topology"
        return refused(Reason.NEVER_FITS, text, stalled=True)
    text = cause.text
    if cordoned := sum(view.cordoned for view in ground.views):
        text += f"; {cordoned} of {len(ground.views)} supernodes are cordoned"
    change = smallest_change(prices, task)
    if change is None:
        return refused(cause.reason, text)
    tightest = max([task.tightest, *task.shape.whole])
    index = tightest if tightest > task.profile.node_index else len(task.profile.levels) - 1
    advice, openings = advise(prices.views, change, task.profile.levels[index].name)
    return refused(cause.reason, text + advice, change=openings, least=change.least)


def emptied(views: Sequence[SuperNodeView], task: Task) -> list[SuperNodeView]:
    """The most the supernodes could ever offer this task: everything healthy and free.

    The reserve is kept against whole nodes only: of partly used nodes, which it leaves alone, there may be more later.
    """
    return [view.emptied(keep_reserve=task.shape.whole_nodes) for view in views]


def over_budget(task: Task) -> Refusal:
    """The search gave up before it found a placement; there may be one."""
    text = (
        f"needs {_units(task, task.request.members)}; the search budget ran out before a place was found: "
        f"loosen maxSpan, name a required level or blocks, or ask for whole nodes"
    )
    level = task.profile.levels[task.tightest].name
    return Refusal(Reason.NO_DOMAIN_FITS, text, level, task.request.members, proven=False)


def _could_ever(prices: Shortfall, task: Task) -> bool:
    """Whether there would be a place with everything healthy and free, maxSpan on inner levels aside."""
    rooms = np.sort(prices.most())[::-1]
    return int(rooms[: task.most_supernodes].sum()) >= task.request.members


# What is missing.


def _too_few(prices: Shortfall, task: Task, room: int) -> _Cause:
    views = [view for view in prices.views if prices.empty or not view.cordoned]
    reserved = sum(min(view.reserve, len(view.nodes)) for view in views)
    supernodes = "1 supernode" if len(views) == 1 else f"{len(views)} supernodes together"
    ways = () if prices.empty else (_in_the_way(view) for view in views)
    text = (
        f"needs {_units(task, task.request.members)}{_spares(task)}; {supernodes} can give {room}"
        f"{_obstacles(ways, reserved, sum(len(view.nodes) for view in views))}"
    )
    cards = sum(view.memo("outside the reserve", partial(_free_cards, view)) for view in views)
    if prices.empty or cards < task.request.cards + task.shape.spares * task.shape.cards:
        return _Cause(Reason.INSUFFICIENT_CARDS, None, room, text)
    text += f"; {cards} cards are free, but scattered over nodes"
    return _Cause(Reason.NO_DOMAIN_FITS, task.profile.node_index, room, text)


def _free_cards(view: SuperNodeView) -> int:
    """Free cards outside the reserve, supposing that it keeps the smallest wholly free nodes."""
    kept = 0
    left = view.reserve
    for cards, count in sorted((k.free.bit_count(), count) for k, count in view.census.counts() if k.wholly_free):
        kept += cards * min(left, count)
        left -= min(left, count)
    return view.free_cards - kept


def _too_scattered(prices: Shortfall, task: Task) -> _Cause:
    """Enough is free, but not together: the tightest level decides what the message counts."""
    request, profile = task.request, task.profile
    index = max(task.tightest, profile.node_index, *task.shape.whole)
    name = profile.levels[index].name
    best = _best_of(prices, task, index)
    if task.spans or (task.most_supernodes or 1) > 1:
        needed = f"{_units(task, request.members)}{_spares(task)}"
        text = f"needs {needed} within {_limits(task)}; no choice of domains holds them"
        return _Cause(Reason.NO_DOMAIN_FITS, index, min(best.members, request.members), text)
    whole = index == len(profile.levels) - 1 and task.most_supernodes == 1
    together = request.members if whole else task.shape.steps[index]
    reserved = min(best.view.reserve, len(best.view.nodes))
    has = (
        f"the best, {best.domain}, has {best.members} healthy and free"
        f"{_obstacles([] if prices.empty else [_count_in_the_way(best.nodes)], reserved, len(best.view.nodes))}"
    )
    if together < request.members:
        text = f"needs {request.members // together} times {_units(task, together)} in one {name}{_spares(task)}; {has}"
    else:
        text = f"needs {_units(task, request.members)} in one {name}{_spares(task)}; {has}"
    return _Cause(Reason.NO_DOMAIN_FITS, index, min(best.members, request.members), text)


def _best_of(prices: Shortfall, task: Task, index: int) -> _Best:
    """The domain of a level that holds most, blocks further in kept; the first of equals."""
    free = prices.free(index)
    at = int(free.argmax())
    depth = index - task.profile.node_index
    first = prices.ground.first[depth]
    owner = int(np.searchsorted(first, at, side="right")) - 1
    view, local = prices.views[owner], at - int(first[owner])
    if depth == 0:
        return _Best(int(free[at]), view.nodes[local].name, view, view.census.part(local, local + 1))
    start, end = view.layout.node_bounds[depth - 1][local : local + 2]
    return _Best(int(free[at]), view.layout.names[depth - 1][local], view, view.census.part(start, end))


def _units(task: Task, members: int) -> str:
    if task.shape.whole_nodes:
        return f"{members} whole node{'' if members == 1 else 's'}"
    cards = task.request.cards_per_member
    return f"{members} member{'' if members == 1 else 's'} of {cards} card{'' if cards == 1 else 's'}"


def _spares(task: Task) -> str:
    if not task.shape.spares:
        return ""
    return f" and {_units(task, task.shape.spares)} spare in each {task.profile.levels[task.shape.within].name} used"


def _limits(task: Task) -> str:
    limits = [f"{most} {task.profile.levels[at].name} domains" for at, most in task.spans]
    if task.most_supernodes is not None:
        limits.append(f"{task.most_supernodes} {task.profile.outermost.name} domains")
    return " and ".join(limits) + " (maxSpan)"


# What stands in the way.


def _in_the_way(view: SuperNodeView) -> Counts:
    return view.memo("in the way", partial(_count_in_the_way, view.census))


def _count_in_the_way(census: Census) -> Counts:
    """Nodes that are used, cordoned or not ready, with unhealthy cards, and held."""
    counts = census.counts()
    return (
        sum(count for kind, count in counts if kind.used),
        sum(count for kind, count in counts if kind.closed),
        sum(count for kind, count in counts if kind.ill),
        sum(count for kind, count in counts if kind.held),
    )


def _obstacles(counts: Iterable[Counts], reserved: int, of: int) -> str:
    """What stands in the way, each part only if there is any."""
    used, cordoned, ill, held = (sum(part) for part in zip((0, 0, 0, 0), *counts, strict=True))
    parts = [
        f", {reserved} of {of} are reserved" if reserved else "",
        f", {used} {'is' if used == 1 else 'are'} in use" if used else "",
        f", {cordoned} {'is' if cordoned == 1 else 'are'} cordoned or not ready" if cordoned else "",
        f", {ill} {'has' if ill == 1 else 'have'} unhealthy cards" if ill else "",
        f", {held} {'is' if held == 1 else 'are'} held for groups that come first" if held else "",
    ]
    return "".join(parts)


# What would help.


def advise(views: Sequence[SuperNodeView], change: Change, level: str) -> tuple[str, tuple[Opening, ...]]:
    """A change as the end of a message, and by domain of a level."""
    openings = _openings(views, change, level)
    return _remedy(views, change, openings), openings


def _openings(views: Sequence[SuperNodeView], change: Change, level: str) -> tuple[Opening, ...]:
    """The change by domain of a level, in the order of the fleet."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for index, nodes in sorted(change.opened.items()):
        view = views[index]
        for at, mask in sorted(nodes.items()):
            node = view.nodes[at]
            found.setdefault((view.domains(node)[level], view.name), {})[node.name] = mask
    return tuple(Opening(domain, supernode, nodes) for (domain, supernode), nodes in found.items())


def _remedy(views: Sequence[SuperNodeView], change: Change, openings: Sequence[Opening]) -> str:
    """The change in words: how many cards of how many nodes, where, and who or what has them."""
    names = [name for opening in openings for name in opening.nodes]
    nodes = f"{len(names)} nodes" if len(names) > SHOWN else f"node{'s' if len(names) > 1 else ''} {', '.join(names)}"
    parts = [f"{opening.domain} ({len(opening.nodes)})" for opening in openings]
    where = _listed(parts) if len(parts) > 1 else openings[0].domain
    held, unnamed, ill, closed = _who(views, change)
    why = [f"{count} of {group}" for group, count in held.most_common(SHOWN)]
    if more := sum(held.values()) - sum(count for _, count in held.most_common(SHOWN)):
        why.append(f"{more} of {len(held) - SHOWN} more groups")
    why += [
        f"{count} {what}"
        for count, what in ((unnamed, "in use"), (ill, "unhealthy"), (closed, "cordoned or not ready"))
        if count
    ]
    cards = f"{change.cards} more card{'' if change.cards == 1 else 's'}"
    cards = f"it takes {cards}" if change.least else f"{cards} would do"
    return f"; {cards}, on {nodes} in {where}: {', '.join(why)}"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"


def _who(views: Sequence[SuperNodeView], change: Change) -> tuple[Counter[str], int, int, int]:
    """(cards of the change by the group that holds them, taken by others, unhealthy, neither but not schedulable)."""
    held: Counter[str] = Counter()
    taken = ill = closed = 0
    for index, nodes in change.opened.items():
        view = views[index]
        if len(change.opened) <= ASKED:
            held.update(view.holders({view.nodes[at].name: mask & view.nodes[at].taken for at, mask in nodes.items()}))
        for at, mask in nodes.items():
            node = view.nodes[at]
            used = mask & node.taken
            taken += used.bit_count()
            ill += (mask & ~used & ~node.healthy).bit_count()
            closed += (mask & ~used & node.healthy).bit_count()
    return held, taken - sum(held.values()), ill, closed
