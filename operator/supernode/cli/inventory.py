"""What a fleet is made of, from manifests or from a cluster, and the snapshot that decisions are made on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from supernode.api import names
from supernode.api.cardgroup import CardGroup, CardGroupSpec
from supernode.api.errors import FieldProblem, InvalidObject, SupernodeError
from supernode.api.profile import SuperNodeProfile
from supernode.api.reading import parse
from supernode.api.supernode import SuperNode
from supernode.cli.documents import Document, Json
from supernode.cli.errors import BadInput
from supernode.cli.manifests import (
    checked_claim,
    checked_config_map,
    checked_node,
    checked_pod,
    checked_slice,
    checked_taint_rule,
)
from supernode.cli.published import Published
from supernode.control.devices import DeviceState
from supernode.control.records import (
    Custom,
    PodRecord,
    convert_node,
    convert_pod,
    custom_converter,
    foreign_pod,
    parse_time,
)
from supernode.control.supernodes import Ledger, Trouble, facts_of, trouble_of
from supernode.topology.deviceinfo import DATA_KEY, DeviceInfoError, read_config_map, reported_node
from supernode.topology.devices import read_claim, read_slice, read_taint_rule
from supernode.topology.discovery import Discovery, NodeFacts, ProblemKind, discover
from supernode.topology.fleet import Fleet
from supernode.topology.ledger import LedgerEntry
from supernode.topology.profile import Profile
from supernode.topology.views import ForeignPod, build_fleet

Say = Callable[[str], None]
"""Takes one line for the person at the terminal that is not part of the answer."""

_EPOCH: Final = "1970-01-01T00:00:00Z"
_supernode_record = custom_converter(partial(parse, SuperNode))


@dataclass(slots=True)
class Inventory:
    """Profiles, nodes, SuperNodes, pods and what groups claim, each by name."""

    profiles: dict[str, Profile] = field(default_factory=dict)
    nodes: dict[str, NodeFacts] = field(default_factory=dict)
    supernodes: dict[str, Custom[SuperNode]] = field(default_factory=dict)
    pods: dict[tuple[str, str], PodRecord] = field(default_factory=dict)
    claims: dict[str, CardGroupSpec] = field(default_factory=dict)
    published: Published = field(default_factory=Published)

    def add_profile(self, body: Json) -> str:
        """A SuperNodeProfile; its name. Raises InvalidObject."""
        model = parse(SuperNodeProfile, body)
        name = model.metadata.name
        self.profiles[name] = Profile.from_spec(name, model.spec)
        return name

    def add_group(self, body: Json) -> str:
        """A CardGroup; its namespace and name. Raises InvalidObject."""
        model = parse(CardGroup, body)
        name = f"{model.metadata.namespace or 'default'}/{model.metadata.name}"
        self.claims[name] = model.spec
        return name

    def add_supernode(self, body: Json) -> str:
        """A SuperNode as an API server gives it; its name. Raises InvalidObject."""
        parse(SuperNode, body)
        record = _supernode_record(body)
        self.supernodes[record.key[1]] = record
        return record.key[1]

    def add_node(self, body: Json) -> str:
        """A Node as an API server gives it; its name."""
        facts = convert_node(body)
        self.nodes[facts.name] = facts
        return facts.name

    def add_pod(self, body: Json) -> str:
        """A Pod as an API server gives it, kept if it holds extended resources of a node; its namespace and name."""
        pod = convert_pod(body)
        if pod.node and pod.requests and not pod.finished:
            self.pods[pod.key] = pod
        return "/".join(pod.key)

    def add_slice(self, body: Json) -> str:
        """A ResourceSlice as an API server gives it; its name."""
        self.published.add_slice(read_slice(body))
        return str(body["metadata"]["name"])

    def add_claim(self, body: Json) -> str:
        """A ResourceClaim as an API server gives it; its namespace and name."""
        self.published.add_claim(read_claim(body))
        return f"{body['metadata']['namespace']}/{body['metadata']['name']}"

    def add_taint_rule(self, body: Json) -> str:
        """A DeviceTaintRule as an API server gives it; its name."""
        self.published.add_taint_rule(read_taint_rule(body))
        return str(body["metadata"]["name"])

    def add_report(self, body: Json) -> str:
        """A ConfigMap of a device plugin as an API server gives it; its name. Raises InvalidObject."""
        name = str(body["metadata"]["name"])
        try:
            if node := reported_node(name):
                self.published.add_report(node, read_config_map(body))
        except DeviceInfoError as problem:
            raise _invalid("ConfigMap", name, f"data.{DATA_KEY}", str(problem)) from None
        return name


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The fleet, and what discovery has to say about it. troubles: SuperNodes that must not give new cards."""

    fleet: Fleet
    profiles: Mapping[str, Profile]
    discovery: Discovery
    supernodes: Mapping[str, Custom[SuperNode]]
    troubles: Mapping[str, Trouble]
    nodes: Mapping[str, NodeFacts]
    claims: Mapping[str, CardGroupSpec]

    @property
    def conflicts(self) -> dict[str, str]:
        """SuperNodes some of whose nodes another one has, and which."""
        kind = ProblemKind.NODE_CONFLICT
        return {problem.subject: problem.message for problem in self.discovery.problems if problem.kind == kind}


def snapshot(inventory: Inventory) -> Snapshot:
    """The fleet as the operator would see it, SuperNodes that it would create included."""
    profiles, records = inventory.profiles, inventory.supernodes
    devices = DeviceState(inventory.published)
    devices.follow(profiles.values())
    nodes = {name: devices.facts(facts) for name, facts in inventory.nodes.items()}
    discovery = discover(profiles.values(), nodes.values(), [facts_of(record) for record in records.values()])
    ledgers = {name: Ledger.of(record) for name, record in records.items()}
    troubles = {
        name: trouble
        for name, record in records.items()
        if record.model is not None
        and (trouble := trouble_of(record, profiles.get(record.model.spec.profile), ledgers[name])) is not None
    }
    closed = {
        name: replace(found, cordoned=found.cordoned or name in troubles)
        for name, found in discovery.supernodes.items()
    }
    entries = {name: ledger.entries for name, ledger in ledgers.items()}
    fleet = build_fleet(
        replace(discovery, supernodes=closed),
        profiles.values(),
        nodes.values(),
        entries,
        [
            *_foreign(inventory.pods.values(), discovery, profiles, entries),
            *_claimed(devices, discovery, profiles, entries),
        ],
    )
    return Snapshot(fleet, profiles, discovery, records, troubles, nodes, inventory.claims)


def _foreign(
    pods: Iterable[PodRecord],
    discovery: Discovery,
    profiles: Mapping[str, Profile],
    entries: Mapping[str, tuple[LedgerEntry, ...]],
) -> list[ForeignPod]:
    holders = {name: frozenset(entry.group for entry in ledger) for name, ledger in entries.items()}
    found = []
    for pod in pods:
        supernode = discovery.assigned.get(pod.node or "")
        profile = profiles.get(discovery.profile_of.get(pod.node or "", ""))
        if supernode is None or profile is None:
            continue
        foreign = foreign_pod(pod, profile.counted, holders.get(supernode, frozenset()))
        if foreign is not None:
            found.append(foreign)
    return found


def _claimed(
    devices: DeviceState,
    discovery: Discovery,
    profiles: Mapping[str, Profile],
    entries: Mapping[str, tuple[LedgerEntry, ...]],
) -> list[ForeignPod]:
    """What claims that no ledger counts hold."""
    found: list[ForeignPod] = []
    for name, supernode in discovery.supernodes.items():
        rule = profiles[supernode.profile].pinning.devices if supernode.profile in profiles else None
        if rule is not None:
            holders = frozenset(entry.group for entry in entries.get(name, ()))
            found += [foreign for node in supernode.nodes for foreign in devices.foreign(node, rule, holders)]
    return found


# From manifests.


def collect(documents: Iterable[Document], say: Say) -> Inventory:
    """The inventory that manifests describe. What is no part of a fleet is passed over, and told in one line.

    Raises BadInput.
    """
    inventory = Inventory()
    first: dict[tuple[str, str], Document] = {}
    skipped: Counter[str] = Counter()
    for document in documents:
        if not _belongs(document):
            skipped[document.kind] += 1
            continue
        try:
            name = _ADDERS[document.kind](inventory, document.body)
        except SupernodeError as problem:
            raise document.error(problem) from None
        earlier = first.setdefault((document.kind, name), document)
        if earlier is not document:
            there = f"{earlier.source}, document {earlier.number}"
            raise document.error(f"{document.kind} {name}: metadata.name: is also in {there}; keep one")
    if skipped:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(skipped.items()))
        say(f"passed over, no part of a fleet: {kinds}")
    if not first:
        raise BadInput("--fleet: the files describe no fleet; give Node and SuperNodeProfile objects")
    return inventory


def _belongs(document: Document) -> bool:
    if document.kind not in _ADDERS or document.group not in (None, _GROUPS.get(document.kind, "")):
        return False
    return document.kind != "ConfigMap" or bool(reported_node(document.name))


def _add_profile(inventory: Inventory, body: Json) -> str:
    return inventory.add_profile(_named("SuperNodeProfile", body))


def _add_group(inventory: Inventory, body: Json) -> str:
    return inventory.add_group(_named("CardGroup", body))


def _add_supernode(inventory: Inventory, body: Json) -> str:
    """A SuperNode, also one that no API server has completed."""
    parse(SuperNode, _named("SuperNode", body))
    meta = body["metadata"]
    created = meta.get("creationTimestamp") or _EPOCH
    if parse_time(created) is None:
        raise _invalid("SuperNode", meta["name"], "metadata.creationTimestamp", f"{created!r} is no RFC 3339 time")
    stored = {"uid": "", "resourceVersion": "", **meta, "creationTimestamp": created}
    name = inventory.add_supernode({**body, "metadata": stored})
    problem = Ledger.of(inventory.supernodes[name]).error
    if problem is not None:
        raise _invalid("SuperNode", name, "status.ledger", f"{problem}; correct it")
    return name


def _add_node(inventory: Inventory, body: Json) -> str:
    return inventory.add_node(checked_node(body))


def _add_pod(inventory: Inventory, body: Json) -> str:
    return inventory.add_pod(checked_pod(body))


def _add_report(inventory: Inventory, body: Json) -> str:
    return inventory.add_report(checked_config_map(body))


def _add_slice(inventory: Inventory, body: Json) -> str:
    return inventory.add_slice(checked_slice(body))


def _add_claim(inventory: Inventory, body: Json) -> str:
    return inventory.add_claim(checked_claim(body))


def _add_taint_rule(inventory: Inventory, body: Json) -> str:
    return inventory.add_taint_rule(checked_taint_rule(body))


def _named(kind: str, body: Json) -> Json:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise _invalid(kind, "", "metadata.name", "is required; set it")
    return body


def _invalid(kind: str, name: str, path: str, message: str) -> InvalidObject:
    return InvalidObject(kind, name, [FieldProblem(path, message)])


_ADDERS: Final[Mapping[str, Callable[[Inventory, Json], str]]] = {
    "SuperNodeProfile": _add_profile,
    "SuperNode": _add_supernode,
    "CardGroup": _add_group,
    "Node": _add_node,
    "Pod": _add_pod,
    "ConfigMap": _add_report,
    "ResourceSlice": _add_slice,
    "ResourceClaim": _add_claim,
    "DeviceTaintRule": _add_taint_rule,
}
_GROUPS: Final[Mapping[str, str]] = dict.fromkeys(
    ("SuperNodeProfile", "SuperNode", "CardGroup"), names.GROUP
) | dict.fromkeys(("ResourceSlice", "ResourceClaim", "DeviceTaintRule"), "resource.k8s.io")
