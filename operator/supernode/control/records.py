"""Slim records of what the reflectors keep: only the fields that a decision reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from supernode.api import names
from supernode.api.errors import SupernodeError
from supernode.api.quantities import whole_number
from supernode.control import podstatus
from supernode.topology.discovery import NodeFacts
from supernode.topology.podcards import extended_requests, named_devices
from supernode.topology.ranges import RangeError, parse_cards
from supernode.topology.taints import Taint
from supernode.workload import published, read_digest

Json = dict[str, Any]
Key = tuple[str, str]
M = TypeVar("M")

_FINISHED_PHASES = frozenset({"Succeeded", "Failed"})


def parse_time(text: str | None) -> datetime | None:
    """The time in an API server's RFC 3339 text, ``None`` for absent or unreadable text."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Custom(Generic[M]):
    """A custom resource as cached: its metadata, its model or what is wrong with it, and its raw status."""

    key: Key
    uid: str
    resource_version: str
    generation: int
    created: datetime
    deleting: bool
    finalizers: tuple[str, ...]
    labels: dict[str, str]
    owner_uid: str | None
    model: M | None
    error: str | None
    status: Json


def custom_converter(parse: Callable[[Json], M]) -> Callable[[Json], Custom[M]]:
    """A converter for a reflector: an object that ``parse`` refuses is kept with its error, never dropped.

    The status is kept raw: it is the operator's own, and a ledger of thousands of entries takes long to check.
    """

    def convert(obj: Json) -> Custom[M]:
        meta = obj["metadata"]
        model, error = None, None
        try:
            model = parse({name: part for name, part in obj.items() if name != "status"})
        except SupernodeError as problem:
            error = str(problem)
        created = parse_time(meta.get("creationTimestamp"))
        if created is None:
            raise ValueError(f"{meta['name']} has no creationTimestamp")
        return Custom(
            key=(meta.get("namespace", ""), meta["name"]),
            uid=meta["uid"],
            resource_version=meta["resourceVersion"],
            generation=meta.get("generation", 0),
            created=created,
            deleting="deletionTimestamp" in meta,
            finalizers=tuple(meta.get("finalizers", ())),
            labels=meta.get("labels", {}),
            owner_uid=controller_of(meta),
            model=model,
            error=error,
            status=obj.get("status", {}),
        )

    return convert


@dataclass(frozen=True, slots=True)
class PodRecord:
    """A pod as the engine sees it.

    ``cards`` is the bitmask of node-local card indices its annotation names, ``None`` without one. ``files`` says which
    files of its group it has mounted. ``requests`` are its extended resources, summed over containers; ``devices``, of
    a pod of no group, the cards (bitmask) that another scheduler chose for it, by resource. ``rank`` is ``None`` for
    pods that are not a member of a group. ``pinned`` is the one node a member's affinity allows.
    ``admitted`` says that a kubelet has taken it, and that it has got its cards. ``unbound_since`` is since when the
    scheduler has found that it cannot bind it. ``restarts`` is how often its containers were restarted in their place.
    ``reason`` and ``message`` say why it does not run. Of pods of no group neither is read. The ``phase`` of a pod of a
    group that was told to end and exited with 0 is Failed.
    """

    key: Key
    uid: str
    owner_uid: str | None
    node: str | None
    phase: str
    deleting: bool
    group: str | None
    group_uid: str | None
    job: str | None
    rank: int | None
    cards: int | None
    files: str | None
    requests: tuple[tuple[str, int], ...]
    reason: str
    message: str
    pinned: str | None = None
    admitted: bool = True
    created: datetime | None = None
    unbound_since: datetime | None = None
    devices: tuple[tuple[str, int], ...] = ()
    restarts: int = 0

    @property
    def place(self) -> str | None:
        """The node it is on, or the only one it can come to."""
        return self.node or self.pinned

    @property
    def blocked(self) -> bool:
        """Whether the scheduler has found that it cannot be bound as things are."""
        return self.phase == "Pending" and self.node is None and self.reason == "Unschedulable"

    @property
    def finished(self) -> bool:
        """Whether its containers have ended for good, so that it holds no cards any more."""
        return self.phase in _FINISHED_PHASES

    @property
    def group_key(self) -> Key | None:
        """The CardGroup it belongs to."""
        return (self.key[0], self.group) if self.group else None

    def named(self, resource: str, full: int) -> int | None:
        """Which cards (bitmask) it names of a node that has the cards ``full``; ``None`` where that cannot be so.

        Anybody may write the annotation: it is believed where it names as many as the pod requests, and all are there.
        """
        named, requested = self.cards, dict(self.requests).get(resource)
        if named is not None and named.bit_count() == requested and not named & ~full:
            return named
        return dict(self.devices).get(resource)

    @property
    def use(self) -> tuple[object, ...]:
        """Which cards it has, where and for which group: a pod of which this stays the same changes no account."""
        return self.node, self.finished, self.group, self.requests, self.cards, self.devices


def convert_node(obj: Json) -> NodeFacts:
    """What a Node object says that the fleet depends on; plain resources such as cpu and memory are left out."""
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    conditions, annotations = status.get("conditions", ()), meta.get("annotations", {})
    return NodeFacts(
        name=meta["name"],
        labels=meta.get("labels", {}),
        capacity=_whole(status.get("capacity", {})),
        allocatable=_whole(status.get("allocatable", {})),
        unschedulable=bool(spec.get("unschedulable", False)),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in conditions),
        taints=tuple(Taint(t["key"], t.get("value", ""), t["effect"]) for t in spec.get("taints", ())),
        annotations={k: v for k, v in annotations.items() if k.startswith(f"{names.GROUP}/")},
        tells_addresses=published(annotations) is not None,
    )


def _whole(amounts: Mapping[str, Any]) -> dict[str, int]:
    """Extended resources, which are counted in whole devices."""
    counts = ((name, whole_number(amount)) for name, amount in amounts.items() if "/" in name)
    return {name: count for name, count in counts if count is not None}


def convert_pod(obj: Json) -> PodRecord:
    """Make the record of a pod from the API server."""
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    labels, annotations = meta.get("labels", {}), meta.get("annotations", {})
    rank = labels.get(names.LABEL_RANK, "")
    group, requests = labels.get(names.LABEL_GROUP), extended_requests(spec)
    phase = status.get("phase", "Pending")
    reason, message = podstatus.why(status) if group else ("", "")
    if group and phase == "Succeeded" and (told := podstatus.told_to_end(status)):
        phase, reason, message = "Failed", podstatus.SHUT_DOWN, told.get("message", "")
    return PodRecord(
        key=(meta["namespace"], meta["name"]),
        uid=meta["uid"],
        owner_uid=controller_of(meta),
        node=spec.get("nodeName"),
        phase=phase,
        deleting="deletionTimestamp" in meta,
        group=group,
        group_uid=annotations.get(names.ANNOTATION_GROUP_UID),
        job=labels.get(names.LABEL_JOB),
        rank=int(rank) if rank.isdigit() else None,
        cards=_cards(annotations.get(names.ANNOTATION_CARDS)),
        files=read_digest(annotations.get(names.ANNOTATION_FILES)),
        requests=tuple(sorted(requests.items())),
        reason=reason,
        message=message,
        pinned=_pinned(spec) if group else None,
        admitted=phase != "Pending" or "startTime" in status,
        created=parse_time(meta.get("creationTimestamp")),
        unbound_since=parse_time(podstatus.not_scheduled(status).get("lastTransitionTime")),
        devices=() if group else tuple(named_devices(annotations, requests).items()),
        restarts=podstatus.restarts(spec, status) if group else 0,
    )


def _pinned(spec: Json) -> str | None:
    """The node named by the affinity that pods of a job are made with."""
    required = (
        (spec.get("affinity") or {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    )
    fields = [field for term in (required or {}).get("nodeSelectorTerms", ()) for field in term.get("matchFields", ())]
    named = {name for field in fields if field["key"] == "metadata.name" for name in field.get("values", ())}
    return named.pop() if len(named) == 1 else None


def controller_of(meta: Json) -> str | None:
    """The uid of the object that an object is managed by, by its metadata."""
    return next((ref["uid"] for ref in meta.get("ownerReferences", ()) if ref.get("controller")), None)


def _cards(text: str | None) -> int | None:
    try:
        return parse_cards(text) if text else None
    except RangeError:
        return None
