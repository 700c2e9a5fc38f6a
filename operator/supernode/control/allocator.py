"""The one task that owns allocation: it alone swaps ledgers and writes the status of SuperNodes and CardGroups.

Each pass brings the snapshot up to date, looks at the groups something happened to, gives back what nobody needs any
more, places waiting groups in order of priority and age, swaps every touched ledger once, and only then writes statuses
and tells the jobs. A swap that loses is not repaired on the spot: the next pass reads the ledgers as they are, rolls
back what is incomplete and tries again. That one rule covers conflicts, lost answers and a crash at any point.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from supernode.api import names
from supernode.api.cardgroup import CardGroup
from supernode.api.conditions import ConditionType, Reason
from supernode.api.errors import SupernodeError
from supernode.cluster import resources
from supernode.cluster.errors import ApiError, NotFound
from supernode.cluster.events import EventRecorder, Reference
from supernode.cluster.resources import Resource
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control import status
from supernode.control.caches import Caches
from supernode.control.conditions import is_true
from supernode.control.fleet import FleetState, group_key, group_text
from supernode.control.observer import Observer
from supernode.control.records import Custom, Key, parse_time
from supernode.placement import Placement, Refusal, plan
from supernode.topology.fleet import Fleet, Member
from supernode.topology.ledger import LedgerEntry, by_supernode, decode_placement

_log = logging.getLogger(__name__)

Group = Custom[CardGroup]

PLANNING_SLICE = 0.020
"""Seconds of planning in one pass: the loop also serves watches, probes and writers, which must not wait longer."""

STATUS_INTERVAL = 1.0
"""Seconds between two writes of one SuperNode's counts when its ledger did not change: nodes flap together."""

RETRY_DELAY = 1.0
"""Seconds until the next pass after a write failed."""


@dataclass(slots=True)
class Draft:
    """What one pass wants to change, before anything is written."""

    fleet: Fleet
    added: dict[str, list[LedgerEntry]] = field(default_factory=dict)
    removed: dict[str, set[str]] = field(default_factory=dict)
    placed: dict[Key, tuple[Group, Placement]] = field(default_factory=dict)
    confirmed: list[tuple[Group, dict[str, Any]]] = field(default_factory=list)
    finalized: list[Group] = field(default_factory=list)
    unprotected: list[Group] = field(default_factory=list)
    unfinished: bool = False

    @property
    def touched(self) -> list[str]:
        """Supernodes whose ledger changes, in the fixed order of their names."""
        return sorted(self.added.keys() | self.removed.keys())

    def release(self, uid: str, supernodes: Iterable[str]) -> None:
        """Take a group's entries out of these ledgers."""
        for name in supernodes:
            self.removed.setdefault(name, set()).add(uid)


class Allocator:
    """Owns the fleet's ledgers. ``on_change`` is called with a group's key whenever its job should look again."""

    def __init__(
        self,
        session: Session,
        writer: Writer,
        caches: Caches,
        state: FleetState,
        recorder: EventRecorder,
        observer: Observer,
        on_change: Callable[[Key], None],
    ) -> None:
        self._session = session
        self._writer = writer
        self._caches = caches
        self._state = state
        self._recorder = recorder
        self._observer = observer
        self._on_change = on_change
        self._wakeup = asyncio.Event()
        self._touched: set[Key] = set()
        self._waiting: dict[Key, Group] = {}
        self._tried: dict[Key, int] = {}
        self._recheck: dict[Key, float] = {}
        self._counts_due: dict[str, float] = {}
        self.last_pass = time.monotonic()

    # What happens outside.

    def group_touched(self, key: Key) -> None:
        """Something happened to a group, to one of its pods or to the ledger that names it."""
        self._touched.add(key)
        self._wakeup.set()

    def wake(self) -> None:
        """Something happened to the fleet."""
        self._wakeup.set()

    @property
    def waiting(self) -> int:
        """How many groups wait for cards."""
        return len(self._waiting)

    def members_of(self, key: Key, uid: str) -> tuple[Member, ...] | None:
        """The members of a group whose allocation is committed in every ledger it touches, in rank order."""
        record = self._caches.groups.store.get(key)
        parts = self._state.by_group.get(group_text(key), {}).get(uid)
        if parts is None or record is None or record.model is None or record.uid != uid:
            return None
        members = self._members(parts)
        return members if len(members) == record.model.spec.members else None

    def _members(self, parts: dict[str, LedgerEntry]) -> tuple[Member, ...]:
        members = []
        for name, entry in parts.items():
            view = self._state.fleet.supernodes.get(name)
            for seat in entry.seats():
                known = view is not None and seat.node in view.layout.index
                domains = view.domains(view.node(seat.node)) if view is not None and known else {}
                members.append(Member(seat.rank, name, seat.node, seat.cards, domains))
        return tuple(sorted(members, key=lambda member: member.rank))

    # The passes.

    async def run(self) -> None:
        """Pass after pass until cancelled."""
        self._touched.update(self._caches.groups.store.keys())
        self._wakeup.set()
        while True:
            await self._sleep()
            try:
                again = await self._one_pass()
            except SupernodeError as problem:
                _log.warning("allocation pass failed, tries again: %s", problem)
                again = RETRY_DELAY
            self.last_pass = time.monotonic()
            if again is not None:
                asyncio.get_running_loop().call_later(again, self._wakeup.set)

    async def _sleep(self) -> None:
        """Until something happens; at least every few seconds, for the probe that watches this task."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wakeup.wait(), timeout=5.0)
        self._wakeup.clear()

    async def _one_pass(self) -> float | None:
        """Returns the seconds until the next pass is due anyway, ``None`` for no such need."""
        self._state.refresh()
        await self._sync_supernodes()
        if self._state.discovered:
            self._state.discovered = not await self._write_profiles()
        draft = Draft(self._state.fleet)
        touched = self._touched | self._state.touched | self._orphans()
        self._touched, self._state.touched = set(), set()
        for key in touched:
            self._look_at(key, draft)
        self._place_waiting(draft)
        lost = await self._swap_ledgers(draft)
        await self._write_groups(draft, lost)
        counts_due = await self._write_counts()
        self._retry(draft, lost)
        if lost:
            return RETRY_DELAY
        if draft.unfinished:
            return 0.0
        return min((due for due in (counts_due, self._next_recheck()) if due is not None), default=None)

    def _orphans(self) -> set[Key]:
        """Groups that ledgers name and that are gone: their finalizer was removed by force."""
        return {key for text in self._state.by_group if (key := group_key(text)) not in self._caches.groups.store}

    def _next_recheck(self) -> float | None:
        now = time.monotonic()
        return max(0.0, min(self._recheck.values()) - now) if self._recheck else None

    # Looking at groups.

    def _look_at(self, key: Key, draft: Draft) -> None:
        group = self._caches.groups.store.get(key)
        held = self._state.by_group.get(group_text(key), {})
        for uid, parts in held.items():
            if (group is None or group.uid != uid) and not self._in_use(key, uid):
                draft.release(uid, parts)
        self._forget(key)
        if group is None:
            return
        parts = held.get(group.uid, {})
        if group.deleting:
            self._let_go(group, parts, draft)
        elif names.FINALIZER_CARDS not in group.finalizers:
            draft.unprotected.append(group)
        elif group.model is None:
            draft.confirmed.append((group, status.invalid_group(group, _now())))
        elif parts:
            self._check_held(group, parts, draft)
        elif not self._book_again(group, draft):
            self._waiting[key] = group

    def _forget(self, key: Key) -> None:
        self._waiting.pop(key, None)
        self._tried.pop(key, None)
        self._recheck.pop(key, None)

    def _in_use(self, key: Key, uid: str) -> bool:
        pods = self._caches.pods.store.by_index("group", key)
        return any(not pod.finished and pod.group_uid in (None, uid) for pod in pods)

    def _let_go(self, group: Group, parts: dict[str, LedgerEntry], draft: Draft) -> None:
        if self._in_use(group.key, group.uid):
            return
        draft.release(group.uid, parts)
        if names.FINALIZER_CARDS in group.finalizers:
            draft.finalized.append(group)

    def _check_held(self, group: Group, parts: dict[str, LedgerEntry], draft: Draft) -> None:
        """A group the ledgers know: complete, so its status must say so; or cut short, so it is rolled back."""
        assert group.model is not None
        members = self._members(parts)
        if len(members) != group.model.spec.members:
            draft.release(group.uid, parts)
            draft.unfinished = True
            self.group_touched(group.key)
            return
        if is_true(group.status, ConditionType.ALLOCATED):
            if group.status.get("observedGeneration") != group.generation:
                draft.confirmed.append((group, status.confirmed_group(group)))
            return
        placement = status.reconstruct(draft.fleet, group, members)
        draft.confirmed.append((group, status.allocated_group(group, placement, _now())))
        self._on_change(group.key)

    def _book_again(self, group: Group, draft: Draft) -> bool:
        """A group allocated by its status but in no ledger: a ledger was lost. Book it again if that still can be."""
        if not is_true(group.status, ConditionType.ALLOCATED):
            return False
        try:
            seats = decode_placement(group.status.get("placement", ()))
        except SupernodeError:
            return False
        members = [Member(seat.rank, supernode, seat.node, seat.cards) for supernode, seat in seats]
        for member in members:
            ledger = self._state.ledgers.get(member.supernode)
            view = draft.fleet.supernodes.get(member.supernode)
            if ledger is None or view is None or member.node not in view.layout.index:
                return False
            if ledger.booked.get(member.node, 0) & member.cards:
                return False
        _log.warning("%s holds cards that no ledger names: booked again", group_text(group.key))
        self._add(group, members, draft)
        draft.fleet = draft.fleet.take(members)
        return True

    # Placing.

    def _place_waiting(self, draft: Draft) -> None:
        now = time.monotonic()
        due = [
            group
            for key, group in self._waiting.items()
            if self._tried.get(key) != self._state.generation or self._recheck.get(key, now + 1) <= now
        ]
        due.sort(key=_turn)
        started = time.perf_counter()
        for group in due:
            if time.perf_counter() - started > PLANNING_SLICE:
                draft.unfinished = True
                return
            self._recheck.pop(group.key, None)
            self._place(group, draft)

    def _place(self, group: Group, draft: Draft) -> None:
        started = time.perf_counter()
        waited = (_now() - _waiting_since(group)).total_seconds()
        answer, recheck = _decide(draft.fleet, group, waited)
        outcome = "placed" if isinstance(answer, Placement) else str(answer.reason)
        self._observer.decided(outcome, time.perf_counter() - started)
        if recheck is not None:
            self._recheck[group.key] = time.monotonic() + recheck
        if isinstance(answer, Placement):
            self._add(group, answer.members, draft)
            draft.placed[group.key] = (group, answer)
            draft.fleet = draft.fleet.take(answer.members)
        else:
            self._tried[group.key] = self._state.generation
            draft.confirmed.append((group, status.waiting_group(group, answer, _now())))

    def _add(self, group: Group, members: Iterable[Member], draft: Draft) -> None:
        for name, runs in by_supernode(members).items():
            entry = LedgerEntry(group_text(group.key), group.uid, tuple(runs))
            draft.added.setdefault(name, []).append(entry)

    # Writing.

    async def _swap_ledgers(self, draft: Draft) -> set[str]:
        """Swap each touched ledger once; the supernodes whose swap did not surely succeed."""
        calls = []
        for name in draft.touched:
            ledger = self._state.ledgers[name]
            gone = draft.removed.get(name, set()) | {entry.uid for entry in draft.added.get(name, ())}
            entries = [e for e in ledger.entries if e.uid not in gone] + draft.added.get(name, [])
            record = self._caches.supernodes.store.get(("", name))
            view = draft.fleet.supernodes.get(name)
            if record is None:
                continue
            body = status.ledger_patch(record, entries, view, self._state, _now())
            calls.append(_status_patch(resources.SUPERNODES, ("", name), body, ledger.resource_version))
        results = await self._writer.run("ledger", calls)
        lost = set()
        for name, result in zip(draft.touched, results, strict=True):
            if isinstance(result, ApiError):
                lost.add(name)
                self._observer.ledger_conflict()
                _log.warning("ledger of %s was not swapped, tries again: %s", name, result)
                await self._read_again(name)
            else:
                self._caches.supernodes.put(result)
        return lost

    async def _read_again(self, name: str) -> None:
        try:
            self._caches.supernodes.put(await self._session.get(resources.SUPERNODES, ("", name)))
        except NotFound:
            return
        except ApiError as problem:
            _log.warning("SuperNode %s cannot be read: %s", name, problem)

    async def _write_groups(self, draft: Draft, lost: set[str]) -> None:
        now = _now()
        wanted = list(draft.confirmed)
        for key, (group, placement) in draft.placed.items():
            if lost & {member.supernode for member in placement.members}:
                continue
            self._forget(key)
            self._on_change(key)
            wanted.append((group, status.allocated_group(group, placement, now)))
            waited = (now - _waiting_since(group)).total_seconds()
            self._observer.allocated(len(placement.members), waited, dict(placement.spans), dict(placement.minimal))
        writes = [(group, patch) for group, new in wanted if (patch := status.difference(group.status, new))]
        calls = [
            _status_patch(resources.CARDGROUPS, group.key, patch, group.resource_version) for group, patch in writes
        ]
        results = await self._writer.run("groups", calls)
        for (group, patch), result in zip(writes, results, strict=True):
            if isinstance(result, ApiError):
                if not isinstance(result, NotFound):
                    self.group_touched(group.key)
                continue
            self._caches.groups.put(result)
            self._announce(group, patch)
        await self._change_finalizers(draft, lost)

    def _announce(self, group: Group, patch: dict[str, Any]) -> None:
        for condition in patch.get("conditions", ()):
            if condition["type"] == ConditionType.ALLOCATED and condition["reason"] != Reason.WAITING_FOR_CARDS:
                about = Reference(resources.CARDGROUPS, *group.key, group.uid)
                refused = condition["status"] != "True"
                self._recorder.record(
                    about, condition["reason"], condition["message"], action="Allocate", warning=refused
                )

    async def _change_finalizers(self, draft: Draft, lost: set[str]) -> None:
        """The finalizer goes once the ledgers are rid of the group, and comes before they ever name it."""
        jobs = [
            (group, [f for f in group.finalizers if f != names.FINALIZER_CARDS])
            for group in draft.finalized
            if not lost & self._state.by_group.get(group_text(group.key), {}).get(group.uid, {}).keys()
        ]
        jobs += [(group, [*group.finalizers, names.FINALIZER_CARDS]) for group in draft.unprotected]
        calls = [_finalizer_patch(group, finalizers) for group, finalizers in jobs]
        for (group, _), result in zip(jobs, await self._writer.run("groups", calls), strict=True):
            if not isinstance(result, ApiError):
                self._caches.groups.put(result)
            elif not isinstance(result, NotFound):
                self.group_touched(group.key)

    def _retry(self, draft: Draft, lost: set[str]) -> None:
        if not lost:
            return
        for group in draft.finalized:
            self.group_touched(group.key)
        for key, (_, placement) in draft.placed.items():
            if lost & {member.supernode for member in placement.members}:
                self.group_touched(key)

    # SuperNodes.

    async def _sync_supernodes(self) -> None:
        """Create the SuperNodes that node labels tell of; delete discovered ones that have neither nodes nor groups."""
        discovery, store = self._state.discovery, self._caches.supernodes.store
        missing = [found for found in discovery.supernodes.values() if store.get(("", found.name)) is None]
        results = await self._writer.create_many(
            "discovery", resources.SUPERNODES, [status.discovered_supernode(found) for found in missing]
        )
        for result in results:
            if not isinstance(result, ApiError):
                self._caches.supernodes.put(result)
        empty = [
            record
            for key, record in store.items()
            if record.labels.get(names.LABEL_DISCOVERED) == "true" and not record.deleting and self._is_empty(key[1])
        ]
        await self._writer.delete_many("discovery", resources.SUPERNODES, [(r.key, r.uid) for r in empty])
        if missing:
            self._state.refresh()

    async def _write_profiles(self) -> bool:
        """Write what discovery found of each profile; whether all writes succeeded."""
        now = _now()
        calls = [
            _status_patch(resources.SUPERNODEPROFILES, key, patch, record.resource_version)
            for key, record in self._caches.profiles.store.items()
            if (patch := status.difference(record.status, status.profile_status(record, self._state, now)))
        ]
        results = await self._writer.run("profiles", calls)
        for result in results:
            if not isinstance(result, ApiError):
                self._caches.profiles.put(result)
        return not any(isinstance(result, ApiError) for result in results)

    def _is_empty(self, name: str) -> bool:
        found = self._state.discovery.supernodes.get(name)
        ledger = self._state.ledgers.get(name)
        return (found is None or not found.nodes) and ledger is not None and not ledger.entries and not ledger.error

    async def _write_counts(self) -> float | None:
        """Write the counts of supernodes whose view changed; returns seconds until the next write that had to wait."""
        now = time.monotonic()
        writes, later = [], []
        self._state.refresh()
        for name in sorted(self._state.changed):
            record = self._caches.supernodes.store.get(("", name))
            view = self._state.fleet.supernodes.get(name)
            if record is None:
                self._state.changed.discard(name)
                continue
            if (due := self._counts_due.get(name, 0.0)) > now:
                later.append(due - now)
                continue
            self._state.changed.discard(name)
            patch = status.difference(record.status, status.supernode_status(record, view, self._state, _now()))
            if patch:
                self._counts_due[name] = now + STATUS_INTERVAL
                writes.append((name, _status_patch(resources.SUPERNODES, ("", name), patch, record.resource_version)))
        results = await self._writer.run("counts", [call for _, call in writes])
        for (name, _), result in zip(writes, results, strict=True):
            if isinstance(result, ApiError):
                self._state.changed.add(name)
                later.append(RETRY_DELAY)
            else:
                self._caches.supernodes.put(result)
        return min(later, default=None)


def _decide(fleet: Fleet, group: Group, waited: float) -> tuple[Placement | Refusal, float | None]:
    """Place a group now, or refuse; and the seconds after which the answer may change by time alone."""
    assert group.model is not None
    spec = group.model.spec
    wide = plan(fleet, status.request_of(group))
    preferred = spec.topology.preferred if spec.topology else None
    if preferred is None or isinstance(wide, Refusal) or waited >= preferred.wait_seconds:
        return wide, None
    narrow = plan(fleet, status.request_of(group, required=preferred.level))
    if isinstance(narrow, Placement) or narrow.stalled:
        return (wide if isinstance(narrow, Refusal) else narrow), None
    rest = preferred.wait_seconds - waited
    message = f"waits up to {rest:.0f} s more for one domain of level {preferred.level}: {narrow.message}"
    return Refusal(Reason.PREFERRED_LEVEL_WAIT, message, level=preferred.level), rest


def _turn(group: Group) -> tuple[int, datetime, Key]:
    """Priority first, then age."""
    priority = group.model.spec.priority if group.model else 0
    return (-priority, group.created, group.key)


def _waiting_since(group: Group) -> datetime:
    return parse_time(group.status.get("waitingSince")) or group.created


def _now() -> datetime:
    return datetime.now(UTC)


def _status_patch(
    resource: Resource, key: Key, patch: dict[str, Any], resource_version: str
) -> Callable[[Session], Any]:
    body = {"metadata": {"resourceVersion": resource_version}, "status": patch}
    return lambda session: session.merge_patch(resource, key, body, subresource="status")


def _finalizer_patch(group: Group, finalizers: list[str]) -> Callable[[Session], Any]:
    body = {"metadata": {"finalizers": finalizers, "uid": group.uid, "resourceVersion": group.resource_version}}
    return lambda session: session.merge_patch(resources.CARDGROUPS, group.key, body)
