"""What a supernode takes with its reserve kept, against every choice of the wholly free nodes, and against fronts."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from supernode.placement import Block, Placement, Request, Spares, fronts, plan
from supernode.placement.capacity import caps_of
from supernode.placement.coding import Coding
from supernode.placement.fronts import Dim, FrontTree
from supernode.placement.kept import doubtful, kept_of
from supernode.placement.rows import Ints
from supernode.placement.shape import Shape
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from tests.placement.fleets import profile_of

LEVELS = {
    "flat": (("node", 4), ("supernode", 8)),
    "racks": (("node", 4), ("rack", 3), ("supernode", 3)),
    "rows": (("node", 2), ("rack", 2), ("row", 2), ("supernode", 2)),
    "rings": (("node", 2), ("rack", 3), ("supernode", 3)),
}


@st.composite
def supernodes(draw: st.DrawFn, *, alike: bool = False) -> tuple[SuperNodeView, Shape]:
    """A small uneven supernode with a reserve, and a shape with blocks and spares. alike: its nodes are of one size."""
    name = draw(st.sampled_from(sorted(LEVELS)))
    profile = profile_of("p", *LEVELS[name], fabrics={"rack": "ring"} if name == "rings" else {})
    nodes = []
    for number in range(draw(st.integers(1, 8))):
        path = ["s"]
        for _ in profile.above[:-1]:
            path.append(f"{path[-1]}/{draw(st.integers(0, 2))}")
        cards = profile.cards_per_node - (0 if alike else draw(st.sampled_from([0, 0, 0, 1])))
        full = (1 << cards) - 1
        taken = draw(st.sampled_from([0, 0, 0, 0, 1, full, full & 0b110]))
        nodes.append(Node(f"n{number}", cards, full, taken & full, path=tuple(path)))
    view = SuperNodeView("s", profile, nodes, reserve=draw(st.integers(0, 4)))
    size, steps = 1, []
    for _ in profile.levels:
        size *= draw(st.sampled_from([1, 1, 1, 2, 3]))
        steps.append(size)
    cards = draw(st.sampled_from([1, 1, 2, profile.cards_per_node]))
    shape = Shape(profile, cards, tuple(steps))
    if name == "rings" and cards * steps[1] < 2:
        whole = profile.levels[1].cards // cards
        shape = replace(shape, steps=(steps[0], steps[0] * whole, steps[0] * whole), whole=frozenset({1}))
    if draw(st.booleans()):
        shape = replace(shape, spares=draw(st.integers(1, 2)), within=draw(st.integers(0, len(steps) - 1)))
    return view, shape


def caps_without(view: SuperNodeView, shape: Shape, opened: tuple[int, ...]) -> list[Ints]:
    """What each domain takes if of the wholly free nodes only these may be taken."""
    closed = np.setdiff1d(np.flatnonzero(view.census.wholly_free), opened)
    return caps_of([view], shape, closed)[0]


@settings(max_examples=600, deadline=None)
@given(supernodes())
def test_room_is_what_the_best_choice_of_wholly_free_nodes_takes(case: tuple[SuperNodeView, Shape]) -> None:
    view, shape = case
    kept = kept_of(view, shape, caps_of([view], shape, np.zeros(0, np.intp))[0])
    room, opened = int(kept.room()[0]), kept.opened()
    whole = np.flatnonzero(view.census.wholly_free).tolist()
    assert len(set(opened)) == view.usable
    assert set(opened) <= set(whole)
    expected = max(int(caps_without(view, shape, some)[-1][0]) for some in combinations(whole, view.usable))
    reached = int(caps_without(view, shape, tuple(opened))[-1][0])
    if doubtful(view, shape):
        event("less is known to fit" if reached < room else "doubted in vain")
        assert reached <= expected <= room
    else:
        event("the reserve binds" if room < kept.caps[-1][0] else "the reserve takes nothing")
        assert reached == expected == room


@settings(max_examples=400, deadline=None)
@given(supernodes(alike=True))
def test_room_is_the_most_that_fronts_know_a_price_of(case: tuple[SuperNodeView, Shape]) -> None:
    view, shape = case
    [caps] = caps_of([view], shape, np.zeros(0, np.intp))
    counts = (len(view.nodes), *(len(names) for names in view.layout.names))
    tree = FrontTree(view, shape, caps, (Dim(None, view.usable),), 64, Coding.for_counts(counts))
    assert tree.top.most == int(kept_of(view, shape, caps).room()[0])


@pytest.mark.parametrize(
    "request_",
    [
        Request("r", 40, 2, spares=Spares(1, "supernode")),
        Request("r", 12, 1, spares=Spares(2, "node")),
        Request("r", 24, 2, blocks=(Block("rack", 4),)),
        Request("r", 8, 4, spares=Spares(1, "rack")),
    ],
    ids=str,
)
def test_no_front_is_made_to_see_what_fits(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fronts.FrontTree, "top")
    profile = profile_of("p", ("node", 4), ("rack", 4), ("supernode", 6), reserve=2)
    views = []
    for name in (f"s{number}" for number in range(20)):
        nodes = [Node(f"{name}-{at}", 4, 15, path=(name, f"{name}/{at // 4}")) for at in range(24)]
        views.append(SuperNodeView(name, profile, nodes))
    outcome = plan(Fleet(views), request_)
    assert isinstance(outcome, Placement)
    assert outcome.proven
