"""A dump of a cluster that keeps every rule of the independent check, to be damaged by tests."""

import json
from typing import Any

from testbed.check.facts import numbers

Json = dict[str, Any]
RACK, SUPERNODE, PLACE = "example.com/rack", "example.com/supernode", "example.com/place"
CARDS, GROUP_UID = "supernode.io/cards", "supernode.io/group-uid"


# A sound cluster: two supernodes of two racks of two nodes; a node has four packages of two cards.


def profile() -> Json:
    levels = [
        {"name": "package", "fanOut": 2},
        {"name": "node", "fanOut": 4},
        {"name": "rack", "fanOut": 2, "nodeLabel": RACK},
        {"name": "pod", "fanOut": 2, "nodeLabel": SUPERNODE},
    ]
    return {
        "kind": "SuperNodeProfile",
        "metadata": {"name": "p"},
        "spec": {
            "card": {"resource": "example.com/card", "perPackage": 2},
            "levels": levels,
            "nodeSelector": {"machine": "p"},
            "allocation": {"memberSizes": [1, 2, 4, 6, 8], "wholeNodesAcrossNodes": True},
            "pinning": {"mode": "annotation", "key": "example.com/card"},
        },
    }


def node(supernode: int, place: int) -> Json:
    labels = {"machine": "p", SUPERNODE: str(supernode), RACK: str(place // 2)}
    amount = {"example.com/card": "8"}
    return {
        "kind": "Node",
        "metadata": {"name": f"s{supernode}-n{place:02d}", "labels": labels, "annotations": {}},
        "spec": {},
        "status": {
            "capacity": amount,
            "allocatable": dict(amount),
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def supernode(index: int, ledger: list[str], free: int) -> Json:
    cards = {"total": 32, "healthy": 32, "allocated": 32 - free, "free": free}
    return {
        "kind": "SuperNode",
        "metadata": {"name": f"sn-{index}", "labels": {"supernode.io/discovered": "true"}},
        "spec": {"profile": "p", "nodeSelector": {SUPERNODE: str(index)}},
        "status": {"nodes": 4, "cards": cards, "ledger": ledger},
    }


def group(name: str, members: int, cards: int, run: Json, spans: Json, topology: Json, job: bool = True) -> Json:
    owner = [{"kind": "TrainingJob", "uid": f"job-{name}"}] if job else []
    return {
        "kind": "CardGroup",
        "metadata": {"namespace": "a", "name": name, "uid": f"group-{name}", "ownerReferences": owner},
        "spec": {"members": members, "cardsPerMember": cards, "topology": topology},
        "status": {"profile": "p", "placement": [run], "spans": spans, "minimal": spans, "proven": True},
    }


def job(name: str, cards: int, home: str, pods: int, spans: Json, topology: Json) -> Json:
    return {
        "kind": "TrainingJob",
        "metadata": {"namespace": "a", "name": name, "uid": f"job-{name}"},
        "spec": {"cards": cards, "topology": topology},
        "status": {"superNodes": [home], "spans": spans, "pods": {"running": pods}},
    }


def pod(name: str, rank: int, where: str, cards: list[int]) -> Json:
    pin = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [where]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [pin]}}}
    return {
        "kind": "Pod",
        "metadata": {
            "namespace": "a",
            "name": f"{name}-{rank}",
            "labels": {"supernode.io/job": name, "supernode.io/group": name, "supernode.io/rank": str(rank)},
            "annotations": {
                GROUP_UID: f"group-{name}",
                CARDS: f"{cards[0]}-{cards[-1]}",
                "example.com/card": ",".join(f"card-{card}" for card in cards),
            },
        },
        "spec": {
            "nodeName": where,
            "affinity": affinity,
            "containers": [{"name": "train", "resources": {"requests": {"example.com/card": str(len(cards))}}}],
        },
        "status": {"phase": "Running"},
    }


def ring() -> list[Json]:
    """A ring of four nodes of two cards, and the bare group `arc` that goes over its end."""
    levels = [
        {"name": "node", "fanOut": 2},
        {"name": "ring", "fanOut": 4, "fabric": "ring", "nodeLabel": "example.com/ring", "positionLabel": PLACE},
    ]
    nodes = [node(0, place) for place in range(4)]
    for place, obj in enumerate(nodes):
        obj["metadata"] |= {"name": f"r{place}", "labels": {"machine": "r", "example.com/ring": "0", PLACE: str(place)}}
        obj["status"] |= {"capacity": {"example.com/card": "2"}, "allocatable": {"example.com/card": "2"}}
    run = {"ranks": "0-1", "nodes": "r3,r0", "cards": ["0-1"]}
    home = supernode(9, ["a/arc group-arc 0-1@r3,r0:0-1"], free=4)
    home["metadata"]["name"] = "ring"
    home["spec"] = {"profile": "r", "nodeSelector": {"example.com/ring": "0"}}
    home["status"]["cards"] = {"total": 8, "healthy": 8, "allocated": 4, "free": 4}
    arc = group("arc", 2, 2, {"supernode": "ring", **run}, {"ring": 1, "node": 2}, {}, job=False)
    arc["status"]["profile"] = "r"
    spec = {"card": {"resource": "example.com/card"}, "levels": levels, "nodeSelector": {"machine": "r"}}
    return [{"kind": "SuperNodeProfile", "metadata": {"name": "r"}, "spec": spec}, *nodes, home, arc]


SPARE = "+0@s1-n02:0-1"


def with_spare(obj: Json) -> Json:
    obj["status"]["spares"] = [{"supernode": "sn-1", "ranks": "0", "nodes": "s1-n02", "cards": ["0-1"]}]
    return obj


def sound() -> list[Json]:
    """`big` fills the first supernode's racks by blocks of two, `small` and the bare group `disk` share a node.

    `small` has a spare on another node.
    """
    big = {"ranks": "0-3", "nodes": "s0-n[00-03]", "cards": ["0-7"]}
    small = {"ranks": "0-1", "nodes": "s1-n00", "cards": ["0-1", "2-3"]}
    disk = {"ranks": "0", "nodes": "s1-n00", "cards": ["4-7"]}
    wide, narrow = {"pod": 1, "rack": 2, "node": 4}, {"pod": 1, "rack": 1, "node": 1}
    spares = {"spares": {"members": 1}}
    blocks = {"required": "supernode", "blocks": [{"level": "rack", "members": 2}], "maxSpan": {"rack": 2}}
    return [
        profile(),
        *(node(index, place) for index in range(2) for place in range(4)),
        supernode(0, ["a/big group-big 0-3@s0-n[00-03]:0-7"], free=0),
        supernode(1, [f"a/small group-small 0-1@s1-n00:0-1/2-3 {SPARE}", "a/disk group-disk 0@s1-n00:4-7"], free=22),
        group("big", 4, 8, {"supernode": "sn-0", **big}, wide, blocks),
        with_spare(group("small", 2, 2, {"supernode": "sn-1", **small}, narrow, spares)),
        group("disk", 1, 4, {"supernode": "sn-1", **disk}, narrow, {}, job=False),
        job("big", 32, "sn-0", 4, wide, blocks),
        job("small", 4, "sn-1", 2, narrow, spares),
        *(pod("big", rank, f"s0-n{rank:02d}", list(range(8))) for rank in range(4)),
        pod("small", 0, "s1-n00", [0, 1]),
        pod("small", 1, "s1-n00", [2, 3]),
        *ring(),
    ]


class Objects:
    """A dump that can be damaged."""

    def __init__(self) -> None:
        self.items: list[Json] = json.loads(json.dumps(sound()))

    def __getitem__(self, title: str) -> Json:
        kind, name = title.split("/")
        return next(obj for obj in self.items if obj["kind"] == kind and obj["metadata"]["name"] == name)

    def rewrite(self, title: str, old: str, new: str) -> None:
        """Change the text of a SuperNode's ledger."""
        ledger = self[title]["status"]["ledger"]
        assert any(old in line for line in ledger)
        ledger[:] = [line.replace(old, new) for line in ledger]

    def move(self, name: str, rank: int, where: str, cards: str | None = None) -> None:
        """Move a pod and its pin, as if it had been meant to be there."""
        obj = self[f"Pod/{name}-{rank}"]
        obj["spec"]["nodeName"] = where
        affinity = obj["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        affinity["nodeSelectorTerms"][0]["matchFields"][0]["values"] = [where]
        if cards is not None:
            obj["metadata"]["annotations"] |= {
                CARDS: cards,
                "example.com/card": ",".join(f"card-{card}" for card in numbers(cards)),
            }
