"""The decision against brute force, on small fleets with every feature at once."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations, pairwise
from random import Random

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from supernode.placement import Placement, Refusal, Request, plan
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.profile import Profile
from tests.placement import oracle
from tests.placement.check import violations
from tests.placement.fleets import fleets, requests, scattered

QUIET = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


ORACLE = settings(QUIET, max_examples=500)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Fleet, Request]:
    fleet = draw(fleets())
    return fleet, draw(requests(fleet.profiles["p"]))


def _empty(fleet: Fleet, *, keep_reserve: bool = False) -> Fleet:
    views = [
        SuperNodeView(
            view.name,
            view.profile,
            [replace(node, healthy=node.all_cards, taken=0, schedulable=True) for node in view.nodes],
            reserve=view.reserve if keep_reserve else 0,
        )
        for view in fleet.supernodes.values()
    ]
    return Fleet(views, fleet.profiles)


@ORACLE
@given(cases())
def test_verdict_and_spans_equal_brute_force(case: tuple[Fleet, Request]) -> None:
    assert_exact(*case)


@ORACLE
@given(scattered())
def test_bounds_on_spans_and_reserves_equal_brute_force(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    outcome, free = plan(fleet, request), plan(fleet, replace(request, max_span={}))
    if isinstance(free, Placement):
        event("maxSpan changes the answer" if free != outcome else "maxSpan does not bind")
    assert_exact(fleet, request)


def assert_exact(fleet: Fleet, request: Request) -> None:
    """The decision's verdict, spans and members are what brute force and the rules say."""
    profile = fleet.profiles["p"]
    least = oracle.least(fleet, request, profile)
    outcome = plan(fleet, request)
    event("fits" if least else "does not fit")
    if not outcome.proven:
        assert _followed_roughly(fleet, request)
        event("followed roughly")
        assert isinstance(outcome, Refusal) or violations(fleet, request, outcome) == []
        return
    assert isinstance(outcome, Placement) == (least is not None)
    if isinstance(outcome, Placement) and least is not None:
        expected = dict(zip(outcome.spans, least[0], strict=True))
        assert violations(fleet, request, outcome) == []
        assert outcome.minimal == expected
        assert outcome.spans == expected
        if all(count == 1 for level, count in expected.items() if level != "node"):
            used = {(member.supernode, member.node) for member in outcome.members}
            taken = sum(fleet.supernodes[name].node(node).wholly_free for name, node in used)
            event("takes no wholly free node" if not least[1] else "takes wholly free nodes")
            assert taken == least[1]
    else:
        whole = request.cards_per_member == profile.cards_per_node or _takes_a_box(request, profile)
        if outcome.stalled:
            assert all(oracle.minimal(state, request, profile) is None for state in _roomiest_states(fleet))
        else:
            assert oracle.minimal(_empty(fleet, keep_reserve=whole), request, profile) is not None
        assert outcome.message


def _roomiest_states(fleet: Fleet) -> Iterator[Fleet]:
    """States in which each supernode gives most: all empty, or where it has a reserve a card of each node in use."""
    empty = _empty(fleet, keep_reserve=True)
    reserved = [view for view in empty.supernodes.values() if view.reserve]
    for some in chain.from_iterable(combinations(reserved, count) for count in range(len(reserved) + 1)):
        for card in (0, 1):
            yield empty.replace(
                *(view.take({node.name: 1 << card & node.all_cards for node in view.nodes}) for view in some)
            )


def _takes_a_box(request: Request, profile: Profile) -> bool:
    """Part of a ring or torus is given in whole nodes, whatever a member is."""
    return any(
        not level.tree_like and child.cards <= request.cards <= level.cards
        for child, level in pairwise(profile.levels[profile.node_index :])
    )


def _followed_roughly(fleet: Fleet, request: Request) -> bool:
    """A reserve that spares of part of a node may touch, where wholly free nodes differ in size (docs/placement.md)."""
    sizes = {node.cards for view in fleet.supernodes.values() for node in view.nodes if node.wholly_free}
    return request.spares is not None and len(sizes) > 1 and any(view.reserve for view in fleet.supernodes.values())


@QUIET
@given(cases())
def test_same_snapshot_same_answer(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    again = Fleet(
        [
            SuperNodeView(view.name, view.profile, reversed(view.nodes), cordoned=view.cordoned, reserve=view.reserve)
            for view in reversed(fleet.supernodes.values())
        ],
        fleet.profiles,
    )
    first = plan(fleet, request)
    plan(fleet, Request("other", 2, 1))
    assert plan(fleet, request) == first
    assert plan(again, request) == first


@QUIET
@given(cases(), st.randoms(use_true_random=False))
def test_names_change_no_count(case: tuple[Fleet, Request], random: Random) -> None:
    fleet, request = case
    names: dict[str, str] = {}

    def renamed(name: str) -> str:
        if name not in names:
            names[name] = f"x{random.randrange(10**6)}-{len(names)}"
        return names[name]

    views = []
    for view in fleet.supernodes.values():
        nodes = []
        for node in view.nodes:
            path = tuple(renamed("/".join(node.path[: i + 1])) for i in range(len(node.path)))
            nodes.append(replace(node, name=renamed(node.name), path=path))
        views.append(
            SuperNodeView(renamed(view.name), view.profile, nodes, cordoned=view.cordoned, reserve=view.reserve)
        )
    before, after = plan(fleet, request), plan(Fleet(views, fleet.profiles), request)
    if isinstance(before, Placement):
        assert isinstance(after, Placement)
        assert after.spans == before.spans
    else:
        assert isinstance(after, Refusal)
        assert (after.reason, after.stalled, after.best) == (before.reason, before.stalled, before.best)


@QUIET
@given(cases())
def test_freeing_cards_never_makes_it_worse(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    before, empty = plan(fleet, request), plan(_empty(fleet), request)
    if isinstance(before, Placement):
        assert isinstance(empty, Placement)
        assert tuple(empty.spans.values()) <= tuple(before.spans.values())


@QUIET
@given(cases())
def test_taking_and_releasing_restores_the_answer(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    first = plan(fleet, request)
    if isinstance(first, Placement):
        taken = fleet.take(first.held)
        second = plan(taken, request)
        if isinstance(second, Placement):
            assert violations(taken, request, second) == []
        assert plan(taken.release(first.held), request) == first


@QUIET
@given(cases(), st.integers(0, 7))
def test_a_followed_snapshot_decides_as_a_fresh_one(case: tuple[Fleet, Request], pick: int) -> None:
    fleet, request = case
    plan(fleet, request)
    with_nodes = [view for view in fleet.supernodes.values() if view.nodes]
    changed = with_nodes[pick % len(with_nodes)]
    node = changed.nodes[pick % len(changed.nodes)]
    later = fleet.replace(changed.with_nodes({node.name: replace(node, taken=node.taken ^ node.all_cards)}))
    fresh = Fleet(
        [
            SuperNodeView(view.name, view.profile, view.nodes, cordoned=view.cordoned, reserve=view.reserve)
            for view in later.supernodes.values()
        ],
        later.profiles,
    )
    assert plan(later, request) == plan(fresh, request)
    fewer = later.succeeded_by(list(later.supernodes.values())[1:], later.profiles)
    assert plan(fewer, request) == plan(Fleet(fewer.supernodes.values(), fewer.profiles), request)
    assert plan(fleet, request) == plan(Fleet(fleet.supernodes.values(), fleet.profiles), request)
