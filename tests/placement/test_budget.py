"""When an exact search costs too much, the answer is legal, says it is not proven, and gives a true lower bound."""

import time
from dataclasses import replace
from importlib import import_module
from random import Random

import pytest
from hypothesis import given, settings

from supernode.placement import Block, Placement, Refusal, Request, Spares, fronts, plan, search, spares
from supernode.placement.board import Board
from supernode.placement.shape import Task
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from tests.placement import oracle
from tests.placement.check import violations
from tests.placement.fleets import profile_of, scattered


@pytest.fixture(autouse=True)
def tiny_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "TREE_BUDGET", 60)
    monkeypatch.setattr(search, "FLEET_BUDGET", 60)


@settings(max_examples=400)
@given(scattered())
def test_what_is_found_is_legal_and_its_bound_true(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    expected = oracle.minimal(fleet, request, fleet.profiles["p"])
    outcome = plan(fleet, request)
    if isinstance(outcome, Placement):
        assert expected is not None
        assert violations(fleet, request, outcome) == []
        if outcome.proven:
            assert outcome.spans == outcome.minimal == expected
        else:
            assert all(outcome.minimal[level] <= count for level, count in expected.items())
    elif outcome.proven:
        assert expected is None


def test_what_a_reserve_moves_to_other_racks_keeps_within_its_bounds() -> None:
    """Priced without the wholly free node that the reserve keeps, three racks are enough; laid out without it, four."""
    profile = profile_of("p", ("node", 2), ("rack", 3), ("supernode", 6), reserve=1)
    apart = [Node(f"a{i}", 2, 3, taken, path=("a", f"a/{i}")) for i, taken in enumerate((0, 0, 1, 1))]
    beside = [Node(f"b{i}", 2, 3, taken, path=("b", "b/0")) for i, taken in enumerate((1, 0))]
    fleet = Fleet([SuperNodeView("a", profile, apart), SuperNodeView("b", profile, beside)], [profile])
    request = Request("r", 5, 1, max_span={"rack": 3})
    assert oracle.minimal(fleet, request, profile) is None
    outcome = plan(fleet, request)
    assert isinstance(outcome, Refusal)
    assert not outcome.proven


def wide_and_dense() -> tuple[Fleet, Request]:
    """The fewest supernodes touch sixteen racks; only with one more supernode are ten enough."""
    profile = profile_of("p", ("node", 2), ("rack", 2), ("supernode", 16))
    views = []
    for name, racks, width in (("wide", 16, 1), ("a", 4, 2), ("b", 4, 2), ("c", 4, 2)):
        paths = [(name, f"{name}/{rack}") for rack in range(racks) for _ in range(width)]
        views.append(SuperNodeView(name, profile, [Node(f"{name}-{i}", 2, 3, path=p) for i, p in enumerate(paths)]))
    return Fleet(views), Request("r", 20, 2, max_span={"rack": 10})


def test_a_search_that_finds_nothing_in_its_budget_says_so() -> None:
    outcome = plan(*wide_and_dense())
    assert isinstance(outcome, Refusal)
    assert not outcome.proven
    assert not outcome.stalled
    assert "search budget" in outcome.message


def test_the_real_budget_proves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    outcome = plan(*wide_and_dense())
    assert isinstance(outcome, Placement)
    assert outcome.proven
    assert outcome.spans == {"supernode": 3, "rack": 10, "node": 20}


def loose_and_dense() -> Fleet:
    """The fewest supernodes touch sixteen racks and 32 nodes; with one more eight and sixteen are enough."""
    profile = profile_of("p", ("node", 2), ("rack", 2), ("supernode", 16))
    views = []
    for name, racks, taken in (("loose", 16, 1), ("a", 4, 0), ("b", 4, 0), ("c", 4, 0)):
        nodes = [Node(f"{name}-{i}", 2, 3, taken, path=(name, f"{name}/{i // 2}")) for i in range(2 * racks)]
        views.append(SuperNodeView(name, profile, nodes))
    return Fleet(views)


@pytest.mark.parametrize(
    "max_span",
    [{"rack": 10}, {"rack": 10, "node": 20}, {"rack": 10, "node": 31}, {"rack": 8, "node": 16}],
    ids=str,
)
def test_a_bound_that_holds_where_others_do_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, max_span: dict[str, int]
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(search, "FLEET_BUDGET", 30_000)
    outcome = plan(loose_and_dense(), Request("r", 32, 1, max_span=max_span))
    assert isinstance(outcome, Placement)
    assert outcome.proven
    assert outcome.spans == {"supernode": 2, "rack": 8, "node": 16}


def test_a_refusal_over_budget_is_remembered_until_something_changes() -> None:
    fleet, request = wide_and_dense()
    refused = plan(fleet, request)
    assert plan(fleet, request) is refused
    view = fleet.supernodes["wide"]
    changed = fleet.replace(view.take({view.nodes[0].name: 0b11}))
    again = plan(changed, request)
    assert again == refused
    assert again is not refused


@pytest.mark.parametrize("reserve", [0, 1])
def test_whether_a_group_could_ever_fit_is_remembered_whatever_others_ask(
    monkeypatch: pytest.MonkeyPatch, reserve: int
) -> None:
    """A reserve is kept against groups of whole nodes only, so that the others ask of another fleet."""
    monkeypatch.undo()
    asked = []

    def counted(board: Board, task: Task) -> bool:
        asked.append(task.request)
        return search.fits(board, task)

    monkeypatch.setattr(import_module("supernode.placement.plan"), "fits", counted)
    profile = profile_of("p", ("node", 2), ("rack", 2), ("supernode", 2))
    nodes = [Node(f"n{i}", 2, 3, 3, path=("s", f"s/{i // 2}")) for i in range(4)]
    fleet = Fleet([SuperNodeView("s", profile, nodes, reserve=reserve)])
    whole, part = (Request("r", *size, max_span={"rack": 2}) for size in ((3, 2), (5, 1)))
    for node in nodes[:3]:
        fleet = fleet.replace(fleet.supernodes["s"].release({node.name: 1}))
        for request in (whole, part):
            outcome = plan(fleet, request)
            assert isinstance(outcome, Refusal)
            assert not outcome.stalled
    assert asked == [whole, part]


def test_a_group_that_a_reserve_makes_too_dear_is_told_of_the_reserve() -> None:
    """Of four wholly free nodes two may be taken. Its blocks fit each, the spares beside them only the two larger."""
    profile = profile_of("p", ("node", 4), ("rack", 4), ("supernode", 5))
    nodes = [
        Node(f"n{rack}", cards, (1 << cards) - 1, path=("s", f"s/{rack}")) for rack, cards in enumerate((3, 3, 4, 4))
    ]
    request = Request("r", 6, blocks=(Block("rack", 3),), spares=Spares(2, "supernode"))
    outcome = plan(Fleet([SuperNodeView("s", profile, nodes, reserve=2)]), request)
    assert isinstance(outcome, Refusal)
    assert not outcome.proven
    assert outcome.message == (
        "needs 6 members of 1 card; the search budget ran out before a place was found: "
        "lower spec.reserve of the supernodes, or ask without spares, blocks or a required level"
    )


def one_rack_too_many() -> Fleet:
    """With one node in reserve twelve members fit, in blocks of four in a rack, if the node that is alone stays free.
    On the whole nodes and the halves beside them, more nodes are touched than the reserve leaves."""
    profile = profile_of("p", ("node", 2), ("rack", 3), ("supernode", 4), reserve=1)
    racks = [[0], [0, 0], [0, 0], [0, 0b01, 0b10]]
    nodes = [
        Node(f"n{rack}-{at}", 2, 3, taken, path=("s", f"s/{rack}"))
        for rack, used in enumerate(racks)
        for at, taken in enumerate(used)
    ]
    return Fleet([SuperNodeView("s", profile, nodes)])


@pytest.mark.parametrize(("members", "proven"), [(8, True), (12, False)])
def test_a_reserve_that_cannot_be_priced_keeps_nothing_out_that_fits(members: int, proven: bool) -> None:
    fleet, request = one_rack_too_many(), Request("r", members, 1, blocks=(Block("rack", 4),))
    outcome = plan(fleet, request)
    assert isinstance(outcome, Placement)
    assert violations(fleet, request, outcome) == []
    assert outcome.proven is proven


def test_two_bounds_in_a_large_fleet_are_decided_and_proven_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    profile = profile_of("p", ("package", 2), ("node", 4), ("rack", 4), ("supernode", 12))
    random = Random(1)
    views = []
    for number in range(260):
        name = f"sn-{number}"
        states = (random.choice([0xFF, 0xFF, 0, *[random.getrandbits(8)] * 6]) for _ in range(48))
        nodes = [Node(f"{name}-{i}", 8, 0xFF, taken, path=(name, f"{name}/{i // 4}")) for i, taken in enumerate(states)]
        views.append(SuperNodeView(name, profile, nodes))
    fleet, request = Fleet(views), Request("r", 256, 4)
    free = plan(fleet, request)
    assert isinstance(free, Placement)
    bounds = {level: free.spans[level] - 2 for level in ("rack", "node")}
    started = time.process_time()
    outcome = plan(fleet, replace(request, max_span=bounds))
    assert time.process_time() - started < 5
    assert isinstance(outcome, Placement)
    assert outcome.proven
    assert all(outcome.spans[level] <= most for level, most in bounds.items())


def test_of_many_spares_each_looks_at_the_nodes_once_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """And at each that is taken once more."""
    looked = []
    near = spares._Choice._near

    def counted(choice: spares._Choice, node: int) -> int | None:
        looked.append(node)
        return near(choice, node)

    monkeypatch.setattr(spares._Choice, "_near", counted)
    profile = profile_of("p", ("node", 4), ("rack", 8), ("supernode", 8))
    nodes = [Node(f"n{at}", 4, 0xF, path=("s", f"s/{at // 8}")) for at in range(64)]
    outcome = plan(Fleet([SuperNodeView("s", profile, nodes)]), Request("r", 8, 2, spares=Spares(100, "supernode")))
    assert isinstance(outcome, Placement)
    assert len(outcome.spares) == 100
    assert len(looked) <= len(nodes) + 3 * len(outcome.spares)
