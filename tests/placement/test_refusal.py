"""What a refusal says would help: it does, and where it says so nothing smaller does."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from supernode.placement import Placement, Refusal, Request, plan
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.ranges import card_indices
from tests.placement.fleets import fleets, requests, scattered

Cards = Mapping[tuple[str, str], int]
"""(supernode, node) to cards (bitmask) that come free."""


@st.composite
def cases(draw: st.DrawFn) -> tuple[Fleet, Request]:
    """Fuller fleets than elsewhere, so that most requests are refused for now."""
    fleet = draw(st.one_of(fleets(), scattered().map(lambda case: case[0])))
    views = []
    for view in fleet.supernodes.values():
        more = {
            node.name: draw(st.sampled_from([0, node.all_cards, 1, node.all_cards & 0b1010])) for node in view.nodes
        }
        views.append(view.take(more))
    return fleet.replace(*views), draw(requests(fleet.profiles["p"]))


def after(fleet: Fleet, cards: Cards) -> Fleet:
    """The fleet with just these cards available beside those that were."""
    views = []
    for view in fleet.supernodes.values():
        uncordoned = any(name == view.name for name, _ in cards)
        nodes = []
        for node in view.nodes:
            free = (0 if view.cordoned else node.free) | cards.get((view.name, node.name), 0)
            nodes.append(replace(node, healthy=node.all_cards, taken=node.all_cards & ~free, schedulable=True))
        views.append(
            SuperNodeView(
                view.name, view.profile, nodes, cordoned=view.cordoned and not uncordoned, reserve=view.reserve
            )
        )
    return Fleet(views, fleet.profiles)


def closed(fleet: Fleet) -> Iterator[tuple[tuple[str, str], int]]:
    """Each node's cards that are not available."""
    for view in fleet.supernodes.values():
        for node in view.nodes:
            mask = node.all_cards & ~(0 if view.cordoned else node.free)
            if mask:
                yield (view.name, node.name), mask


def fits(fleet: Fleet, request: Request, cards: Iterable[tuple[tuple[str, str], int]]) -> bool:
    opened: dict[tuple[str, str], int] = {}
    for place, mask in cards:
        opened[place] = opened.get(place, 0) | mask
    return isinstance(plan(after(fleet, opened), request), Placement)


def assert_helps(fleet: Fleet, request: Request, refusal: Refusal) -> None:
    """The named change gives the request a place; and where it is the least, no change of fewer cards does."""
    change = {(opening.supernode, node): mask for opening in refusal.change for node, mask in opening.nodes.items()}
    cost = sum(mask.bit_count() for mask in change.values())
    assert cost == sum(opening.cards for opening in refusal.change)
    assert f"{cost} more card" in refusal.message
    for (supernode, name), mask in change.items():
        node = fleet.supernodes[supernode].node(name)
        assert mask & ~node.all_cards == 0
        assert fleet.supernodes[supernode].cordoned or not mask & node.free
    assert fits(fleet, request, change.items())
    if not refusal.least:
        return
    if request.cards_per_member == fleet.profiles["p"].cards_per_node:
        nodes = list(closed(fleet))
        smaller = [
            some
            for count in range(len(nodes) + 1)
            for some in combinations(nodes, count)
            if sum(mask.bit_count() for _, mask in some) < cost
        ]
    else:
        single = [(place, 1 << card) for place, mask in closed(fleet) for card in card_indices(mask)]
        smaller = list(combinations(single, cost - 1)) if cost <= 3 else []
    for some in smaller:
        assert not fits(fleet, request, some), some


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(cases(), scattered()))
def test_the_named_change_helps(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    outcome = plan(fleet, request)
    if isinstance(outcome, Placement) or outcome.stalled:
        return
    event("no change named" if not outcome.change else "the least" if outcome.least else "a bound")
    if outcome.change:
        assert_helps(fleet, request, outcome)
