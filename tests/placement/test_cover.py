"""Whole nodes over several supernodes of racks, against every choice of supernodes and racks."""

from itertools import combinations

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st

from supernode.placement import Placement, Request, plan
from supernode.placement.cover import cover
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from tests.placement.fleets import profile_of

Racks = list[list[int]]
"""By supernode, the free nodes of each rack."""


@st.composite
def racks_of(draw: st.DrawFn) -> Racks:
    largest = draw(st.sampled_from([3, 4, 8]))
    width = draw(st.integers(1, 6))
    return draw(
        st.lists(st.lists(st.integers(0, largest), min_size=width, max_size=width), min_size=2, max_size=8).filter(
            lambda racks: sum(any(of) for of in racks) > 1
        )
    )


def least(racks: Racks, total: int) -> tuple[int, int]:
    """(the fewest supernodes, the fewest racks of so many) that hold `total` nodes: every set, roomiest racks first."""
    for count in range(1, len(racks) + 1):
        found = []
        for chosen in combinations(racks, count):
            reach = np.cumsum(sorted((rack for of in chosen for rack in of), reverse=True))
            if reach[-1] >= total:
                found.append(int(np.searchsorted(reach, total)) + 1)
        if found:
            return count, min(found)
    raise AssertionError("there are too few nodes")


@settings(max_examples=300)
@given(racks_of(), st.data())
def test_a_cover_is_least_and_its_shares_fit(racks: Racks, data: st.DataObject) -> None:
    total = data.draw(st.integers(max(map(sum, racks)) + 1, sum(map(sum, racks))).filter(lambda n: n > 0))
    count, fewest = least(racks, total)
    reach = np.array([[0, *np.cumsum(sorted(of, reverse=True))] for of in racks])
    found = cover(reach, count, total, 1)
    event("left to the knapsack" if found is None else "found at the bound")
    if found is not None:
        assert found.parts == fewest
        assert len(found.shares) == count
        assert sum(share for _, share in found.shares) == total
        assert sum(int((reach[index] < share).sum()) for index, share in found.shares) == fewest
        assert all(0 < share <= reach[index, -1] for index, share in found.shares)


@settings(max_examples=300)
@given(racks_of(), st.data())
def test_whole_nodes_touch_the_fewest_supernodes_and_racks(racks: Racks, data: st.DataObject) -> None:
    largest = max(map(max, racks))
    profile = profile_of("p", ("node", 2), ("rack", largest), ("supernode", len(racks[0])))
    views = []
    for index, of in enumerate(racks):
        name = f"sn-{index}"
        paths = [(name, f"{name}/{rack}") for rack, free in enumerate(of) for _ in range(free)]
        views.append(SuperNodeView(name, profile, [Node(f"{name}-{i}", 2, 3, path=p) for i, p in enumerate(paths)]))
    total = data.draw(st.integers(1, sum(map(sum, racks))))
    outcome = plan(Fleet(views), Request("r", total, 2))
    assert isinstance(outcome, Placement)
    assert tuple(outcome.spans.values()) == (*least(racks, total), total)
    assert outcome.proven
    assert outcome.minimal == outcome.spans
