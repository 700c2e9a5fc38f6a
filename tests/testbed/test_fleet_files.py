"""Fleet files: the nodes they describe, and the errors they give."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.errors import FleetError
from testbed.fleet import Fleet
from testbed.nodes import Node, render, render_devices
from testbed.paths import PROJECT

FLEETS = PROJECT / "examples" / "fleets"
PLAIN = {"card": {"resource": "example.com/card"}, "levels": [{"name": "node", "fanOut": 8}]}
RACKS = {
    "card": {"resource": "example.com/card"},
    "nodeSelector": {"machine": "racks"},
    "levels": [
        {"name": "pair", "fanOut": 2},
        {"name": "node", "fanOut": 4, "fabric": "mesh", "bandwidth": 100},
        {"name": "rack", "fanOut": 3, "nodeLabel": "example.com/rack"},
        {"name": "supernode", "fanOut": 2, "nodeLabel": "example.com/supernode"},
    ],
}


def nodes(*pools: dict[str, Any]) -> dict[str, Node]:
    return {node["metadata"]["name"]: node for node in render(Fleet.parse({"pools": list(pools)}))}


def racks(**fields: Any) -> dict[str, Any]:
    return {"name": "r", "profile": RACKS} | fields


def label(node: Node, key: str) -> str:
    value: str = node["metadata"]["labels"][key]
    return value


def test_a_supernode_has_the_nodes_labels_and_cards_of_its_profile() -> None:
    made = nodes(racks(supernodes=2))
    assert list(made) == [f"r-{supernode}-n00{place}" for supernode in range(2) for place in range(6)]
    node = made["r-1-n004"]
    assert label(node, "example.com/supernode") == "1"
    assert label(node, "example.com/rack") == "1"
    assert label(node, "machine") == "racks"
    assert label(node, "kubernetes.io/hostname") == "r-1-n004"
    assert node["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"}
    assert node["status"]["allocatable"]["example.com/card"] == "8"
    assert int(node["status"]["capacity"]["pods"]) >= 110
    assert len({node["status"]["addresses"][0]["address"] for node in made.values()}) == 12


def test_cards_that_are_claimed_are_devices_in_slices() -> None:
    devices = {"driver": "d.io", "deviceClass": "c", "namePattern": "gpu-{index}", "selectAttribute": "uuid"}
    shape = {"card": {"resource": "a/b"}, "levels": [{"name": "node", "fanOut": 70}]}
    profile = {**shape, "pinning": {"mode": "dra", "devices": devices}}
    pool = {"name": "wide", "profile": profile, "irregular": [{"unhealthyCards": {0: [65]}}]}
    [node] = nodes(pool).values()
    assert "a/b" not in node["status"]["capacity"]
    assert "supernode.io/unhealthy-cards" not in node["metadata"]["annotations"]
    cls, first, second = render_devices(Fleet.parse({"pools": [pool]}))
    assert (cls["kind"], cls["metadata"]["name"]) == ("DeviceClass", "c")
    assert [len(part["spec"]["devices"]) for part in (first, second)] == [64, 6]
    assert {part["spec"]["pool"]["resourceSliceCount"] for part in (first, second)} == {2}
    assert [device["name"] for device in second["spec"]["devices"] if "taints" in device] == ["gpu-65"]
    assert list(render_devices(Fleet.parse({"pools": [racks()]}))) == []


def test_a_node_that_is_its_own_supernode_needs_no_label() -> None:
    assert list(nodes({"name": "hgx", "profile": PLAIN, "supernodes": 11}))[-2:] == ["hgx-09", "hgx-10"]


def test_large_supernodes_keep_their_names_in_order() -> None:
    names = list(nodes(racks(nodes=1200)))
    assert names[0] == "r-0-n0000"
    assert names == sorted(names)


def test_irregular_supernodes() -> None:
    made = nodes(
        racks(
            supernodes=2,
            irregular=[
                {
                    "supernodes": [1],
                    "without": [0, "4-5"],
                    "cordoned": [1],
                    "notReady": [2],
                    "unhealthyCards": {3: [7, 1]},
                    "taints": [{"nodes": [3], "key": "broken"}],
                    "labels": {"zone": "b"},
                }
            ],
        )
    )
    assert [name for name in made if name.startswith("r-1")] == ["r-1-n001", "r-1-n002", "r-1-n003"]
    assert made["r-1-n001"]["spec"]["unschedulable"] is True
    assert made["r-1-n002"]["metadata"]["annotations"]["testbed.supernode.io/ready"] == "False"
    assert made["r-1-n002"]["status"]["conditions"][0]["status"] == "False"
    broken = made["r-1-n003"]
    assert broken["metadata"]["annotations"]["supernode.io/unhealthy-cards"] == "1,7"
    assert (broken["status"]["capacity"]["example.com/card"], broken["status"]["allocatable"]["example.com/card"]) == (
        "8",
        "6",
    )
    assert broken["spec"]["taints"] == [{"key": "broken", "value": "", "effect": "NoSchedule"}]
    assert label(made["r-1-n001"], "zone") == "b"
    regular = made["r-0-n001"]
    assert not regular["spec"]["unschedulable"]
    assert "zone" not in regular["metadata"]["labels"]


def test_pools_with_the_same_label_get_different_supernode_ids() -> None:
    made = nodes(racks(supernodes=2), racks(name="s", firstId=7), racks(name="t"))
    assert {label(node, "example.com/supernode") for node in made.values()} == {"0", "1", "7", "8"}


def test_hosts_of_a_torus_have_their_places() -> None:
    made = nodes({"name": "t", "profile": "tpu-v4", "nodes": 32})
    assert label(made["t-0-n000"], "supernode.io/tpu-host") == "0-0-0"
    assert label(made["t-0-n021"], "supernode.io/tpu-host") == "0-1-1"
    assert label(made["t-0-n031"], "supernode.io/tpu-host") == "1-1-3"
    assert label(made["t-0-n021"], "supernode.io/tpu-cube") == "1"


def test_label_templates() -> None:
    made = nodes(racks(supernodes=2, labels={"example.com/rack": "{pool}-{supernode:02d}-{rack}", "id": "{uuid}"}))
    assert label(made["r-1-n003"], "example.com/rack") == "r-01-1"
    assert len({label(node, "id") for node in made.values()}) == 2


def test_an_empty_label_is_left_out() -> None:
    assert "example.com/rack" not in nodes(racks(labels={"example.com/rack": ""}))["r-0-n000"]["metadata"]["labels"]


def test_a_profile_may_be_a_path_beside_the_fleet(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"kind": "SuperNodeProfile", "spec": RACKS}))
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump({"pools": [{"name": "r", "profile": "mine.yaml"}]}))
    assert len(list(render(Fleet.load(tmp_path / "fleet.yaml")))) == 6


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ({"nodez": 3}, ["pools[0].nodez", "docs/testbed.md"]),
        ({"name": "No"}, ["pools[0].name"]),
        ({"supernodes": 0}, ["pools[0].supernodes", "greater than or equal to 1"]),
        ({"profile": "nothing-such"}, ["profile", "nothing-such", "ascend-a3-384"]),
        ({"profile": {"levels": []}}, ["profile of pool r", "card"]),
        ({"profile": RACKS | {"levels": [{"name": "rack", "fanOut": 2}]}}, ["exactly one level", "node"]),
        ({"profile": PLAIN, "nodes": 4}, ["its own supernode", "use supernodes"]),
        ({"irregular": [{"supernodes": [3]}]}, ["irregular[0].supernodes", "0 to 0"]),
        ({"irregular": [{"cordoned": [6]}]}, ["cordoned", "no node 6", "0 to 5"]),
        ({"irregular": [{"cordoned": ["5-2"]}]}, ["irregular[0].cordoned", '"2-5"']),
        ({"irregular": [{"without": [-1]}]}, ["irregular[0].without", "a number from 0"]),
        ({"irregular": [{"unhealthyCards": {0: [8]}}]}, ["unhealthyCards", "no card 8", "0 to 7"]),
        ({"irregular": [{"taints": [{"nodes": [0], "key": "k", "effect": "Never"}]}]}, ["taints[0].effect"]),
        ({"labels": {"zone": "{zone}"}}, ["labels: zone", "{supernode}"]),
        ({"labels": {"zone": "{"}}, ["labels: zone", "template"]),
    ],
)
def test_a_wrong_pool_is_refused_with_the_field_and_the_remedy(pool: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(FleetError) as refusal:
        nodes(racks(**pool))
    for word in words:
        assert word in str(refusal.value)


def test_two_pools_may_not_share_a_name_or_ids() -> None:
    with pytest.raises(FleetError, match="'r' is used twice"):
        nodes(racks(), racks())
    with pytest.raises(FleetError, match=r"pools r and s both use supernode ids 1 .* set it to 3"):
        nodes(racks(supernodes=3), racks(name="s", firstId=1))


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"nowhere\.yaml cannot be read"):
        Fleet.load(tmp_path / "nowhere.yaml")
    (tmp_path / "odd.yaml").write_text("pools: [")
    with pytest.raises(FleetError, match=r"odd\.yaml is no YAML"):
        Fleet.load(tmp_path / "odd.yaml")


@pytest.mark.parametrize(
    ("file", "count", "cards"),
    [
        ("small", 16, {"huawei.com/Ascend910": 256}),
        ("a3-8", 384, {"huawei.com/Ascend910": 6144}),
        ("fleet-100k", 12_500, {"huawei.com/npu": 99_328, "nvidia.com/gpu": 672}),
        # 96 - 3 nodes of 16 cards; 128 of 8; 72 - 1 trays of 4 and 8 servers of 8.
        ("tpu-v4", 48, {"google.com/tpu": 192}),
        ("mixed", 300, {"huawei.com/Ascend910": 1488, "huawei.com/npu": 1024, "nvidia.com/gpu": 348}),
    ],
)
def test_the_example_fleets_have_the_size_they_say(file: str, count: int, cards: dict[str, int]) -> None:
    made = list(render(Fleet.load(FLEETS / f"{file}.yaml")))
    assert len({node["metadata"]["name"] for node in made}) == len(made) == count
    total: Counter[str] = Counter()
    for node in made:
        total.update({key: int(value) for key, value in node["status"]["capacity"].items() if "/" in key})
    assert total == cards
    if file == "fleet-100k":
        assert total.total() == 100_000


def test_every_example_is_tested() -> None:
    assert {path.stem for path in FLEETS.glob("*.yaml")} == {"small", "a3-8", "fleet-100k", "mixed", "tpu-v4"}
