"""Refusals with numbers: what was needed, the best any domain could offer, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from supernode.api.conditions import Reason
from supernode.placement.result import Refusal
from supernode.placement.rows import Ints
from supernode.placement.shape import Shape, Task
from supernode.placement.tables import caps_of, node_caps
from supernode.topology.fleet import Census, SuperNodeView

_NONE_BLOCKED = np.zeros(0, np.intp)

Counts = tuple[int, int, int]


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
    level: str | None
    best: int
    text: str


def refusal(views: Sequence[SuperNodeView], task: Task, *, never: bool) -> Refusal:
    """Why a legal request has no place. never: it would have none with every card healthy and free either."""
    if never:
        views = emptied(views, task)
    open_ = [view for view in views if not view.cordoned]
    loose = task.shape.without(0)
    room = sum(view.memo(("loose", loose), partial(_room, view, loose)) for view in open_)
    cause = _too_few(open_, task, room) if room < task.request.members else _too_scattered(open_, task)
    reason, text = cause.reason, cause.text
    if never:
        reason = Reason.NEVER_FITS
        text += "; this is with every card healthy and free, so ask for less or loosen the topology"
    elif len(open_) < len(views):
        text += f"; {len(views) - len(open_)} of {len(views)} supernodes are cordoned"
    return Refusal(reason, text, cause.level, task.request.members, cause.best, stalled=never)


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


def _room(view: SuperNodeView, shape: Shape) -> int:
    """Members a supernode could take if blocks did not matter, its reserve kept where that is a matter of counting."""
    members = sum(capacity * count for capacity, count in node_caps(view, shape))
    usable = max(0, view.wholly_free - view.reserve)
    return min(members, usable) if view.reserve and shape.whole_nodes else members


def _too_few(open_: Sequence[SuperNodeView], task: Task, room: int) -> _Cause:
    cards = sum(view.memo("outside the reserve", partial(_free_cards, view)) for view in open_)
    reserved = sum(min(view.reserve, len(view.nodes)) for view in open_)
    supernodes = "1 supernode" if len(open_) == 1 else f"{len(open_)} supernodes together"
    text = (
        f"needs {_units(task, task.request.members)}; {supernodes} can give {room}"
        f"{_obstacles((_in_the_way(view) for view in open_), reserved, sum(len(view.nodes) for view in open_))}"
    )
    if cards < task.request.cards:
        return _Cause(Reason.INSUFFICIENT_CARDS, None, room, text)
    return _Cause(Reason.NO_DOMAIN_FITS, "node", room, f"{text}; {cards} cards are free, but scattered over nodes")


def _free_cards(view: SuperNodeView) -> int:
    """Free cards outside the reserve, supposing that it keeps the smallest wholly free nodes."""
    kept = 0
    left = view.reserve
    for cards, count in sorted((k.free.bit_count(), count) for k, count in view.census.counts() if k.wholly_free):
        kept += cards * min(left, count)
        left -= min(left, count)
    return view.free_cards - kept


def _too_scattered(open_: Sequence[SuperNodeView], task: Task) -> _Cause:
    """Enough is free, but not together: the tightest level decides what the message counts."""
    request, profile = task.request, task.profile
    index = max(task.tightest, profile.node_index)
    name = profile.levels[index].name
    best = _best_of(open_, task, index)
    if task.spans or (task.most_supernodes or 1) > 1:
        text = f"needs {_units(task, request.members)} within {_limits(task)}; no choice of domains holds them"
        return _Cause(Reason.NO_DOMAIN_FITS, name, min(best.members, request.members), text)
    whole = index == len(profile.levels) - 1 and task.most_supernodes == 1
    together = request.members if whole else task.shape.steps[index]
    reserved = min(best.view.reserve, len(best.view.nodes))
    has = (
        f"the best, {best.domain}, has {best.members} healthy and free"
        f"{_obstacles([_count_in_the_way(best.nodes)], reserved, len(best.view.nodes))}"
    )
    if together < request.members:
        text = f"needs {request.members // together} times {_units(task, together)} in one {name}; {has}"
    else:
        text = f"needs {_units(task, request.members)} in one {name}; {has}"
    return _Cause(Reason.NO_DOMAIN_FITS, name, min(best.members, request.members), text)


def _best_of(views: Sequence[SuperNodeView], task: Task, index: int) -> _Best:
    """The domain of a level that holds most, blocks further in kept; the first of equals."""
    depth = index - task.profile.node_index
    shape = task.shape.without(index)
    missing = [view for view in views if not view.remembers(("room", shape))]
    for view, caps in zip(missing, caps_of(missing, shape, _NONE_BLOCKED), strict=True):
        view.memo(("room", shape), partial(tuple, caps))
    rooms: list[Ints] = [view.memo(("room", shape), tuple)[depth] for view in views]
    most, first = max(((int(caps.max(initial=0)), -i) for i, caps in enumerate(rooms)), default=(0, 0))
    view = views[-first]
    if not len(rooms[-first]):
        return _Best(0, view.name, view, view.census)
    at = int(rooms[-first].argmax())
    if depth == 0:
        return _Best(most, view.nodes[at].name, view, view.census.part(at, at + 1))
    start, end = view.layout.node_bounds[depth - 1][at : at + 2]
    return _Best(most, view.layout.names[depth - 1][at], view, view.census.part(start, end))


def _units(task: Task, members: int) -> str:
    if task.shape.whole_nodes:
        return f"{members} whole node{'' if members == 1 else 's'}"
    cards = task.request.cards_per_member
    return f"{members} member{'' if members == 1 else 's'} of {cards} card{'' if cards == 1 else 's'}"


def _limits(task: Task) -> str:
    limits = [f"{most} {task.profile.levels[at].name} domains" for at, most in task.spans]
    if task.most_supernodes is not None:
        limits.append(f"{task.most_supernodes} {task.profile.outermost.name} domains")
    return " and ".join(limits) + " (maxSpan)"


def _in_the_way(view: SuperNodeView) -> Counts:
    return view.memo("in the way", partial(_count_in_the_way, view.census))


def _count_in_the_way(census: Census) -> Counts:
    """Nodes that are used, cordoned or not ready, and with unhealthy cards."""
    counts = census.counts()
    return (
        sum(count for kind, count in counts if kind.used),
        sum(count for kind, count in counts if kind.closed),
        sum(count for kind, count in counts if kind.ill),
    )


def _obstacles(counts: Iterable[Counts], reserved: int, of: int) -> str:
    """What stands in the way, each part only if there is any."""
    used, cordoned, ill = (sum(part) for part in zip((0, 0, 0), *counts, strict=True))
    parts = [
        f", {reserved} of {of} are reserved" if reserved else "",
        f", {used} {'is' if used == 1 else 'are'} in use" if used else "",
        f", {cordoned} {'is' if cordoned == 1 else 'are'} cordoned or not ready" if cordoned else "",
        f", {ill} {'has' if ill == 1 else 'have'} unhealthy cards" if ill else "",
    ]
    return "".join(parts)
