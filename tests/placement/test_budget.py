"""When an exact search costs too much, the answer is legal, says it is not proven, and gives a true lower bound."""

import pytest
from hypothesis import given, settings

from supernode.placement import Placement, Refusal, Request, fronts, plan, search
from supernode.topology.fleet import Fleet, Node, SuperNodeView
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
