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
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from supernode.api import names
from supernode.api.conditions import ConditionType, Reason
from supernode.api.errors import SupernodeError
from supernode.api.supernode import SuperNode
from supernode.cluster import resources
from supernode.cluster.backoff import Backoff
from supernode.cluster.errors import ApiError, Conflict, Invalid, NotFound
from supernode.cluster.events import EventRecorder, Reference
from supernode.cluster.resources import JsonObject
from supernode.cluster.session import Session
from supernode.cluster.writer import Call, Writer
from supernode.control import status
from supernode.control.caches import Caches
from supernode.control.conditions import is_news, is_true
from supernode.control.draft import Draft
from supernode.control.fleet import FleetState
from supernode.control.grouping import Group
from supernode.control.groups import Groups, now
from supernode.control.job import finished
from supernode.control.ledgers import group_text
from supernode.control.observer import Observer
from supernode.control.outbox import Outbox, Write
from supernode.control.patience import Patience
from supernode.control.pauses import Pauses
from supernode.control.records import Custom, Key
from supernode.control.slices import sliced
from supernode.control.takeover import Deposed, check_term
from supernode.control.upkeep import Upkeep
from supernode.control.waiting import waiting_since
from supernode.control.wording import spans_text
from supernode.control.writes import finalizers_patch, status_patch
from supernode.topology.node import Member

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
        self._outbox = Outbox(writer, self._beat)
        self._caches = caches
        self._state = state
        self._recorder = recorder
        self._observer = observer
        self._on_change = on_change
        self._term = term
        self._groups = Groups(caches, state, observer, on_change, patience)
        self._upkeep = Upkeep(self._outbox, caches, state)
        self._swaps = Pauses()
        self._put_off: dict[str, Key] = {}
        self._wakeup = asyncio.Event()
        self._claims_changed = False
        self.last_pass = time.monotonic()

    # What others ask and tell.

    def group_touched(self, key: Key) -> None:
        """Something happened to a group, to one of its pods or to the ledger that names it."""
        self._groups.touch(key)
        self._wakeup.set()

    def wake(self) -> None:
        """Something happened to the fleet."""
        self._wakeup.set()

    def supernode_gone(self, record: Custom[SuperNode]) -> None:
        """A SuperNode was deleted: what was refused for it is not refused for the next one of its name."""
        name = record.key[1]
        self._swaps.succeeded(name)
        self._upkeep.forget(name)
        for write in (name, record.uid):
            self._outbox.forget(write)

    def claims_changed(self) -> None:
        """Profiles or supernodes came, went or changed, and with them what jobs ask for, or whether they can."""
        self._claims_changed = True
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
        asked_anew, self._claims_changed = self._claims_changed, False
        await self._state.refresh()
        if asked_anew:
            await self._wake_unclaimed()
        check_term(self._term, self._state.ledgers.values())
        self._take_up()
        unfinished = await self._upkeep.sync()
        self._beat()
        draft = await self._groups.draft()
        await self._groups.place_waiting(draft)
        lost = await self._swap_ledgers(draft)
        self._beat()
        await self._state.refresh()  # jobs that are told of their cards now must find them in the ledgers
        await self._tell_repairs(draft, lost)
        await self._write_groups(draft, lost)
        self._beat()
        await self._change_finalizers(draft, lost)
        self._beat()
        counts_due = await self._upkeep.write_counts()
        self._look_again(draft, lost)
        if draft.unfinished or unfinished:
            return 0.0
        node_due = self._state.next_time()
        due = [counts_due, self._groups.next_time(), node_due and max(0.0, node_due - time.monotonic())]
        due += [RETRY_DELAY if draft.retry else None, *self._pauses()]
        return min((seconds for seconds in due if seconds is not None), default=IDLE_INTERVAL)

    async def _wake_unclaimed(self) -> None:
        """Jobs that could not ask for cards, or not for the right ones, look again: it may have been the profile."""
        async for job in sliced(list(self._caches.jobs.store.values())):
            group = self._caches.groups.store.get(job.key)
            if not finished(job.status) and (group is None or is_true(group.status, ConditionType.STALLED)):
                self._on_change(job.key)

    def _pauses(self) -> list[float]:
        """Seconds until what was put off is to be written, and until ledgers that could not be written are tried."""
        return [*map(self._outbox.left, self._put_off), *map(self._swaps.left, self._on_trial())]

    def _on_trial(self) -> list[str]:
        """Ledgers that could not be written and are tried now and then: as long as the counts beside one are refused
        too, it is these that are."""
        state = self._state
        out = state.left_out.keys() & state.ledgers.keys()
        return [name for name in out if name not in state.changed or not self._outbox.failing(name)]

    def _take_up(self) -> None:
        """Look again at the groups whose writes were put off until now."""
        for name in [name for name in self._put_off if not self._outbox.left(name)]:
            key = self._put_off.pop(name)
            self._groups.touch(key)
            if key not in self._caches.groups.store:
                self._outbox.forget(name)

    def _look_again(self, draft: Draft, lost: set[str]) -> None:
        """Have the next pass decide anew for the groups of these ledgers; raises `LedgersLost` where it is due soon."""
        for name in lost:
            for key in draft.changed.get(name, ()):
                self._groups.touch(key)
        if tried := lost - self._state.left_out.keys():
            self._groups.look_again()
            raise LedgersLost(f"not swapped: the ledgers of {', '.join(sorted(tried))}")

    # Writing.

    async def _swap_ledgers(self, draft: Draft) -> set[str]:
        """Swap each touched ledger once; the supernodes whose swap did not surely succeed, or was not tried.

        A ledger that could not be swapped is tried now and then, even as it is: this tells when its supernode may give
        cards again.
        """
        left_out, there = self._state.left_out.keys(), self._caches.supernodes.store
        due = {name for name in self._on_trial() if not self._swaps.left(name)}
        calls = {}
        async for name in sliced(sorted((draft.changed.keys() - left_out) | due)):
            if (record := there.get(("", name))) is not None:
                calls[name] = self._swap(record, draft)
        results = await self._outbox.run("ledger", calls.values())
        lost = draft.changed.keys() - calls.keys()
        async for name, result in sliced(zip(calls, results, strict=True)):
            if isinstance(result, ApiError):
                lost.add(name)
                await self._not_swapped(name, result)
                continue
            if name in draft.changed:
                self._swaps.succeeded(name)
            self._state.written(name)
            self._caches.supernodes.put(result)
        return lost

    async def _not_swapped(self, name: str, problem: ApiError) -> None:
        """Read a ledger again; leave its supernode out if this happens often, or it would be chosen for ever.

        One that is left out, tried and admitted again is left out by the first swap that fails, and for longer.
        """
        self._observer.ledger_conflict()
        _log.warning("ledger of %s was not swapped: %s", name, problem)
        if name in self._state.left_out or not isinstance(problem, Conflict | NotFound):
            self._swaps.failed(name)
            if self._swaps.failures(name) >= PATIENT_SWAPS and name not in self._state.left_out:
                self._leave_out(name, problem)
        await self._read_again(name)
        self._beat()

    def _leave_out(self, name: str, problem: ApiError) -> None:
        self._state.leave_out({name: str(problem)})
        if (record := self._caches.supernodes.store.get(("", name))) is not None:
            about, trouble = Reference(resources.SUPERNODES, "", name, record.uid), self._state.left_out[name]
            self._recorder.record(about, trouble.reason, trouble.message, action="Allocate", warning=True)

    def _swap(self, record: Custom[SuperNode], draft: Draft) -> Call[JsonObject]:
        name = record.key[1]
        ledger, added = self._state.ledgers[name], draft.added.get(name, [])
        gone = {entry.uid for entry in (*draft.removed.get(name, ()), *added)}
        entries = [entry for entry in ledger.entries if entry.uid not in gone] + added
        patch = status.ledger_patch(record, entries, draft.after(name), self._state, self._term, now())
        if name in self._state.left_out:
            patch |= {"ledger": [entry.text for entry in entries], "term": self._term}
        return status_patch(resources.SUPERNODES, record.key, patch, ledger.resource_version)

    async def _tell_repairs(self, draft: Draft, lost: set[str]) -> None:
        """Say what was wrong with ledgers, once for each supernode and kind, and have the jobs look again."""
        told: dict[tuple[str, str], list[str]] = {}
        async for repair in sliced(repair for repair in draft.repairs if repair.supernode not in lost):
            self._observer.ledger_repaired(repair.kind)
            told.setdefault((repair.supernode, repair.kind), []).append(repair.message)
        async for (name, kind), messages in sliced(told.items()):
            note = messages[0] + (f" (and {len(messages) - 1} more)" if len(messages) > 1 else "")
            _log.warning("ledger of %s: %s: %s", name, kind, note)
            record = self._caches.supernodes.store.get(("", name))
            if record is not None:
                about = Reference(resources.SUPERNODES, "", name, record.uid)
                self._recorder.record(about, Reason.LEDGER_REPAIRED, note, action="Repair", warning=True)
        repaired = {name for name, _ in told}
        async for key in sliced({key for name in repaired for key in draft.changed.get(name, ())}):
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
        moment = now()
        wanted = list(draft.confirmed)
        async for key, (group, placement) in sliced(draft.placed.items()):
            if lost & {member.supernode for member in placement.held}:
                continue
            self._on_change(key)
            profile = draft.fleet.profiles.get(placement.profile)
            wanted.append((group, status.allocated_group(group, placement, profile, moment)))
            waited = (moment - waiting_since(group)).total_seconds()
            spans = spans_text(placement.spans, placement.minimal, proven=placement.proven)
            _log.info("CardGroup %s: %d members have cards, on %s", group_text(key), len(placement.members), spans)
            self._observer.allocated(len(placement.members), waited, dict(placement.spans), dict(placement.minimal))
        patches = [
            (group, patch) async for group, new in sliced(wanted) if (patch := status.difference(group.status, new))
        ]
        written = await self._write([(group, _status_of(group, patch)) async for group, patch in sliced(patches)])
        async for group, patch in sliced(patches):
            if group.uid in written:
                self._announce(group, patch)

    async def _write(self, writes: Sequence[tuple[Group, Write]]) -> set[str]:
        """Write to groups; the names of the writes that succeeded. Whose write fails, or has a pause after an earlier
        one, is looked at again when the pause is over."""
        paused = {write.name: group.key for group, write in writes if self._outbox.left(write.name)}
        self._put_off |= paused
        due = [(group, write) for group, write in writes if write.name not in paused]
        results = await self._outbox.write("groups", [write for _, write in due], self._caches.groups)
        written = set()
        for (group, write), result in zip(due, results, strict=True):
            if not isinstance(result, ApiError):
                written.add(write.name)
            elif not isinstance(result, NotFound):
                self._put_off[write.name] = group.key
            if isinstance(result, Invalid):
                about = Reference(resources.CARDGROUPS, *group.key, group.uid)
                note = f"the API server takes nothing that is written to this group: {result.message}"
                self._recorder.record(about, Reason.INVALID_SPEC, note, action="Allocate", warning=True)
        return written

    def _announce(self, group: Group, patch: dict[str, Any]) -> None:
        """Post what happened to a group, once: what a refusal counts changes with every job that comes or goes."""
        for condition in patch.get("conditions", ()):
            if condition["type"] != ConditionType.ALLOCATED or condition["reason"] == Reason.WAITING_FOR_CARDS:
                continue
            if is_news(group.status, condition):
                about = Reference(resources.CARDGROUPS, *group.key, group.uid)
                refused = condition["status"] != "True"
                reason, message = condition["reason"], condition["message"]
                self._recorder.record(about, reason, message, action="Allocate", warning=refused)

    async def _change_finalizers(self, draft: Draft, lost: set[str]) -> None:
        """The finalizer goes once the ledgers are rid of the group, and comes before they ever name it."""
        by_group = self._state.ledgers.by_group
        changes = [
            (group, [f for f in group.finalizers if f != names.FINALIZER_CARDS])
            for group in draft.finalized
            if not lost & by_group.get(group_text(group.key), {}).get(group.uid, {}).keys()
        ]
        changes += [(group, [*group.finalizers, names.FINALIZER_CARDS]) for group in draft.unprotected]
        writes = [(group, _finalizers_of(group, finalizers)) async for group, finalizers in sliced(changes)]
        written = await self._write(writes)
        for (group, write), (_, left) in zip(writes, changes, strict=True):
            if write.name in written and names.FINALIZER_CARDS not in left:
                _log.info("CardGroup %s: its cards are free", group_text(group.key))


def _status_of(group: Group, patch: dict[str, Any]) -> Write:
    call = status_patch(resources.CARDGROUPS, group.key, patch, group.resource_version)
    return Write(group.uid, f"CardGroup {group_text(group.key)}", call)


def _finalizers_of(group: Group, finalizers: list[str]) -> Write:
    """What is refused for a group's status may be granted for its finalizers, and has pauses of its own."""
    call = finalizers_patch(resources.CARDGROUPS, group.key, finalizers, group.uid, group.resource_version)
    return Write(f"finalizers of {group.uid}", f"CardGroup {group_text(group.key)}", call)
