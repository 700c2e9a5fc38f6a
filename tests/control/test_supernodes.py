"""What a SuperNode's status says of its nodes."""

import pytest

from supernode.api.conditions import Reason
from supernode.control.supernodes import counts, standing
from supernode.topology.discovery import NodeFacts, discover
from supernode.topology.fleet import SuperNodeView
from supernode.topology.views import build_fleet
from tests.placement.fleets import profile_of

PROFILE = profile_of("p", ("node", 4), ("supernode", 18), node_selector={"kind": "p"})
CARD = PROFILE.resource


def node(name: str, capacity: int = 4, usable: int = 4, home: str = "s", annotation: str = "") -> NodeFacts:
    return NodeFacts(
        name,
        {"kind": "p", "label/supernode": home},
        {CARD: capacity},
        {CARD: min(capacity, usable)},
        annotations={"supernode.io/unhealthy-cards": annotation} if annotation else {},
    )


def view_of(*nodes: NodeFacts) -> SuperNodeView:
    return build_fleet(discover([PROFILE], nodes), [PROFILE], nodes).supernodes["s"]


def numbered(first: int, end: int, **fields: int) -> list[NodeFacts]:
    return [node(f"n{number:02}", **fields) for number in range(first, end)]


@pytest.mark.parametrize(
    ("nodes", "says", "remarkable"),
    [
        (numbered(0, 1), "1 node of profile p", 0),
        (numbered(0, 3), "3 nodes of profile p", 0),
        (numbered(0, 3, usable=3), "3 nodes of profile p", 0),
        ([node("n", capacity=3)], "1 node of profile p; n: capacity is 3 of 4 cards", 1),
        (
            [*numbered(0, 3, capacity=3), *numbered(3, 4, capacity=0), *numbered(4, 9)],
            "9 nodes of profile p; n[00-02]: capacity is 3 of 4 cards; n03: capacity is 0 of 4 cards",
            4,
        ),
        (
            [node(f"worker-{number}-{number * 7}", capacity=number % 4) for number in range(40)],
            "40 nodes of profile p; worker-0-0 and 9 more: capacity is 0 of 4 cards; worker-1-7 and 9 more: capacity is"
            " 1 of 4 cards; worker-2-14 and 9 more: capacity is 2 of 4 cards; 10 more for other reasons",
            40,
        ),
    ],
)
def test_nodes_that_lost_cards_are_named(nodes: list[NodeFacts], says: str, remarkable: int) -> None:
    state = standing(view_of(*nodes), None, None, cordoned=False)
    assert (state.reason, state.ready, state.message, state.remarkable) == (Reason.DISCOVERED, True, says, remarkable)


def test_cards_that_are_not_even_listed_are_unhealthy() -> None:
    view = view_of(node("a", capacity=3), node("b", usable=3), node("c"))
    assert counts(view)["cards"] == {"total": 12, "healthy": 10, "allocated": 0, "free": 10}
