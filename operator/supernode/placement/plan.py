"""The decision: a fleet and a request in, a placement or a refusal out. Pure and deterministic."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, MutableMapping, Sequence
from functools import partial
from typing import Any

from supernode.api.conditions import Reason
from supernode.placement.board import board_of
from supernode.placement.boxed import box_notes, box_refusal, place_box
from supernode.placement.coding import Coding
from supernode.placement.cost import distance, estimate
from supernode.placement.fronts import OverBudgetError
from supernode.placement.joined import joined
from supernode.placement.refusal import emptied, over_budget, refusal
from supernode.placement.request import Request
from supernode.placement.result import Placement, Refusal
from supernode.placement.search import ReserveBudgetError, fits, search
from supernode.placement.seats import placement_of
from supernode.placement.shape import Task, refuse, resolve
from supernode.placement.shapes import Need
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.profile import Profile

Why = Callable[[], Refusal]
"""Why there is no place. To say so takes longer than to see that there is none, so it is only worked out when asked."""


def plan(fleet: Fleet, request: Request) -> Placement | Refusal:
    """The placement that touches the fewest domains, outermost level first, or why there is none.

    Of several eligible profiles the one with the fewest supernodes wins, then the least vector, then the one that the
    objective favours, then the name.
    """
    profiles = eligible(fleet, request)
    if isinstance(profiles, Refusal):
        return profiles
    outcomes = {profile.name: _outcome(fleet, request, profile) for profile in profiles}
    placed = _best(fleet, request, outcomes.values())
    if placed is not None:
        return placed
    return joined({name: why() for name, why in outcomes.items() if not isinstance(why, Placement)})


def decide(fleet: Fleet, request: Request) -> Placement | None:
    """The same for those who do not ask why there is no place."""
    profiles = eligible(fleet, request)
    if isinstance(profiles, Refusal):
        return None
    return _best(fleet, request, [_outcome(fleet, request, profile) for profile in profiles])


def _best(fleet: Fleet, request: Request, outcomes: Iterable[Placement | Why]) -> Placement | None:
    placements = [outcome for outcome in outcomes if isinstance(outcome, Placement)]
    least = min((tuple(placement.spans.values()) for placement in placements), default=())
    tied = [placement for placement in placements if tuple(placement.spans.values()) == least]
    return min(tied, key=partial(_favour, fleet, request)) if len(tied) > 1 else next(iter(tied), None)


def _favour(fleet: Fleet, request: Request, placement: Placement) -> tuple[float, str]:
    """Between profiles: the fastest all-reduce, or for latency the nearest farthest cards; unknown last."""
    profile = fleet.profiles[placement.profile]
    if request.objective == "latency":
        seconds = distance(profile, placement.members)
    else:
        found = estimate(profile, placement.members)
        seconds = None if found is None else found.all_reduce
    return math.inf if seconds is None else seconds, placement.profile


def eligible(fleet: Fleet, request: Request) -> list[Profile] | Refusal:
    """Profiles the request may use, by name. Those without supernodes count only when no other is left."""
    known = fleet.profiles
    if request.profile is not None and request.profile not in known:
        listed = ", ".join(known) or "none"
        return refuse(
            Reason.UNKNOWN_PROFILE, f"profile {request.profile} does not exist; create it or use one of: {listed}"
        )
    if not known:
        return refuse(Reason.UNKNOWN_PROFILE, "there is no SuperNodeProfile; create one for the machines of this fleet")
    profiles = [known[request.profile]] if request.profile is not None else list(known.values())
    if request.resource is not None:
        counted = sorted({profile.resource for profile in profiles})
        profiles = [profile for profile in profiles if profile.resource == request.resource]
        if not profiles:
            return refuse(
                Reason.UNKNOWN_PROFILE,
                f"no profile counts cards by {request.resource}; create one or use one of: {', '.join(counted)}",
            )
    if request.precision is not None:
        offered = sorted({precision for profile in profiles for precision in profile.precisions})
        profiles = [profile for profile in profiles if request.precision in profile.precisions]
        if not profiles:
            return refuse(
                Reason.PRECISION_UNAVAILABLE,
                f"precision {request.precision} is not offered; use one of: {', '.join(offered) or 'none is declared'}",
            )
    return [profile for profile in profiles if fleet.has_profile(profile.name)] or profiles


def task_of(fleet: Fleet, request: Request, profile: Profile) -> Task | Refusal:
    """The request as the search on one profile takes it, or the rule it breaks."""
    return resolve(request, profile, partial(_largest, fleet, profile))


def _outcome(fleet: Fleet, request: Request, profile: Profile) -> Placement | Why:
    """The placement on one profile, or why there is none: to be asked before the fleet is another."""
    views = fleet.of_profile(profile.name)
    task = task_of(fleet, request, profile)
    if isinstance(task, Refusal):
        return partial(_known, task)
    if not fleet.has_profile(profile.name):
        wanted = _described(fleet, request, profile)
        text = f"no supernode of {wanted} has a node; check its nodeSelector and the labels of the nodes"
        return partial(_known, Refusal(Reason.NO_NODES, text, needed=request.members))
    if task.box is not None:
        return _box_outcome(fleet, views, task, task.box)
    coding = Coding.for_counts(fleet.domain_counts(profile.name), count_whole=not task.shape.per_node)
    board = board_of(fleet.shared, views, task.shape, request.members, coding, "now")
    key = ("refusal", request.members, task.spans, task.most_supernodes, task.tightest)
    known: Refusal | None = board.notes.get(key)
    if known is not None:
        return partial(_known, known)
    try:
        solution = search(board, task)
    except OverBudgetError as error:
        why = partial(over_budget, task, reserves=isinstance(error, ReserveBudgetError))
        return partial(_noted, board.notes, key, why)
    if solution is not None:
        return placement_of(solution, task)
    ever = partial(_ever_fits, fleet, views, task, coding) if task.spans or task.shape.spares else None
    return partial(_noted, board.notes, key, partial(refusal, board.ground, task, ever))


def _box_outcome(fleet: Fleet, views: Sequence[SuperNodeView], task: Task, need: Need) -> Placement | Why:
    notes, key = box_notes(fleet.shared, views, "now"), (task.shape, task.request.members, task.request.shape, need)
    known: Refusal | None = notes.get(key)
    if known is not None:
        return partial(_known, known)
    why = partial(box_refusal, fleet.shared, views, task, need)
    return place_box(views, task, need) or partial(_noted, notes, key, why)


def _known(refused: Refusal) -> Refusal:
    return refused


def _noted(notes: MutableMapping[Hashable, Any], key: Hashable, why: Why) -> Refusal:
    """Why, remembered for those who ask again."""
    refused = notes[key] = why()
    return refused


def _described(fleet: Fleet, request: Request, profile: Profile) -> str:
    """The profile, or where a resource is asked for all that count by it."""
    if request.resource is None:
        return f"profile {profile.name}"
    names = [known.name for known in fleet.profiles.values() if known.resource == request.resource]
    return f"a profile of {request.resource} ({', '.join(names)})"


def _ever_fits(fleet: Fleet, views: Sequence[SuperNodeView], task: Task, coding: Coding, *, lent: bool = False) -> bool:
    """Whether the group has a place with every card healthy and free; lent: and nothing reserved. True where a search
    would be too long to tell."""
    members, bare = task.request.members, emptied(views, task, lent=lent)
    tag = "empty" if any(view.reserve for view in bare) else "lent"  # by what they are, which others may ask for too
    board = board_of(fleet.shared, bare, task.shape, members, coding, tag)
    key = ("ever", members, task.spans, task.most_supernodes)
    ever: bool | None = board.notes.get(key)
    if ever is None:
        try:
            ever = fits(board, task)
        except OverBudgetError:
            ever = True
        board.notes[key] = ever
    return ever


def _largest(fleet: Fleet, profile: Profile, index: int) -> int:
    """Cards of the largest real domain of a level above the node; real domains may exceed the nominal size."""
    depth = index - profile.node_index - 1
    if depth < 0:
        return 0
    return (
        max((view.layout.largest[depth] for view in fleet.of_profile(profile.name)), default=0) * profile.cards_per_node
    )
