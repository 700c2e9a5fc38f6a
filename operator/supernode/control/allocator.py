"""The one task that owns allocation: it alone swaps ledgers and writes the status of SuperNodes and CardGroups.

Each pass brings the snapshot up to date, decides for the groups something happened to, swaps every touched ledger once,
and only then writes statuses and tells the jobs. A swap that loses is not repaired on the spot: the next pass reads the
ledgers as they are, rolls back what is incomplete and tries again. That one rule covers conflicts, lost answers and a
crash at any point.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from supernode.api import names
from supernode.api.conditions import ConditionType, Reason
from supernode.api.errors import SupernodeError
from supernode.cluster import resources
from supernode.cluster.backoff import Backoff
from supernode.cluster.errors import ApiError, Conflict, Invalid, NotFound
from supernode.cluster.events import EventRecorder, Reference
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control import status
from supernode.control.caches import Caches
from supernode.control.draft import Draft
from supernode.control.fleet import FleetState
from supernode.control.grouping import Group
from supernode.control.groups import Groups, now
from supernode.control.ledgers import group_text
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.control.pauses import Pauses
from supernode.control.records import Key
from supernode.control.slices import Slices
from supernode.control.takeover import Deposed, check_term
from supernode.control.upkeep import Upkeep
from supernode.control.waiting import waiting_since
from supernode.control.wording import spans_text
from supernode.control.writes import finalizers_patch, status_patch
from supernode.topology.fleet import Member

_log = logging.getLogger(__name__)

IDLE_INTERVAL = 5.0
"""Seconds between passes when nothing happens: the heartbeat that liveness looks at."""

RETRY_DELAY = 1.0
"""Seconds until a group that could not be looked at is looked at again."""

FIRST_REST = 0.1
"""Seconds after a pass that failed in which events wake no other; twice as many after each further one."""

PATIENT_SWAPS = 5
"""So often in a row the swap of a ledger fails, other than by a conflict, before its supernode is left out."""


class LedgersLost(SupernodeError):  # noqa: N818 (a state, not a mistake)
    """Ledgers could not be swapped: what the pass decided does not hold."""


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
        self._failures = Counter[str]()
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

    def hopeful(self) -> list[Group]:
        """The groups that wait for cards, without those that no waiting can help."""
        return self._groups.hopeful()

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
        rests, due = Backoff(FIRST_REST, IDLE_INTERVAL, random.random), 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due):
                    await self._wakeup.wait()
            self._wakeup.clear()
            rest = 0.0
            try:
                due = min(IDLE_INTERVAL, await self._one_pass())
                rests.reset()
            except Deposed:
                raise
            except SupernodeError as problem:
                due, rest = 0.0, rests.delay()
                _log.warning("allocation pass failed, tries again in %.1f s: %s", rest, problem)
            self._beat()
            await asyncio.sleep(rest)

    def _beat(self) -> None:
        """Passes go on: one may take minutes, while the API server puts every write off."""
        self.last_pass = time.monotonic()

    async def _one_pass(self) -> float:
        """Returns the seconds until the next pass is due anyway. Raises `LedgersLost` when it has to be made again."""
        await self._state.refresh()
        check_term(self._term, self._state.ledgers.values())
        unfinished = await self._upkeep.sync()
        self._beat()
        draft = await self._groups.draft()
        await self._groups.place_waiting(draft)
        lost = await self._swap_ledgers(draft)
        self._beat()
        await self._state.refresh()  # jobs that are told of their cards now must find them in the ledgers
        self._tell_repairs(draft, lost)
        await self._write_groups(draft, lost)
        self._beat()
        await self._change_finalizers(draft, lost)
        self._beat()
        counts_due = await self._upkeep.write_counts()
        self._look_again(draft, lost)
        if draft.unfinished or unfinished:
            return 0.0
        if draft.retry:
            return RETRY_DELAY
        node_due = self._state.next_time()
        due = (counts_due, self._groups.next_time(), node_due and max(0.0, node_due - time.monotonic()))
        return min((seconds for seconds in due if seconds is not None), default=IDLE_INTERVAL)

    def _look_again(self, draft: Draft, lost: set[str]) -> None:
        """Have the next pass decide anew for the groups of these ledgers; raises `LedgersLost` where it is due soon."""
        for name in lost:
            for key in draft.changed[name]:
                self._groups.touch(key)
        if tried := lost - self._state.left_out.keys():
            self._groups.look_again()
            raise LedgersLost(f"not swapped: the ledgers of {', '.join(sorted(tried))}")

    # Writing.

    async def _swap_ledgers(self, draft: Draft) -> set[str]:
        """Swap each touched ledger once; the supernodes whose swap did not surely succeed, or was not tried."""
        there = self._caches.supernodes.store
        touched = [name for name in draft.touched if ("", name) in there and name not in self._state.left_out]
        results = await self._writer.run("ledger", [self._swap(name, draft) for name in touched])
        lost = set(draft.touched) - set(touched)
        for name, result in zip(touched, results, strict=True):
            if isinstance(result, ApiError):
                lost.add(name)
                await self._not_swapped(name, result)
            else:
                self._failures.pop(name, None)
                self._state.written(name)
                self._caches.supernodes.put(result)
        return lost

    async def _not_swapped(self, name: str, problem: ApiError) -> None:
        """Read a ledger again; leave its supernode out if this happens often, or it would be chosen for ever."""
        self._observer.ledger_conflict()
        _log.warning("ledger of %s was not swapped: %s", name, problem)
        if not isinstance(problem, Conflict | NotFound):
            self._failures[name] += 1
        if self._failures[name] >= PATIENT_SWAPS:
            del self._failures[name]
            self._state.leave_out({name: str(problem)})
            if (record := self._caches.supernodes.store.get(("", name))) is not None:
                about, trouble = Reference(resources.SUPERNODES, "", name, record.uid), self._state.left_out[name]
                self._recorder.record(about, trouble.reason, trouble.message, action="Allocate", warning=True)
        await self._read_again(name)

    def _swap(self, name: str, draft: Draft) -> Any:
        ledger, added = self._state.ledgers[name], draft.added.get(name, [])
        gone = {entry.uid for entry in (*draft.removed.get(name, ()), *added)}
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
            spans = spans_text(placement.spans, placement.minimal, proven=placement.proven)
            _log.info("CardGroup %s: %d members have cards, on %s", group_text(key), len(placement.members), spans)
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
        for (group, left), result in zip(changes, await self._writer.run("groups", calls), strict=True):
            if self._keep(group, result) and names.FINALIZER_CARDS not in left:
                _log.info("CardGroup %s: its cards are free", group_text(group.key))
