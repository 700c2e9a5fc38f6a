"""What is told of the fleet: a series for each supernode, but not for each of thousands of plain servers."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from supernode.api.profile import SuperNodeProfile
from supernode.api.reading import parse
from supernode.app.gauges import of_fleet
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.ledger import LedgerEntry
from supernode.topology.node import Node
from supernode.topology.profile import Profile

PROFILES = Path(__file__).parents[2] / "examples" / "profiles"


def profile(name: str) -> Profile:
    document = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
    return Profile.from_spec(name, parse(SuperNodeProfile, document).spec)


SERVER, POD = profile("nvidia-hgx8"), profile("ascend-a3-384")


def server(number: int, taken: int = 0, healthy: int = 255, *, reserve: int = 0, spares: str = "") -> SuperNodeView:
    """A plain server of eight cards. taken, healthy: bitmasks."""
    ledger = [LedgerEntry.from_text(f"ml/j uid 0@n{number}:0 {spares}".strip())]
    node = Node(f"n{number}", 8, healthy, taken)
    return SuperNodeView(f"s{number}", SERVER, [node], reserve=reserve, ledger=ledger)


def superpod(name: str, free: int) -> SuperNodeView:
    """48 nodes of 16 cards in racks of four, of which so many nodes are free."""
    nodes = [
        Node(f"{name}-{i}", 16, 0xFFFF, 0 if i < free else 0xFFFF, path=(name, f"{name}/{i // 4}")) for i in range(48)
    ]
    return SuperNodeView(name, POD, nodes)


def told(views: Iterable[SuperNodeView]) -> dict[str, float]:
    """Every sample of a fleet, written as Prometheus does."""
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for metric in of_fleet(Fleet(views))
        for sample in metric.samples
    }


def test_a_thousand_plain_servers_make_no_more_series_than_one() -> None:
    one, thousand = told([server(0)]), told(server(number) for number in range(1000))
    assert thousand.keys() == one.keys()
    assert len(one) < 20
    assert thousand["supernode_cards{,nvidia-hgx8,free}"] == 8000


def test_plain_servers_are_summed_by_profile() -> None:
    samples = told(
        [
            server(0, taken=0b1111, spares="+0@n0:1-2"),
            server(1, taken=0b1, reserve=1),
            server(2, healthy=0b1111_1110),
            server(3, reserve=1),
        ]
    )
    assert {name: value for name, value in samples.items() if "block" not in name} == {
        "supernode_cards{,nvidia-hgx8,total}": 32,
        "supernode_cards{,nvidia-hgx8,healthy}": 31,
        "supernode_cards{,nvidia-hgx8,allocated}": 5,
        "supernode_cards{,nvidia-hgx8,free}": 26,
        "supernode_fragmentation_ratio{,nvidia-hgx8}": pytest.approx(1 - (4 + 4 + 4 + 0) / (4 + 7 + 7 + 0)),
        "supernode_reserve_nodes{,nvidia-hgx8}": 1,
        "supernode_spare_cards{,nvidia-hgx8}": 2,
    }


def test_the_largest_block_is_that_of_one_server() -> None:
    samples = told([server(0, taken=0b1111), server(1), server(2, taken=255)])
    assert samples["supernode_largest_block_cards{,nvidia-hgx8,node}"] == 8


def test_a_supernode_of_several_nodes_has_series_of_its_own() -> None:
    samples = told([superpod("a", 12), superpod("b", 0), server(0)])
    assert samples["supernode_cards{a,ascend-a3-384,free}"] == 192
    assert samples["supernode_cards{b,ascend-a3-384,free}"] == 0
    assert samples["supernode_largest_block_cards{a,ascend-a3-384,rack}"] == 64
    assert samples["supernode_reserve_nodes{a,ascend-a3-384}"] == 2
    assert samples["supernode_fragmentation_ratio{a,ascend-a3-384}"] == 0, "the rest of what is free is the reserve"
    assert samples["supernode_fragmentation_ratio{b,ascend-a3-384}"] == 0
    assert samples["supernode_cards{,nvidia-hgx8,total}"] == 8
