"""What decisions remember from one snapshot to the next changes no answer, and taking and releasing leaves no trace."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from supernode.placement import Block, Placement, Request, plan, pool
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Member, Node
from supernode.topology.profile import Profile
from tests.placement.fleets import profile_of

SEQUENCES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

PROFILES = (
    profile_of("p", ("node", 4), ("rack", 4), ("supernode", 4), whole_nodes_across_nodes=True, reserve=1),
    profile_of("p", ("package", 2), ("node", 2), ("rack", 3), ("supernode", 3)),
    profile_of("p", ("node", 4), ("supernode", 6), reserve=2),
    profile_of("p", ("node", 2), ("rack", 2), ("row", 2), ("supernode", 2)),
    profile_of("p", ("node", 4)),
)
"""Shapes that each way of deciding is taken on: one node, whole nodes in racks, part of nodes, more levels, none."""


def fleet_of(profile: Profile, random: Random) -> Fleet:
    """Four supernodes, with domains of uneven sizes, some cards taken or ill and some nodes not schedulable."""
    views = []
    for index in range(4 if profile.above else 8):
        name = f"sn-{index}"
        nodes = []
        for number in range(random.randint(6, 12) if profile.above else 1):
            path = [name] if profile.above else []
            for level in reversed(profile.above[:-1]):
                path.append(f"{path[-1]}/{random.randrange(level.fan_out)}")
            full = (1 << profile.cards_per_node) - 1
            taken = random.choice([0, 0, 0, full, random.randint(0, full)])
            healthy = full & ~random.choice([0, 0, 0, 0, 0, 1])
            nodes.append(Node(f"{name}-n{number}", profile.cards_per_node, healthy, taken, path=tuple(path)))
        views.append(SuperNodeView(name, profile, nodes))
    return Fleet(views, [profile])


def request_of(profile: Profile, random: Random) -> Request:
    """A group of one member up to half the fleet; some with a block, a required level or a bound."""
    cards = random.choice([1, 2, profile.cards_per_node, profile.cards_per_node])
    size = random.choice([1, 1, 2])
    members = size * random.randint(1, random.choice([2, 6, 12]))
    outer = profile.level_names[profile.node_index :]
    blocks = (Block(random.choice(outer), size),) if size > 1 else ()
    required = random.choice([None, None, None, None, random.choice(outer)])
    spans = {random.choice(outer): random.randint(2, 4)} if random.random() < 0.1 else {}
    return Request("r", members, cards, blocks=blocks, required=required, max_span=spans)


def rebuilt(fleet: Fleet) -> Fleet:
    """The same state from nothing: no view, layout, census or table is shared."""
    views = [
        SuperNodeView(view.name, view.profile, map(replace, view.nodes), cordoned=view.cordoned, reserve=view.reserve)
        for view in fleet.supernodes.values()
    ]
    return Fleet(views, fleet.profiles)


def state(fleet: Fleet) -> list[tuple[str, bool, tuple[Node, ...], list[int]]]:
    """Everything that decides: each supernode's nodes, and what is free in them by the running count."""
    return [
        (view.name, view.cordoned, view.nodes, view.census.free(range(len(view.nodes))))
        for view in fleet.supernodes.values()
    ]


@SEQUENCES
@given(st.sampled_from(PROFILES), st.integers(0, 1 << 32))
def test_a_followed_fleet_equals_a_rebuilt_one_after_any_sequence(profile: Profile, seed: int) -> None:
    random = Random(seed)
    first = fleet = fleet_of(profile, random)
    before = state(rebuilt(first))
    running: list[tuple[Member, ...]] = []
    for _ in range(12):
        request = request_of(profile, random)
        outcome = plan(fleet, request)
        assert outcome == plan(rebuilt(fleet), request)
        event(f"{type(outcome).__name__} of {'whole nodes' if request.cards_per_member == 4 else 'parts'}")
        if isinstance(outcome, Placement):
            fleet = fleet.take(outcome.members)
            running.append(outcome.members)
        if running and random.random() < 0.5:
            fleet = fleet.release(running.pop(random.randrange(len(running))))
        if random.random() < 0.2:
            name = random.choice(list(fleet.supernodes))
            view = fleet.supernodes[name]
            node = random.choice(view.nodes)
            changed = fleet.replace(view.with_nodes({node.name: replace(node, schedulable=not node.schedulable)}))
            assert plan(changed, request) == plan(rebuilt(changed), request)
        assert state(fleet) == state(rebuilt(fleet))
    while running:
        fleet = fleet.release(running.pop(random.randrange(len(running))))
    assert state(fleet) == before
    assert plan(fleet, request) == plan(rebuilt(first), request)


@pytest.mark.parametrize("tries", [pool.TRIES, 0], ids=["pooled", "priced"])
@SEQUENCES
@given(seed=st.integers(0, 1 << 32))
def test_partly_used_nodes_are_followed_through_many_small_changes(tries: int, seed: int) -> None:
    """Groups that need a few nodes of one rack, of one supernode, or of several, with blocks of these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "TRIES", tries)
        follow_partly_used(Random(seed))


def follow_partly_used(random: Random) -> None:
    fleet = fleet_of(profile_of("p", ("node", 4), ("rack", 3), ("supernode", 3)), random)
    running: list[tuple[Member, ...]] = []
    for _ in range(16):
        cards, size = random.choice([1, 1, 2]), random.choice([1, 1, 2, 3])
        members = size * random.randint(1, random.choice([5, 12, 40]) // size)
        blocks = (Block("supernode", size),) if size > 1 else ()
        request = Request("r", members, cards, blocks=blocks)
        outcome = plan(fleet, request)
        assert outcome == plan(rebuilt(fleet), request)
        if isinstance(outcome, Placement):
            event(f"over {min(outcome.spans['supernode'], 2)} supernodes, {min(outcome.spans['rack'], 2)} racks")
            fleet = fleet.take(outcome.members)
            running.append(outcome.members)
        while running and random.random() < 0.6:
            fleet = fleet.release(running.pop(random.randrange(len(running))))
