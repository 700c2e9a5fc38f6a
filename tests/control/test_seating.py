"""Members made from ledger entries: right, in rank order, and made anew when what they stand on changed."""

from types import SimpleNamespace
from typing import Any

from supernode.control.seating import LARGE, Seating
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.ledger import LedgerEntry, Run
from supernode.topology.node import Node
from supernode.topology.profile import Level, Profile

LEVELS = (Level("node", 8, 8), Level("rack", LARGE, 8 * LARGE), Level("supernode", 1, 8 * LARGE))
PROFILE = Profile("p", "example.com/card", LEVELS)


def view(name: str, rack: str = "r") -> SuperNodeView:
    nodes = [Node(f"{name}-n{i:03}", 8, 255, path=(name, f"{name}/{rack}")) for i in range(LARGE)]
    return SuperNodeView(name, PROFILE, nodes)


def entry(name: str, first: int) -> LedgerEntry:
    nodes = f"{name}-n[000-{LARGE - 1:03}]"
    return LedgerEntry("d/g", "u", (Run(f"{first}-{first + LARGE - 1}", nodes, ("0-7",)),))


def seating(*views: SuperNodeView) -> tuple[Seating, Any]:
    state = SimpleNamespace(fleet=Fleet(views, [PROFILE]))
    return Seating(state), state  # type: ignore[arg-type]


def test_members_are_in_rank_order_with_their_domains() -> None:
    seats, _ = seating(view("a"), view("b"))
    members = seats.members({"b": entry("b", LARGE), "a": entry("a", 0)})
    assert [member.rank for member in members] == list(range(2 * LARGE))
    assert (members[0].node, members[-1].node) == ("a-n000", f"b-n{LARGE - 1:03}")
    assert members[0].domains == {"node": "a-n000", "rack": "a/r", "supernode": "a"}


def test_a_large_group_is_made_once_and_anew_when_its_ledger_or_its_nodes_changed() -> None:
    seats, state = seating(view("a"))
    held = entry("a", 0)
    first = seats.members({"a": held})
    assert seats.members({"a": held}) is first
    assert seats.members({"a": entry("a", 0)}) is not first
    seats.forget("d/g")
    assert seats.members({"a": held}) is not first
    state.fleet = Fleet([view("a", rack="other")], [PROFILE])
    assert seats.members({"a": held})[0].domains["rack"] == "a/other"


def test_a_supernode_that_is_gone_leaves_the_seats_without_domains() -> None:
    seats, _ = seating()
    assert seats.members({"a": entry("a", 0)})[3].domains == {}
