"""What a fleet is made of, from manifests or from a cluster, and the snapshot that decisions are made on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from supernode.api import names
from supernode.api.cardgroup import CardGroup, CardGroupSpec
from supernode.api.conditions import ConditionType, Reason
from supernode.api.errors import FieldProblem, InvalidObject, SupernodeError
from supernode.api.profile import SuperNodeProfile
from supernode.api.reading import M, parse, parse_stored
from supernode.api.supernode import SuperNode
from supernode.api.trainingjob import TrainingJob
from supernode.cli.documents import Document, Json, specified
from supernode.cli.errors import BadInput
from supernode.cli.manifests import (
    checked_claim,
    checked_config_map,
    checked_group_status,
    checked_job,
    checked_node,
    checked_pod,
    checked_slice,
    checked_supernode_status,
    checked_taint_rule,
)
from supernode.cli.published import Published
from supernode.control.conditions import is_true
from supernode.control.devices import DeviceState
from supernode.control.foreign import Held, foreign_pods
from supernode.control.records import (
    Custom,
    Key,
    PodRecord,
    convert_node,
    convert_pod,
    custom_converter,
    parse_time,
)
from supernode.control.supernodes import Ledger, Trouble, conflicts_of, facts_of, trouble_of
from supernode.topology.deviceinfo import DATA_KEY, DeviceInfoError, read_config_map, reported_node
from supernode.topology.devices import read_claim, read_slice, read_taint_rule
from supernode.topology.discovery import Discovery, NodeFacts, discover
from supernode.topology.fleet import Fleet
from supernode.topology.ledger import LedgerEntry
from supernode.topology.node import Member
from supernode.topology.profile import Profile
from supernode.topology.views import ForeignPod, build_fleet

Say = Callable[[str], None]
"""Takes one line for the person at the terminal that is not part of the answer."""

_EPOCH: Final = "1970-01-01T00:00:00Z"
_LAST_YEAR: Final = 9000
"""Later times leave no room for what is added to them."""
_supernode_record = custom_converter(partial(parse_stored, SuperNode))
_group_record = custom_converter(partial(parse_stored, CardGroup))
_job_record = custom_converter(partial(parse_stored, TrainingJob))


def read(kind: type[M], body: Json) -> M:
    """The model of an object without its status: of one that an API server has stored as the operator reads it, of one
    that was written by hand with no field unknown. Raises InvalidObject."""
    return parse_stored(kind, specified(body)) if _is_stored(body) else parse(kind, specified(body))


def _is_stored(body: Json) -> bool:
    metadata = body.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("creationTimestamp"))


@dataclass(slots=True)
class Inventory:
    """Profiles, nodes, SuperNodes, pods and what groups claim, each by name. groups and jobs: those of a cluster."""

    profiles: dict[str, Profile] = field(default_factory=dict)
    nodes: dict[str, NodeFacts] = field(default_factory=dict)
    supernodes: dict[str, Custom[SuperNode]] = field(default_factory=dict)
    pods: dict[tuple[str, str], PodRecord] = field(default_factory=dict)
    claims: dict[str, CardGroupSpec] = field(default_factory=dict)
    groups: list[Custom[CardGroup]] = field(default_factory=list)
    jobs: dict[Key, Custom[TrainingJob]] = field(default_factory=dict)
    published: Published = field(default_factory=Published)

    def add_profile(self, body: Json) -> str:
        """A SuperNodeProfile; its name. Raises InvalidObject."""
        model = read(SuperNodeProfile, body)
        name = model.metadata.name
        self.profiles[name] = Profile.from_spec(name, model.spec)
        return name

    def add_group(self, body: Json) -> str:
        """A CardGroup as an API server gives it; its namespace and name. Raises InvalidObject."""
        model = read(CardGroup, body)
        self.claims[name := "/".join((model.metadata.namespace, model.metadata.name))] = model.spec
        self.groups.append(_group_record(body))
        return name

    def add_job(self, body: Json) -> str:
        """A TrainingJob as an API server gives it; its namespace and name. Its spec need not be readable."""
        record = _job_record(body)
        self.jobs[record.key] = record
        return "/".join(record.key)

    def add_supernode(self, body: Json) -> Custom[SuperNode]:
        """A SuperNode as an API server gives it. Of one whose spec cannot be read the ledger counts all the same."""
        record = _supernode_record(body)
        self.supernodes[record.key[1]] = record
        return record

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
    """The fleet, and what discovery has to say about it. troubles: SuperNodes that must not give new cards. waiting:
    groups of the cluster that have no cards. jobs: those of the cluster, whose groups these may be."""

    fleet: Fleet
    profiles: Mapping[str, Profile]
    discovery: Discovery
    supernodes: Mapping[str, Custom[SuperNode]]
    troubles: Mapping[str, Trouble]
    nodes: Mapping[str, NodeFacts]
    claims: Mapping[str, CardGroupSpec]
    waiting: Sequence[Custom[CardGroup]] = ()
    jobs: Mapping[Key, Custom[TrainingJob]] = field(default_factory=dict)

    @property
    def conflicts(self) -> dict[str, str]:
        """SuperNodes some of whose nodes another one has, and which."""
        return conflicts_of(self.discovery)

    def located(self, member: Member) -> Member:
        """The member, without domains where its node is gone: the fleet gives such a node domains of its own."""
        return member if member.node in self.nodes else member._replace(domains={})


def snapshot(inventory: Inventory) -> Snapshot:
    """The fleet as the operator would see it, SuperNodes that it would create included."""
    profiles, records = inventory.profiles, inventory.supernodes
    devices = DeviceState(inventory.published)
    devices.follow(profiles.values())
    nodes = {name: devices.facts(facts) for name, facts in inventory.nodes.items()}
    read = [facts_of(record) for record in records.values() if record.model is not None]
    discovery = discover(profiles.values(), nodes.values(), read)
    ledgers = {name: Ledger.of(record) for name, record in records.items()}
    troubles = {
        name: trouble
        for name, record in records.items()
        if (trouble := _trouble(record, profiles, ledgers[name])) is not None
    }
    closed = {
        name: replace(found, cordoned=found.cordoned or name in troubles)
        for name, found in discovery.supernodes.items()
    }
    entries = {name: ledger.entries for name, ledger in ledgers.items()}
    held = _held(entries.values())
    fleet = build_fleet(
        replace(discovery, supernodes=closed),
        profiles.values(),
        nodes.values(),
        entries,
        [
            *_foreign(inventory.pods.values(), discovery, profiles, held),
            *_claimed(devices, discovery, profiles, held),
        ],
    )
    waiting = _waiting(inventory.groups, ledgers.values())
    return Snapshot(fleet, profiles, discovery, records, troubles, nodes, inventory.claims, waiting, inventory.jobs)


def _trouble(record: Custom[SuperNode], profiles: Mapping[str, Profile], ledger: Ledger) -> Trouble | None:
    if record.model is None:
        return Trouble(Reason.INVALID_SPEC, f"cannot be read, and gives no new cards: {record.error}")
    return trouble_of(record, profiles.get(record.model.spec.profile), ledger)


def _waiting(groups: Iterable[Custom[CardGroup]], ledgers: Iterable[Ledger]) -> list[Custom[CardGroup]]:
    """The groups without cards; one that says it has some will find them again."""
    held = {(entry.group, entry.uid) for ledger in ledgers for entry in ledger.entries}
    return [
        group
        for group in groups
        if group.model is not None
        and not group.deleting
        and not is_true(group.status, ConditionType.ALLOCATED)
        and ("/".join(group.key), group.uid) not in held
    ]


def _held(ledgers: Iterable[Iterable[LedgerEntry]]) -> Held:
    held: dict[tuple[str, str], int] = {}
    for entries in ledgers:
        for entry in entries:
            for node, cards in entry.held.items():
                held[node, entry.group] = held.get((node, entry.group), 0) | cards
    return lambda node, group: held.get((node, group), 0)


def _foreign(
    pods: Iterable[PodRecord],
    discovery: Discovery,
    profiles: Mapping[str, Profile],
    held: Held,
) -> list[ForeignPod]:
    """What pods use that no ledger counts."""
    by_node: dict[str, list[PodRecord]] = {}
    for pod in pods:
        if pod.node is not None and pod.node in discovery.assigned:
            by_node.setdefault(pod.node, []).append(pod)
    found: list[ForeignPod] = []
    for node, there in by_node.items():
        if (profile := profiles.get(discovery.profile_of.get(node, ""))) is not None:
            found += foreign_pods(there, node, profile.counted, profile.all_cards, held)
    return found


def _claimed(
    devices: DeviceState,
    discovery: Discovery,
    profiles: Mapping[str, Profile],
    held: Held,
) -> list[ForeignPod]:
    """What claims have that no ledger counts."""
    found: list[ForeignPod] = []
    for supernode in discovery.supernodes.values():
        rule = profiles[supernode.profile].pinning.devices if supernode.profile in profiles else None
        if rule is not None:
            found += [foreign for node in supernode.nodes for foreign in devices.foreign(node, rule, held)]
    return found


# From manifests.


def collect(documents: Iterable[Document], say: Say) -> Inventory:
    """The inventory that manifests describe. What is no part of a fleet is passed over, and told in one line.

    Raises BadInput.
    """
    inventory = Inventory()
    first: dict[tuple[str, str], Document] = {}
    skipped: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    captured = False
    for document in documents:
        if not _belongs(document):
            skipped[document.kind] += 1
            continue
        if document.kind == "ResourceSlice" and document.body.get("apiVersion") not in (None, *_SLICE_VERSIONS):
            unread[str(document.body["apiVersion"])] += 1
            continue
        try:
            name = _ADDERS[document.kind](inventory, document.body)
        except SupernodeError as problem:
            raise document.error(problem) from None
        captured = captured or (document.kind == "Node" and _is_stored(document.body))
        earlier = first.setdefault((document.kind, name), document)
        if earlier is not document:
            there = f"{earlier.source}, document {earlier.number}"
            raise document.error(f"{document.kind} {name}: metadata.name: is also in {there}; keep one")
    if skipped:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(skipped.items()))
        say(f"passed over, no part of a fleet: {kinds}")
    for version, number in sorted(unread.items()):
        say(f"passed over, {number} ResourceSlice of {version}: capture them as resourceslices.v1.resource.k8s.io")
    if captured and _lacks_reports(inventory):
        say(
            "cards that only reports of device plugins call failed count as healthy: none of their ConfigMaps was given"
        )
    if not first and not unread:
        raise BadInput("--fleet: the files describe no fleet; give Node and SuperNodeProfile objects")
    return inventory


def _lacks_reports(inventory: Inventory) -> bool:
    """Whether nodes have cards on which their device plugins report, and no report is there."""
    reported = [profile.counted for profile in inventory.profiles.values() if profile.health.reports]
    on_nodes = any(node.capacity.get(name) for node in inventory.nodes.values() for name in reported)
    return on_nodes and not any(map(inventory.published.report_on, inventory.nodes))


def _belongs(document: Document) -> bool:
    if document.kind not in _ADDERS or document.group not in (None, _GROUPS.get(document.kind, "")):
        return False
    if document.kind == "TrainingJob":
        return _is_stored(document.body)
    return document.kind != "ConfigMap" or bool(reported_node(document.name))


def _add_profile(inventory: Inventory, body: Json) -> str:
    return inventory.add_profile(_named("SuperNodeProfile", body))


def _add_group(inventory: Inventory, body: Json) -> str:
    """A CardGroup. One that was written by hand waits for nothing: it says what a group of a ledger claims."""
    spec = read(CardGroup, _named("CardGroup", body)).spec
    meta = {**body["metadata"], "namespace": body["metadata"].get("namespace") or "default"}
    if meta.get("creationTimestamp"):
        status = checked_group_status(body)
        _check_time("CardGroup", meta["name"], "status.waitingSince", status.get("waitingSince", _EPOCH))
        return inventory.add_group({**_stored("CardGroup", body, meta), "status": status})
    inventory.claims[name := f"{meta['namespace']}/{meta['name']}"] = spec
    return name


def _add_job(inventory: Inventory, body: Json) -> str:
    """A TrainingJob of a cluster, since which its group waits in turn."""
    job = checked_job(body)
    meta = {**job["metadata"], "namespace": job["metadata"].get("namespace") or "default"}
    return inventory.add_job(_stored("TrainingJob", job, meta))


def _add_supernode(inventory: Inventory, body: Json) -> str:
    """A SuperNode, also one that no API server has completed."""
    read(SuperNode, _named("SuperNode", body))
    status = checked_supernode_status(body)
    record = inventory.add_supernode({**_stored("SuperNode", body, body["metadata"]), "status": status})
    problem = Ledger.of(record).error
    if problem is not None:
        raise _invalid("SuperNode", record.key[1], "status.ledger", f"{problem}; correct it")
    return record.key[1]


def _stored(kind: str, body: Json, meta: Json) -> Json:
    """The object as an API server would have completed it."""
    given = {name: part for name, part in meta.items() if part is not None}
    created = given.get("creationTimestamp") or _EPOCH
    _check_time(kind, meta["name"], "metadata.creationTimestamp", created)
    return {**body, "metadata": {"uid": "", "resourceVersion": "", **given, "creationTimestamp": created}}


def _check_time(kind: str, name: str, path: str, text: object) -> None:
    moment = parse_time(text) if isinstance(text, str) else None
    if moment is None or moment.tzinfo is None or moment.year > _LAST_YEAR:
        raise _invalid(kind, name, path, f"{text!r} is no RFC 3339 time; correct it")


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
    "TrainingJob": _add_job,
    "Node": _add_node,
    "Pod": _add_pod,
    "ConfigMap": _add_report,
    "ResourceSlice": _add_slice,
    "ResourceClaim": _add_claim,
    "DeviceTaintRule": _add_taint_rule,
}
_SLICE_VERSIONS: Final = ("resource.k8s.io/v1", "resource.k8s.io/v1beta2")
"""Earlier ones have the attributes of a device elsewhere."""
_GROUPS: Final[Mapping[str, str]] = dict.fromkeys(
    ("SuperNodeProfile", "SuperNode", "CardGroup", "TrainingJob"), names.GROUP
) | dict.fromkeys(("ResourceSlice", "ResourceClaim", "DeviceTaintRule"), "resource.k8s.io")
