"""What is held for a request that waits, and that it then starts however many small ones come."""

import random
from collections import deque
from dataclasses import replace
from importlib import import_module

import pytest
from fleets import fleets, profile_of, requests
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from supernode.placement import Block, Hold, Placement, Refusal, Request, Spares, hold, plan
from supernode.placement.holding import PLACES
from supernode.placement.refusal import refusal
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Member, Node

PROFILE = profile_of("p", ("node", 4), ("rack", 4), ("supernode", 2))
FULL = 0b1111


def view(name: str, *taken: int, cordoned: bool = False, reserve: int = 0, ill: tuple[int, ...] = ()) -> SuperNodeView:
    """Racks of four nodes; cards in use by node. ill: nodes that lack a card."""
    found = [
        Node(f"{name}-{i}", 4, 0b0111 if i in ill else FULL, mask, path=(name, f"{name}/r{i // 4}"))
        for i, mask in enumerate(taken)
    ]
    return SuperNodeView(name, PROFILE, found, cordoned=cordoned, reserve=reserve)


def held(fleet: Fleet, request: Request) -> Hold:
    found = hold(fleet, request)
    assert found is not None
    return found


def test_the_domain_with_the_fewest_cards_in_use_is_held() -> None:
    fleet = Fleet([view("a", FULL, FULL, 0, 0, FULL, 1, 1, 0), view("b", FULL, 0, 0, 0, FULL, FULL, FULL, FULL)])
    rack = held(fleet, Request("", 4, 4, required="rack"))
    assert (dict(rack.nodes), rack.missing) == ({"b": frozenset({"b-0", "b-1", "b-2", "b-3"})}, 4)
    three = held(fleet, Request("", 3, 4, required="supernode"))
    assert (three.missing, three.count) == (0, 3), "it fits now"
    five = held(fleet, Request("", 5, 4, required="supernode"))
    assert (set(five.nodes), five.missing) == ({"a"}, 2)
    assert five.nodes["a"] == {"a-2", "a-3", "a-5", "a-6", "a-7"}


def test_of_blocks_the_racks_that_lack_the_fewest_cards_together_are_held() -> None:
    """Not the roomiest nodes of all: of a, no two racks lack less than four nodes, of b, one node in each of two."""
    racks = profile_of("p", ("node", 8), ("rack", 4), ("supernode", 4))

    def supernode(name: str, busy: set[int]) -> SuperNodeView:
        nodes = [Node(f"{name}-{i}", 8, 255, 255 * (i in busy), path=(name, f"{name}/{i // 4}")) for i in range(16)]
        return SuperNodeView(name, racks, nodes)

    fleet = Fleet([supernode("a", {0, 1, 4, 5, 8, 9, 12, 13}), supernode("b", {*range(8), 8, 12})])
    found = held(fleet, Request("", 8, 8, blocks=(Block("rack", 4),)))
    assert (dict(found.nodes), found.missing) == ({"b": {f"b-{i}" for i in range(8, 16)}}, 16)


def test_of_a_ring_the_run_that_lacks_the_fewest_cards_is_held() -> None:
    ring = profile_of("p", ("node", 4), ("pod", 8), fabrics={"pod": "ring"}, positions=("pod",))
    nodes = [Node(f"n{i}", 4, 15, 15 * (i in (0, 2, 4, 7)), path=("s",), at=(i,)) for i in range(8)]
    found = held(Fleet([SuperNodeView("s", ring, nodes)]), Request("", 4, 4))
    assert (dict(found.nodes), found.missing) == ({"s": {"n3", "n4", "n5", "n6"}}, 4)


def test_a_hold_is_found_without_asking_why_other_places_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the way takes many times as long to say as that it does."""
    asked = []

    def counted(*arguments: object, **named: object) -> Refusal:
        asked.append(arguments)
        return refusal(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(import_module("supernode.placement.plan"), "refusal", counted)
    fleet = Fleet([view(f"s{index}", *[FULL, 1, 3, 7] * 2) for index in range(8)])
    request = Request("", 6, 4, required="supernode", max_span={"rack": 2})
    assert held(fleet, request).missing == 12
    assert len(asked) == 1
    hold(fleet, request)
    assert len(asked) == 1, "which is remembered"


def test_over_several_supernodes_the_nodes_least_in_use_are_held() -> None:
    fleet = Fleet([view("a", 0, 1, FULL, FULL), view("b", 0, 3, FULL, 0)])
    found = held(fleet, Request("", 5, 4))
    assert found.missing == 3
    assert {node for nodes in found.nodes.values() for node in nodes} == {"a-0", "a-1", "b-0", "b-1", "b-3"}


def test_what_cannot_be_given_is_not_held() -> None:
    closed = Fleet([view("a", 0, 0, 0, FULL, cordoned=True), view("b", FULL, FULL, FULL, FULL)])
    assert set(held(closed, Request("", 4, 4, required="rack")).nodes) == {"b"}
    assert hold(closed, Request("", 5, 4, required="rack")) is None
    assert hold(closed, Request("", 5, 4)) is None
    taken = Fleet([view("b", FULL, FULL, FULL, FULL).holding(["b-1"])])
    assert hold(taken, Request("", 4, 4)) is None, "held for others"


ONE = Request("", 1, 4)
SMALL = Request("", 1, 3)
PAIR = Request("", 2, 4, required="rack")
RACK = Request("", 4, 4, required="rack")


@pytest.mark.parametrize(
    ("taken", "ill", "request_", "nodes", "missing"),
    [
        ([FULL, FULL, FULL, FULL, FULL, FULL, 0, 0], (), ONE, {0}, 4),
        ([FULL, FULL, FULL, FULL, FULL, FULL, 0, 0], (), replace(ONE, required="node"), {0}, 4),
        ([FULL, FULL, FULL, FULL, FULL, FULL, 0, 0], (), PAIR, {0, 1}, 8),
        ([FULL, FULL, FULL, FULL, FULL, FULL, 0, 0], (), RACK, {0, 1, 2, 3}, 16),
        (
            [FULL, FULL, FULL, FULL, FULL, FULL, 0, 0],
            (),
            replace(RACK, spares=Spares(1, "supernode")),
            {0, 1, 2, 3, 4},
            20,
        ),
        ([FULL, FULL, FULL, FULL, FULL, FULL, 0, 0], (), Request("", 3, 4), {0, 1, 2}, 12),
        ([1, 1, 1, 1, FULL, FULL, FULL, 0], (), RACK, {0, 1, 2, 3, 4}, 8),
        ([1, 1, 1, 3, FULL, FULL, FULL, FULL], (), PAIR, {0, 1, 2, 3}, 5),
        ([1, 1, FULL, FULL, FULL, 0, 0, 0], (), RACK, {0, 1, 4, 5, 6, 7}, 6),
        ([FULL, FULL, FULL, FULL, FULL, FULL, FULL, FULL], (0,), SMALL, {0}, 4),
        ([FULL, FULL, FULL, FULL, 0, 0, 0, FULL], (), ONE, {4}, 0),
    ],
)
def test_the_reserve_is_kept_anywhere_in_the_supernode(
    taken: list[int], ill: tuple[int, ...], request_: Request, nodes: set[int], missing: int
) -> None:
    """Of two nodes, those that are free already count; only what they lack is held besides what is asked for."""
    found = held(Fleet([view("a", *taken, reserve=2, ill=ill)]), request_)
    assert (found.nodes["a"], found.missing) == ({f"a-{node}" for node in nodes}, missing)


def test_cards_that_nobody_can_be_bound_to_come_free_with_those_in_use() -> None:
    """A node with a failed card on which a group runs: three of its cards can be had once that has ended."""
    node = Node("a-0", 4, 0b1110, 0b0011, path=("a", "a/r0"), unbindable=0b1000)
    found = held(Fleet([SuperNodeView("a", PROFILE, [node])]), Request("", 3, 1))
    assert (dict(found.nodes), found.missing) == ({"a": frozenset({"a-0"})}, 2)


def test_many_domains_that_hold_nothing_do_not_hide_one_that_does() -> None:
    """Their cards are enough, but lie on too many nodes."""
    torn = [view(f"a{number}", 0, 0, 0, 0, FULL, FULL, FULL, FULL) for number in range(PLACES + 1)]
    torn = [one.with_nodes({node.name: replace(node, healthy=0b0011) for node in one.nodes}) for one in torn]
    fleet = Fleet([*torn, view("b", FULL, FULL, FULL, FULL)])
    found = held(fleet, Request("", 8, 1, required="rack", max_span={"node": 2}))
    assert (set(found.nodes), found.count, found.missing) == ({"b"}, 2, 8)


@given(st.data())
def test_nothing_is_held_only_where_nobody_could_make_room(data: st.DataObject) -> None:
    fleet = data.draw(fleets())
    request = data.draw(requests(next(iter(fleet.profiles.values()))))
    views = fleet.supernodes.values()
    deserted = [one.with_nodes({node.name: replace(node, taken=0) for node in one.nodes}) for one in views]
    room = isinstance(plan(fleet.replace(*deserted), request), Placement)
    assert (hold(fleet, request) is not None) == room


@settings(max_examples=300)
@given(st.data())
def test_no_more_cards_are_missing_than_would_help_whole_nodes(data: st.DataObject) -> None:
    """All that stands in the way is that cards are in use."""
    fleet = data.draw(fleets())
    views = []
    for one in fleet.supernodes.values():
        nodes = [
            replace(node, healthy=node.all_cards, schedulable=True, taken=data.draw(st.sampled_from([0, 1, 15, 15])))
            for node in one.nodes
        ]
        views.append(SuperNodeView(one.name, one.profile, nodes, reserve=one.reserve))
    fleet = Fleet(views, fleet.profiles)
    profile = next(iter(fleet.profiles.values()))
    request = replace(data.draw(requests(profile)), cards_per_member=profile.cards_per_node)
    answer = plan(fleet, request)
    if isinstance(answer, Placement) or not answer.change:
        return
    event("the least" if answer.least else "a bound")
    assert held(fleet, request).missing <= answer.cards


@given(st.data())
def test_once_the_held_nodes_are_free_the_request_fits(data: st.DataObject) -> None:
    fleet = data.draw(fleets())
    profile = next(iter(fleet.profiles.values()))
    request = data.draw(requests(profile))
    found = hold(fleet, request)
    assume(found is not None)
    assert found is not None
    assert found.fits(fleet, request)
    busy, views = 0, []
    for name, names in found.nodes.items():
        cards = {node: fleet.supernodes[name].node(node).all_cards for node in names}
        busy += sum((fleet.supernodes[name].node(node).taken & mask).bit_count() for node, mask in cards.items())
        views.append(fleet.supernodes[name].release(cards))
    freed = fleet.replace(*views)
    assert found.missing == busy
    assert isinstance(plan(freed, request), Placement)


@pytest.mark.parametrize(
    ("before", "after", "fits"),
    [
        (view("a", *[FULL] * 4), view("a", *[FULL] * 4), True),
        (view("a", *[FULL] * 4), view("a", *[0] * 4, ill=(1,)), False),
        (view("a", *[FULL] * 4), view("a", *[0] * 3), False),
        (view("a", *[FULL] * 4), view("a", *[FULL] * 4).holding(["a-2"]), False),
        (view("a", *[FULL] * 4), view("b", *[0] * 4), False),
        (view("a", *[FULL] * 7, 0, reserve=1), view("a", *[FULL] * 4, 0, FULL, FULL, FULL, reserve=1), True),
        (view("a", *[FULL] * 7, 0, reserve=1), view("a", *[FULL] * 8, reserve=1), False),
    ],
)
def test_a_request_fits_its_hold_while_cards_and_reserve_are_there(
    before: SuperNodeView, after: SuperNodeView, fits: bool
) -> None:
    assert held(Fleet([before]), RACK).fits(Fleet([after]), RACK) == fits


class Day:
    """A supernode kept full by one-node jobs of 1 to 10 hours each, of which more wait than fit, and one large job."""

    def __init__(self, seed: int, *, guarded: bool, reserve: int = 0) -> None:
        self.fleet = Fleet([view("a", *[0] * 8, reserve=reserve), view("b", *[0] * 8, reserve=reserve)])
        self.rng = random.Random(seed)
        self.guarded = guarded
        self.running: deque[tuple[int, tuple[Member, ...]]] = deque()
        self.hold: Hold | None = None

    def hours_until_it_starts(self, large: Request, patience: int, most: int) -> int | None:
        """None: it had not started after `most` hours. It comes when the supernodes are full already."""
        for hour in range(most):
            ended = [job for job in self.running if job[0] <= hour]
            self.running = deque(job for job in self.running if job[0] > hour)
            for _, members in ended:
                self.fleet = self.fleet.release(members)
            if hour and isinstance(plan(self.fleet, large), Placement):
                return hour
            if self.guarded and self.hold is None and hour >= patience:
                self.hold = hold(self.fleet, large)
            self._start_small_ones(hour)
        return None

    def _start_small_ones(self, hour: int) -> None:
        while True:
            open_ = self.fleet
            if self.hold is not None:
                views = self.fleet.supernodes
                open_ = open_.replace(*(views[name].holding(nodes) for name, nodes in self.hold.nodes.items()))
            answer = plan(open_, Request("", 1, 4))
            if not isinstance(answer, Placement):
                return
            self.fleet = self.fleet.take(answer.members)
            self.running.append((hour + self.rng.randint(1, 10), answer.members))


@pytest.mark.parametrize("large", [Request("", 8, 4, required="supernode"), Request("", 12, 4), Request("", 15, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_a_large_job_starts_although_small_ones_never_stop_coming(large: Request, seed: int) -> None:
    """Those that run where its nodes are held end within ten hours, and nobody follows them."""
    hours = Day(seed, guarded=True).hours_until_it_starts(large, patience=2, most=100)
    assert hours is not None
    assert hours <= 2 + 10
    assert Day(seed, guarded=False).hours_until_it_starts(large, patience=2, most=100) is None, "or it never starts"


@pytest.mark.parametrize(
    "large",
    [RACK, replace(RACK, spares=Spares(1, "supernode")), Request("", 6, 4, required="supernode"), Request("", 12, 4)],
)
@pytest.mark.parametrize("seed", range(2))
def test_it_starts_beside_a_reserve_which_the_small_ones_leave_alone_too(large: Request, seed: int) -> None:
    hours = Day(seed, guarded=True, reserve=2).hours_until_it_starts(large, patience=2, most=100)
    assert hours is not None
    assert hours <= 2 + 10
