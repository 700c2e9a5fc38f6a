"""The cards of a node as a driver for Dynamic Resource Allocation publishes them.

A driver describes its devices in ResourceSlices (`resource.k8s.io/v1`); several make up a pool, and only those of the
newest complete generation count. A device that is tainted, in its slice or by a DeviceTaintRule, is given to nobody
(KEP-5055). A ResourceClaim that is allocated says which devices it has. Only devices of one node are cards: those that
several nodes can reach have no place in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from sys import intern
from typing import Any

from supernode.api.names import LABEL_GROUP
from supernode.topology.discovery import NodeFacts
from supernode.topology.profile import DeviceRule
from supernode.topology.ranges import MAX_CARDS

Json = dict[str, Any]
Value = int | str

_BARRING = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Device:
    """One device: its name in the pool, what tells it apart by qualified attribute, and whether its slice taints it."""

    name: str
    attributes: tuple[tuple[str, Value], ...] = ()
    tainted: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """One ResourceSlice of a node. count: the slices of its pool in this generation."""

    node: str
    driver: str
    pool: str
    generation: int
    count: int
    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class TaintRule:
    """A DeviceTaintRule that bars devices: all that match what is not None."""

    driver: str | None
    pool: str | None
    device: str | None

    def hits(self, driver: str, pool: str, device: str) -> bool:
        """Whether a device is barred by it."""
        return self.driver in (None, driver) and self.pool in (None, pool) and self.device in (None, device)


@dataclass(frozen=True, slots=True)
class NodeDevices:
    """The cards of one node. present, tainted: bitmasks. values: by card, what a claim selects it by.

    cards: by (pool, device name), the card.
    """

    present: int = 0
    tainted: int = 0
    values: Mapping[int, Value] = field(default_factory=dict)
    cards: Mapping[tuple[str, str], int] = field(default_factory=dict)


def read_slice(obj: Json) -> Slice | None:
    """From a ResourceSlice; None where its devices are not those of one node.

    Of attributes only those are kept that tell devices which have them apart: a fleet has a hundred thousand devices.
    Beside a card a driver may list its possible partitions, without what the cards have.
    """
    spec = obj["spec"]
    node, driver, pool = spec.get("nodeName"), spec["driver"], spec["pool"]
    if not node:
        return None
    devices = spec.get("devices") or ()
    read = [_attributes(device, driver) for device in devices]
    telling = {name for name, values in _by_attribute(read).items() if len(set(values)) == len(values)}
    return Slice(
        node,
        intern(driver),
        pool["name"],
        pool.get("generation", 0),
        pool.get("resourceSliceCount", 1),
        tuple(
            Device(
                intern(device["name"]),
                tuple((intern(name), value) for name, value in each.items() if name in telling),
                any(taint.get("effect") in _BARRING for taint in device.get("taints") or ()),
            )
            for device, each in zip(devices, read, strict=True)
        ),
    )


def _by_attribute(devices: Iterable[Mapping[str, Value]]) -> dict[str, list[Value]]:
    found: dict[str, list[Value]] = {}
    for device in devices:
        for name, value in device.items():
            found.setdefault(name, []).append(value)
    return found


def _attributes(device: Json, driver: str) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, given in (device.get("attributes") or {}).items():
        value = given.get("int", given.get("string"))
        if value is not None:
            found[name if "/" in name else f"{driver}/{name}"] = value
    return found


def read_taint_rule(obj: Json) -> TaintRule | None:
    """From a DeviceTaintRule; None for one that only informs, or selects nothing."""
    spec = obj["spec"]
    selector = spec.get("deviceSelector")
    if selector is None or spec["taint"].get("effect") not in _BARRING:
        return None
    return TaintRule(selector.get("driver"), selector.get("pool"), selector.get("device"))


def node_devices(rule: DeviceRule, slices: Iterable[Slice], taints: Iterable[TaintRule] = ()) -> NodeDevices:
    """The cards among the devices of one node's slices. Of a pool none of whose generations is complete there are none:
    the scheduler gives nothing of it either."""
    barring = tuple(taints)
    present = tainted = 0
    values: dict[int, Value] = {}
    cards: dict[tuple[str, str], int] = {}
    for part in _newest(each for each in slices if each.driver == rule.driver):
        for device in part.devices:
            attributes = dict(device.attributes)
            index, value = _index(rule, device.name, attributes), attributes.get(rule.select_attribute)
            if index is None or value is None or present >> index & 1:
                continue
            present |= 1 << index
            values[index] = value
            cards[part.pool, device.name] = index
            if device.tainted or any(taint.hits(part.driver, part.pool, device.name) for taint in barring):
                tainted |= 1 << index
    return NodeDevices(present, tainted, values, cards)


def _newest(slices: Iterable[Slice]) -> list[Slice]:
    pools: dict[str, dict[int, list[Slice]]] = {}
    for part in slices:
        pools.setdefault(part.pool, {}).setdefault(part.generation, []).append(part)
    found: list[Slice] = []
    for generations in pools.values():
        complete = (parts for _, parts in sorted(generations.items(), reverse=True) if len(parts) >= parts[0].count)
        found += next(complete, [])
    return found


def _index(rule: DeviceRule, name: str, attributes: Mapping[str, Value]) -> int | None:
    if rule.index_attribute is not None:
        value = attributes.get(rule.index_attribute)
        return value if isinstance(value, int) and 0 <= value < MAX_CARDS else None
    match = _name(rule.name_pattern or "").fullmatch(name)
    index = int(match[1]) if match else MAX_CARDS
    return index if index < MAX_CARDS else None


@lru_cache(maxsize=64)
def _name(pattern: str) -> re.Pattern[str]:
    before, _, after = pattern.partition("{index}")
    return re.compile(f"{re.escape(before)}([0-9]{{1,4}}){re.escape(after)}")


def with_devices(facts: NodeFacts, resource: str, devices: NodeDevices) -> NodeFacts:
    """The node with these devices as its cards, counted under `resource`.

    A card below the highest that is not there is one that does not work.
    """
    cards = devices.present.bit_length()
    ill = devices.tainted | ((1 << cards) - 1) & ~devices.present
    return replace(
        facts,
        capacity={**facts.capacity, resource: cards},
        allocatable={**facts.allocatable, resource: cards - ill.bit_count()},
        unhealthy={**facts.unhealthy, resource: facts.unhealthy.get(resource, 0) | ill},
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """An allocated ResourceClaim. group: of the project, whose member has it. devices: (driver, pool, device)."""

    namespace: str
    name: str
    group: str | None
    devices: tuple[tuple[str, str, str], ...]

    def cards(self, rule: DeviceRule, devices: NodeDevices) -> int:
        """The node's cards (bitmask) that it has."""
        taken = 0
        for driver, pool, device in self.devices:
            index = devices.cards.get((pool, device)) if driver == rule.driver else None
            if index is not None:
                taken |= 1 << index
        return taken


def read_claim(obj: Json) -> Claim | None:
    """From a ResourceClaim; None while it has no devices. Access for administration takes none away."""
    metadata, allocation = obj["metadata"], (obj.get("status") or {}).get("allocation") or {}
    results = (allocation.get("devices") or {}).get("results") or ()
    devices = tuple(
        (intern(each["driver"]), each["pool"], intern(each["device"]))
        for each in results
        if not each.get("adminAccess")
    )
    if not devices:
        return None
    group = (metadata.get("labels") or {}).get(LABEL_GROUP)
    return Claim(metadata["namespace"], metadata["name"], group, devices)
