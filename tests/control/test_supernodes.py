"""What a SuperNode's status says of its nodes."""

import pytest

from supernode.api.conditions import Reason
from supernode.control.supernodes import counts, standing
from supernode.topology.discovery import NodeFacts, SuperNodeFacts, discover
from supernode.topology.fleet import SuperNodeView
from supernode.topology.ledger import LedgerEntry
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
            [node("n", annotation="1;2"), node("m", capacity=3, annotation="4")],
            "2 nodes of profile p; m: capacity is 3 of 4 cards; m: gives nothing new until annotation "
            "supernode.io/unhealthy-cards is right: card 4 is named, but the 4 cards of the node are numbered from 0; "
            "n: gives nothing new until annotation supernode.io/unhealthy-cards is right: '1;2' is not a range: write "
            "a number such as 7 or a run such as 0-7",
            2,
        ),
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
def test_nodes_with_something_wrong_are_named(nodes: list[NodeFacts], says: str, remarkable: int) -> None:
    state = standing(view_of(*nodes), None, None, cordoned=False)
    assert (state.reason, state.ready, state.message, state.remarkable) == (Reason.DISCOVERED, True, says, remarkable)


def test_of_a_cordoned_supernode_they_are_named_as_well() -> None:
    state = standing(view_of(node("n", capacity=3)), None, None, cordoned=True)
    says = "spec.cordoned is true: it gives no new cards; n: capacity is 3 of 4 cards"
    assert (state.reason, state.ready, state.message, state.remarkable) == (Reason.CORDONED, True, says, 1)


def test_cards_that_are_not_even_listed_are_unhealthy() -> None:
    view = view_of(node("a", capacity=3), node("b", usable=3), node("c"))
    assert counts(view)["cards"] == {"total": 12, "healthy": 10, "allocated": 0, "free": 10}


def test_a_card_that_nobody_can_be_bound_to_is_healthy_and_not_free() -> None:
    """The scheduler counts the group that runs on a failed card against those that the node goes on offering."""
    profile = profile_of("p", ("node", 16), ("supernode", 2), node_selector={"kind": "p"})
    facts = node("a", 16, 15, annotation="0")
    held = {"s": [LedgerEntry.from_text("ml/g uid 0@a:0-1")]}
    view = build_fleet(discover([profile], [facts]), [profile], [facts], held).supernodes["s"]
    assert counts(view)["cards"] == {"total": 16, "healthy": 15, "allocated": 2, "free": 13}


HELD = {"s": [LedgerEntry.from_text("ml/g uid 0-1@a,b:0-3")]}
GONE = "gone while groups hold cards of it"


@pytest.mark.parametrize(
    ("nodes", "count", "total", "reason", "says"),
    [
        ([node("a"), node("b")], 2, 8, Reason.DISCOVERED, "2 nodes of profile p"),
        ([node("a")], 1, 4, Reason.DISCOVERED, f"1 node of profile p; b: {GONE}"),
        ([node("a"), node("b", home="t")], 1, 4, Reason.DISCOVERED, f"1 node of profile p; b: {GONE}"),
        ([], 0, 0, Reason.NO_NODES, f"no node matches its profile and nodeSelector; check their labels; a,b: {GONE}"),
    ],
    ids=["both are there", "one went", "one moved", "both went"],
)
def test_only_nodes_that_are_there_count(
    nodes: list[NodeFacts], count: int, total: int, reason: Reason, says: str
) -> None:
    homes = [SuperNodeFacts(name, "p", {"label/supernode": name}) for name in "st"]
    fleet = build_fleet(discover([PROFILE], nodes, homes), [PROFILE], nodes, HELD)
    views = [fleet.supernodes[name] for name in "st"]
    assert sum(counts(view)["nodes"] for view in views) == len(nodes), "one that moved counts where it is"
    assert (counts(views[0])["nodes"], counts(views[0])["cards"]["total"]) == (count, total)
    state = standing(views[0], None, None, cordoned=False)
    assert (state.reason, state.ready, state.message) == (reason, reason == Reason.DISCOVERED, says)
