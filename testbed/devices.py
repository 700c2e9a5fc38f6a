"""What drivers for Dynamic Resource Allocation publish for a fleet's nodes: ResourceSlices and their DeviceClass.

Nodes whose profile pins by claims have no extended resource; their cards are devices here. No driver runs: the fake
kubelets start a pod without preparing its claims, and everything before that is real.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from testbed.client import ApiClient, for_each
from testbed.errors import ApiError
from testbed.fleet import Devices

Json = dict[str, Any]

TAINT = {"key": "testbed.supernode.io/unhealthy", "value": "true", "effect": "NoSchedule"}
"""What a device has that the fleet calls unhealthy."""

IN_SLICE = 64
"""Devices of one slice; with taints the API server takes no more."""

_GROUP = "/apis/resource.k8s.io/v1"
_NAMESPACE = uuid.UUID("0b0f5c74-3a08-5f6e-9d0c-4f1f3a9c6b1e")


def device_class(devices: Devices) -> Json:
    """The class that a driver's chart installs."""
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": devices.device_class},
        "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{devices.driver}"'}}]},
    }


def slices(devices: Devices, node: str, cards: int, unhealthy: Iterable[int] = ()) -> list[Json]:
    """The slices of one node, which is a pool of its own."""
    ill = set(unhealthy)
    described = [_device(devices, node, card, tainted=card in ill) for card in range(cards)]
    parts = [described[start : start + IN_SLICE] for start in range(0, cards, IN_SLICE)]
    pool = {"name": node, "generation": 1, "resourceSliceCount": len(parts)}
    return [
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": f"{node}-{devices.driver}-{number}"},
            "spec": {"driver": devices.driver, "nodeName": node, "pool": pool, "devices": part},
        }
        for number, part in enumerate(parts)
    ]


def _device(devices: Devices, node: str, card: int, *, tainted: bool) -> Json:
    attributes: Json = {"model": {"string": "simulated"}}
    if devices.select_attribute:
        attributes[devices.select_attribute] = {"string": str(uuid.uuid5(_NAMESPACE, f"{node}/{card}"))}
    if devices.index_attribute:
        attributes[devices.index_attribute] = {"int": card}
    name = (devices.name_pattern or "card-{index}").replace("{index}", str(card))
    return {"name": name, "attributes": attributes, **({"taints": [TAINT]} if tainted else {})}


def published(devices: Devices, nodes: Iterable[tuple[str, int, Iterable[int]]]) -> Iterator[Json]:
    """Of nodes given by name, number of cards and unhealthy cards: the class and all slices."""
    yield device_class(devices)
    for name, cards, unhealthy in nodes:
        yield from slices(devices, name, cards, unhealthy)


async def publish(api: ApiClient, objects: Iterable[Json]) -> None:
    """Create these classes and slices, or put them in the place of what is there. Raises ApiError."""
    await for_each(list(objects), lambda obj: _put(api, obj))


async def _put(api: ApiClient, obj: Json) -> None:
    collection = f"{_GROUP}/{'deviceclasses' if obj['kind'] == 'DeviceClass' else 'resourceslices'}"
    path = f"{collection}/{obj['metadata']['name']}"
    try:
        await api.request("POST", collection, obj)
    except ApiError as error:
        if error.status != 409:
            raise
        there = await api.request("GET", path)
        metadata = {**obj["metadata"], "resourceVersion": there["metadata"]["resourceVersion"]}
        spec = obj["spec"]
        if "pool" in spec:
            newer = {**spec["pool"], "generation": there["spec"]["pool"]["generation"] + 1}
            spec = {**spec, "pool": newer}
        await api.request("PUT", path, {**obj, "metadata": metadata, "spec": spec})
