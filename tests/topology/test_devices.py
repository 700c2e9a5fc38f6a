"""From slices, taints and claims of Dynamic Resource Allocation to the cards of a node."""

from typing import Any

import pytest

from supernode.api.pinning import Devices
from supernode.topology.devices import (
    NodeDevices,
    Slice,
    node_devices,
    read_claim,
    read_slice,
    read_taint_rule,
    with_devices,
)
from supernode.topology.discovery import NodeFacts
from supernode.topology.profile import DeviceRule

Json = dict[str, Any]


def rule(**spec: str) -> DeviceRule:
    return DeviceRule.from_spec(Devices.model_validate({"driver": "d.io", "deviceClass": "c", **spec}))


BY_INDEX = rule(indexAttribute="index")
BY_NAME = rule(namePattern="gpu-{index}", selectAttribute="uuid")


def device(index: int, name: str | None = None, **rest: Any) -> Json:
    attributes = {"index": {"int": index}, "uuid": {"string": f"U{index}"}, "model": {"string": "M"}}
    return {"name": name or f"gpu-{index}", "attributes": attributes, **rest}


def slice_of(*devices: Json, pool: str = "n0", generation: int = 1, count: int = 1, **spec: Any) -> Slice:
    body = {
        "metadata": {"name": "s"},
        "spec": {
            "driver": "d.io",
            "nodeName": "n0",
            "pool": {"name": pool, "generation": generation, "resourceSliceCount": count},
            "devices": list(devices),
            **spec,
        },
    }
    read = read_slice(body)
    assert read is not None
    return read


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (BY_INDEX, {0: 0, 1: 1, 2: 2}),
        (BY_NAME, {0: "U0", 1: "U1", 2: "U2"}),
        (rule(indexAttribute="index", selectAttribute="uuid"), {0: "U0", 1: "U1", 2: "U2"}),
        (rule(indexAttribute="d.io/index"), {0: 0, 1: 1, 2: 2}),
        (rule(indexAttribute="other.io/index"), {}),
        (rule(indexAttribute="model"), {}),
        (rule(indexAttribute="uuid"), {}),
    ],
    ids=["attribute", "name", "attribute, selected by another", "qualified", "other domain", "not telling", "a string"],
)
def test_which_card_a_device_is(rule: DeviceRule, values: dict[int, object]) -> None:
    found = node_devices(rule, [slice_of(device(2), device(0), device(1))])
    assert found.values == values
    assert found.present == sum(1 << card for card in values)


def test_devices_of_other_names_and_drivers_are_no_cards() -> None:
    parts = [slice_of(device(0), device(1, "gpu-1-mig-1g"), device(2, "vfio-2")), slice_of(device(3), driver="e.io")]
    assert node_devices(BY_NAME, parts).present == 0b1


def test_what_does_not_tell_devices_apart_is_not_kept() -> None:
    part = slice_of(device(0), device(1))
    assert {name for name, _ in part.devices[0].attributes} == {"d.io/index", "d.io/uuid"}


def test_a_card_is_one_beside_its_possible_partitions() -> None:
    """As NVIDIA's driver publishes them: a slice of counters, then one for each GPU and its partitions."""
    attributes = {"type": {"string": "mig"}, "profile": {"string": "1g.23gb"}, "parentUUID": {"string": "U0"}}
    partitions = [{"name": f"gpu-0-mig-1g-{at}", "attributes": attributes} for at in range(7)]
    counters = slice_of(sharedCounters=[{"name": "gpu-0-counters"}], devices=None, count=3)
    parts = [counters, slice_of(device(0), *partitions, count=3), slice_of(*partitions, device(1), count=3)]
    assert node_devices(BY_NAME, parts).values == {0: "U0", 1: "U1"}
    assert node_devices(BY_NAME, parts[1:]).present == 0, "the pool is not complete"
    assert {name for name, _ in parts[1].devices[1].attributes} == set(), "what partitions share is not kept"


def test_devices_that_several_nodes_can_reach_are_no_cards() -> None:
    assert read_slice({"spec": {"driver": "d.io", "pool": {"name": "p"}, "allNodes": True, "devices": []}}) is None


def test_a_pool_is_what_its_newest_complete_generation_says() -> None:
    old = slice_of(device(0), device(1))
    half = slice_of(device(0), device(1), device(2), generation=2, count=2)
    assert node_devices(BY_INDEX, [half, old]).present == 0b11
    assert node_devices(BY_INDEX, [half]).present == 0
    other = slice_of(device(3), generation=2, count=2)
    assert node_devices(BY_INDEX, [half, old, other]).present == 0b1111


@pytest.mark.parametrize(
    ("effect", "tainted"), [("NoSchedule", 0b10), ("NoExecute", 0b10), ("None", 0), ("OfTomorrow", 0)]
)
def test_tainted_devices_are_ill(effect: str, tainted: int) -> None:
    taints = [{"key": "k", "effect": effect}]
    assert node_devices(BY_INDEX, [slice_of(device(0), device(1, taints=taints))]).tainted == tainted
    body = {"spec": {"deviceSelector": {"pool": "n0", "device": "gpu-1"}, "taint": taints[0]}}
    read = read_taint_rule(body)
    assert node_devices(BY_INDEX, [slice_of(device(0), device(1))], [read] if read else []).tainted == tainted


@pytest.mark.parametrize(
    ("selector", "hit"),
    [
        ({}, 0b11),
        ({"driver": "d.io"}, 0b11),
        ({"driver": "e.io"}, 0),
        ({"pool": "n1"}, 0),
        ({"device": "gpu-0"}, 0b01),
        ({"driver": "d.io", "pool": "n0", "device": "gpu-1"}, 0b10),
    ],
)
def test_a_taint_rule_bars_what_it_selects(selector: Json, hit: int) -> None:
    read = read_taint_rule({"spec": {"deviceSelector": selector, "taint": {"key": "k", "effect": "NoSchedule"}}})
    assert read is not None
    assert node_devices(BY_INDEX, [slice_of(device(0), device(1))], [read]).tainted == hit


def test_a_taint_rule_without_a_selector_bars_nothing() -> None:
    assert read_taint_rule({"spec": {"taint": {"key": "k", "effect": "NoSchedule"}}}) is None


def test_a_card_that_is_not_published_does_not_work() -> None:
    facts = with_devices(NodeFacts("n0", unhealthy={"r": 0b1}), "r", NodeDevices(present=0b1101, tainted=0b100))
    assert (facts.capacity, facts.allocatable, facts.unhealthy) == ({"r": 4}, {"r": 2}, {"r": 0b111})


def claim(*devices: tuple[str, str, str], labels: Json | None = None, **result: Any) -> Json:
    results = [dict(zip(("driver", "pool", "device"), each, strict=True)) | result for each in devices]
    status = {"allocation": {"devices": {"results": results}}} if devices else {}
    return {"metadata": {"name": "c", "namespace": "ns", "labels": labels or {}}, "status": status}


def test_a_claim_has_the_cards_of_its_devices() -> None:
    devices = node_devices(BY_NAME, [slice_of(device(0), device(1), device(2))])
    read = read_claim(claim(("d.io", "n0", "gpu-2"), ("d.io", "n1", "gpu-1"), ("e.io", "n0", "gpu-0")))
    assert read is not None
    assert read.cards(BY_NAME, devices) == 0b100


def test_claims_that_take_nothing_away() -> None:
    assert read_claim(claim()) is None
    assert read_claim(claim(("d.io", "n0", "gpu-2"), adminAccess=True)) is None
