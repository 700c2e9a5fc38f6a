"""Manifests for the tests of the command line: a machine of pairs, nodes, racks and supernodes."""

from typing import Any

import yaml

Json = dict[str, Any]

RESOURCE = "example.com/card"


def profile(name: str = "box", **spec: Any) -> Json:
    """4 cards in a node (two pairs), 2 nodes in a rack, 2 racks in a supernode."""
    return {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "SuperNodeProfile",
        "metadata": {"name": name},
        "spec": {
            "card": {"resource": RESOURCE, "precisions": ["bf16"]},
            "levels": [
                {"name": "pair", "fanOut": 2},
                {"name": "node", "fanOut": 2},
                {"name": "rack", "fanOut": 2, "nodeLabel": "example.com/rack"},
                {"name": "supernode", "fanOut": 2, "nodeLabel": "example.com/supernode"},
            ],
            **spec,
        },
    }


def node(name: str, supernode: str = "a", rack: str = "0", *, cards: int = 4) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"example.com/supernode": supernode, "example.com/rack": rack}},
        "status": {
            "capacity": {RESOURCE: str(cards), "cpu": "191500m"},
            "allocatable": {RESOURCE: str(cards), "cpu": "191500m"},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": None}],
        },
    }


def nodes(supernode: str = "a", count: int = 4) -> list[Json]:
    return [node(f"{supernode}-n{i}", supernode, str(i // 2)) for i in range(count)]


def taints(*kubectl: str) -> Json:
    """The spec of a Node with these taints, each `key=value:effect`."""
    parts = [(*text.partition(":")[0].split("="), text.partition(":")[2]) for text in kubectl]
    return {"taints": [{"key": key, "value": value, "effect": effect} for key, value, effect in parts]}


def supernode(name: str = "a", *, ledger: list[str] | None = None, **spec: Any) -> Json:
    made: Json = {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "SuperNode",
        "metadata": {"name": name},
        "spec": {"profile": "box", "nodeSelector": {"example.com/supernode": name}, **spec},
    }
    return made | ({"status": {"ledger": ledger}} if ledger is not None else {})


def held(group: str, nodes: str, *cards: str, ranks: str = "0") -> str:
    """A line of a ledger."""
    return f"{group} {group} {ranks}@{nodes}:{'/'.join(cards)}"


def pod(name: str, on: str, cards: int, **labels: str) -> Json:
    container = {"name": "main", "resources": {"limits": {RESOURCE: cards}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "research", "labels": labels},
        "spec": {"nodeName": on, "containers": [container]},
        "status": {"phase": "Running"},
    }


DEVICES = {"driver": "card.example.com", "deviceClass": "cards", "namePattern": "c-{index}", "selectAttribute": "uuid"}
BY_CLAIMS = {"pinning": {"mode": "dra", "devices": DEVICES}}
"""Of a profile whose cards are devices of a DRA driver."""


def published(node: str, cards: int = 4, *tainted: int) -> Json:
    """The ResourceSlice of a node."""
    taint = {"taints": [{"key": "ill", "effect": "NoSchedule"}]}
    devices = [
        {
            "name": f"c-{card}",
            "attributes": {"uuid": {"string": f"{node}/{card}"}},
            **(taint if card in tainted else {}),
        }
        for card in range(cards)
    ]
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": f"{node}-card"},
        "spec": {"driver": "card.example.com", "nodeName": node, "pool": pool, "devices": devices},
    }


def claimed(name: str, node: str, *cards: int, **labels: str) -> Json:
    """A ResourceClaim that has devices."""
    results = [{"driver": "card.example.com", "pool": node, "device": f"c-{card}", "request": "r"} for card in cards]
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": "research", "labels": labels},
        "spec": {"devices": {"requests": []}},
        "status": {"allocation": {"devices": {"results": results}}},
    }


def barred(node: str, card: int) -> Json:
    """A DeviceTaintRule for one device."""
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceTaintRule",
        "metadata": {"name": f"{node}-{card}"},
        "spec": {
            "deviceSelector": {"pool": node, "device": f"c-{card}"},
            "taint": {"key": "ill", "effect": "NoExecute"},
        },
    }


def group(name: str = "g", members: int = 1, cards: int = 4, **spec: Any) -> Json:
    return {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "CardGroup",
        "metadata": {"name": name},
        "spec": {"members": members, "cardsPerMember": cards, **spec},
    }


def job(name: str = "j", **spec: Any) -> Json:
    template = {"spec": {"containers": [{"name": "train", "image": "example.com/train:1"}]}}
    return {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": "research"},
        "spec": {"workers": {"template": template}, **spec},
    }


def text(*objects: Json) -> str:
    return yaml.safe_dump_all(objects)
