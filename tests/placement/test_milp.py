"""Fleets of up to 60 nodes: the decision, the integer programme and the tree knapsack agree."""

from dataclasses import replace

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from bench.optimum import minimal
from bench.tree import tree_of
from supernode.placement import Block, Placement, Request, plan
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Profile
from tests.placement import oracle_milp
from tests.placement.check import violations
from tests.placement.fleets import profile_of, spares

SHAPES: list[tuple[tuple[str, int], ...]] = [
    (("node", 4), ("rack", 4), ("supernode", 4)),
    (("package", 2), ("node", 4), ("rack", 4), ("supernode", 4)),
    (("ring", 4), ("node", 2), ("supernode", 16)),
    (("package", 2), ("board", 2), ("node", 2), ("supernode", 12)),
    (("node", 2), ("rack", 4), ("row", 3), ("supernode", 3)),
    (("node", 8),),
]
NODES = 60

QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    levels = draw(st.sampled_from(SHAPES))
    rules = {
        "whole_nodes_across_nodes": draw(st.integers(0, 9)) == 9,
        "reserve": draw(st.sampled_from([0, 0, 0, 1, 3])),
    }
    return profile_of("p", *levels, fabrics={"node": "mesh", "rack": "none"}, **rules)


@st.composite
def fleets(draw: st.DrawFn, profile: Profile) -> Fleet:
    """Up to 60 nodes, a byte for the state and a byte for the home of each."""
    count = draw(st.integers(12, NODES))
    states = draw(st.binary(min_size=count, max_size=count))
    homes = draw(st.binary(min_size=count, max_size=count))
    supernodes = draw(st.integers(1, 6)) if profile.above else count
    grouped: dict[str, list[Node]] = {}
    for number, (state, home) in enumerate(zip(states, homes, strict=True)):
        owner = f"sn-{home % supernodes if profile.above else number}"
        path = [owner] if profile.above else []
        for level in reversed(profile.above[:-1]):
            home //= 3
            path.append(f"{path[-1]}/{home % level.fan_out}")
        grouped.setdefault(owner, []).append(_node(f"n{number}", profile.cards_per_node, state, tuple(path)))
    cordoned = draw(st.integers(0, 12)) == 12
    views = [
        SuperNodeView(name, profile, nodes, cordoned=cordoned and index == 0)
        for index, (name, nodes) in enumerate(grouped.items())
    ]
    return Fleet(views, [profile])


def _node(name: str, cards: int, state: int, path: tuple[str, ...]) -> Node:
    """A third free, a third taken, the rest in parts; a few ill, short of a card or not schedulable."""
    cards -= state == 254
    full = (1 << cards) - 1
    taken = (0, 0, full, full, state * 37 & full, state & full)[state % 6]
    return Node(name, cards, full & ~(state % 16 == 15), taken, state != 255, path)


@st.composite
def requests(draw: st.DrawFn, fleet: Fleet) -> Request:
    """Mostly for less than is free, half of them with blocks."""
    profile = fleet.profiles["p"]
    most = profile.cards_per_node
    cards = draw(st.sampled_from([1, 1, 2, 3, max(1, most // 2), most, most]))
    free = sum(view.free_cards for view in fleet.supernodes.values() if not view.cordoned)
    names = profile.level_names
    blocks, size = [], 1
    for level in profile.levels if draw(st.booleans()) else ():
        if draw(st.integers(0, 2)) == 0 and level.cards >= size * cards:
            size *= draw(st.sampled_from([1, 2, 2, 3, 4]))
            blocks.append(Block(level.name, size))
    members = size * draw(st.integers(1, max(1, free * 3 // 4 // (cards * size))))
    required = draw(st.sampled_from([None] * 9 + [*names[profile.node_index :], "supernode"]))
    outer = names[profile.node_index :]
    max_span = {name: draw(st.integers(2, 20)) for name in outer if draw(st.integers(0, 4)) == 0}
    held = draw(spares(outer))
    return Request("r", members, cards, required=required, blocks=tuple(blocks), max_span=max_span, spares=held)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Fleet, Request]:
    fleet = draw(fleets(draw(profiles())))
    return fleet, draw(requests(fleet))


@settings(QUIET, max_examples=300)
@given(cases())
def test_verdict_and_spans_equal_the_integer_programme(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    expected = oracle_milp.minimal(fleet, request, fleet.profiles["p"])
    outcome = plan(fleet, request)
    event("fits" if expected else "does not fit")
    assert isinstance(outcome, Placement) == (expected is not None)
    if isinstance(outcome, Placement):
        event(f"supernodes {min(next(iter(outcome.spans.values())), 3)}")
        if not outcome.proven:
            assert request.spares is not None
            event("followed roughly")
            return
        assert outcome.spans == outcome.minimal == expected
        assert violations(fleet, request, outcome) == []


@st.composite
def plain_cases(draw: st.DrawFn) -> tuple[Fleet, Request]:
    """Without levels inside the node, bounds and reserves: what the tree knapsack knows."""
    profile = profile_of("p", *draw(st.sampled_from([SHAPES[0], SHAPES[4]])))
    drawn = draw(fleets(profile))
    fleet = Fleet([SuperNodeView(view.name, profile, view.nodes) for view in drawn.supernodes.values()], [profile])
    return fleet, replace(draw(requests(fleet)), max_span={}, spares=None)


@settings(QUIET, max_examples=300)
@given(plain_cases())
def test_spans_equal_the_tree_knapsack(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    profile = fleet.profiles["p"]
    sizes = {profile.level_index(block.level): block.members for block in request.blocks}
    if request.required is not None:
        sizes[profile.level_index(request.required)] = request.members
    expected = minimal(tree_of(fleet, request.cards_per_member), request.members, tuple(sizes.items()))
    outcome = plan(fleet, request)
    event("fits" if expected else "does not fit")
    assert isinstance(outcome, Placement) == (expected is not None)
    if isinstance(outcome, Placement):
        assert tuple(outcome.spans.values()) == tuple(outcome.minimal.values()) == expected
