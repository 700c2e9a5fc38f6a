"""Refusals with numbers: what was needed, the best any domain could offer, and what stands in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from supernode.api.conditions import Reason
from supernode.placement.result import Refusal
from supernode.placement.shape import Task
from supernode.placement.tables import domain_caps
from supernode.topology.fleet import Node, SuperNodeView

_NONE_BLOCKED = np.zeros(0, np.intp)


@dataclass(frozen=True, slots=True)
class _Best:
    """The domain of a level that could hold most: members healthy and free in it, reserve included."""

    members: int
    domain: str
    view: SuperNodeView
    nodes: Sequence[Node]


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
    room = sum(_room(view, task) for view in open_)
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


def _room(view: SuperNodeView, task: Task) -> int:
    """Members a supernode could take if blocks did not matter, its reserve kept where that is a matter of counting."""
    shape = task.shape.without(0)
    members = view.memo(("loose", shape), lambda: int(domain_caps(view, shape)[0].sum()))
    usable = max(0, view.wholly_free - view.reserve)
    return min(members, usable) if view.reserve and task.shape.whole_nodes else members


def _too_few(open_: Sequence[SuperNodeView], task: Task, room: int) -> _Cause:
    nodes = [node for view in open_ for node in view.nodes]
    cards = sum(_free_cards(view) for view in open_)
    reserved = sum(min(view.reserve, len(view.nodes)) for view in open_)
    supernodes = "1 supernode" if len(open_) == 1 else f"{len(open_)} supernodes together"
    text = (
        f"needs {_units(task, task.request.members)}; {supernodes} can give {room}"
        f"{_obstacles(nodes, reserved, len(nodes))}"
    )
    if cards < task.request.cards:
        return _Cause(Reason.INSUFFICIENT_CARDS, None, room, text)
    return _Cause(Reason.NO_DOMAIN_FITS, "node", room, f"{text}; {cards} cards are free, but scattered over nodes")


def _free_cards(view: SuperNodeView) -> int:
    """Free cards outside the reserve, supposing that it keeps the smallest wholly free nodes."""
    whole = sorted(node.cards for node in view.nodes if node.wholly_free)
    return view.free_cards - sum(whole[: view.reserve])


def _too_scattered(open_: Sequence[SuperNodeView], task: Task) -> _Cause:
    """Enough is free, but not together: the tightest level decides what the message counts."""
    request, profile = task.request, task.profile
    index = max(task.tightest, profile.node_index)
    name = profile.levels[index].name
    found = [_best_in(view, task, index) for view in open_]
    best = max(found, key=lambda one: one.members)
    if task.spans or (task.most_supernodes or 1) > 1:
        text = f"needs {_units(task, request.members)} within {_limits(task)}; no choice of domains holds them"
        return _Cause(Reason.NO_DOMAIN_FITS, name, min(best.members, request.members), text)
    whole = index == len(profile.levels) - 1 and task.most_supernodes == 1
    together = request.members if whole else task.shape.steps[index]
    reserved = min(best.view.reserve, len(best.view.nodes))
    has = (
        f"the best, {best.domain}, has {best.members} healthy and free"
        f"{_obstacles(best.nodes, reserved, len(best.view.nodes))}"
    )
    if together < request.members:
        text = f"needs {request.members // together} times {_units(task, together)} in one {name}; {has}"
    else:
        text = f"needs {_units(task, request.members)} in one {name}; {has}"
    return _Cause(Reason.NO_DOMAIN_FITS, name, min(best.members, request.members), text)


def _best_in(view: SuperNodeView, task: Task, index: int) -> _Best:
    """The domain of a level of one supernode that holds most, blocks further in kept."""
    depth = index - task.profile.node_index
    shape = task.shape.without(index)
    caps = view.memo(("room", shape), lambda: domain_caps(view, shape, _NONE_BLOCKED))[depth]
    if not len(caps):
        return _Best(0, view.name, view, ())
    at = int(caps.argmax())
    if depth == 0:
        return _Best(int(caps[at]), view.nodes[at].name, view, view.nodes[at : at + 1])
    start, end = view.layout.node_bounds[depth - 1][at : at + 2]
    return _Best(int(caps[at]), view.layout.names[depth - 1][at], view, view.nodes[start:end])


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


def _obstacles(nodes: Sequence[Node], reserved: int, of: int) -> str:
    """What stands in the way among these nodes, each part only if there is any."""
    used = sum(1 for node in nodes if node.taken)
    cordoned = sum(1 for node in nodes if not node.schedulable and not node.taken)
    ill = sum(1 for node in nodes if node.schedulable and node.healthy != node.all_cards)
    parts = [
        f", {reserved} of {of} are reserved" if reserved else "",
        f", {used} {'is' if used == 1 else 'are'} in use" if used else "",
        f", {cordoned} {'is' if cordoned == 1 else 'are'} cordoned or not ready" if cordoned else "",
        f", {ill} {'has' if ill == 1 else 'have'} unhealthy cards" if ill else "",
    ]
    return "".join(parts)
