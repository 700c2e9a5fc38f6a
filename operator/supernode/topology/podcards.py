"""The cards of pods that others make: how many they ask for, and which ones a scheduler has chosen for them.

A scheduler that pins by the protocol of Ascend's device plugin (`supernode.workload.pinning`) names a pod's devices in
the annotation that is called like the resource: `<name>-<index>` with commas between them, such as
`Ascend910-8,Ascend910-9`. The plugin heeds it where it names as many devices as the pod asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supernode.api.quantities import whole_number
from supernode.topology.devicenames import card_index

Json = dict[str, Any]


def extended_requests(spec: Json) -> dict[str, int]:
    """Extended resources that the scheduler and the kubelet set aside for a pod.

    Sidecars run on beside what comes after them: the greater of all containers with all sidecars, and of each other
    init container with the sidecars before it (KEP-753, "Resources calculation for scheduling and pod admission").
    """
    sidecars: dict[str, int] = {}
    starting: dict[str, int] = {}
    for container in spec.get("initContainers", ()):
        beside = _sum(sidecars, _extended(container))
        if container.get("restartPolicy") == "Always":
            sidecars = beside
        starting = _most(starting, beside)
    running = sidecars
    for container in spec.get("containers", ()):
        running = _sum(running, _extended(container))
    return _most(starting, running)


# Counters would do the same in ten times the time, and this is done for each pod of the cluster whenever it changes.


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in (*one, *other)}


def _most(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in (*one, *other)}


def _extended(container: Json) -> dict[str, int]:
    resources = container.get("resources", {})
    given = {**resources.get("limits", {}), **resources.get("requests", {})}
    counts = ((name, whole_number(amount)) for name, amount in given.items() if "/" in name)
    return {name: count for name, count in counts if count is not None}


def named_devices(annotations: Mapping[str, str], requests: Mapping[str, int]) -> dict[str, int]:
    """Resource to the cards (bitmask) that its annotation names, of those that a pod requests.

    An annotation that is no list of whole devices, or does not name as many as are requested, says nothing.
    """
    named = ((resource, _devices(annotations.get(resource, ""))) for resource in requests)
    return {resource: mask for resource, mask in named if mask and mask.bit_count() == requests[resource]}


def _devices(text: str) -> int:
    """The cards (bitmask) of a list of devices; 0 for any other text."""
    parts = text.split(",")
    indices = {index for part in parts if (index := card_index(part.strip())) is not None}
    return sum(1 << index for index in indices) if len(indices) == len(parts) else 0
