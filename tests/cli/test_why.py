"""`why` on objects as a cluster gives them."""

import pytest
import small_fleet as small
from rich.console import Console

from supernode.api.cardgroup import CardGroup
from supernode.api.kinds import KINDS
from supernode.cli.inventory import Inventory, snapshot
from supernode.cli.why import Case, print_case


def test_of_a_node_that_is_gone_nobody_knows_the_domains(capsys: pytest.CaptureFixture[str]) -> None:
    inventory = Inventory()
    inventory.add_profile(small.profile())
    for node in small.nodes("a")[1:]:
        inventory.add_node(node)
    held = small.supernode(ledger=[small.held("research/x", "a-n[0-1]", "0-3", ranks="0-1")])
    held["metadata"] |= {"uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    inventory.add_supernode(held)
    group = small.group("x", 2)
    group["metadata"]["namespace"] = "research"
    placement = [{"supernode": "a", "ranks": "0-1", "nodes": "a-n[0-1]", "cards": ["0-3"]}]
    group["status"] = {"phase": "Allocated", "profile": "box", "placement": placement}
    print_case(Console(width=200), Case(("research", "x"), None, group), snapshot(inventory))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["SUPERNODE", "RACK", "NODES", "RANKS", "CARDS"] in lines
    assert ["a", "?,0", "a-n[0-1]", "0-1", "0-3"] in lines


def test_what_nobody_has_looked_at_is_so_since_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    """The status that an API server gives a new object."""
    group = small.group("x", 2)
    group["metadata"]["namespace"] = "research"
    group["status"] = next(kind.initial_status for kind in KINDS if kind.model is CardGroup)
    print_case(Console(width=200), Case(("research", "x"), None, group), snapshot(Inventory()))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Ready", "False", "WaitingForCards", "-"] in lines
