"""Supernodes of racks whose nodes are partly used: prices and splits, against every way to take the nodes."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from supernode.placement import Block, Placement, Request, plan, pool, sums
from supernode.placement.coding import FAR, Coding
from supernode.placement.racks import Racks, fewest_whole
from supernode.placement.rows import cumulated
from supernode.placement.sums import added_up, affordable
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from tests.placement.fleets import profile_of

SUPERNODE = st.lists(
    st.lists(st.sampled_from([0, 0, 1, 1, 2, 2, 3, 4]), min_size=1, max_size=4), min_size=1, max_size=5
)
"""What the nodes of each rack take."""


def least(racks: list[list[int]], members: int) -> tuple[int, int]:
    """The fewest racks that hold so many members and, of so many, the fewest nodes: every set, roomiest nodes first."""
    for count in range(1, len(racks) + 1):
        found = []
        for chosen in combinations(racks, count):
            reach = np.cumsum(sorted((node for rack in chosen for node in rack), reverse=True))
            if reach[-1] >= members:
                found.append(int(np.searchsorted(reach, members)) + 1)
        if found:
            return count, min(found)
    raise AssertionError("there is too little room")


def racks_of(racks: list[list[int]], coding: Coding, step: int = 1) -> Racks:
    nodes = np.array([node for rack in racks for node in rack], np.int64)
    caps = np.array([sum(rack) - sum(rack) % step for rack in racks], np.int64)
    return Racks([nodes, caps], np.array([len(rack) for rack in racks]), None, coding, step)


@settings(max_examples=400)
@given(SUPERNODE, st.data())
def test_a_split_over_racks_touches_the_fewest_racks_and_nodes(racks: list[list[int]], data: st.DataObject) -> None:
    room = sum(map(sum, racks))
    if not room:
        return
    members = data.draw(st.integers(1, room))
    coding = Coding.for_counts([20, 5, 1])
    of = racks_of(racks, coding)
    fewest = least(racks, members)
    floor = coding.pack((fewest[1], fewest[0]))
    for known in (None, floor):
        found = of.split(members, known, alike=True)
        event("left to the knapsack" if found is None else "found at the bound")
        if found is None:
            continue
        price, shares = found
        assert coding.unpack(price)[:2] == fewest[::-1]
        assert sum(share for _, share in shares) == members
        assert all(0 < share <= of.caps[rack] for rack, share in shares)
        amounts = np.array([share for _, share in shares])
        assert int(of.nodes(np.array([rack for rack, _ in shares]), amounts).sum()) == fewest[1]


@settings(max_examples=300)
@given(st.lists(SUPERNODE, min_size=1, max_size=4), st.sampled_from([1, 1, 2]), st.integers(1, 40))
def test_supernodes_added_up_together_cost_what_each_costs_alone(
    fleet: list[list[list[int]]], step: int, most: int
) -> None:
    """In a rack members come in multiples of the step, on the fewest nodes."""
    coding = Coding.for_counts([80, 20, 4])
    node, rack = coding.unit(0), coding.unit(1)
    flat = [racks for supernode in fleet for racks in supernode]
    nodes = np.array([node for racks in flat for node in racks], np.int64)
    caps = np.array([sum(racks) - sum(racks) % step for racks in flat], np.int64)
    sizes, counts = np.array([len(racks) for racks in flat]), np.array([len(supernode) for supernode in fleet])
    found = added_up(nodes, caps, sizes, counts, step, most // step, (node, rack))
    for supernode, prices in zip(fleet, found.tolist(), strict=True):
        expected = {0: 0}
        for racks in supernode:
            reach = [0, *np.cumsum(sorted(racks, reverse=True)).tolist()]
            offers = {0: 0}
            for share in range(step, sum(racks) + 1, step):
                offers[share] = rack + next(k for k, held in enumerate(reach) if held >= share) * node
            sums: dict[int, int] = {}
            for before, price in expected.items():
                for share, more in offers.items():
                    sums[before + share] = min(sums.get(before + share, FAR), price + more)
            expected = sums
        assert prices == [expected.get(members, FAR) for members in range(0, most // step * step + 1, step)]


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=6), st.data())
def test_the_fewest_wholly_free_nodes_are_taken_of_those_that_do(
    nodes: list[tuple[int, bool]], data: st.DataObject
) -> None:
    room = sum(cap for cap, _ in nodes)
    if not room:
        return
    members = data.draw(st.integers(1, room))
    sets = [of for count in range(1, len(nodes) + 1) for of in combinations(nodes, count)]
    enough = [of for of in sets if sum(cap for cap, _ in of) >= members]
    count = min(map(len, enough))
    expected = min(sum(whole for _, whole in of) for of in enough if len(of) == count)
    size = np.array([len(nodes)])
    whole = cumulated(np.array([cap if free else 0 for cap, free in nodes], np.int64), size)
    partly = cumulated(np.array([0 if free else cap for cap, free in nodes], np.int64), size)
    taken = int(fewest_whole(whole, partly, members, np.array([count]))[0])
    assert taken == min(expected, sum(free and cap > 0 for cap, free in nodes))


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=6), min_size=1), st.booleans()
)
def test_the_prices_of_all_numbers_at_once_are_those_of_each(racks: list[list[tuple[int, bool]]], ties: bool) -> None:
    step = 2
    nodes = [node for rack in racks for node in rack]
    caps = [np.array([cap for cap, _ in nodes], np.int64)]
    caps.append(np.array([sum(cap for cap, _ in rack) // step * step for rack in racks], np.int64))
    coding = Coding.for_counts([len(nodes), len(racks), 1], count_whole=True)
    whole = np.array([free for _, free in nodes]) if ties else None
    of = Racks(caps, np.array(list(map(len, racks))), whole, coding, step)
    for rack, row in enumerate(of.rows(100)):
        assert row.prices.tolist() == [
            int(of.prices(np.array([rack]), members)[0]) for members in range(0, int(caps[1][rack]) + 1, step)
        ]


@pytest.mark.parametrize(
    ("racks", "nodes", "in_rack", "in_all", "together"),
    [(12, 48, 8, 96, True), (12, 48, 64, 768, True), (242, 1936, 16, 3872, False), (60_000, 60_000, 1, 1, False)],
)
def test_only_supernodes_that_cost_little_are_added_up_together(
    racks: int, nodes: int, in_rack: int, in_all: int, together: bool
) -> None:
    assert affordable(racks, nodes, in_rack, in_all) is together


def test_members_are_made_when_they_are_asked_for_and_make_no_difference() -> None:
    profile = profile_of("p", ("node", 2), ("rack", 2), ("supernode", 2))
    nodes = [Node(f"n{at}", 2, 3, path=("s", f"s/{at // 2}")) for at in range(4)]
    fleet = Fleet([SuperNodeView("s", profile, nodes)])
    first, second = (plan(fleet, Request("r", 3, 2)) for _ in range(2))
    assert isinstance(first, Placement)
    assert isinstance(second, Placement)
    assert "members" not in first.__dict__
    assert [member.node for member in first.members] == ["n0", "n1", "n2"]
    assert first.members is first.members
    assert first == second == Placement("p", first.members, first.spans, first.minimal)
    assert first != Placement("p", first.members[:2], first.spans, first.minimal)
    assert "n2" in repr(second)


@settings(max_examples=300)
@given(SUPERNODE)
def test_floors_are_never_above_prices(racks: list[list[int]]) -> None:
    room = sum(map(sum, racks))
    if not room:
        return
    coding = Coding.for_counts([20, 5, 1])
    floors = racks_of(racks, coding).floors(room).tolist()
    for members in range(1, room + 1):
        fewest = least(racks, members)
        bound = coding.unpack(floors[members])
        assert bound[1] == fewest[0]
        assert bound[0] <= fewest[1]
        event("the price itself" if bound[0] == fewest[1] else "less")


def partly_used(fleet: list[list[list[int]]]) -> Fleet:
    """Nodes of four cards, by supernode and rack, with so many of them free."""
    profile = profile_of("p", ("node", 4), ("rack", 4), ("supernode", 5))
    views = []
    for index, supernode in enumerate(fleet):
        name = f"s{index}"
        nodes = [
            Node(f"{name}-{at}-{number}", 4, 15, 15 & ~((1 << free) - 1), path=(name, f"{name}/{at}"))
            for at, rack in enumerate(supernode)
            for number, free in enumerate(rack)
        ]
        views.append(SuperNodeView(name, profile, nodes))
    return Fleet(views)


def test_floors_below_the_prices_do_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MANY", 0)
    monkeypatch.setattr(pool, "TRIES", 0)
    found = plan(partly_used([[[0, 2], [1, 4, 3]], [[2, 2, 3], [1], [0, 1, 1, 3], [4]]]), Request("r", 19, 1))
    assert isinstance(found, Placement)
    assert found.spans == found.minimal == {"supernode": 2, "rack": 3, "node": 7}


@pytest.mark.parametrize(
    ("fleet", "spans"),
    [
        ([[[4]], [[1, 3], [0, 2, 2]], [[1, 4], [1]]], (2, 3, 4)),
        ([[[0, 0], [4]], [[2, 1, 2]], [[2], [2], [1]]], (2, 4, 6)),
    ],
    ids=["one node more than its bound", "one rack more"],
)
def test_supernodes_are_pooled_where_counts_are_above_their_bounds(
    fleet: list[list[list[int]]], spans: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("supernode.placement.search._several")
    found = plan(partly_used(fleet), Request("r", 10, 1))
    assert isinstance(found, Placement)
    assert tuple(found.spans.values()) == tuple(found.minimal.values()) == spans


@settings(max_examples=200, deadline=None)
@given(st.lists(SUPERNODE, min_size=2, max_size=6), st.data())
def test_several_supernodes_pooled_or_priced_by_floors_touch_as_few_nodes(
    fleet: list[list[list[int]]], data: st.DataObject
) -> None:
    """The exact knapsack decides; supernodes that are pooled, and the split by lower bounds, must come to the same."""
    room = sum(map(sum, (rack for supernode in fleet for rack in supernode)))
    if not room:
        return
    size = data.draw(st.sampled_from([1, 1, 2, 3]))
    members = size * data.draw(st.integers(1, max(1, room // size)))
    request = Request("r", members, 1, blocks=(Block("supernode", size),))
    pooled = plan(partly_used(fleet), request)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "TRIES", 0)
        expected = plan(partly_used(fleet), request)
        patch.setattr(sums, "MANY", 0)
        by_floors = plan(partly_used(fleet), request)
    if not isinstance(expected, Placement):
        assert not isinstance(pooled, Placement)
        assert not isinstance(by_floors, Placement)
        return
    for found in (pooled, by_floors):
        assert isinstance(found, Placement)
        assert (found.spans, found.minimal, found.proven) == (expected.spans, expected.minimal, True)
        assert len(found.members) == members
    event(f"over {expected.spans['supernode']} supernodes")
