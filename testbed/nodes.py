"""From a fleet to Node objects, and from Node objects to a cluster."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.client import ApiClient, connect, for_each, run
from testbed.devices import publish, published
from testbed.errors import ApiError, FleetError, TestbedError
from testbed.fleet import OUTERMOST, Fleet, Irregular, PlannedPool, Pool, Profile
from testbed.paths import Progress

Node = dict[str, Any]

FAKE = ("kwok.x-k8s.io/node", "fake")
"""The annotation by which kwok knows the nodes whose kubelet it plays."""
READY = "testbed.supernode.io/ready"
"""The annotation that tells a fake kubelet to report another status than ready: "False" or "Unknown"."""
UNHEALTHY = "supernode.io/unhealthy-cards"
FLEET_READY_WITHIN = 600.0
_NAMESPACE = uuid.UUID("6f0d4f2e-9d4b-5a67-8d0e-2f8c7f1b9a10")
_MERGE = "application/merge-patch+json"
_PAGE = 1000


def render(fleet: Fleet) -> Iterator[Node]:
    """The fleet's Node objects, supernode by supernode. Raises FleetError."""
    address = 0
    for planned in fleet.planned():
        for index in range(planned.pool.supernodes):
            for _, node in _places(planned, index):
                node["status"]["addresses"].insert(0, {"type": "InternalIP", "address": _address(address)})
                address += 1
                yield node


def _entries(pool: Pool, index: int) -> list[Irregular]:
    return [entry for entry in pool.irregular if entry.supernodes is None or index in entry.supernodes]


def _address(number: int) -> str:
    # The upper half of 10/8: the fake pods have the lower one.
    number += 1
    return f"10.{128 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def _places(planned: PlannedPool, index: int) -> Iterator[tuple[int, Node]]:
    """The nodes of one supernode, each with its place in it."""
    pool, profile = planned.pool, planned.profile
    entries = _entries(pool, index)
    places = (
        next((entry.nodes for entry in reversed(entries) if entry.nodes), pool.nodes) or profile.nodes_per_supernode
    )
    if places > 1 and not profile.outer:
        raise FleetError(
            f"pool {pool.name}: nodes is {places}, but each node of this profile is its own supernode; use supernodes"
        )
    _check_indices(pool.name, entries, places, profile)
    gone = {place for entry in entries for place in entry.without}
    for place in range(places):
        if place not in gone:
            yield place, _node(planned, index, place, places, entries)


def _check_indices(pool: str, entries: list[Irregular], places: int, profile: Profile) -> None:
    for entry in entries:
        fields = {
            "without": entry.without,
            "cordoned": entry.cordoned,
            "notReady": entry.not_ready,
            "unhealthyCards": tuple(sorted(entry.unhealthy_cards)),
            "taints": tuple(sorted(node for taint in entry.taints for node in taint.nodes)),
        }
        for field, indices in fields.items():
            if indices and indices[-1] >= places:
                raise FleetError(
                    f"pool {pool}: irregular: {field}: there is no node {indices[-1]}; use 0 to {places - 1}"
                )
        for cards in entry.unhealthy_cards.values():
            if cards and cards[-1] >= profile.cards_per_node:
                last = profile.cards_per_node - 1
                raise FleetError(
                    f"pool {pool}: irregular: unhealthyCards: there is no card {cards[-1]}; use 0 to {last}"
                )


def _node(planned: PlannedPool, index: int, place: int, places: int, entries: list[Irregular]) -> Node:
    pool, profile = planned.pool, planned.profile
    supernode = f"{pool.name}-{index:0{len(str(pool.supernodes - 1))}d}"
    name = f"{supernode}-n{place:0{max(3, len(str(places - 1)))}d}" if profile.outer else supernode
    unhealthy = _unhealthy(entries, place)
    ready = not any(place in entry.not_ready for entry in entries)
    annotations = {FAKE[0]: FAKE[1]}
    by_claims = profile.pinning.devices is not None
    if unhealthy and not by_claims:
        annotations[UNHEALTHY] = ",".join(map(str, unhealthy))
    if not ready:
        annotations[READY] = "False"
    taints = [
        {"key": taint.key, "value": taint.value, "effect": taint.effect}
        for entry in entries
        for taint in entry.taints
        if place in taint.nodes
    ]
    # A device plugin reports every card and the kubelet offers the healthy ones; a DRA driver publishes slices instead.
    total = {} if by_claims else {profile.card.resource: str(profile.cards_per_node)}
    usable = {} if by_claims else {profile.card.resource: str(profile.cards_per_node - len(unhealthy))}
    capacity, allocatable = pool.capacity | total, pool.capacity | usable
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": _labels(planned, index, place, name, entries),
            "annotations": annotations,
        },
        "spec": {"unschedulable": any(place in entry.cordoned for entry in entries), "taints": taints},
        "status": {
            "capacity": capacity,
            "allocatable": allocatable,
            "addresses": [{"type": "Hostname", "address": name}],
            "conditions": _conditions(ready),
            "nodeInfo": _NODE_INFO,
        },
    }


def _unhealthy(entries: list[Irregular], place: int) -> list[int]:
    return sorted({card for entry in entries for card in entry.unhealthy_cards.get(place, ())})


def render_devices(fleet: Fleet) -> Iterator[dict[str, Any]]:
    """What DRA drivers publish for the fleet's nodes whose profiles pin by claims. Raises FleetError."""
    for planned in fleet.planned():
        rule, cards = planned.profile.pinning.devices, planned.profile.cards_per_node
        if rule is None:
            continue
        nodes = []
        for index in range(planned.pool.supernodes):
            entries = _entries(planned.pool, index)
            for place, node in _places(planned, index):
                nodes.append((node["metadata"]["name"], cards, _unhealthy(entries, place)))
        yield from published(rule, nodes)


def _labels(planned: PlannedPool, index: int, place: int, name: str, entries: list[Irregular]) -> dict[str, str]:
    pool, profile = planned.pool, planned.profile
    fields: dict[str, object] = {"pool": pool.name, "node": place, OUTERMOST: planned.first_id + index}
    labels = {"kubernetes.io/hostname": name, **_KUBELET_LABELS, **profile.node_selector}
    size = 1
    for number, level in enumerate(profile.outer):
        outermost = number == len(profile.outer) - 1
        if level.position_label:
            labels[level.position_label] = level.position(place // size % level.fan_out)
        size *= level.fan_out
        fields[level.name] = planned.first_id + index if outermost else place // size
        if level.node_label:
            labels[level.node_label] = str(fields[level.name])
    fields["uuid"] = uuid.uuid5(_NAMESPACE, f"{pool.name}/{fields[OUTERMOST]}")
    for templates in (pool.labels, *(entry.labels for entry in entries)):
        for key, template in templates.items():
            labels[key] = _fill(template, fields, f"pool {pool.name}: labels: {key}")
    return {key: value for key, value in labels.items() if value}


def _fill(template: str, fields: dict[str, object], where: str) -> str:
    try:
        return template.format_map(fields)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise FleetError(
            f"{where}: the template {template!r} is wrong ({error!r}); the fields are "
            + ", ".join(f"{{{field}}}" for field in sorted(fields))
        ) from error


# With the beta ones, which a kubelet sets too, or the controller manager adds them with a write per node.
_KUBELET_LABELS = {
    f"{prefix}kubernetes.io/{key}": value
    for prefix in ("", "beta.")
    for key, value in (("os", "linux"), ("arch", "arm64"))
}

_NODE_INFO = {
    "architecture": "arm64",
    "bootID": "",
    "containerRuntimeVersion": "fake://1",
    "kernelVersion": "fake",
    "kubeProxyVersion": "",
    "kubeletVersion": "v1.37.1",
    "machineID": "",
    "operatingSystem": "linux",
    "osImage": "fake",
    "systemUUID": "",
}


def _conditions(ready: bool) -> list[dict[str, str]]:
    kinds = {
        "Ready": "True" if ready else "False",
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
    }
    reason = {"Ready": "KubeletReady" if ready else "KubeletNotReady"}
    return [
        {"type": kind, "status": status, "reason": reason.get(kind, "KubeletHasSufficient")}
        for kind, status in kinds.items()
    ]


def apply(kubeconfig: Path, fleet: Fleet, progress: Progress) -> int:
    """Create or update the fleet's nodes in a cluster and wait until they are as described; how many they are.

    Nodes that the cluster has beside the fleet's stay. Raises FleetError before anything is written, ApiError, and
    TestbedError when nodes do not become ready in time.
    """
    nodes = {node["metadata"]["name"]: node for node in render(fleet)}
    if len(nodes) > 0:
        run(_apply(kubeconfig, nodes, list(render_devices(fleet)), progress))
    return len(nodes)


async def _apply(kubeconfig: Path, nodes: dict[str, Node], devices: list[dict[str, Any]], progress: Progress) -> None:
    began = time.monotonic()
    async with connect(kubeconfig) as api:
        await for_each(nodes.values(), lambda node: _write(api, node))
        seconds = time.monotonic() - began
        progress(f"{len(nodes)} nodes written in {seconds:.1f} s ({len(nodes) / seconds:.0f} nodes/s)")
        await publish(api, devices)
        await _until_ready(api, nodes, progress)
    progress(f"{len(nodes)} nodes as described after {time.monotonic() - began:.1f} s")


async def _write(api: ApiClient, node: Node) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    stamps = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    status = node["status"] | {"conditions": [condition | stamps for condition in node["status"]["conditions"]]}
    try:
        await api.request("POST", "/api/v1/nodes", node | {"status": status})
    except ApiError as error:
        if error.status != 409:
            raise
        path = f"/api/v1/nodes/{node['metadata']['name']}"
        changed = {
            "metadata": {"labels": node["metadata"]["labels"], "annotations": _replaced(node)},
            "spec": node["spec"],
        }
        known = await api.request("PATCH", path, changed, content_type=_MERGE)
        # A merge leaves what it does not name: the labels and resources of an earlier fleet are named, to go.
        if gone := known["metadata"].get("labels", {}).keys() - node["metadata"]["labels"].keys():
            await api.request("PATCH", path, {"metadata": {"labels": dict.fromkeys(gone)}}, content_type=_MERGE)
        for field in ("capacity", "allocatable"):
            status[field] = dict.fromkeys(known["status"].get(field, {})) | status[field]
        await api.request("PATCH", f"{path}/status", {"status": status}, content_type=_MERGE)


def _replaced(node: Node) -> dict[str, str | None]:
    """The node's annotations, and null for those of ours that it no longer has."""
    return {READY: None, UNHEALTHY: None, **node["metadata"]["annotations"]}


async def _until_ready(api: ApiClient, nodes: dict[str, Node], progress: Progress) -> None:
    expected = {name for name, node in nodes.items() if READY not in node["metadata"]["annotations"]}
    deadline = time.monotonic() + FLEET_READY_WITHIN
    pause = 0.1 + len(expected) / 5000
    while waiting := expected - await _ready(api):
        if time.monotonic() > deadline:
            raise TestbedError(
                f"{len(waiting)} of {len(nodes)} nodes are not ready after {FLEET_READY_WITHIN:.0f} s, the first is "
                f"{min(waiting)}; is kwok running (python -m testbed status)?"
            )
        if len(nodes) > _PAGE:
            progress(f"{len(expected) - len(waiting)} of {len(expected)} nodes ready")
        await asyncio.sleep(pause)


async def _ready(api: ApiClient) -> set[str]:
    answer = await api.request("GET", "/api/v1/nodes?resourceVersion=0")
    return {node["metadata"]["name"] for node in answer["items"] if _is_ready(node)}


def _is_ready(node: Node) -> bool:
    conditions = {condition["type"]: condition["status"] for condition in node["status"].get("conditions", ())}
    taints = {taint["key"] for taint in node["spec"].get("taints", ())}
    return conditions.get("Ready") == "True" and not taints & {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    }
