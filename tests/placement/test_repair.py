"""Repair against brute force, and the rules that hold after it."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from supernode.api.cardgroup import RepairStep
from supernode.placement import Block, Placement, Refusal, Request, Spares, plan
from supernode.placement import repair as module
from supernode.placement.repair import Repair, repair
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Member, Node
from supernode.topology.ranges import card_indices
from tests.placement import oracle_repair
from tests.placement.check import violations
from tests.placement.fleets import profile_of

QUIET = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

SHAPES: list[tuple[tuple[str, int], ...]] = [
    (("node", 2), ("rack", 3), ("supernode", 3)),
    (("node", 1), ("rack", 2), ("row", 2), ("supernode", 2)),
    (("package", 2), ("node", 2), ("rack", 2), ("supernode", 2)),
]


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Up to nine nodes, mostly free."""
    whole = draw(st.integers(0, 7)) == 7
    profile = profile_of("p", *draw(st.sampled_from(SHAPES)), whole_nodes_across_nodes=whole)
    reserve = draw(st.sampled_from([0, 0, 1]))
    nodes: dict[str, list[Node]] = {}
    for number in range(draw(st.integers(4, 9))):
        path = [f"sn-{draw(st.integers(0, 1))}"]
        for _ in profile.above[:-1]:
            path.append(f"{path[-1]}/{draw(st.integers(0, 1))}")
        cards = profile.cards_per_node
        full = (1 << cards) - 1
        taken = draw(st.sampled_from([0] * 10 + [full, 1]))
        nodes.setdefault(path[0], []).append(Node(f"n{number}", cards, full, taken, True, tuple(path)))
    return Fleet([SuperNodeView(name, profile, of, reserve=reserve) for name, of in nodes.items()], [profile])


@st.composite
def requests(draw: st.DrawFn, fleet: Fleet) -> Request:
    profile = fleet.profiles["p"]
    cards = draw(st.sampled_from([1, profile.cards_per_node]))
    blocks, size = [], 1
    for name in profile.level_names if draw(st.integers(0, 2)) else ():
        if draw(st.integers(0, 2)) == 0:
            size *= 2
            blocks.append(Block(name, size))
    members = size * draw(st.integers(1, max(1, 5 // size)))
    outer = profile.level_names[profile.node_index :]
    return Request(
        "r",
        members,
        cards,
        required=draw(st.sampled_from([None, None, None, *outer[1:]])),
        blocks=tuple(blocks),
        max_span={name: draw(st.integers(2, 3)) for name in outer if draw(st.integers(0, 5)) == 0},
        spares=draw(st.one_of(st.none(), st.builds(Spares, st.integers(1, 2), st.sampled_from([None, *outer[1:]])))),
    )


@st.composite
def accidents(draw: st.DrawFn) -> tuple[Fleet, Request, Placement, set[int]]:
    """A placed group, after some nodes and cards failed and some free cards were taken; the ranks that failed."""
    fleet = draw(fleets())
    request = draw(requests(fleet))
    placed = plan(fleet, request)
    assume(isinstance(placed, Placement))
    assert isinstance(placed, Placement)
    views = []
    hit = draw(st.sampled_from([member.node for member in placed.members]))
    for view in fleet.take(placed.held).supernodes.values():
        nodes = []
        for node in view.nodes:
            fate = draw(st.integers(0, 11))
            if fate == 0 or (node.name == hit and fate < 10):
                node = replace(node, schedulable=False, healthy=0)
            elif fate == 2 or node.name == hit:
                node = replace(node, healthy=node.healthy & ~1)
            elif fate in (3, 4, 5):
                node = replace(node, taken=node.all_cards)
            nodes.append(node)
        cordoned = draw(st.integers(0, 9)) == 9
        views.append(SuperNodeView(view.name, view.profile, nodes, cordoned=cordoned, reserve=view.reserve))
    after = Fleet(views, fleet.profiles)
    return after, request, placed, {m.rank for m in placed.members if not works(after, m)}


def works(fleet: Fleet, seat: Member) -> bool:
    return not seat.cards & ~fleet.supernodes[seat.supernode].node(seat.node).healthy


@QUIET
@given(accidents())
def test_the_step_is_the_smallest_that_any_legal_choice_allows(
    case: tuple[Fleet, Request, Placement, set[int]],
) -> None:
    fleet, request, placed, broken = case
    outcome = repair(fleet, request, placed.members, placed.spares, lambda seat: works(fleet, seat))
    expected = oracle_repair.smallest(fleet, request, placed.members, placed.spares, broken)
    event(str(expected))
    assert (outcome.step if isinstance(outcome, Repair) else None) == expected
    assert outcome.proven
    if isinstance(outcome, Repair):
        check(fleet, request, placed, broken, outcome)


def check(fleet: Fleet, request: Request, placed: Placement, broken: set[int], outcome: Repair) -> None:
    """Every rule holds, survivors stay, no spare lies on a failed card."""
    moved = {before.rank for before, _ in outcome.moved(placed.members)}
    assert moved >= broken if outcome.step is not RepairStep.RESTART else not moved
    if outcome.step in (RepairStep.SPARE, RepairStep.FREE):
        assert moved == broken
    assert all(works(fleet, seat) for seat in (*outcome.members, *outcome.spares))
    held = (*outcome.members, *outcome.spares)
    seats = [(seat.node, card) for seat in held for card in card_indices(seat.cards)]
    assert len(seats) == len(set(seats)), "a card is given twice"
    freed = fleet.release(placed.held)
    opened = [
        SuperNodeView(v.name, v.profile, [replace(n, schedulable=True) for n in v.nodes], reserve=0)
        for v in freed.supernodes.values()
    ]
    levels = [level.name for level in reversed(freed.profiles["p"].levels[freed.profiles["p"].node_index :])]
    spans = {level: len({m.domains[level] for m in outcome.members}) for level in levels}
    after = Placement("p", outcome.members, spans, spans)
    assert violations(Fleet(opened, freed.profiles), replace(request, spares=None), after) == []
    if request.spares is not None:
        shown = Placement("p", outcome.members, spans, spans, spares=outcome.spares)
        found = violations(Fleet(opened, freed.profiles), request, shown)
        assert bool(found) == bool(outcome.missing), (found, outcome)
    else:
        assert (outcome.spares, outcome.missing) == ((), 0)


def test_a_refusal_says_what_the_whole_group_would_need() -> None:
    profile = profile_of("p", ("node", 1), ("supernode", 2))
    nodes = [Node("n0", 1, 1, 1, True, ("a",)), Node("n1", 1, 0, 1, False, ("a",))]
    fleet = Fleet([SuperNodeView("a", profile, nodes)], [profile])
    members = [Member(rank, "a", f"n{rank}", 1, {"node": f"n{rank}", "supernode": "a"}) for rank in range(2)]
    outcome = repair(fleet, Request("r", 2), members, (), lambda seat: seat.node == "n0")
    assert isinstance(outcome, Refusal)
    assert "2 whole nodes" in outcome.message


def test_choices_of_domains_are_those_with_room_the_roomiest_first() -> None:
    for room in ([5, 3, 3, 2, 1], [4, 4, 0], []):
        for count in range(len(room) + 1):
            for needed in range(-1, 10):
                expected = [
                    some for some in combinations(range(len(room)), count) if sum(room[at] for at in some) >= needed
                ]
                assert list(module.roomy(room, count, needed)) == expected


@pytest.mark.parametrize(("tries", "proven"), [(4, True), (3, False)])
def test_where_not_every_choice_of_domains_was_tried_the_step_is_not_proven(
    tries: int, proven: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pairs need a rack each. Four more supernodes have one such rack and single nodes; one more is allowed."""
    monkeypatch.setattr(module, "MAX_TRIES", tries)
    profile = profile_of("p", ("node", 1), ("rack", 2), ("supernode", 3))
    views = [
        SuperNodeView(
            f"s{index}",
            profile,
            [
                Node(f"s{index}-{at}", 1, 1, int(index > 0 and at in (3, 5)), path=(f"s{index}", f"s{index}/{at // 2}"))
                for at in range(6)
            ],
        )
        for index in range(5)
    ]
    request = Request("r", 6, 1, blocks=(Block("rack", 2),), max_span={"supernode": 2})
    placed = plan(Fleet(views), request)
    assert isinstance(placed, Placement)
    assert {member.supernode for member in placed.members} == {"s0"}
    home = views[0].take({node.name: 1 for node in views[0].nodes})
    failed = {node.name: replace(node, healthy=0, schedulable=False) for node in home.nodes[:4]}
    fleet = Fleet([home.with_nodes(failed), *views[1:]])
    outcome = repair(fleet, request, placed.members, (), lambda seat: seat.node not in failed)
    assert isinstance(outcome, Refusal)
    assert outcome.proven is proven
