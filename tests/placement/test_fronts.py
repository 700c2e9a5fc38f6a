"""Prices under bounds on what a supernode's placement touches, against every set of nodes."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernode.placement import Placement, Request, plan
from supernode.placement.capacity import caps_of
from supernode.placement.coding import Coding
from supernode.placement.fronts import Dim, FrontTree
from supernode.placement.shape import Shape
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from tests.placement.fleets import profile_of

MEMBERS = 10


@given(
    st.lists(st.sampled_from([0, 0, 0b1, 0b11, 0b110, 0b111, 0b1111]), min_size=1, max_size=6),
    st.integers(0, 5),
    st.integers(0, 8),
    st.booleans(),
)
def test_a_front_holds_the_least_price_of_every_number_of_members_within_the_bounds(
    taken: list[int], most_whole: int, most_nodes: int, count_whole: bool
) -> None:
    profile = profile_of("flat", ("node", 4), ("supernode", 6))
    view = SuperNodeView("sn", profile, [Node(f"n{i}", 4, 15, mask, path=("sn",)) for i, mask in enumerate(taken)])
    shape = Shape(profile, 1, (1, 1))
    [caps] = caps_of([view], shape, np.zeros(0, np.intp))
    coding = Coding.for_counts((len(taken), 1), count_whole=count_whole)
    front = FrontTree(view, shape, caps, (Dim(None, most_whole), Dim(0, most_nodes)), MEMBERS, coding).top
    for members in range(1, MEMBERS + 1):
        expected = min(
            (
                len(chosen) * coding.unit(0) + whole * coding.whole
                for size in range(len(taken) + 1)
                for chosen in combinations(view.nodes, size)
                if sum(node.free.bit_count() for node in chosen) >= members
                if (whole := sum(node.wholly_free for node in chosen)) <= most_whole
                if size <= most_nodes
            ),
            default=None,
        )
        assert min(front.prices[front.states[:, 0] == members].tolist(), default=None) == expected


def test_a_reserve_of_a_supernode_of_nodes_is_priced_without_a_front(monkeypatch: pytest.MonkeyPatch) -> None:
    """The roomiest wholly free nodes serve as well as any, also for groups that may leave parts of nodes free."""
    monkeypatch.delattr(FrontTree, "top")
    profile = profile_of("flat", ("node", 8), ("supernode", 512))
    views = []
    for name in ("a", "b", "c", "d"):
        nodes = [Node(f"{name}{i}", 8, 255, (0, 0b111, 0, 0b1, 255)[i % 5], path=(name,)) for i in range(512)]
        views.append(SuperNodeView(name, profile, nodes, reserve=6))
    fleet, request = Fleet(views), Request("r", 8000, 1)
    outcome = plan(fleet, request)
    assert isinstance(outcome, Placement)
    assert outcome.proven
