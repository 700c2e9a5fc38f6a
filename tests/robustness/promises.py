"""The operator's promises, held against a history of the server: at every revision, and once everything is at rest.

Nothing of the operator is imported: ledgers and pods are read by the test bed's own independent check.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from history import Event, Json, Key, of_kinds

from testbed.check import Rule, check
from testbed.check.facts import Cards, Pod, Seat, Seats, ledger_entries, seats

Card = tuple[str, int]
"""A node and the index of one of its cards."""

OF_NOW = {Rule.MINIMUM, Rule.HEALTHY}
"""What may rightly change after a placement: cards that come free later, or break."""


PREDICATE_TIME = "predicate-time"
"""The annotation of pods whose cards a device plugin gives by number."""


class Excuse(Enum):
    """What a test itself brings about, so that the operator is not blamed for it."""

    LEDGERS_LOST = auto()
    """It takes ledger entries away whose pods run or come. They must be there again at rest."""
    LATE_PODS = auto()
    """Two operators act at once, or what one sent arrives late: a pod may come for cards that its group had and has
    given back, or is just giving back."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One group's entry in one ledger."""

    group: str
    uid: str
    seats: Seats
    spares: tuple[Seat, ...]

    @property
    def cards(self) -> Iterator[Card]:
        """All that it books, a card that it books twice twice."""
        return ((seat.node, card) for seat in (*self.seats.values(), *self.spares) for card in seat.cards)


class Promises:
    """Takes events in the order of revisions; ``broken`` says at which one which promise did not hold.

    ``creations`` counts how often each pod name came into being. ``taken_away`` are the uids of pods and groups that
    users have deleted.
    """

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.creations: Counter[Key] = Counter()
        self.excused: set[Excuse] = set()
        self.taken_away: set[str] = set()
        self._committed: set[tuple[str, int, Seat]] = set()
        self._objects: dict[str, dict[Key, Json]] = defaultdict(dict)
        self._ledgers: dict[str, tuple[Entry, ...]] = {}
        self._pods: dict[Key, Pod] = {}
        self._came: dict[Key, int] = {}
        self._disturbed: dict[str, float] = {}
        self._revision = 0

    def take(self, event: Event) -> None:
        """One event."""
        self._revision = event.revision
        before = self._objects[event.kind].pop(event.key, None)
        if event.obj is not None:
            self._objects[event.kind][event.key] = event.obj
        match event.kind:
            case "SuperNode":
                self._ledger(event.key[1], event.obj)
            case "Pod":
                if before is not None and _works(before) and _goes(event.obj):
                    self._taken_from_work(event.key, before)
                self._pod(event.key, event.obj)
            case "CardGroup" if event.obj is None:
                self._group_gone(event.key)
            case "Namespace":
                self._disturbs(event.key[1], _goes(event.obj))
            case "Node":
                self._disturbs(event.key[1], event.obj is None or not _well(event.obj))
            case "TrainingJob":
                uid = (event.obj or before or {})["metadata"]["uid"]
                self._disturbs(uid, event.obj is None or _stops(event.obj))

    def _disturbs(self, name: str, does: bool) -> None:
        """Note whether a node, namespace or job (by its uid) gives a cause now to delete pods, or did until now."""
        if does:
            self._disturbed[name] = inf
        elif self._disturbed.get(name) == inf:
            self._disturbed[name] = self._revision

    # At every revision.

    def _expect(self, holds: bool, told: str) -> None:
        if not holds:
            self.broken.append(f"revision {self._revision}: {told}")

    def _ledger(self, name: str, obj: Json | None) -> None:
        before = self._ledgers.get(name, ())
        after = tuple(_entry(entry) for entry in ledger_entries(obj or {}))
        if after == before:
            return
        self._ledgers[name] = after
        self._committed |= {(entry.uid, rank, seat) for entry in after for rank, seat in entry.seats.items()}
        self._once()
        for entry in before:
            if entry not in after and Excuse.LEDGERS_LOST not in self.excused:
                self._given_back(name, entry.uid)

    def _held(self, uid: str) -> set[Card]:
        """All that the ledgers book for a group."""
        return {
            card for entries in self._ledgers.values() for entry in entries if entry.uid == uid for card in entry.cards
        }

    def _given_back(self, name: str, uid: str) -> None:
        held, late = self._held(uid), Excuse.LATE_PODS in self.excused
        for pod in self._pods.values():
            if pod.group_uid == uid and not (pod.node is None and late):
                nodes = pod.pins if pod.node is None else {pod.node}
                lost = [card for card in sorted(pod.cards) if any((node, card) not in held for node in nodes)]
                self._expect(not lost, f"{name} gave back the cards {lost} of {pod.title}, which still uses them")

    def _once(self) -> None:
        holders: dict[Card, Entry] = {}
        for entries in self._ledgers.values():
            for entry in entries:
                for card in entry.cards:
                    other = holders.get(card)
                    who = f"{other.group} ({other.uid})" if other else ""
                    self._expect(other is None, f"card {card} is booked for {entry.group} ({entry.uid}) and {who}")
                    holders[card] = entry

    def _pod(self, key: Key, obj: Json | None) -> None:
        before = self._pods.pop(key, None)
        pod = Pod.of(obj) if obj else None
        if pod is None or pod.ended or pod.group_uid is None:
            return
        self._pods[key] = pod
        excused = Excuse.LEDGERS_LOST in self.excused or self._is_late(pod)
        if before is None:
            self.creations[key] += 1
            self._came[key] = self._revision
            if not excused:
                self._allocated(key, pod)
                self._takes_its_turn(key, pod)
        if pod.node is not None and (before is None or before.node is None):
            self._bound(pod, excused=excused)

    def _bound(self, pod: Pod, *, excused: bool) -> None:
        self._expect(pod.pins == {pod.node}, f"{pod.title} is on {pod.node}, pinned to {sorted(pod.pins)}")
        for other in self._pods.values():
            shared = pod.cards & other.cards if other.node == pod.node and other is not pod else Cards()
            self._expect(not shared, f"{pod.title} and {other.title} both use {sorted(shared)} of {pod.node}")
        held = self._held(pod.group_uid or "")
        lacks = [card for card in sorted(pod.cards) if (pod.node, card) not in held]
        self._expect(excused or not lacks, f"{pod.title} got {pod.node}, whose cards {lacks} its group does not hold")

    def _is_late(self, pod: Pod) -> bool:
        claims = {(pod.group_uid or "", -1 if pod.rank is None else pod.rank, Seat(n, pod.cards)) for n in pod.pins}
        return Excuse.LATE_PODS in self.excused and bool(claims) and claims <= self._committed

    def _taken_from_work(self, key: Key, obj: Json) -> None:
        """A pod that runs is deleted. Where its peers run too, something must have happened that is no operator's
        doing: to it, to its group, job or namespace, or to a node of theirs."""
        pod = Pod.of(obj)
        if pod is None or pod.group_uid is None or obj["metadata"]["uid"] in self.taken_away:
            return
        peers = {
            k: other for k, other in self._objects["Pod"].items() if _group_uid(other) == pod.group_uid and k != key
        }
        group = self._objects["CardGroup"].get((key[0], pod.group or ""), {"spec": {"members": 0}})
        whole = len(peers) + 1 == group["spec"]["members"] and all(map(_works, peers.values()))
        owners = {owner["uid"] for owner in obj["metadata"].get("ownerReferences", ())}
        nodes = {other["spec"].get("nodeName", "") for other in (obj, *peers.values())}
        since = min(self._came.get(k, 0) for k in (key, *peers))
        disturbed = any(self._disturbed.get(name, -1) >= since for name in {key[0]} | owners | nodes)
        excused = disturbed or pod.group_uid in self.taken_away
        self._expect(not whole or excused, f"{pod.title} was deleted while it and all its peers ran soundly")

    def _allocated(self, key: Key, pod: Pod) -> None:
        group = self._objects["CardGroup"].get((key[0], pod.group or ""))
        if group is None or group["metadata"]["uid"] != pod.group_uid:
            self._expect(False, f"{pod.title} came for a group that is gone")
            return
        booked: Seats = {}
        for entries in self._ledgers.values():
            for entry in entries:
                if entry.uid == pod.group_uid:
                    booked |= entry.seats
        told = f"{pod.title} came when {len(booked)} of {group['spec']['members']} members were booked"
        self._expect(len(booked) == group["spec"]["members"], told)
        seat = booked.get(-1 if pod.rank is None else pod.rank)
        if seat is not None:
            same = seat.cards == pod.cards and pod.pins == {seat.node}
            told = f"{pod.title} came for {sorted(pod.pins)} {sorted(pod.cards)}, booked is {seat}"
            self._expect(same, told)

    def _takes_its_turn(self, key: Key, pod: Pod) -> None:
        """Where a device plugin tells pods apart by their number of cards only, one is on its way at a time."""
        if PREDICATE_TIME not in pod.annotations:
            return
        for other_key, other in self._pods.items():
            alike = other_key != key and other.pins == pod.pins and len(other.cards) == len(pod.cards)
            confused = alike and _on_its_way(self._objects["Pod"][other_key])
            self._expect(not confused, f"{pod.title} came while {other.title} was on its way to {sorted(pod.pins)}")

    def _group_gone(self, key: Key) -> None:
        text = "/".join(key)
        for name, entries in self._ledgers.items():
            left = [entry.uid for entry in entries if entry.group == text]
            self._expect(not left, f"group {text} went while {name} still booked cards for {left}")

    # At rest.

    def at_rest(self) -> list[str]:
        """What is not as it should be now that nothing happens any more; with what was broken before."""
        found = check(of_kinds(self._objects))
        told = [f"at rest: {v.rule}: {v.subject}: {v.message}" for v in found.violations if v.rule not in OF_NOW]
        return [*self.broken, *told, *self._orphans()]

    def _orphans(self) -> list[str]:
        groups = {obj["metadata"]["uid"]: obj for obj in self._objects["CardGroup"].values()}
        jobs = {obj["metadata"]["uid"] for obj in self._objects["TrainingJob"].values()}
        told = [
            f"at rest: {name} books cards for {entry.group} ({entry.uid}), which is not there"
            for name, entries in self._ledgers.items()
            for entry in entries
            if entry.uid not in groups
        ]
        for kind in ("Pod", "Service", "CardGroup", "TrainingJob", "SuperNode"):
            for key, obj in self._objects[kind].items():
                meta = obj["metadata"]
                owners = [o["uid"] for o in meta.get("ownerReferences", ()) if o["kind"] == "TrainingJob"]
                if any(uid not in jobs for uid in owners):
                    told.append(f"at rest: {kind} {'/'.join(key)} belongs to a job that is not there")
                if _goes(obj):
                    told.append(f"at rest: {kind} {'/'.join(key)} waits to be deleted: {meta.get('finalizers')}")
        return told


def _entry(entry: Json) -> Entry:
    return Entry(entry["group"], entry["uid"], seats(entry["runs"]), tuple(seats(entry.get("spares", ())).values()))


def _group_uid(pod: Json) -> str | None:
    found: str | None = pod["metadata"].get("annotations", {}).get("supernode.io/group-uid")
    return found


def _goes(obj: Json | None) -> bool:
    """Whether an object is deleted or being deleted."""
    return obj is None or "deletionTimestamp" in obj["metadata"]


def _works(pod: Json) -> bool:
    """Whether a pod runs and is not being deleted."""
    return pod["status"].get("phase") == "Running" and not _goes(pod)


def _on_its_way(pod: Json) -> bool:
    """Whether no kubelet has taken a pod, and no scheduler has found that it cannot be bound."""
    status = pod["status"]
    blocked = any(c["type"] == "PodScheduled" and c["status"] == "False" for c in status.get("conditions", ()))
    return status.get("phase") == "Pending" and "startTime" not in status and not blocked and not _goes(pod)


def _well(node: Json) -> bool:
    """Whether nothing makes the control plane take pods away from a node."""
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
    return ready and not any(taint["effect"] == "NoExecute" for taint in node["spec"].get("taints", ()))


def _stops(job: Json) -> bool:
    """Whether a job is to have no pods, by what its user says or because it has ended."""
    ended = job.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return ended or bool((job.get("spec") or {}).get("suspend")) or _goes(job)
