"""Groups in rings and tori: verdict, spans, legality and order of boxes equal enumeration, with holes and reserves."""

from collections import Counter
from dataclasses import replace
from math import prod

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from supernode.api.conditions import Reason
from supernode.placement import Placement, Refusal, Request, plan
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Profile
from tests.placement import oracle_box
from tests.placement.check import violations
from tests.placement.fleets import profile_of
from tests.placement.test_refusal import assert_helps

CUBES = profile_of(
    "p",
    ("node", 2),
    ("cube", 8),
    ("pod", 3),
    fabrics={"node": "torus", "cube": "torus"},
    dims={"node": (2, 1, 1), "cube": (2, 2, 2)},
    positions=("cube",),
    shapes=((2, 1, 1), (2, 1, 2), (2, 2, 2)),
)
TORUS = profile_of(
    "p",
    ("node", 2),
    ("pod", 12),
    fabrics={"node": "torus", "pod": "torus"},
    dims={"node": (2, 1), "pod": (3, 4)},
    positions=("pod",),
)
RING = profile_of("p", ("node", 2), ("rack", 2), ("pod", 5), fabrics={"pod": "ring"}, positions=("pod",))


def path_of(profile: Profile, view: str, place: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Domains and positions of the node with this number in its supernode."""
    size, path, at = 1, [], []
    for level in profile.above:
        at.append(place // size % level.fan_out if level.position_label else -1)
        size *= level.fan_out
        path.append(f"{view}/{level.name}{place // size}")
    return (view, *path[:-1][::-1]), tuple(at[::-1])


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    profile = draw(st.sampled_from([CUBES, TORUS, RING]))
    views = []
    for index in range(draw(st.integers(1, 2))):
        name, nodes = f"sn-{index}", []
        count = profile.levels[-1].cards // profile.cards_per_node
        count = min(count, 16 if profile is CUBES else count)
        for place in draw(st.permutations(range(count))):
            state = draw(st.sampled_from("........##p_x"))
            path, at = path_of(profile, name, place)
            taken = {"#": 3, "p": 1}.get(state, 0)
            if state != "_":
                nodes.append(Node(f"{name}-{len(nodes)}", 2, 3, taken, state != "x", path, at))
        if nodes:
            views.append(SuperNodeView(name, profile, nodes, reserve=draw(st.sampled_from([0, 0, 0, 2]))))
    return Fleet(views, [profile])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Fleet, Request]:
    fleet = draw(fleets())
    profile = fleet.profiles["p"]
    cards = draw(st.sampled_from([1, 2, 2, 2]))
    members = draw(st.sampled_from([1, 2, 3, 4, 6, 8])) * 2 // cards
    shape: tuple[int, ...] = ()
    if profile is not RING and draw(st.booleans()):
        axes = len(profile.levels[-1].dims or profile.levels[-2].dims)
        shapes = [s for s in product_of(axes) if prod(s) == members * cards]
        shape = draw(st.sampled_from(shapes))
    return fleet, Request("r", members, cards, shape=shape)


def product_of(axes: int) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for _ in range(axes):
        found = [(*shape, side) for shape in found for side in (1, 2, 3, 4, 6, 8)]
    return found


def level_of(profile: Profile) -> int:
    return next(i for i, level in enumerate(profile.levels) if i > profile.node_index and not level.tree_like)


def free_domains(fleet: Fleet, request: Request, profile: Profile) -> list[frozenset[oracle_box.Cell]]:
    """The free cells of each domain whose supernode may give as many nodes as asked."""
    index = level_of(profile)
    level, child = profile.levels[index], profile.levels[index - 1]
    dims = level.dims or (level.fan_out,)
    cells = list(oracle_box.each_cell(dims))
    found = []
    for view in fleet.supernodes.values():
        whole = [node for node in view.nodes if node.free == 3]
        if len(whole) - request.cards // 2 < view.reserve:
            continue
        nodes = Counter((view.domains(n)[level.name], n.at[len(profile.levels) - 1 - index]) for n in whole)
        full = {place for place, count in nodes.items() if count * 2 == child.cards}
        found += [
            frozenset(cells[position] for name, position in full if name == domain)
            for domain in dict.fromkeys(view.domains(n)[level.name] for n in view.nodes)
        ]
    return found


def least_surface(fleet: Fleet, request: Request, profile: Profile) -> int | None:
    """The surface of the most cube-like legal box that is free; None when none is."""
    index = level_of(profile)
    level, child = profile.levels[index], profile.levels[index - 1]
    dims, unit = level.dims or (level.fan_out,), profile.child_extents(index)
    unit = unit or (1,) * len(dims)
    legal = [
        box
        for box in oracle_box.legal_in_cards(dims, unit, profile.shapes or None)
        if len(box[1]) * child.cards == request.cards
        and (not request.shape or sorted(a * b for a, b in zip(box[0], unit, strict=True)) == sorted(request.shape))
    ]
    domains = free_domains(fleet, request, profile)
    sizes = [oracle_box.surface(box[0], unit) for cells in domains for box in oracle_box.free_boxes(legal, cells)]
    return min(sizes, default=None)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_verdict_shape_and_legality_equal_enumeration(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    profile = fleet.profiles["p"]
    if not fleet.supernodes:
        return
    index = level_of(profile)
    level, child = profile.levels[index], profile.levels[index - 1]
    outcome = plan(fleet, request)
    if isinstance(outcome, Placement):
        assert violations(fleet, request, outcome) == []
        assert outcome.spans == outcome.minimal
    if not child.cards <= request.cards <= level.cards:
        event("part of a child, or several domains")
        return
    best = least_surface(fleet, request, profile)
    event("fits" if best is not None else "does not fit")
    assert isinstance(outcome, Placement) == (best is not None)
    if isinstance(outcome, Placement):
        assert outcome.box is not None
        unit = outcome.box.unit or (1,) * len(outcome.box.extents)
        assert oracle_box.surface(outcome.box.extents, unit) == best
        assert outcome.spans[level.name] == 1
        assert outcome.spans["node"] == request.cards // 2
    elif outcome.reason is Reason.ILLEGAL_SHAPE:
        assert outcome.stalled
        assert "near it are" in outcome.message
    else:
        assert (outcome.level, outcome.needed) == (level.name, request.members)
        assert outcome.best <= request.members


@settings(max_examples=100, deadline=None)
@given(cases())
def test_what_is_taken_and_released_leaves_the_answer_as_it_was(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    outcome = plan(fleet, request)
    if isinstance(outcome, Placement):
        taken = fleet.take(outcome.members)
        again = plan(taken, request)
        assert isinstance(again, Refusal) or violations(taken, request, again) == []
        assert plan(taken.release(outcome.members), request) == outcome


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.data())
def test_what_is_remembered_of_a_fleet_changes_no_answer(case: tuple[Fleet, Request], data: st.DataObject) -> None:
    """Of requests alike in some of what decides, asked in turn while nodes come and go."""
    fleet, request = case
    asked = [request, replace(request, members=2 * request.members, shape=()), replace(request, shape=())]
    nodes = [(view.name, node.name) for view in fleet.supernodes.values() for node in view.nodes]
    for _ in range(4):
        views = [SuperNodeView(v.name, v.profile, v.nodes, reserve=v.reserve) for v in fleet.supernodes.values()]
        anew = Fleet(views, fleet.profiles)
        for one in asked:
            answer = plan(fleet, one)
            assert answer == plan(anew, one)
            assert isinstance(answer, Placement) or plan(fleet, one) == answer
        if nodes:
            supernode, name = data.draw(st.sampled_from(nodes))
            view = fleet.supernodes[supernode]
            change = view.release if view.node(name).taken else view.take
            fleet = fleet.replace(change({name: 3}))


def test_a_refusal_is_remembered_until_something_changes() -> None:
    nodes = [Node(f"n{at}", 2, 3, 3 * (at % 2), path=("s",), at=(at,)) for at in range(4)]
    ring = profile_of("p", ("node", 2), ("pod", 4), fabrics={"pod": "ring"}, positions=("pod",))
    fleet, request = Fleet([SuperNodeView("s", ring, nodes)]), Request("r", 2, 2)
    refused = plan(fleet, request)
    assert isinstance(refused, Refusal)
    assert plan(fleet, request) is refused
    assert plan(fleet, replace(request, members=3)) != refused
    changed = fleet.replace(fleet.supernodes["s"].take({"n0": 3}))
    again = plan(changed, request)
    assert isinstance(again, Refusal)
    assert again is not refused
    assert plan(changed, request) is again


@settings(max_examples=200, deadline=None)
@given(cases())
def test_the_named_change_helps(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    outcome = plan(fleet, request)
    if isinstance(outcome, Placement) or outcome.stalled:
        return
    event("no change named" if not outcome.change else "the least" if outcome.least else "a bound")
    if outcome.change:
        assert_helps(fleet, request, outcome)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_a_stalled_group_fits_no_empty_fleet(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    outcome = plan(fleet, request)
    if isinstance(outcome, Refusal) and fleet.supernodes:
        views = [view.emptied(keep_reserve=request.cards >= 2) for view in fleet.supernodes.values()]
        assert outcome.stalled == isinstance(plan(Fleet(views, fleet.profiles), request), Refusal)
