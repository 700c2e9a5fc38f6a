"""Whether a request that was refused may fit by now, told from what single supernodes offer, without planning it.

A request needs a number of members in one domain of a level, or over several supernodes. What it needs is necessary and
nearly sufficient: a request whose need is not met has no place; one whose need is met usually has one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import nlargest

import numpy as np

from supernode.placement.capacity import caps_of
from supernode.placement.plan import eligible, task_of
from supernode.placement.request import Request
from supernode.placement.result import Refusal
from supernode.placement.rows import Ints
from supernode.placement.shape import Shape, Task
from supernode.topology.fleet import Fleet, SuperNodeView

_NONE_BLOCKED = np.zeros(0, np.intp)


@dataclass(frozen=True, slots=True)
class Measure:
    """What is counted: members of a shape that one domain takes, `depth` levels above the node (0: one node), or that
    `supernodes` supernodes take together (None: any number of them)."""

    shape: Shape
    depth: int
    supernodes: int | None = 1

    @property
    def profile(self) -> str:
        return self.shape.profile.name


@dataclass(frozen=True, slots=True)
class Need:
    """The least a measure must come to before a request can fit."""

    measure: Measure
    members: int


def needs(fleet: Fleet, request: Request) -> tuple[Need, ...]:
    """What the request needs on each profile it may use. Empty: no card that comes free can help it."""
    profiles = eligible(fleet, request)
    if isinstance(profiles, Refusal):
        return ()
    tasks = (task_of(fleet, request, profile) for profile in profiles)
    return tuple(Need(_measure(task), request.members) for task in tasks if not isinstance(task, Refusal))


def _measure(task: Task) -> Measure:
    """The innermost level whose one domain must hold everything; where there is none, the supernodes together.

    A box of a ring or torus, and members with spares, are counted over whole supernodes, loosely: any node that comes
    free may be what they lack.
    """
    shape, members = task.shape, task.request.members
    node, top = shape.profile.node_index, len(shape.profile.levels) - 1
    within = next((index for index, step in enumerate(shape.steps) if step >= members), top + 1)
    if task.box is not None or shape.spares:
        loose = replace(shape.without(0), whole=frozenset())
        return Measure(loose, top - node, 1 if task.box is not None or within < top else task.most_supernodes)
    if within <= node:
        return Measure(shape, 0)
    if within < top:
        return Measure(shape.without(within), within - node)
    return Measure(shape, top - node, task.most_supernodes)


def offers(views: Sequence[SuperNodeView], measure: Measure) -> list[int]:
    """What each supernode offers: the members that the best domain of the measure's level takes."""
    key = ("offers", measure.shape)
    missing = [view for view in views if not view.remembers(key)]
    found = caps_of(missing, measure.shape, _NONE_BLOCKED)
    caps = {view.name: levels for view, levels in zip(missing, found, strict=True)}
    return [view.memo(key, partial(_best, view, measure.shape, caps.get(view.name)))[measure.depth] for view in views]


def reach(measure: Measure, offered: Mapping[str, int], risen: Collection[str]) -> int:
    """What the measure comes to for a request that was refused before the offers of `risen` rose.

    offered: by supernode. In one domain, only those that rose can help; over several, each counts.
    """
    if measure.supernodes == 1:
        return max((offered[name] for name in risen), default=0)
    if measure.supernodes is None:
        return sum(offered.values())
    return sum(nlargest(measure.supernodes, offered.values()))


def _best(view: SuperNodeView, shape: Shape, caps: list[Ints] | None) -> tuple[int, ...]:
    """Per level from the node on, the members that its best domain takes, the reserve kept as far as counting goes."""
    usable, whole = view.usable, view.census.wholly_free
    if view.cordoned:
        return (0,) * (len(shape.above) + 1)
    if view.reserve and not usable:
        [caps] = caps_of([view], shape, np.flatnonzero(whole))
    elif caps is None:
        [caps] = caps_of([view], shape, _NONE_BLOCKED)
    most = [int(level.max(initial=0)) for level in caps]
    if not view.reserve or not usable:
        return tuple(most)
    room = int(np.sort(caps[0][whole])[-usable:].sum() + caps[0][~whole].sum())
    return tuple(min(members, room) for members in most)
