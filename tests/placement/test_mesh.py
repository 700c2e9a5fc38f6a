"""In a mesh a contiguous set is a product: whole boards where they can be whole, and then whole racks.

The fewest domains, outermost level first, give exactly that: every board but at most one is whole whenever the fewest
boards allow it, and cards that fill boards come from no more boards than they fill.
"""

from itertools import combinations

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from supernode.placement import Placement, Request, plan
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from tests.placement.check import violations
from tests.placement.fleets import profile_of

MESH = profile_of(
    "p",
    ("node", 4),
    ("rack", 3),
    ("supernode", 3),
    fabrics={"node": "mesh", "rack": "mesh", "supernode": "mesh"},
    match_positions=True,
)


@st.composite
def meshes(draw: st.DrawFn) -> Fleet:
    masks = st.sampled_from([0, 0, 0, 0b1111, 0b0011, 0b1010, 0b1000, draw(st.integers(0, 15))])
    nodes = [
        Node(f"n{rack}{board}", 4, 15, draw(masks), path=("s", f"s/{rack}"))
        for rack in range(draw(st.integers(1, 3)))
        for board in range(draw(st.integers(1, 3)))
    ]
    return Fleet([SuperNodeView("s", MESH, nodes)])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(meshes(), st.sampled_from([1, 2, 4]), st.integers(1, 4))
def test_cards_that_can_fill_whole_boards_in_the_fewest_racks_do(fleet: Fleet, cards: int, boards: int) -> None:
    request = Request("r", boards * 4 // cards, cards)
    outcome = plan(fleet, request)
    whole: dict[str, int] = {}
    for node in fleet.supernodes["s"].nodes:
        whole[node.path[1]] = whole.get(node.path[1], 0) + (node.free == 15)
    racks = next((n for n in range(1, 4) if any(sum(s) >= boards for s in combinations(whole.values(), n))), None)
    if not isinstance(outcome, Placement):
        assert racks is None
        return
    assert violations(fleet, request, outcome) == []
    taken: dict[str, int] = {}
    for member in outcome.members:
        taken[member.node] = taken.get(member.node, 0) | member.cards
    product = set(taken.values()) == {15} and len(taken) == boards
    fewer_racks = racks is None or outcome.spans["rack"] < racks
    event("whole boards" if product else "fewer racks by parts of boards")
    assert product or fewer_racks


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 15), min_size=2, max_size=3), st.integers(2, 10))
def test_parts_of_boards_are_the_same_columns_where_the_boards_share_them(free: list[int], members: int) -> None:
    nodes = [Node(f"n{i}", 4, 15, 15 & ~mask, path=("s", "s/0")) for i, mask in enumerate(free)]
    fleet = Fleet([SuperNodeView("s", MESH, nodes)])
    outcome = plan(fleet, Request("r", members, 1))
    if not isinstance(outcome, Placement):
        return
    taken: dict[str, int] = {}
    for member in outcome.members:
        taken[member.node] = taken.get(member.node, 0) | member.cards
    common = 15
    for node in nodes:
        common &= node.free if node.name in taken else 15
    smallest = min(mask.bit_count() for mask in taken.values())
    if common.bit_count() >= smallest:
        event("a product")
        shared = 15
        for mask in taken.values():
            shared &= mask
        assert shared.bit_count() == smallest
