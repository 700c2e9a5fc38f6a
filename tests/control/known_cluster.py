"""A small cluster as far as caches know it, what happens to it, and who follows that; nothing talks to a server."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from kubernetes.client import Configuration

from supernode.api.names import FINALIZER_CARDS
from supernode.cluster.credentials import Credentials
from supernode.cluster.session import Session
from supernode.control.caches import Caches
from supernode.control.draft import Draft
from supernode.control.fleet import FleetState
from supernode.topology.deviceinfo import reported_node

CARD = "example.com/card"
DRIVER = "card.example.com"
SUPERNODES = ("sn-0", "sn-1")
NODES = tuple(f"{supernode}-n{number}" for supernode in SUPERNODES for number in range(4))
GROUPS = ("g0", "g1", "g2")

Json = dict[str, Any]


class Follower:
    """Tells a state of changes as a leader does."""

    def __init__(self, state: FleetState) -> None:
        self.state = state

    def node_changed(self, _key: Any, old: Any, new: Any) -> None:
        self.state.node_changed(old, new)

    def pod_changed(self, _key: Any, old: Any, new: Any) -> None:
        self.state.pod_changed(old, new)

    def profile_changed(self, _key: Any, old: Any, new: Any) -> None:
        self.state.profile_changed(old, new)

    def supernode_changed(self, key: Any, _old: Any, _new: Any) -> None:
        self.state.supernode_changed(key[1])

    def slice_changed(self, _key: Any, old: Any, new: Any) -> None:
        self.state.slices_changed({part.node for part in (old, new) if part is not None})

    def claim_changed(self, _key: Any, old: Any, new: Any) -> None:
        self.state.claim_changed(old, new)

    def taint_rule_changed(self, _key: Any, _old: Any, _new: Any) -> None:
        self.state.all_devices_changed()

    def devices_read(self) -> None:
        self.state.all_devices_changed()

    def reports_read(self) -> None:
        self.state.reports_read()

    def report_changed(self, key: Any, _old: Any, _new: Any) -> None:
        self.state.report_changed(reported_node(key[1]))

    def _nothing(self, _key: Any, _old: Any, _new: Any) -> None:
        """Nothing the snapshot is made of."""

    service_changed = group_changed = job_changed = _nothing


class Cluster:
    """Two supernodes of four nodes in two racks, as far as caches know it; nothing here talks to a server.

    claimed: cards are devices that drivers publish and pods claim.
    """

    def __init__(self, *, claimed: bool = False, labelled: bool = True, grace: float = 0.0) -> None:
        """labelled: the profile selects its nodes by a label, not by their having cards."""
        self._version = 0
        session = Session(Credentials(lambda: Configuration(host="http://127.0.0.1:1")))
        self.caches = Caches(session)
        self.state = FleetState(self.caches, grace)
        self.caches.listener = Follower(self.state)
        self._refusing: set[str] = set()
        self._ledgers: dict[str, tuple[Json, list[str]]] = {name: ({}, []) for name in SUPERNODES}
        levels = [
            {"name": "node", "fanOut": 4},
            {"name": "rack", "fanOut": 2, "nodeLabel": "rack"},
            {"name": "supernode", "fanOut": 2, "nodeLabel": "supernode"},
        ]
        spec: Json = {"card": {"resource": CARD, "precisions": ["bf16"]}, "levels": levels}
        spec["health"] = {"reports": "mindcluster"}
        if labelled:
            spec["nodeSelector"] = {"kind": "p"}
        self._profile = spec
        if claimed:
            devices = {"driver": DRIVER, "deviceClass": "card", "indexAttribute": f"{DRIVER}/index"}
            spec["pinning"] = {"mode": "dra", "devices": devices}
            self.caches.slices.synced.set()
            self.caches.claims.synced.set()
        self.caches.profiles.put(self._object("p", "SuperNodeProfile", spec=spec))
        self.caches.reports.settled.set()
        for name in NODES:
            self.node(name)
            if claimed:
                self.slice(name)
        for name in SUPERNODES:
            self.write(name)

    def _object(self, name: str, kind: str, *, namespace: str = "", **parts: Any) -> Json:
        self._version += 1
        meta = {"name": name, "uid": f"{kind}-{name}", "resourceVersion": str(self._version), "generation": 1}
        meta |= {"creationTimestamp": "2026-01-01T00:00:00Z"} | ({"namespace": namespace} if namespace else {})
        meta |= parts.pop("metadata", {})
        return {"apiVersion": "supernode.io/v1alpha1", "kind": kind, "metadata": meta, **parts}

    # What happens.

    def node(
        self,
        name: str,
        *,
        home: str = "",
        rack: int = 0,
        capacity: int = 4,
        usable: int = 4,
        ill: str = "",
        labels: Json | None = None,
        ready: bool = True,
        **spec: Any,
    ) -> None:
        ours = {"kind": "p", "supernode": home or name[:4], "rack": str(rack or int(name[-1]) // 2)}
        labels = ours | (labels or {})
        status = {
            "capacity": {CARD: str(capacity)},
            "allocatable": {CARD: str(min(capacity, usable))},
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
        }
        meta = {"labels": labels, "annotations": {"supernode.io/unhealthy-cards": ill} if ill else {}}
        self.caches.nodes.put(self._object(name, "Node", metadata=meta, spec=spec, status=status))

    def package(self, cards: int) -> None:
        """The profile is written, with so many cards to a package."""
        self.edit(card=self._profile["card"] | {"perPackage": cards})

    def tolerate(self, keys: list[str]) -> None:
        """The profile is written, with other tolerations."""
        self.edit(tolerations=[{"key": key, "operator": "Exists"} for key in keys])

    def edit(self, **spec: Any) -> None:
        """The profile is written, with other fields."""
        self._profile |= spec
        self.caches.profiles.put(self._object("p", "SuperNodeProfile", spec=dict(self._profile)))

    def profile_goes(self) -> None:
        self._remove(self.caches.profiles, "SuperNodeProfile", "p")

    def report(self, node: str, failed: str = "", *, cut_off: str = "", text: str = "") -> None:
        """The device plugin of a node writes its ConfigMap: cards as `0,3`, or the text that is its report."""
        lists = {f"{CARD}-Unhealthy": failed, f"{CARD}-NetworkUnhealthy": cut_off}
        names = {key: ",".join(f"Card-{card}" for card in cards.split(",") if card) for key, cards in lists.items()}
        text = text or json.dumps({"DeviceInfo": {"DeviceList": names, "UpdateTime": self._version}})
        name, data = f"mindx-dl-deviceinfo-{node}", {"DeviceInfoCfg": text}
        self.caches.reports.put(self._object(name, "ConfigMap", namespace="kube-system", data=data))

    def report_goes(self, node: str) -> None:
        self._remove(self.caches.reports, "ConfigMap", f"mindx-dl-deviceinfo-{node}", "kube-system")

    def node_goes(self, name: str) -> None:
        if self._remove(self.caches.nodes, "Node", name):
            self._refusing.discard(name)  # one that comes back may be another machine

    def pod(
        self,
        name: str,
        node: str,
        cards: int,
        group: str = "",
        phase: str = "Running",
        named: str = "",
        rank: int = 0,
        devices: str = "",
        job: Json | None = None,
        *,
        owned: bool = True,
        going: bool = False,
        pinned: bool = False,
    ) -> None:
        """devices: those that another scheduler has chosen for it. job: the owner reference of its job. pinned: no
        scheduler has bound it to the node yet, the only one that its affinity allows."""
        labels = {"supernode.io/group": group, "supernode.io/rank": str(rank)} if group else {}
        annotations = {"supernode.io/cards": named} if named else {}
        annotations |= {"supernode.io/group-uid": f"CardGroup-{group}"} if group else {}
        annotations |= {CARD: devices} if devices else {}
        meta: Json = {"labels": labels, "annotations": annotations}
        if job is not None:
            labels["supernode.io/job"], meta["ownerReferences"] = job["name"], [job] if owned else []
        meta |= {"deletionTimestamp": "2026-01-01T00:00:01Z"} if going else {}
        container = {"name": "c", "resources": {"limits": {CARD: str(cards)}}}
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        place: Json = {"affinity": {"nodeAffinity": required}} if pinned else {"nodeName": node}
        spec = {"containers": [container], **place}
        pod = self._object(name, "Pod", namespace="ml", metadata=meta, spec=spec, status={"phase": phase})
        self.caches.pods.put(pod)

    def pod_goes(self, name: str) -> None:
        self._remove(self.caches.pods, "Pod", name, "ml")

    def slice(
        self,
        node: str,
        *,
        pool: str = "",
        generation: int = 1,
        count: int = 1,
        devices: int = 4,
        gone: int = -1,
        tainted: int = -1,
        of: str = "",
    ) -> None:
        """What the driver publishes of a node. count: the slices of its pool. gone: one that it does not list.
        of: the node that the pool's devices are on, if another."""
        found = [
            {
                "name": f"card-{index}",
                "attributes": {"index": {"int": index}},
                "taints": [{"key": "ill", "effect": "NoSchedule"}] if index == tainted else [],
            }
            for index in range(devices)
            if index != gone
        ]
        spec = {
            "nodeName": of or node,
            "driver": DRIVER,
            "pool": {"name": pool or node, "generation": generation, "resourceSliceCount": count},
            "devices": found,
        }
        self.caches.slices.put(self._object(node, "ResourceSlice", spec=spec))

    def slice_goes(self, node: str) -> None:
        self._remove(self.caches.slices, "ResourceSlice", node)

    def claim(self, name: str, node: str, *indices: int, group: str = "", also: str = "") -> None:
        """Somebody has claimed devices of a node. also: of another node, too."""
        results = [
            {"driver": DRIVER, "pool": pool, "device": f"card-{index}"}
            for pool in filter(None, (node, also))
            for index in indices
        ]
        meta = {"labels": {"supernode.io/group": group} if group else {}}
        status = {"allocation": {"devices": {"results": results}}}
        self.caches.claims.put(self._object(name, "ResourceClaim", namespace="ml", metadata=meta, status=status))

    def claim_goes(self, name: str) -> None:
        self._remove(self.caches.claims, "ResourceClaim", name, "ml")

    def taint(self, node: str, device: int) -> None:
        selector = {"pool": node, "device": f"card-{device}"}
        spec = {"deviceSelector": selector, "taint": {"key": "ill", "effect": "NoExecute"}}
        self.caches.taint_rules.put(self._object("rule", "DeviceTaintRule", spec=spec))

    def taint_goes(self) -> None:
        self._remove(self.caches.taint_rules, "DeviceTaintRule", "rule")

    def write(self, supernode: str, *lines: str, **spec: Any) -> None:
        """A SuperNode is written, its ledger as a whole."""
        self._ledgers[supernode] = (spec, list(lines))
        spec = {"profile": "p", "nodeSelector": {"supernode": supernode}, **spec}
        status = {"ledger": list(lines), "term": 1}
        self.caches.supernodes.put(self._object(supernode, "SuperNode", spec=spec, status=status))

    def supernode_goes(self, name: str) -> None:
        self._remove(self.caches.supernodes, "SuperNode", name)

    def book(self, supernode: str, line: str, *, first: bool = False) -> None:
        spec, lines = self._ledgers[supernode]
        self.write(supernode, *((line, *lines) if first else (*lines, line)), **spec)

    def give_back(self, supernode: str, number: int) -> None:
        spec, lines = self._ledgers[supernode]
        self.write(supernode, *(line for at, line in enumerate(lines) if at != number), **spec)

    def ask(self, name: str, members: int, *, age: float = 0.0, status: Json | None = None, **fields: Any) -> None:
        """A group of whole nodes asks for cards, made ``age`` seconds ago. fields: more of its spec, its metadata."""
        meta = {"creationTimestamp": _ago(age), "finalizers": [FINALIZER_CARDS], **fields.pop("metadata", {})}
        spec = {"members": members, "cardsPerMember": 4, **fields}
        parts = {"metadata": meta, "spec": spec, "status": status or {}}
        self.caches.groups.put(self._object(name, "CardGroup", namespace="ml", **parts))

    def group_goes(self, name: str) -> None:
        self._remove(self.caches.groups, "CardGroup", name, "ml")

    def work(self, name: str, *, age: float) -> None:
        """A job, made ``age`` seconds ago, of which only that is known."""
        meta = {"creationTimestamp": _ago(age)}
        self.caches.jobs.put(self._object(name, "TrainingJob", namespace="ml", metadata=meta, spec={}))

    def carry_out(self, draft: Draft) -> None:
        """Swap the ledgers as an allocator does."""
        for name in sorted(draft.changed):
            entries, added = self.state.ledgers[name].entries, draft.added.get(name, [])
            gone = {entry.uid for entry in (*draft.removed.get(name, ()), *added)}
            self.write(name, *(entry.text for entry in (*(e for e in entries if e.uid not in gone), *added)))

    def refuse(self, node: str) -> None:
        self._refusing.add(node)
        self.state.node_refuses(node)

    def _remove(self, reflector: Any, kind: str, name: str, namespace: str = "") -> bool:
        there = (namespace, name) in reflector.store
        if there:
            reflector.store.observe("DELETED", self._object(name, kind, namespace=namespace))
        return there

    # What is known.

    async def made_at_once(self) -> FleetState:
        """The state of an operator that has just started."""
        state = FleetState(self.caches)
        await state.refresh()
        for node in self._refusing:
            state.node_refuses(node)
        await state.refresh()
        return state


def _ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
