"""The decision: a fleet and a request in, a placement or a refusal out. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from operator import itemgetter

from supernode.api.conditions import Reason
from supernode.placement.alike import Parts, card_sets, exchanged
from supernode.placement.board import board_of
from supernode.placement.boxed import plan_box
from supernode.placement.coding import Coding
from supernode.placement.fronts import OverBudgetError
from supernode.placement.refusal import emptied, over_budget, refusal
from supernode.placement.request import Request
from supernode.placement.result import Placement, Refusal
from supernode.placement.search import Solution, fits, search
from supernode.placement.shape import Task, refuse, resolve
from supernode.topology.fleet import Fleet, Member, SuperNodeView
from supernode.topology.profile import Profile


def plan(fleet: Fleet, request: Request) -> Placement | Refusal:
    """The placement that touches the fewest domains, outermost level first, or why there is none.

    Of several eligible profiles the one with the fewest supernodes wins, then the least vector, then the name.
    """
    profiles = _eligible(fleet, request)
    if isinstance(profiles, Refusal):
        return profiles
    outcomes = [_plan_on(fleet, request, profile) for profile in profiles]
    placements = [outcome for outcome in outcomes if isinstance(outcome, Placement)]
    if placements:
        return min(placements, key=lambda placement: (tuple(placement.spans.values()), placement.profile))
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    return min(refusals, key=lambda outcome: (outcome.stalled, outcome.best == 0, outcome.needed - outcome.best))


def _eligible(fleet: Fleet, request: Request) -> list[Profile] | Refusal:
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
    if request.precision is not None:
        offered = sorted({precision for profile in profiles for precision in profile.precisions})
        profiles = [profile for profile in profiles if request.precision in profile.precisions]
        if not profiles:
            return refuse(
                Reason.PRECISION_UNAVAILABLE,
                f"precision {request.precision} is not offered; use one of: {', '.join(offered) or 'none is declared'}",
            )
    return [profile for profile in profiles if fleet.has_profile(profile.name)] or profiles


def _plan_on(fleet: Fleet, request: Request, profile: Profile) -> Placement | Refusal:
    views = fleet.of_profile(profile.name)
    task = resolve(request, profile, partial(_largest, views, profile))
    if isinstance(task, Refusal):
        return task
    if not fleet.has_profile(profile.name):
        text = f"no supernode of profile {profile.name} has a node; check its nodeSelector and the labels of the nodes"
        return Refusal(Reason.NO_NODES, text, needed=request.members)
    if task.box is not None:
        return plan_box(views, task, task.box)
    coding = Coding.for_counts(fleet.domain_counts(profile.name), count_whole=not task.shape.whole_nodes)
    board = board_of(fleet.shared, views, task.shape, request.members, coding, "now")
    key = ("refusal", request.members, task.spans, task.most_supernodes, task.tightest)
    known: Refusal | None = board.notes.get(key)
    if known is not None:
        return known
    try:
        solution = search(board, task)
    except OverBudgetError:
        return over_budget(task)
    if solution is not None:
        return _placement(solution, task)
    never = _never_fits(fleet, views, task, coding) if task.spans else None
    refused = board.notes[key] = refusal(views, task, never=never)
    return refused


def _never_fits(fleet: Fleet, views: Sequence[SuperNodeView], task: Task, coding: Coding) -> bool:
    """Whether the group has no place even with every card healthy and free."""
    try:
        board = board_of(fleet.shared, emptied(views, task), task.shape, task.request.members, coding, "empty")
        return not fits(board, task)
    except OverBudgetError:
        return False


def _largest(views: Sequence[SuperNodeView], profile: Profile, index: int) -> int:
    """Cards of the largest real domain of a level above the node; real domains may exceed the nominal size."""
    depth = index - profile.node_index - 1
    if depth < 0:
        return 0
    nodes = (end - start for view in views for start, end in pairwise(view.layout.node_bounds[depth]))
    return max(nodes, default=0) * profile.cards_per_node


def _placement(solution: Solution, task: Task) -> Placement:
    """Members in depth-first order of the tree, so that blocks, which divide every domain's share, never straddle."""
    profile, packing = task.profile, task.shape.packing
    members: list[Member] = []
    homes: list[Mapping[str, str]] = []
    parts: Parts = [(solution.views[index], spots) for index, spots in solution.spots]
    alike = profile.match_positions and not task.shape.whole_nodes
    if alike:
        parts = exchanged(packing, parts)
    nodes = [(view, view.nodes[at]) for view, spots in parts for at, _ in spots]
    counts = [count for _, spots in parts for _, count in spots]
    taken = card_sets(packing, [node.free for _, node in nodes], counts, alike=alike)
    for (view, node), sets in zip(nodes, taken, strict=True):
        domains = view.domains(node)
        homes.append(domains)
        members += [Member(len(members) + i, view.name, node.name, cards, domains) for i, cards in enumerate(sets)]
    levels = [level.name for level in profile.levels[profile.node_index :]]
    spans = {level: len(set(map(itemgetter(level), homes))) for level in reversed(levels)}
    minimal = dict(zip(reversed(levels), reversed(solution.counts), strict=True))
    return Placement(profile.name, tuple(members), spans, minimal, solution.proven)
