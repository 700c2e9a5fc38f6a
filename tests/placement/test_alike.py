"""Members of several nodes take cards at the same positions, wherever nodes and cards that serve as well allow it."""

from functools import reduce
from itertools import combinations
from operator import and_

from hypothesis import event, given, settings
from hypothesis import strategies as st

from supernode.placement import Placement, Request, plan
from supernode.placement.alike import card_sets
from supernode.topology.cards import packing
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import NodeMake
from tests.placement.check import violations
from tests.placement.fleets import profile_of

MASKS = st.integers(0, 255)


@settings(max_examples=300)
@given(st.lists(MASKS, min_size=2, max_size=4), st.sampled_from([1, 2, 3, 4]), st.data())
def test_nodes_with_common_cards_use_them(free: list[int], cards: int, data: st.DataObject) -> None:
    shape = packing(NodeMake((2, 8)), cards)
    free = [mask for mask in free if shape.capacity(mask)]
    if len(free) < 2:
        return
    counts = [data.draw(st.integers(1, shape.capacity(mask))) for mask in free]
    found = card_sets(shape, free, counts, alike=True)
    assert [len(sets) for sets in found] == counts
    for mask, sets in zip(free, found, strict=True):
        assert sum(sets).bit_count() == cards * len(sets)
        assert sum(sets) & ~mask == 0
        assert all(shape.capacity(one) == 1 for one in sets)
    if shape.capacity(reduce(and_, free)) and set(counts) == {1}:
        event("common")
        assert len(set(found)) == 1


@settings(max_examples=300)
@given(st.lists(st.sampled_from([0x0F, 0xF0, 0x3C, 0xFF, 0x33, 0x00]), min_size=2, max_size=6), st.integers(2, 4))
def test_positions_match_if_any_nodes_that_serve_as_well_allow_it(free: list[int], members: int) -> None:
    """Members of four cards on nodes with four free ones: which cards is settled by the choice of the nodes."""
    profile = profile_of("p", ("node", 8), ("supernode", 6), match_positions=True)
    nodes = [Node(f"n{i}", 8, 0xFF, 0xFF & ~mask, path=("s",)) for i, mask in enumerate(free)]
    fleet = Fleet([SuperNodeView("s", profile, nodes)])
    request = Request("r", members, 4)
    outcome = plan(fleet, request)
    if not isinstance(outcome, Placement) or 0xFF in free:
        return
    assert violations(fleet, request, outcome) == []
    halves = [mask for mask in free if mask]
    possible = any(len(set(chosen)) == 1 for chosen in combinations(halves, members))
    event(f"possible: {possible}")
    assert (len({member.cards for member in outcome.members}) == 1) == possible


def test_without_the_rule_each_node_is_on_its_own() -> None:
    profile = profile_of("p", ("node", 8), ("supernode", 6))
    nodes = [Node("a", 8, 0xFF, 0b0000_1111, path=("s",)), Node("b", 8, 0xFF, 0b1000_0111, path=("s",))]
    fleet = Fleet([SuperNodeView("s", profile, nodes)])
    outcome = plan(fleet, Request("r", 2, 3))
    assert isinstance(outcome, Placement)
    assert [member.cards for member in outcome.members] == [0b0111_0000, 0b0011_1000]
