"""What must not change an answer, or may only change it for the better."""

from dataclasses import replace

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from supernode.placement import Placement, Refusal, Request, plan
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Level, Profile
from tests.placement.check import violations
from tests.placement.fleets import fleets, requests, scattered

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Fleet, Request]:
    fleet = draw(fleets())
    return fleet, draw(requests(fleet.profiles["p"]))


def remade(fleet: Fleet, profile: Profile, make: dict[str, list[Node]], *, reserve: bool = True) -> Fleet:
    """The fleet with other nodes per supernode."""
    return Fleet(
        [
            SuperNodeView(name, profile, nodes, cordoned=view.cordoned, reserve=view.reserve if reserve else 0)
            for (name, view), nodes in zip(fleet.supernodes.items(), make.values(), strict=True)
        ],
        [profile],
    )


@QUIET
@given(st.one_of(cases(), scattered()), st.data())
def test_freeing_cards_never_makes_a_group_lose_its_place(case: tuple[Fleet, Request], data: st.DataObject) -> None:
    """Any cards. Where a reserve meets members that are part of a node, a card given back can make a node wholly free,
    which the reserve then keeps; so there the reserve is left out."""
    fleet, request = case
    profile = fleet.profiles["p"]
    keep = request.cards_per_member == profile.cards_per_node
    before = remade(fleet, profile, {name: list(view.nodes) for name, view in fleet.supernodes.items()}, reserve=keep)
    freed = {}
    for name, view in fleet.supernodes.items():
        masks = [data.draw(st.integers(0, node.all_cards)) for node in view.nodes]
        freed[name] = [
            replace(node, healthy=node.healthy | mask, taken=node.taken & ~mask)
            for node, mask in zip(view.nodes, masks, strict=True)
        ]
    first, second = plan(before, request), plan(remade(fleet, profile, freed, reserve=keep), request)
    if isinstance(first, Placement):
        assert isinstance(second, Placement)
        assert tuple(second.spans.values()) <= tuple(first.spans.values())
        event("placed before")


@QUIET
@given(cases(), st.data())
def test_a_level_without_fan_out_changes_nothing(case: tuple[Fleet, Request], data: st.DataObject) -> None:
    """Each domain of some level, or each card, in a domain of its own one level further out."""
    fleet, request = case
    profile = fleet.profiles["p"]
    at = data.draw(st.integers(0, len(profile.levels) - 1))
    event(f"inside {profile.levels[at].name}" if at <= profile.node_index else "above the node")
    cards = profile.levels[at - 1].cards if at else 1
    levels = (*profile.levels[:at], Level("extra", 1, cards, node_label="extra"), *profile.levels[at:])
    wider = replace(profile, levels=levels)
    make = {}
    for name, view in fleet.supernodes.items():
        make[name] = list(view.nodes)
        if at > profile.node_index:
            above = at - profile.node_index - 1
            make[name] = [
                replace(
                    node, path=(*node.path[: len(node.path) - above], f"{_home(node, above)}/x", *_inner(node, above))
                )
                for node in view.nodes
            ]
    first, second = plan(fleet, request), plan(remade(fleet, wider, make), request)
    if isinstance(first, Placement):
        assert isinstance(second, Placement)
        assert {level: count for level, count in second.spans.items() if level != "extra"} == first.spans
    else:
        assert isinstance(second, Refusal)
        assert (second.reason, second.stalled) == (first.reason, first.stalled)


def _inner(node: Node, above: int) -> tuple[str, ...]:
    return node.path[len(node.path) - above :]


def _home(node: Node, above: int) -> str:
    """The domain of a node this many levels above it; the node itself for none."""
    return node.path[len(node.path) - above] if above else node.name


@QUIET
@given(cases(), st.integers(1, 7))
def test_ranks_may_rotate_by_whole_blocks_and_inside_them(case: tuple[Fleet, Request], turns: int) -> None:
    fleet, request = case
    placed = plan(fleet, request)
    if isinstance(placed, Refusal):
        return
    sizes = [block.members for block in request.blocks] or [1]
    outer, inner = max(sizes), min(sizes)
    members = placed.members
    shifted = [members[(rank + turns * outer) % len(members)] for rank in range(len(members))]
    turned = [members[rank - rank % inner + (rank + turns) % inner] for rank in range(len(members))]
    for order in (shifted, turned):
        ranked = tuple(member._replace(rank=rank) for rank, member in enumerate(order))
        assert violations(fleet, request, replace(placed, members=ranked)) == []


@QUIET
@given(st.one_of(cases(), scattered()))
def test_an_objective_changes_no_count(case: tuple[Fleet, Request]) -> None:
    """Nor a member, where there is one profile."""
    fleet, request = case
    assert plan(fleet, request) == plan(fleet, replace(request, objective="latency"))
