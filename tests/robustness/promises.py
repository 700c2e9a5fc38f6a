"""The operator's promises, held against a history of the server: at every revision, and once everything is at rest.

Nothing of the operator is imported: ledgers and pods are read by the test bed's own independent check.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

from history import Event, Json, Key, of_kinds

from testbed.check import Rule, check
from testbed.check.facts import Cards, Pod, Seat, Seats, ledger_entries, seats

Card = tuple[str, int]
"""A node and the index of one of its cards."""

IN_TIME = {Rule.MINIMUM, Rule.CARDS}
"""What may rightly change after a placement: cards that come free later, or break."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One group's entry in one ledger."""

    group: str
    uid: str
    seats: Seats

    @property
    def cards(self) -> set[Card]:
        return {(seat.node, card) for seat in self.seats.values() for card in seat.cards}


class Promises:
    """Takes events in the order of revisions; ``broken`` says at which one which promise did not hold.

    ``creations`` counts how often each pod name came into being. With ``ledgers_are_lost`` a ledger may lack entries
    whose pods run or come: the test itself takes them away, and what holds then is that they are there again at rest.
    ``late_pods`` allows a pod for cards that its group had and has given back: where two operators act at once, one
    creates what the other has just taken away.
    """

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.creations: Counter[Key] = Counter()
        self.ledgers_are_lost = False
        self.late_pods = False
        self._committed: set[tuple[str, int, Seat]] = set()
        self._objects: dict[str, dict[Key, Json]] = defaultdict(dict)
        self._ledgers: dict[str, tuple[Entry, ...]] = {}
        self._pods: dict[Key, Pod] = {}
        self._revision = 0

    def take(self, event: Event) -> None:
        """One event."""
        self._revision = event.revision
        if event.obj is None:
            self._objects[event.kind].pop(event.key, None)
        else:
            self._objects[event.kind][event.key] = event.obj
        match event.kind:
            case "SuperNode":
                self._ledger(event.key[1], event.obj)
            case "Pod":
                self._pod(event.key, event.obj)
            case "CardGroup" if event.obj is None:
                self._group_gone(event.key)

    # At every revision.

    def _expect(self, holds: bool, told: str) -> None:
        if not holds:
            self.broken.append(f"revision {self._revision}: {told}")

    def _ledger(self, name: str, obj: Json | None) -> None:
        before = self._ledgers.get(name, ())
        after = tuple(Entry(entry["group"], entry["uid"], seats(entry["runs"])) for entry in ledger_entries(obj or {}))
        if after == before:
            return
        self._ledgers[name] = after
        self._committed |= {(entry.uid, rank, seat) for entry in after for rank, seat in entry.seats.items()}
        self._once()
        held = {(entry.uid, *card) for entries in self._ledgers.values() for entry in entries for card in entry.cards}
        for entry in before:
            if entry not in after and not self.ledgers_are_lost:
                self._given_back(name, entry.uid, held)

    def _given_back(self, name: str, uid: str, held: set[tuple[str, str, int]]) -> None:
        for pod in self._pods.values():
            if pod.group_uid == uid and pod.node is not None:
                lost = [card for card in sorted(pod.cards) if (uid, pod.node, card) not in held]
                self._expect(not lost, f"{name} gave back the cards {lost} of {pod.title}, which still uses them")

    def _once(self) -> None:
        holders: dict[Card, Entry] = {}
        for entries in self._ledgers.values():
            for entry in entries:
                for card in entry.cards:
                    other = holders.setdefault(card, entry)
                    told = f"card {card} is booked for {entry.group} ({entry.uid}) and {other.group} ({other.uid})"
                    self._expect(other is entry, told)

    def _pod(self, key: Key, obj: Json | None) -> None:
        before = self._pods.pop(key, None)
        pod = Pod.of(obj) if obj else None
        if pod is None or pod.group_uid is None:
            return
        self._pods[key] = pod
        if before is None:
            self.creations[key] += 1
            if not self.ledgers_are_lost and not self._is_late(pod):
                self._allocated(key, pod)
        if pod.node is not None and (before is None or before.node is None):
            self._expect(pod.pins == {pod.node}, f"{pod.title} is on {pod.node}, pinned to {sorted(pod.pins)}")
            for other in self._pods.values():
                shared = pod.cards & other.cards if other.node == pod.node and other is not pod else Cards()
                self._expect(not shared, f"{pod.title} and {other.title} both use {sorted(shared)} of {pod.node}")

    def _is_late(self, pod: Pod) -> bool:
        claims = {(pod.group_uid or "", -1 if pod.rank is None else pod.rank, Seat(n, pod.cards)) for n in pod.pins}
        return self.late_pods and bool(claims) and claims <= self._committed

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

    def _group_gone(self, key: Key) -> None:
        text = "/".join(key)
        uids = {obj["metadata"]["uid"] for k, obj in self._objects["CardGroup"].items() if k == key}
        for name, entries in self._ledgers.items():
            left = [entry.uid for entry in entries if entry.group == text and entry.uid not in uids]
            self._expect(not left, f"group {text} went while {name} still booked cards for {left}")

    # At rest.

    def at_rest(self) -> list[str]:
        """What is not as it should be now that nothing happens any more; with what was broken before."""
        found = check(of_kinds(self._objects))
        told = [f"at rest: {v.rule}: {v.subject}: {v.message}" for v in found.violations if v.rule not in IN_TIME]
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
                if "deletionTimestamp" in meta:
                    told.append(f"at rest: {kind} {'/'.join(key)} waits to be deleted: {meta.get('finalizers')}")
        return told
