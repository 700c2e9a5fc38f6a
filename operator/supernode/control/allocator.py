"""The one task that owns allocation: it alone swaps ledgers and writes the status of SuperNodes and CardGroups.

Each pass brings the snapshot up to date, decides for the groups something happened to, swaps every touched ledger once,
and only then writes statuses and tells the jobs. A swap that loses is not repaired on the spot: the next pass reads the
ledgers as they are, rolls back what is incomplete and tries again. That one rule covers conflicts, lost answers and a
crash at any point.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from supernode.api import names
from supernode.api.conditions import ConditionType, Reason
from supernode.api.errors import SupernodeError
from supernode.cluster import resources
from supernode.cluster.errors import ApiError, Invalid, NotFound
from supernode.cluster.events import EventRecorder, Reference
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control import status
from supernode.control.caches import Caches
from supernode.control.fleet import FleetState
from supernode.control.groups import Draft, Group, Groups, now
from supernode.control.ledgers import group_text
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.control.pauses import Pauses
from supernode.control.records import Key
from supernode.control.slices import Slices
from supernode.control.takeover import REFUSALS, Deposed, check_term, is_refusal
from supernode.control.upkeep import Upkeep
from supernode.control.waiting import waiting_since
from supernode.control.writes import finalizers_patch, status_patch
from supernode.topology.fleet import Member

_log = logging.getLogger(__name__)

IDLE_INTERVAL = 5.0
"""Seconds between passes when nothing happens: the heartbeat that liveness looks at."""


RETRY_DELAY = 1.0
"""Seconds until a pass that failed, or a ledger that was not swapped, is tried again."""


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
        *,
        term: int,
        patience: Patience,
    ) -> None:
        self._session = session
        self._writer = writer
        self._caches = caches
        self._state = state
        self._recorder = recorder
        self._observer = observer
        self._on_change = on_change
        self._term = term
        self._groups = Groups(caches, state, observer, on_change, patience)
        self._upkeep = Upkeep(writer, caches, state)
        self._pauses = Pauses()
        self._refusals = Counter[str]()
        self._wakeup = asyncio.Event()
        self.last_pass = time.monotonic()

    # What others ask and tell.

    def group_touched(self, key: Key) -> None:
        """Something happened to a group, to one of its pods or to the ledger that names it."""
        self._groups.touch(key)
        self._wakeup.set()

    def wake(self) -> None:
        """Something happened to the fleet."""
        self._wakeup.set()

    @property
    def waiting(self) -> int:
        """How many groups wait for cards."""
        return self._groups.waiting

    def members_of(self, key: Key, uid: str) -> tuple[Member, ...] | None:
        """The members of a group whose allocation is committed in every ledger it touches, in rank order."""
        return self._groups.members_of(key, uid)

    @contextlib.contextmanager
    def arriving(self, key: Key, uid: str) -> Iterator[None]:
        """While pods of a group are being created its cards stay booked, although no cache knows of these pods yet."""
        self._groups.arriving.add(uid)
        try:
            yield
        finally:
            self._groups.arriving.discard(uid)
            self.group_touched(key)

    # The passes.

    async def run(self) -> None:
        """Pass after pass until cancelled; raises Deposed when another operator has taken the ledgers."""
        self._groups.touch_all()
        self._wakeup.set()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_INTERVAL):
                    await self._wakeup.wait()
            self._wakeup.clear()
            try:
                again = await self._one_pass()
            except Deposed:
                raise
            except SupernodeError as problem:
                _log.warning("allocation pass failed, tries again: %s", problem)
                again = RETRY_DELAY
            self.last_pass = time.monotonic()
            if again is not None:
                asyncio.get_running_loop().call_later(again, self._wakeup.set)

    async def _one_pass(self) -> float | None:
        """Returns the seconds until the next pass is due anyway, ``None`` for no such need."""
        await self._state.refresh()
        check_term(self._term, self._state.ledgers.values())
        await self._upkeep.sync()
        draft = await self._groups.draft()
        await self._groups.place_waiting(draft)
        lost = await self._swap_ledgers(draft)
        await self._state.refresh()  # jobs that are told of their cards now must find them in the ledgers
        self._tell_repairs(draft, lost)
        await self._write_groups(draft, lost)
        await self._change_finalizers(draft, lost)
        counts_due = await self._upkeep.write_counts()
        if lost:
            self._look_again(draft, lost)
            return RETRY_DELAY
        if draft.unfinished:
            return 0.0
        if draft.retry:
            return RETRY_DELAY
        node_due = self._state.next_time()
        due = (counts_due, self._groups.next_time(), node_due and max(0.0, node_due - time.monotonic()))
        return min((seconds for seconds in due if seconds is not None), default=None)

    def _look_again(self, draft: Draft, lost: set[str]) -> None:
        self._groups.look_again()
        for name in lost:
            for key in draft.changed[name]:
                self.group_touched(key)

    # Writing.

    async def _swap_ledgers(self, draft: Draft) -> set[str]:
        """Swap each touched ledger once; the supernodes whose swap did not surely succeed."""
        touched = [name for name in draft.touched if ("", name) in self._caches.supernodes.store]
        results = await self._writer.run("ledger", [self._swap(name, draft) for name in touched])
        lost = set(draft.touched) - set(touched)
        for name, result in zip(touched, results, strict=True):
            if isinstance(result, ApiError):
                lost.add(name)
                self._observer.ledger_conflict()
                _log.warning("ledger of %s was not swapped, tries again: %s", name, result)
                self._count_refusal(name, result)
                await self._read_again(name)
            else:
                self._refusals.pop(name, None)
                self._state.written(name)
                self._caches.supernodes.put(result)
        return lost

    def _count_refusal(self, name: str, problem: ApiError) -> None:
        """Leave a supernode out whose ledger the server takes no write of: it would be chosen again and again."""
        if not is_refusal(problem):
            return
        self._refusals[name] += 1
        if self._refusals[name] >= REFUSALS:
            del self._refusals[name]
            self._state.leave_out({name: str(problem)})

    def _swap(self, name: str, draft: Draft) -> Any:
        ledger, added = self._state.ledgers[name], draft.added.get(name, [])
        gone = draft.removed.get(name, set()) | {entry.uid for entry in added}
        entries = [entry for entry in ledger.entries if entry.uid not in gone] + added
        record = self._caches.supernodes.store.get(("", name))
        assert record is not None
        patch = status.ledger_patch(record, entries, draft.after(name), self._state, self._term, now())
        return status_patch(resources.SUPERNODES, record.key, patch, ledger.resource_version)

    def _tell_repairs(self, draft: Draft, lost: set[str]) -> None:
        """Say what was wrong with ledgers: one Event for each supernode and kind, every one in the log."""
        told: dict[tuple[str, str], list[str]] = {}
        for repair in draft.repairs:
            if repair.supernode in lost:
                continue
            self._observer.ledger_repaired(repair.kind)
            _log.warning("ledger of %s: %s: %s", repair.supernode, repair.kind, repair.message)
            told.setdefault((repair.supernode, repair.kind), []).append(repair.message)
        for (name, _), messages in told.items():
            record = self._caches.supernodes.store.get(("", name))
            if record is not None:
                about = Reference(resources.SUPERNODES, "", name, record.uid)
                more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
                note = messages[0] + more
                self._recorder.record(about, Reason.LEDGER_REPAIRED, note, action="Repair", warning=True)
        for key in {key for repair in draft.repairs for key in draft.changed.get(repair.supernode, ())}:
            self._on_change(key)

    async def _read_again(self, name: str) -> None:
        try:
            self._caches.supernodes.put(await self._session.get(resources.SUPERNODES, ("", name)))
        except NotFound:
            return
        except ApiError as problem:
            _log.warning("SuperNode %s cannot be read: %s", name, problem)

    async def _write_groups(self, draft: Draft, lost: set[str]) -> None:
        """Write what was decided of each group, except for those whose ledgers were not all swapped."""
        moment, slices = now(), Slices()
        wanted = list(draft.confirmed)
        for key, (group, placement) in draft.placed.items():
            await slices.turn()
            if lost & {member.supernode for member in placement.held}:
                continue
            self._on_change(key)
            profile = draft.fleet.profiles.get(placement.profile)
            wanted.append((group, status.allocated_group(group, placement, profile, moment)))
            waited = (moment - waiting_since(group)).total_seconds()
            self._observer.allocated(len(placement.members), waited, dict(placement.spans), dict(placement.minimal))
        writes = [(group, patch) for group, new in wanted if (patch := status.difference(group.status, new))]
        calls = [status_patch(resources.CARDGROUPS, g.key, patch, g.resource_version) for g, patch in writes]
        results = await self._writer.run("groups", calls)
        for (group, patch), result in zip(writes, results, strict=True):
            await slices.turn()
            if self._keep(group, result):
                self._announce(group, patch)

    def _keep(self, group: Group, result: Any) -> bool:
        """Take a write's answer into the cache; look at the group again later if it failed. Whether it succeeded."""
        if not isinstance(result, ApiError):
            self._pauses.succeeded(group.uid)
            self._caches.groups.put(result)
            return True
        if isinstance(result, NotFound):
            self._pauses.succeeded(group.uid)
            return False
        if isinstance(result, Invalid):
            about = Reference(resources.CARDGROUPS, *group.key, group.uid)
            note = f"the API server takes nothing that is written to this group: {result.message}"
            self._recorder.record(about, Reason.INVALID_SPEC, note, action="Allocate", warning=True)
        pause = self._pauses.failed(group.uid)
        _log.warning("CardGroup %s was not written, tries again in %.1f s: %s", group_text(group.key), pause, result)
        asyncio.get_running_loop().call_later(pause, self.group_touched, group.key)
        return False

    def _announce(self, group: Group, patch: dict[str, Any]) -> None:
        for condition in patch.get("conditions", ()):
            if condition["type"] == ConditionType.ALLOCATED and condition["reason"] != Reason.WAITING_FOR_CARDS:
                about = Reference(resources.CARDGROUPS, *group.key, group.uid)
                refused = condition["status"] != "True"
                reason, message = condition["reason"], condition["message"]
                self._recorder.record(about, reason, message, action="Allocate", warning=refused)

    async def _change_finalizers(self, draft: Draft, lost: set[str]) -> None:
        """The finalizer goes once the ledgers are rid of the group, and comes before they ever name it."""
        changes = [
            (group, [f for f in group.finalizers if f != names.FINALIZER_CARDS])
            for group in draft.finalized
            if not lost & self._state.ledgers.by_group.get(group_text(group.key), {}).get(group.uid, {}).keys()
        ]
        changes += [(group, [*group.finalizers, names.FINALIZER_CARDS]) for group in draft.unprotected]
        calls = [
            finalizers_patch(resources.CARDGROUPS, group.key, finalizers, group.uid, group.resource_version)
            for group, finalizers in changes
        ]
        for (group, _), result in zip(changes, await self._writer.run("groups", calls), strict=True):
            self._keep(group, result)
