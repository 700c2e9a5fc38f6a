"""Refusals with numbers: what was needed, the best any domain offers, what stands in the way, and what would help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np

from supernode.api.conditions import Reason
from supernode.placement.change import Change, smallest_change
from supernode.placement.ground import Ground
from supernode.placement.obstacles import count_in_the_way, in_the_way, obstacles, summed
from supernode.placement.result import Opening, Refusal
from supernode.placement.shape import Task
from supernode.placement.shortfall import Shortfall
from supernode.topology.fleet import SuperNodeView
from supernode.topology.taints import Tainted, described, remedy

SHOWN = 3
"""Domains and groups a message names before it only counts the others."""

ASKED = 8
"""Supernodes whose ledgers are read for who holds the cards; with more, a message only counts them."""


@dataclass(frozen=True, slots=True)
class _Best:
    """The domain of a level that could hold most: members healthy and free in it, reserve included; its nodes are
    those of the view from index start up to end."""

    members: int
    domain: str
    view: SuperNodeView
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Cause:
    reason: Reason
    level: int | None
    best: int
    text: str
    tainted: Tainted = field(default_factory=Counter)


class Ever(Protocol):
    """Whether a request could have a place with every card healthy and free; lent: and nothing reserved."""

    def __call__(self, *, lent: bool = False) -> bool: ...


def refusal(ground: Ground, task: Task, ever: Ever | None = None) -> Refusal:
    """Why a legal request has no place. ever: what a search says of it, where maxSpan on an inner level or spares make
    counting too little."""
    prices = Shortfall(ground, task.shape)
    could = partial(_could_ever, prices, task, ever)
    if never := not could():
        prices = Shortfall(ground, task.shape, empty=True)
    room = prices.room()
    least = task.request.members + task.shape.spares
    cause = _too_few(prices, task, room) if room < least else _too_scattered(prices, task)
    level = None if cause.level is None else task.profile.levels[cause.level].name
    refused = partial(Refusal, level=level, needed=task.request.members, best=cause.best)
    if never:
        text = f"{cause.text}; this is with every card healthy and free, so ask for less or loosen the topology"
        if any(view.reserve for view in ground.views) and could(lent=True):
            text += lending(ground.views)
        return refused(Reason.NEVER_FITS, text, stalled=True)
    text = cause.text + cordoned(ground.views)
    all_reserved = all(view.reserve >= len(view.nodes) for view in ground.views if view.nodes)
    lend = f"; {_lend(ground.views)}" if all_reserved else ""
    change = smallest_change(prices, task)
    if change is None:
        return refused(cause.reason, text + remedy(cause.tainted, task.profile.name) + lend)
    tightest = max([task.tightest, *task.shape.whole])
    index = tightest if tightest > task.profile.node_index else len(task.profile.levels) - 1
    advice, openings = advise(prices.views, change, task.profile.levels[index].name, cause.tainted)
    return refused(cause.reason, text + advice + lend, change=openings, least=change.least)


def emptied(views: Sequence[SuperNodeView], task: Task, *, lent: bool = False) -> list[SuperNodeView]:
    """The most the supernodes could ever offer this task: everything healthy and free.

    The reserve, unless lent, is kept where nodes are given whole only: of partly used nodes, which it leaves alone,
    there may be more later.
    """
    return [view.emptied(keep_reserve=task.shape.per_node > 0 and not lent) for view in views]


def lending(views: Sequence[SuperNodeView]) -> str:
    """The end of a message where only the reserve stands in the way."""
    return f", or {_lend(views)}"


def _lend(views: Sequence[SuperNodeView]) -> str:
    names = [view.name for view in views if view.reserve]
    whose = f"supernode {names[0]}" if len(names) == 1 else "the supernodes"
    return f"lend the reserve: lower spec.reserve of {whose}"


def cordoned(views: Sequence[SuperNodeView]) -> str:
    """How many supernodes are cordoned, as a part of a message, and what to do where all are; empty where none is."""
    count = sum(view.cordoned for view in views)
    remedy = ": uncordon one of them" if count == len(views) else ""
    return f"; {count} of {len(views)} supernodes are cordoned{remedy}" if count else ""


def over_budget(task: Task, *, reserves: bool = False) -> Refusal:
    """The search gave up before it found a placement; there may be one. reserves: because of these, not of maxSpan."""
    advice = (
        "lower spec.reserve of the supernodes, or ask without spares, blocks or a required level"
        if reserves
        else "loosen maxSpan, name a required level or blocks, or ask for whole nodes"
    )
    text = f"needs {_units(task, task.request.members)}; the search budget ran out before a place was found: {advice}"
    level = task.profile.levels[task.tightest].name
    return Refusal(Reason.NO_DOMAIN_FITS, text, level, task.request.members, proven=False)


def _could_ever(prices: Shortfall, task: Task, ever: Ever | None, *, lent: bool = False) -> bool:
    """Whether there could be a place with all cards healthy and free, by counting and by the search if there is one."""
    rooms = np.sort(prices.most(lent=lent))[::-1]
    enough = int(rooms[: task.most_supernodes].sum()) >= task.request.members
    return enough and (ever is None or ever(lent=lent))


# What is missing.


def _too_few(prices: Shortfall, task: Task, room: int) -> _Cause:
    views = [view for view in prices.views if prices.empty or not view.cordoned]
    reserved = sum(min(view.reserve, len(view.nodes)) for view in views)
    supernodes = "1 supernode" if len(views) == 1 else f"{len(views)} supernodes together"
    way = summed(() if prices.empty else map(in_the_way, views))
    text = (
        f"needs {_units(task, task.request.members)}{_spares(task)}; {supernodes} can give {room}"
        f"{obstacles(way, reserved, sum(len(view.nodes) for view in views))}"
    )
    cards = sum(view.unreserved_cards for view in views)
    if prices.empty or cards < task.request.cards + task.shape.spares * task.shape.cards:
        return _Cause(Reason.INSUFFICIENT_CARDS, None, room, text, way.tainted)
    text += f"; {cards} cards are free, but scattered over nodes"
    return _Cause(Reason.NO_DOMAIN_FITS, task.profile.node_index, room, text, way.tainted)


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
    way = summed(() if prices.empty else [count_in_the_way(best.view, best.start, best.end)])
    has = (
        f"the best, {best.domain}, has {best.members} healthy and free{obstacles(way, reserved, len(best.view.nodes))}"
    )
    if together < request.members:
        text = f"needs {request.members // together} times {_units(task, together)} in one {name}{_spares(task)}; {has}"
    else:
        text = f"needs {_units(task, request.members)} in one {name}{_spares(task)}; {has}"
    return _Cause(Reason.NO_DOMAIN_FITS, index, min(best.members, request.members), text, way.tainted)


def _best_of(prices: Shortfall, task: Task, index: int) -> _Best:
    """The domain of a level that holds most, blocks further in kept; the first of equals."""
    free = prices.free(index)
    at = int(free.argmax())
    depth = index - task.profile.node_index
    first = prices.ground.first[depth]
    owner = int(np.searchsorted(first, at, side="right")) - 1
    view, local = prices.views[owner], at - int(first[owner])
    if depth == 0:
        return _Best(int(free[at]), view.nodes[local].name, view, local, local + 1)
    start, end = view.layout.node_bounds[depth - 1][local : local + 2]
    return _Best(int(free[at]), view.layout.names[depth - 1][local], view, start, end)


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


# What would help.


def advise(
    views: Sequence[SuperNodeView], change: Change, level: str, tainted: Tainted | None = None
) -> tuple[str, tuple[Opening, ...]]:
    """A change as the end of a message, and by domain of a level. tainted: what the message named before."""
    openings = _openings(views, change, level)
    who = _who(views, change)
    advice = _change_text(change, openings, who)
    return advice + remedy((tainted or Counter()) + who.tainted, views[0].profile.name), openings


def _openings(views: Sequence[SuperNodeView], change: Change, level: str) -> tuple[Opening, ...]:
    """The change by domain of a level, in the order of the fleet."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for index, nodes in sorted(change.opened.items()):
        view = views[index]
        for at, mask in sorted(nodes.items()):
            node = view.nodes[at]
            found.setdefault((view.domains(node)[level], view.name), {})[node.name] = mask
    return tuple(Opening(domain, supernode, nodes) for (domain, supernode), nodes in found.items())


def _change_text(change: Change, openings: Sequence[Opening], who: _Who) -> str:
    """The change in words: how many cards of how many nodes, where, and who or what has them."""
    names = [name for opening in openings for name in opening.nodes]
    nodes = f"{len(names)} nodes" if len(names) > SHOWN else f"node{'s' if len(names) > 1 else ''} {', '.join(names)}"
    parts = [f"{opening.domain} ({len(opening.nodes)})" for opening in openings]
    where = _listed(parts) if len(parts) > 1 else openings[0].domain
    why = [f"{count} of {group}" for group, count in who.held.most_common(SHOWN)]
    if more := who.held.total() - sum(count for _, count in who.held.most_common(SHOWN)):
        why.append(f"{more} of {len(who.held) - SHOWN} more groups")
    others = [(who.unnamed, "in use"), (who.ill, "unhealthy"), (who.closed, "cordoned or not ready")]
    kept = (who.kept, "held for groups that come first")
    why += [f"{count} {what}" for count, what in (*others, *described(who.tainted), kept) if count]
    cards = f"{change.cards} more card{'' if change.cards == 1 else 's'}"
    cards = f"it takes {cards}" if change.least else f"{cards} would do"
    return f"; {cards}, on {nodes} in {where}: {', '.join(why)}"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"


@dataclass(frozen=True, slots=True)
class _Who:
    """The cards of a change: by the group that holds them, taken by others, unhealthy, else cordoned or not ready; else
    tainted, by taints; and kept for groups that come first."""

    held: Counter[str]
    unnamed: int
    ill: int
    closed: int
    tainted: Tainted
    kept: int


def _who(views: Sequence[SuperNodeView], change: Change) -> _Who:
    held: Counter[str] = Counter()
    tainted: Tainted = Counter()
    taken = ill = closed = kept = 0
    for index, nodes in change.opened.items():
        view = views[index]
        if len(change.opened) <= ASKED:
            held.update(view.holders({view.nodes[at].name: mask & view.nodes[at].taken for at, mask in nodes.items()}))
        for at, mask in nodes.items():
            node = view.nodes[at]
            used = mask & node.taken
            taken += used.bit_count()
            sound = node.healthy & ~node.unbindable
            ill += (mask & ~used & ~sound).bit_count()
            shut = (mask & ~used & sound).bit_count()
            if node.taints and shut:
                tainted[node.taints] += shut
            elif view.cordoned or not node.schedulable:
                closed += shut
            else:
                kept += shut
    return _Who(held, taken - held.total(), ill, closed, tainted, kept)
