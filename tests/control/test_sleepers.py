"""Refused requests wake when, and as a rule only when, they may fit."""

import random

from fleets import fleets, profile_of, requests
from hypothesis import assume, given
from hypothesis import strategies as st

from supernode.control.sleepers import Sleepers
from supernode.placement import Block, Placement, Request, needs, offers, plan
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node

A3 = profile_of("a3", ("node", 4), ("rack", 4), ("supernode", 3))


def supernode(name: str, *free: int, reserve: int = 0) -> SuperNodeView:
    """Racks of four nodes of four cards, of which so many are free in each rack; the other nodes are in use."""
    nodes = [
        Node(f"{name}-{rack}-{n}", 4, 0b1111, 0 if n < count else 0b1111, path=(name, f"{name}/r{rack}"))
        for rack, count in enumerate(free)
        for n in range(4)
    ]
    return SuperNodeView(name, A3, nodes, reserve=reserve)


def asleep(fleet: Fleet, **asked: Request) -> Sleepers[str]:
    """These requests, each of which the fleet refuses."""
    sleepers: Sleepers[str] = Sleepers()
    for name, request in asked.items():
        assert not isinstance(plan(fleet, request), Placement)
        sleepers.add(name, needs(fleet, request), fleet)
    return sleepers


def test_a_freed_rack_wakes_those_it_can_hold() -> None:
    fleet = Fleet([supernode("sn-0", 1, 0, 0), supernode("sn-1", 1, 1, 0)])
    sleepers = asleep(
        fleet,
        two_in_a_rack=Request("", 2, 4, required="rack"),
        three_in_a_rack=Request("", 3, 4, required="rack"),
        three_in_a_supernode=Request("", 3, 4, required="supernode"),
        four_anywhere=Request("", 4, 4),
        five_anywhere=Request("", 5, 4),
        never=Request("", 5, 4, required="rack"),
    )
    assert sleepers.woken(fleet, {"sn-0"}) == set(), "nothing changed"
    more = Fleet([supernode("sn-0", 2, 0, 0), supernode("sn-1", 1, 1, 0)])
    assert sleepers.woken(more, {"sn-0"}) == {"two_in_a_rack", "four_anywhere"}
    assert sleepers.woken(fleet, {"sn-0"}) == set()
    much = Fleet([supernode("sn-0", 1, 0, 0), supernode("sn-1", 1, 4, 0)])
    assert sleepers.woken(much, {"sn-1"}) == {"three_in_a_rack", "three_in_a_supernode", "five_anywhere"}
    assert len(sleepers) == 1


def test_what_changes_elsewhere_wakes_nobody() -> None:
    """A group that needs five nodes in one supernode sleeps while nodes come free and go in others, one at a time."""
    views = [supernode(f"sn-{i}", 2, 2, 0) for i in range(4)]
    fleet = Fleet(views)
    sleepers = asleep(fleet, large=Request("", 5, 4, required="supernode"))
    for i in (0, 1, 2, 3, 1):
        less = fleet.replace(supernode(f"sn-{i}", 1, 2, 0))
        assert sleepers.woken(less, {f"sn-{i}"}) == set()
        assert sleepers.woken(fleet, {f"sn-{i}"}) == set()
    assert sleepers.woken(fleet.replace(supernode("sn-2", 2, 2, 1)), {"sn-2"}) == {"large"}


def test_blocks_count_as_whole_blocks() -> None:
    fleet = Fleet([supernode("sn-0", 3, 3, 0)])
    sleepers = asleep(fleet, pairs=Request.of_blocks("", 6, 4, [("rack", 2)]))
    assert sleepers.woken(Fleet([supernode("sn-0", 3, 3, 1)]), {"sn-0"}) == set(), "three odd nodes are no pair"
    assert sleepers.woken(Fleet([supernode("sn-0", 3, 4, 1)]), {"sn-0"}) == {"pairs"}


def test_an_uncordoned_supernode_and_a_smaller_reserve_wake() -> None:
    kept = Fleet([supernode("sn-0", 4, 0, 0, reserve=2)])
    sleepers = asleep(kept, three=Request("", 3, 4))
    assert sleepers.woken(Fleet([supernode("sn-0", 4, 0, 0, reserve=1)]), {"sn-0"}) == {"three"}
    closed = SuperNodeView("sn-0", A3, supernode("sn-0", 4, 0, 0).nodes, cordoned=True)
    sleepers = asleep(Fleet([closed]), three=Request("", 3, 4))
    assert sleepers.woken(Fleet([supernode("sn-0", 4, 0, 0)]), {"sn-0"}) == {"three"}


@given(st.data())
def test_nobody_sleeps_through_what_would_fit(data: st.DataObject) -> None:
    """Whatever cards are taken and handed back: a request that has a place again was woken."""
    fleet = data.draw(fleets())
    profile = next(iter(fleet.profiles.values()))
    request = data.draw(requests(profile))
    rng = random.Random(data.draw(st.integers(0, 1 << 20)))
    sleepers: Sleepers[str] = Sleepers()
    full = Fleet([_used(view, rng, 0.7) for view in fleet.supernodes.values()], [profile])
    assume(not isinstance(plan(full, request), Placement))
    sleepers.add("it", needs(full, request), full)
    for _ in range(4):
        name = rng.choice(list(full.supernodes))
        full = full.replace(_used(fleet.supernodes[name], rng, rng.random()))
        woken = sleepers.woken(full, {name})
        if isinstance(plan(full, request), Placement):
            assert woken == {"it"}
            return
        if woken:
            sleepers.add("it", needs(full, request), full)


def _used(view: SuperNodeView, rng: random.Random, share: float) -> SuperNodeView:
    taken = {node.name: _mask(node, rng, share) for node in view.nodes}
    return view.take(taken)


def _mask(node: Node, rng: random.Random, share: float) -> int:
    return sum(1 << card for card in range(node.cards) if rng.random() < share)


@given(st.data())
def test_what_fits_meets_its_need(data: st.DataObject) -> None:
    fleet = data.draw(fleets())
    request = data.draw(requests(next(iter(fleet.profiles.values()))))
    assume(isinstance(plan(fleet, request), Placement))
    for need in needs(fleet, request):
        views = list(fleet.supernodes.values())
        offered = offers(views, need.measure)
        most = max(offered) if need.measure.supernodes == 1 else sum(offered)
        assert most >= need.members


def test_equal_blocks_share_what_is_counted() -> None:
    """Requests of one shape, whatever their size, are told apart by their size alone."""
    fleet = Fleet([supernode("sn-0", 0, 0, 0)])
    many = [
        Request("", size, 4, required=level, blocks=(Block("node", 1),)) for size in (1, 2, 3) for level in ("rack",)
    ]
    assert len({need.measure for request in many for need in needs(fleet, request)}) <= 2
