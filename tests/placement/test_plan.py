"""What the decision does, case by case: choices, ties, refusals and their words."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from supernode.api.conditions import Reason
from supernode.placement import Block, Placement, Refusal, Request, fragmentation, largest_block, plan, search
from supernode.placement.request import Spares
from supernode.topology.discovery import HOSTNAME_LABEL, NodeFacts, SuperNodeFacts, discover
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.ledger import LedgerEntry, Run
from supernode.topology.node import Node
from supernode.topology.profile import Profile
from supernode.topology.ranges import card_indices
from supernode.topology.views import build_fleet
from tests.placement.check import violations
from tests.placement.fleets import profile_of

A3 = profile_of(
    "a3",
    ("package", 2),
    ("node", 4),
    ("rack", 4),
    ("supernode", 3),
    member_sizes=(1, 2, 4, 6, 8),
    whole_nodes_across_nodes=True,
    precisions=("bf16", "int8"),
)
FREE = replace(A3, name="free", member_sizes=(), whole_nodes_across_nodes=False, precisions=("fp8",))


def supernode(
    name: str, profile: Profile, *racks: str, reserve: int | None = None, cordoned: bool = False
) -> SuperNodeView:
    """A supernode drawn as text, a letter per node: . free, # taken, h half taken, x cordoned, u one card ill."""
    full = (1 << profile.cards_per_node) - 1
    taken = {"#": full, "h": (1 << profile.cards_per_node // 2) - 1}
    nodes = [
        Node(
            f"{name}-r{r}n{n}",
            profile.cards_per_node,
            full & ~(letter == "u"),
            taken.get(letter, 0),
            letter != "x",
            (name, f"{name}/r{r}") if profile.above else (),
        )
        for r, rack in enumerate(racks)
        for n, letter in enumerate(rack)
    ]
    return SuperNodeView(name, profile, nodes, cordoned=cordoned, reserve=reserve)


def place(fleet: Fleet, request: Request) -> Placement:
    outcome = plan(fleet, request)
    assert isinstance(outcome, Placement), outcome
    assert violations(fleet, request, outcome) == []
    return outcome


def refuse(fleet: Fleet, request: Request) -> Refusal:
    outcome = plan(fleet, request)
    assert isinstance(outcome, Refusal), outcome
    return outcome


def nodes(placement: Placement) -> list[str]:
    return [member.node for member in placement.members]


def test_one_supernode_before_fewer_racks() -> None:
    fleet = Fleet([supernode("a", A3, "....", "#..#"), supernode("b", A3, "....", "####")])
    placement = place(fleet, Request("r", 5, 8))
    assert placement.spans == {"supernode": 1, "rack": 2, "node": 5}
    assert placement.minimal == placement.spans
    assert placement.proven


def test_fewest_racks_then_best_fit() -> None:
    fleet = Fleet([supernode("a", A3, "....", "..##", "...#")])
    assert nodes(place(fleet, Request("r", 2, 8))) == ["a-r1n0", "a-r1n1"]
    assert nodes(place(fleet, Request("r", 3, 8))) == ["a-r2n0", "a-r2n1", "a-r2n2"]


def test_a_tighter_supernode_keeps_the_emptier_one_whole() -> None:
    fleet = Fleet([supernode("a", A3, "....", "...."), supernode("b", A3, "####", "..##")])
    assert nodes(place(fleet, Request("r", 2, 8))) == ["b-r1n0", "b-r1n1"]


def test_greedy_by_room_alone_would_touch_more_racks() -> None:
    """Two supernodes are needed; a has as many free nodes as any, but over three racks."""
    fleet = Fleet(
        [
            supernode("a", A3, "..##", "..##", "..##"),
            supernode("b", A3, "....", ".###", "####"),
            supernode("c", A3, "....", "####", ".###"),
        ]
    )
    placement = place(fleet, Request("r", 9, 8))
    assert placement.spans == {"supernode": 2, "rack": 3, "node": 9}
    placement = place(fleet, Request("r", 10, 8))
    assert placement.spans == {"supernode": 2, "rack": 4, "node": 10}


def test_crossing_splits_evenly() -> None:
    fleet = Fleet([supernode("a", A3, "....", "...#"), supernode("b", A3, "....", "...#")])
    placement = place(fleet, Request("r", 8, 8))
    counts = [sum(member.supernode == name for member in placement.members) for name in "ab"]
    assert counts == [4, 4]


def test_of_several_supernodes_the_roomiest_and_the_one_the_rest_fits_best() -> None:
    """An even split over a and b would break both; so b stays whole for the next group."""
    spare = supernode("b", A3, "....", "....")
    fleet = Fleet([supernode("a", A3, "....", "...."), spare, supernode("c", A3, "..##"), supernode("d", A3, "...#")])
    assert Counter(member.supernode for member in place(fleet, Request("r", 10, 8)).members) == {"a": 8, "c": 2}
    free = Fleet(
        [supernode("a", FREE, "....", "...."), supernode("b", FREE, "....", "...."), supernode("c", FREE, "..##")]
    )
    assert Counter(member.supernode for member in place(free, Request("r", 20, 4)).members) == {"a": 16, "c": 4}


def test_racks_of_a_supernode_are_used_evenly() -> None:
    fleet = Fleet([supernode("a", A3, "....", "....")])
    placement = place(fleet, Request("r", 6, 8))
    assert Counter(member.domains["rack"] for member in placement.members) == {"a/r0": 3, "a/r1": 3}


def test_blocks_never_straddle_and_ranks_follow_the_tree() -> None:
    fleet = Fleet([supernode("a", A3, "...#", "...#", "..##"), supernode("b", A3, "...#", "####", "####")])
    request = Request.of_blocks("r", 8, 8, [("rack", 2)])
    placement = place(fleet, request)
    assert placement.spans["supernode"] == 2
    assert nodes(placement) == sorted(nodes(placement))


def test_supernode_is_the_outermost_level_whatever_it_is_called() -> None:
    pod = profile_of("pod", ("node", 2), ("pod", 4))
    view = SuperNodeView("p", pod, [Node(f"n{i}", 2, 3, path=("p",)) for i in range(4)])
    fleet = Fleet([view])
    assert place(fleet, Request("r", 4, 2, required="supernode", max_span={"supernode": 1})).spans == {
        "pod": 1,
        "node": 4,
    }


def test_one_card_goes_to_the_half_used_package() -> None:
    view = supernode("a", A3, "....").take({"a-r0n2": 0b1})
    placement = place(Fleet([view]), Request("r", 1, 1))
    assert [(member.node, list(card_indices(member.cards))) for member in placement.members] == [("a-r0n2", [1])]


def test_a_part_of_a_node_comes_from_one_in_use() -> None:
    """Even one in a larger rack, or in an emptier supernode, before a wholly free node is broken."""
    fleet = Fleet([supernode("a", FREE, ".###", "...h"), supernode("b", FREE, ".###")])
    for members, cards in ((1, 2), (1, 4), (2, 2), (4, 1)):
        assert set(nodes(place(fleet, Request("r", members, cards)))) == {"a-r1n3"}
    assert set(nodes(place(fleet, Request("r", 1, 8)))) == {"b-r0n0"}
    assert nodes(place(fleet, Request("r", 1, 6))) == ["b-r0n0"]
    ill = Fleet([supernode("a", FREE, ".###"), supernode("b", FREE, "u...", "....")])
    assert nodes(place(ill, Request("r", 1, 4))) == ["b-r0n0"]


def test_a_part_of_a_node_comes_from_the_tightest_rack() -> None:
    fleet = Fleet([supernode("a", FREE, "h...", "h###")])
    assert nodes(place(fleet, Request("r", 1, 4))) == ["a-r1n0"]


def test_a_bound_that_no_placement_reaches_does_not_decide() -> None:
    """a has a rack that holds all, and two nodes that do, but not both at once; b needs one node fewer in a rack."""
    fleet = Fleet([supernode("a", FREE, "hhhh", ".###", ".###"), supernode("b", FREE, ".hh#")])
    placement = place(fleet, Request("r", 4, 4))
    assert set(nodes(placement)) == {"b-r0n0", "b-r0n1", "b-r0n2"}


def test_fewer_nodes_come_before_fewer_wholly_free_ones() -> None:
    fleet = Fleet([supernode("a", FREE, ".hh#")])
    assert set(nodes(place(fleet, Request("r", 2, 4)))) == {"a-r0n0"}
    assert nodes(place(fleet, Request("r", 3, 4))) == ["a-r0n0", "a-r0n0", "a-r0n1"]


def test_the_larger_share_goes_to_the_tighter_node() -> None:
    """Both nodes take two members; the one that is partly used is filled, the free one keeps the larger hole."""
    view = supernode("a", FREE, "..##").take({"a-r0n1": 0b1})
    placement = place(Fleet([view]), Request("r", 3, 3))
    assert Counter(nodes(placement)) == {"a-r0n0": 1, "a-r0n1": 2}


def test_a_crossing_is_even_before_it_spares_wholly_free_nodes() -> None:
    fleet = Fleet([supernode("a", FREE, "..hh"), supernode("b", FREE, "..hh")])
    placement = place(fleet, Request("r", 8, 4))
    assert placement.spans == {"supernode": 2, "rack": 2, "node": 4}
    assert [sum(member.supernode == name for member in placement.members) for name in "ab"] == [4, 4]


def test_the_reserve_is_kept_back_from_whole_nodes_only() -> None:
    fleet = Fleet([supernode("a", FREE, "..h#", reserve=1)])
    place(fleet, Request("r", 1, 8))
    assert refuse(fleet, Request("r", 2, 8)).reason is Reason.INSUFFICIENT_CARDS
    assert nodes(place(fleet, Request("r", 2, 4))) == ["a-r0n0", "a-r0n0"]
    assert nodes(place(fleet, Request("r", 3, 4))) == ["a-r0n0", "a-r0n0", "a-r0n2"]
    refuse(fleet, Request("r", 4, 4))
    more = Fleet([supernode("a", FREE, "..hh", reserve=1)])
    assert nodes(place(more, Request("r", 4, 4))) == ["a-r0n0", "a-r0n0", "a-r0n2", "a-r0n3"]


def test_max_span_prefers_another_supernode_to_one_more_rack() -> None:
    fleet = Fleet([supernode("a", A3, ".###", ".###", ".###"), supernode("b", A3, "..##"), supernode("c", A3, ".###")])
    assert place(fleet, Request("r", 3, 8)).spans == {"supernode": 1, "rack": 3, "node": 3}
    bounded = place(fleet, Request("r", 3, 8, max_span={"rack": 2}))
    assert bounded.spans == {"supernode": 2, "rack": 2, "node": 3}
    assert bounded.proven
    refusal = refuse(fleet, Request("r", 3, 8, max_span={"rack": 2, "supernode": 1}))
    assert (refusal.reason, refusal.stalled) == (Reason.NO_DOMAIN_FITS, False)
    assert "maxSpan" in refusal.message


@pytest.mark.parametrize(
    ("max_span", "spans"),
    [
        ({}, {"supernode": 1, "rack": 2, "node": 4}),
        ({"rack": 2}, {"supernode": 1, "rack": 2, "node": 4}),
        ({"node": 3}, {"supernode": 1, "rack": 3, "node": 3}),
        ({"rack": 2, "node": 3}, {"supernode": 2, "rack": 2, "node": 3}),
    ],
    ids=str,
)
def test_bounds_decide_together(max_span: dict[str, int], spans: dict[str, int]) -> None:
    """Supernodes drawn as the free cards of each node, rack by rack."""
    profile = profile_of("p", ("node", 4), ("rack", 3), ("supernode", 4))
    views = []
    for name, racks in (("a", ("2", "02", "41")), ("b", ("22", "23"))):
        nodes = [
            Node(f"{name}-{rack}-{at}", 4, 0xF, 0xF >> int(free), path=(name, f"{name}/{rack}"))
            for rack, letters in enumerate(racks)
            for at, free in enumerate(letters)
        ]
        views.append(SuperNodeView(name, profile, nodes))
    placement = place(Fleet(views), Request("r", 8, 1, max_span=max_span))
    assert placement.spans == placement.minimal == spans
    assert placement.proven


def test_several_rings_are_given_whole() -> None:
    cube = profile_of("cube", ("node", 4), ("cube", 2), ("pod", 4), fabrics={"cube": "ring"})

    def pod(*cubes: str) -> Fleet:
        items = [
            Node(f"c{c}n{n}", 4, 15, 0 if letter == "." else 1, path=("p", f"p/{c}"))
            for c, text in enumerate(cubes)
            for n, letter in enumerate(text)
        ]
        return Fleet([SuperNodeView("p", cube, items)])

    assert place(pod(".#", ".."), Request("r", 2, 4)).spans == {"pod": 1, "cube": 1, "node": 2}
    assert place(pod(".#", "..", ".."), Request("r", 4, 4)).spans["cube"] == 2
    assert nodes(place(pod("...", "..", ".."), Request("r", 4, 4))) == ["c1n0", "c1n1", "c2n0", "c2n1"]
    place(pod(".#"), Request("r", 1, 4))
    refusal = refuse(pod("..", ".."), Request("r", 3, 4))
    assert (refusal.reason, refusal.stalled) == (Reason.ILLEGAL_SHAPE, True)
    assert "4 cards (1 x node), 8 cards (1 x cube), 16 cards (2 x cube): use one of them" in refusal.message
    assert refuse(pod(".#", ".#"), Request("r", 2, 4)).reason is Reason.NO_DOMAIN_FITS


def test_several_profiles_fewest_supernodes_then_name() -> None:
    small = replace(A3, name="zz", reserve=0)
    fleet = Fleet([supernode("a", A3, "..##"), supernode("b", A3, "..##"), supernode("z", small, "....")])
    assert place(fleet, Request("r", 4, 8)).profile == "zz"
    assert place(fleet, Request("r", 2, 8)).profile == "a3"
    assert place(fleet, Request("r", 2, 8, profile="zz")).profile == "zz"


def test_a_group_never_spans_profiles() -> None:
    fleet = Fleet([supernode("a", A3, ".."), supernode("b", replace(A3, name="other"), "..")])
    assert refuse(fleet, Request("r", 3, 8)).reason in (Reason.NEVER_FITS, Reason.INSUFFICIENT_CARDS)


def test_a_resource_leaves_the_profiles_that_count_by_it() -> None:
    other = replace(A3, name="other", resource="x.com/card", reserve=0)
    fleet = Fleet([supernode("a", A3, "..."), supernode("b", other, ".."), supernode("c", other, "....")])
    assert place(fleet, Request("r", 3, 8)).profile == "a3"
    assert place(fleet, Request("r", 3, 8, resource=A3.resource)).profile == "a3"
    assert nodes(place(fleet, Request("r", 3, 8, resource="x.com/card"))) == ["c-r0n0", "c-r0n1", "c-r0n2"]


def test_precision_chooses_the_profile() -> None:
    fleet = Fleet([supernode("a", A3, ".."), supernode("b", FREE, "..")])
    assert place(fleet, Request("r", 1, 8, precision="fp8")).profile == "free"
    refusal = refuse(fleet, Request("r", 1, 8, precision="fp4"))
    assert refusal.reason is Reason.PRECISION_UNAVAILABLE
    assert "bf16, fp8, int8" in refusal.message
    undeclared = Fleet([supernode("c", replace(A3, precisions=()), "..")])
    assert refuse(undeclared, Request("r", 1, 8, precision="fp8")).reason is Reason.PRECISION_UNAVAILABLE


def test_nodes_that_are_supernodes() -> None:
    box = profile_of("box", ("node", 8))
    views = [SuperNodeView(f"b{i}", box, [Node(f"b{i}", 8, 255, taken)]) for i, taken in enumerate([0, 0xF, 255, 0])]
    fleet = Fleet(views)
    assert place(fleet, Request("r", 2, 8)).spans == {"node": 2}
    assert nodes(place(fleet, Request("r", 1, 4))) == ["b1"]
    assert place(fleet, Request("r", 1, 8)).members[0].domains == {"node": "b0"}


CARD = "example.com/card"
LONE = profile_of("lone", ("node", 4))
GONE = Node("a-gone", 0, 0, taken=0xF, schedulable=False)
"""A node that is no longer there, and sorts before those of supernode a, while a group still holds its cards."""


def of_nodes(name: str, letters: str, *others: Node) -> SuperNodeView:
    """A supernode of a profile without levels above the node, with whatever nodes."""
    return SuperNodeView(name, LONE, [*others, *supernode(name, LONE, letters).nodes])


@pytest.mark.parametrize(
    ("views", "members", "cards", "expected"),
    [
        ([of_nodes("a", "#."), of_nodes("b", ".")], 2, 4, ["a-r0n1", "b-r0n0"]),
        ([of_nodes("a", ".#"), of_nodes("b", ".")], 2, 4, ["a-r0n0", "b-r0n0"]),
        ([of_nodes("a", ".#")], 1, 4, ["a-r0n0"]),
        ([of_nodes("a", "h."), of_nodes("b", ".")], 4, 2, ["a-r0n1"] * 2 + ["b-r0n0"] * 2),
        ([of_nodes("a", ".."), of_nodes("b", ".")], 3, 4, None),
        ([of_nodes("a", ".", GONE), of_nodes("b", ".")], 2, 4, ["a-r0n0", "b-r0n0"]),
        ([of_nodes("a", "h", GONE), of_nodes("b", ".")], 3, 2, ["a-r0n0", "b-r0n0", "b-r0n0"]),
        ([of_nodes("a", "", GONE), of_nodes("b", ".")], 2, 4, None),
        ([of_nodes("a", ""), of_nodes("b", "."), of_nodes("c", ".")], 2, 4, ["b-r0n0", "c-r0n0"]),
        (
            [of_nodes("a", "."), of_nodes("b", ""), of_nodes("c", "h"), of_nodes("d", ".")],
            5,
            2,
            ["a-r0n0"] * 2 + ["c-r0n0"] + ["d-r0n0"] * 2,
        ),
        ([of_nodes("a", "."), of_nodes("b", "")], 2, 4, None),
    ],
)
def test_a_supernode_that_is_a_node_gives_from_the_one_it_has(
    views: list[SuperNodeView], members: int, cards: int, expected: list[str] | None
) -> None:
    outcome, request = Fleet(views), Request("r", members, cards)
    if expected is None:
        refuse(outcome, request)
    else:
        assert nodes(place(outcome, request)) == expected


@pytest.mark.parametrize("booked", ["g0", "g1", "g2"])
@pytest.mark.parametrize("hostname", ["own", "same"])
def test_nodes_that_one_selector_matches_are_given_once_whatever_the_ledgers_say(booked: str, hostname: str) -> None:
    names = ("g0", "g1", "g2")
    facts = [
        NodeFacts(name, {"rack": "r", HOSTNAME_LABEL: name if hostname == "own" else "g"}, {CARD: 4}, {CARD: 4})
        for name in names
    ]
    discovery = discover([LONE], facts, [SuperNodeFacts("hand", "lone", {"rack": "r"})])
    ledgers = {"hand": [LedgerEntry("ns/other", "u", (Run("0", booked, ("0-3",)),))]}
    fleet = build_fleet(discovery, [LONE], facts, ledgers)
    free = [name for name in discovery.assigned if name != booked]
    refuse(fleet, Request("r", len(free) + 1, 4))
    if free:
        assert sorted(nodes(place(fleet, Request("r", len(free), 4)))) == sorted(free)
    assert len(free) == (2 if hostname == "own" else int(booked != "g0"))


@pytest.mark.parametrize(
    "request_",
    [
        Request("r", 20, 4),
        Request("r", 30, 2),
        Request("r", 8, 8),
        Request("r", 30, 8),
        Request("r", 20, 4, blocks=(Block("rack", 10),)),
        Request("r", 40, 1, max_span={"rack": 2}),
        Request("r", 6, 4, spares=Spares(1, "rack")),
    ],
    ids=lambda request: f"{request.members}x{request.cards_per_member}",
)
def test_a_supernode_without_nodes_may_change_like_any_other(request_: Request) -> None:
    profile = replace(FREE, name="p")
    views = [supernode("a", profile), *(supernode(name, profile, "h.h.", "hh..", ".#hh") for name in "bcd")]
    fleet = Fleet(views)
    first = plan(fleet, request_)
    cordoned = fleet.replace(views[0].with_nodes({}, cordoned=True))
    assert type(plan(cordoned, request_)) is type(first)
    assert plan(cordoned.replace(views[0].with_nodes({})), request_) == first


def test_a_mistake_of_the_search_gives_no_card_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet([of_nodes("a", "#"), of_nodes("b", "."), of_nodes("c", ".")])
    monkeypatch.setattr(search.lone, "columns", lambda *_: (np.array([0, 1]), np.array([1, 1])))
    with pytest.raises(AssertionError, match="more than they have"):
        plan(fleet, Request("r", 2, 4))


def test_spares_lie_on_the_node_that_a_supernode_has() -> None:
    placement = place(Fleet([of_nodes("a", ".", GONE)]), Request("r", 2, 1, spares=Spares(1)))
    assert {seat.node for seat in placement.held} == {"a-r0n0"}


def test_a_node_that_is_a_supernode_holds_its_own_spare() -> None:
    box = profile_of("box", ("node", 8))
    fleet = Fleet([SuperNodeView(f"b{i}", box, [Node(f"b{i}", 8, 255, taken)]) for i, taken in enumerate([0, 0xF])])
    placement = place(fleet, Request("r", 3, 1, spares=Spares(1)))
    assert {member.node for member in (*placement.members, *placement.spares)} == {"b1"}
    assert {member.node for member in place(fleet, Request("r", 3, 2, spares=Spares(1))).spares} == {"b0"}


EMPTY = ("....", "....", "....")
Case = tuple[Request, Reason, bool, str]
CASES: dict[str, Case] = {
    "unknown profile": (Request("r", 1, 8, profile="nope"), Reason.UNKNOWN_PROFILE, True, "one of: a3"),
    "unknown required level": (Request("r", 1, 8, required="row"), Reason.UNKNOWN_LEVEL, True, "package, node, rack"),
    "unknown block level": (Request("r", 1, 8, blocks=(Block("row", 1),)), Reason.UNKNOWN_LEVEL, True, "'row'"),
    "unknown span level": (Request("r", 1, 8, max_span={"row": 1}), Reason.UNKNOWN_LEVEL, True, "'row'"),
    "unknown resource": (Request("r", 1, 8, resource="x.com/card"), Reason.UNKNOWN_PROFILE, True, f"of: {A3.resource}"),
    "precision": (Request("r", 1, 8, profile="a3", precision="fp4"), Reason.PRECISION_UNAVAILABLE, True, "bf16, int8"),
    "no members": (Request("r", 0, 8), Reason.INVALID_SPEC, True, "at least 1"),
    "empty block": (Request("r", 2, 8, blocks=(Block("rack", 0),)), Reason.INVALID_SPEC, True, "at least 1"),
    "span of none": (Request("r", 2, 8, max_span={"rack": 0}), Reason.INVALID_SPEC, True, "at least 1"),
    "span inside the node": (Request("r", 2, 8, max_span={"package": 2}), Reason.INVALID_SPEC, True, "inside the node"),
    "one level twice": (
        Request.of_blocks("r", 4, 8, [("supernode", 2), ("supernode", 4)]),
        Reason.INVALID_SPEC,
        True,
        "twice",
    ),
    "block and members": (
        Request.of_blocks("r", 6, 8, [("rack", 4)]),
        Reason.BLOCKS_DO_NOT_DIVIDE,
        True,
        "divisor of 6",
    ),
    "block and block": (
        Request.of_blocks("r", 12, 8, [("rack", 2), ("supernode", 3)]),
        Reason.BLOCKS_DO_NOT_DIVIDE,
        True,
        "multiple of the inner",
    ),
    "block larger than its domain": (
        Request.of_blocks("r", 5, 8, [("rack", 5)]),
        Reason.NEVER_FITS,
        True,
        "has 32 cards",
    ),
    "member size": (Request("r", 1, 3), Reason.ILLEGAL_MEMBER_SIZE, True, "1, 2, 4, 6, 8"),
    "member larger than a node": (Request("r", 1, 9), Reason.ILLEGAL_MEMBER_SIZE, True, "at most 8"),
    "whole nodes only": (Request("r", 3, 4), Reason.WHOLE_NODES_ONLY, True, "set cardsPerMember to 8"),
    "larger than the fleet": (Request("r", 13, 8), Reason.NEVER_FITS, True, "13 whole nodes"),
    "larger than a supernode": (
        Request("r", 13, 8, required="supernode"),
        Reason.NEVER_FITS,
        True,
        "in one supernode",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refusals_that_waiting_cannot_change(name: str) -> None:
    request, reason, stalled, text = CASES[name]
    refusal = refuse(Fleet([supernode("a", A3, *EMPTY)]), request)
    assert (refusal.reason, refusal.stalled) == (reason, stalled)
    assert text in refusal.message
    assert refusal.proven


def test_block_multiple() -> None:
    profile = replace(A3, block_multiple=16)
    fleet = Fleet([supernode("a", profile, *EMPTY)])
    assert place(fleet, Request.of_blocks("r", 4, 8, [("rack", 2)])).spans["rack"] == 1
    assert refuse(fleet, Request.of_blocks("r", 4, 8, [("rack", 1)])).reason is Reason.BLOCKS_DO_NOT_DIVIDE


def test_a_block_smaller_than_a_member_is_refused() -> None:
    refusal = refuse(Fleet([supernode("a", FREE, "....")]), Request.of_blocks("r", 2, 4, [("package", 1)]))
    assert (refusal.reason, refusal.level) == (Reason.NEVER_FITS, "package")


Waiting = tuple[Callable[[], Fleet], Request, Reason, str | None, str]
WAITING: dict[str, Waiting] = {
    "not enough cards": (
        lambda: Fleet([supernode("a", A3, "..##", "####"), supernode("b", A3, "####", "....", cordoned=True)]),
        Request("r", 3, 8),
        Reason.INSUFFICIENT_CARDS,
        None,
        r"needs 3 whole nodes; 1 supernode can give 2.* 6 are in use; 1 of 2 supernodes are cordoned",
    ),
    "not enough in one supernode": (
        lambda: Fleet([supernode("a", A3, "...#", "x###", reserve=2), supernode("b", A3, "..##", "####")]),
        Request("r", 3, 8, required="supernode"),
        Reason.NO_DOMAIN_FITS,
        "supernode",
        r"needs 3 whole nodes in one supernode; the best, a, has 3 healthy and free, 2 of 8 are reserved, "
        r"4 are in use, 1 is cordoned or not ready",
    ),
    "scattered over racks": (
        lambda: Fleet([supernode("a", A3, "..##", "..##")]),
        Request("r", 3, 8, required="rack"),
        Reason.NO_DOMAIN_FITS,
        "rack",
        r"needs 3 whole nodes in one rack; the best, a/r0, has 2 healthy and free, 2 are in use",
    ),
    "blocks do not fit": (
        lambda: Fleet([supernode("a", A3, "...#", ".###", "####")]),
        Request.of_blocks("r", 4, 8, [("rack", 2)]),
        Reason.NO_DOMAIN_FITS,
        "rack",
        r"needs 2 times 2 whole nodes in one rack; the best, a/r0, has 3 healthy and free",
    ),
    "whole nodes are broken": (
        lambda: Fleet([supernode("a", A3, "hh..", "uh##")]),
        Request("r", 3, 8),
        Reason.NO_DOMAIN_FITS,
        "node",
        r"needs 3 whole nodes; .* 2, .*1 has unhealthy cards; 35 cards are free, but scattered over nodes",
    ),
    "no node yet": (
        lambda: Fleet([], [A3]),
        Request("r", 3, 8),
        Reason.NO_NODES,
        None,
        "no supernode of profile a3 has a node",
    ),
    "no node of the resource yet": (
        lambda: Fleet([supernode("a", A3, "..")], [replace(FREE, name=name, resource="x.com/card") for name in "yz"]),
        Request("r", 1, 8, resource="x.com/card"),
        Reason.NO_NODES,
        None,
        r"no supernode of a profile of x.com/card \(y, z\) has a node",
    ),
}


@pytest.mark.parametrize("name", WAITING)
def test_refusals_that_may_pass(name: str) -> None:
    fleet, request, reason, level, pattern = WAITING[name]
    refusal = refuse(fleet(), request)
    assert (refusal.reason, refusal.level, refusal.stalled) == (reason, level, False)
    assert re.search(pattern, refusal.message), refusal.message
    assert refusal.needed == request.members


def test_a_remembered_refusal_ends_with_its_snapshot() -> None:
    fleet = Fleet([supernode("a", A3, "...#"), supernode("b", A3, "#..#")])
    request = Request("r", 4, 8, required="rack")
    first = refuse(fleet, request)
    assert refuse(fleet, replace(request, name="s")) is first
    freed = fleet.replace(fleet.supernodes["a"].release({"a-r0n3": 0xFF}))
    place(freed, request)
    assert refuse(freed.replace(fleet.supernodes["a"]), request) == first
    assert refuse(fleet, replace(request, required=None, max_span={"rack": 1})).message != ""


def test_no_profile_at_all() -> None:
    assert refuse(Fleet(), Request("r", 1, 1)).reason is Reason.UNKNOWN_PROFILE


def test_a_rule_of_a_profile_in_use_outweighs_one_without_nodes() -> None:
    fleet = Fleet([supernode("a", A3, "....")], [A3, FREE])
    assert refuse(fleet, Request("r", 1, 3)).reason is Reason.ILLEGAL_MEMBER_SIZE


def test_largest_blocks_and_fragmentation() -> None:
    view = supernode("a", A3, "...#", "hh##", reserve=1)
    assert largest_block(view) == {"package": 2, "node": 8, "rack": 16, "supernode": 16}
    assert fragmentation(view) == 100 - 100 * 16 // 24
    assert fragmentation(supernode("a", A3, "....", reserve=1)) == 0, "the reserve is not scattered"
    assert largest_block(supernode("a", A3, "hh##", reserve=1)) == {"package": 2, "node": 4, "rack": 4, "supernode": 4}
    full = supernode("a", A3, "####")
    assert set(largest_block(full).values()) == {0}
    assert fragmentation(full) == 0
    assert set(largest_block(supernode("a", A3, "....", cordoned=True)).values()) == {0}


@pytest.mark.parametrize("members", [1, 3, 6, 7, 12])
def test_the_largest_block_can_really_be_placed(members: int) -> None:
    view = supernode("a", A3, "....", "....", "....", reserve=2)
    fleet = Fleet([view])
    fleet = fleet.take(place(fleet, Request("r", members, 8)).members) if members <= 10 else fleet
    best = largest_block(fleet.supernodes["a"])["supernode"]
    if best >= 8:
        place(fleet, Request("s", best // 8, 8, required="supernode"))
    assert isinstance(plan(fleet, Request("t", best // 8 + 1, 8, required="supernode")), Refusal)
