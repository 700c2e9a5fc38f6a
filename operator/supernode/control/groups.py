"""What each CardGroup needs next: cards, a rollback, a confirmation, or to be let go. Reads caches, writes nothing.

The decisions of one pass are collected in a draft; the allocator writes it.
"""

import contextlib
import heapq
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from supernode.api import names
from supernode.api.conditions import ConditionType
from supernode.control import status
from supernode.control.caches import Caches
from supernode.control.conditions import is_true
from supernode.control.draft import Draft
from supernode.control.fleet import FleetState
from supernode.control.grouping import Group
from supernode.control.holds import Holds
from supernode.control.ledgers import group_text
from supernode.control.nodehealth import stranded
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.control.planner import Planner
from supernode.control.records import Key, PodRecord
from supernode.control.recovery import Homeless, Verdict, denied, recover, told
from supernode.control.seating import Seating
from supernode.control.slices import sliced
from supernode.control.waiting import Line, Turn, Version, Waiting, turn_of
from supernode.placement import Placement, Refusal
from supernode.topology.fleet import Fleet
from supernode.topology.ledger import LedgerEntry
from supernode.topology.node import Member

_log = logging.getLogger(__name__)

Json = dict[str, Any]

PASS_SECONDS = 0.1
"""Seconds of deciding in one pass, by turn at first, then for those whom passes did not reach: what is decided is
then written and told before the next ones are decided."""

HOLD_REVIEW_PAUSE = 1.0
"""Seconds between two looks at who has waited long enough for a hold: it reads every line."""

TOLD_AT_ONCE = 100
"""Groups that one pass tells why they wait. Writing this takes half a second, for which nobody else gets cards."""

WRITTEN_AT_ONCE = 200
"""Groups that one pass lets go, or tells anything else: for a second or so, in which nobody gets cards."""

MANY_SUPERNODES = 16
"""So many supernodes changed at once make the next decisions of every kind long ones."""


_Place = tuple[tuple[int, Turn], Line]
"""Of a line among those to be decided: who was missed in most passes in a row comes first (negative), then by turn."""


class Groups:
    """The groups something happened to, and those that wait for cards.

    ``on_change`` is called with a group's key when its job should look again. ``arriving`` are the uids of groups whose
    pods are being created: they hold their cards, although no cache knows of these pods yet.
    """

    def __init__(
        self,
        caches: Caches,
        state: FleetState,
        observer: Observer,
        on_change: Callable[[Key], None],
        patience: Patience,
    ) -> None:
        self._caches = caches
        self._state = state
        self._seating = Seating(state)
        self._planner = Planner(observer)
        self._on_change = on_change
        self._touched: set[Key] = set()
        self._untold: set[Key] = set()
        self._owed: dict[Key, Callable[[Draft], None]] = {}
        self._missed: dict[Line, int] = {}
        self.arriving: set[str] = set()
        self._waiting = Waiting()
        self._holds = Holds(patience)
        self._hold_time: float | None = None
        self._review_at = 0.0
        self._new = True

    def touch(self, key: Key) -> None:
        """Look at this group in the next pass."""
        self._touched.add(key)

    def touch_all(self) -> None:
        """Look at every group in the next pass."""
        self._touched.update(self._caches.groups.store.keys())

    @property
    def waiting(self) -> int:
        """How many groups wait for cards."""
        return len(self._waiting)

    def hopeful(self) -> list[Group]:
        """The groups that wait for cards, without those that no waiting can help."""
        return self._waiting.hopeful()

    def members_of(self, key: Key, uid: str) -> tuple[Member, ...] | None:
        """The members of a group whose allocation is committed in every ledger it touches, in rank order."""
        record = self._caches.groups.store.get(key)
        parts = self._state.ledgers.by_group.get(group_text(key), {}).get(uid)
        if parts is None or record is None or record.uid != uid or self._doubled(uid, parts):
            return None
        members = self._seating.members(parts)
        size = record.model.spec.members if record.model else len(members)  # whose spec cannot be read keeps its cards
        return members if _whole(members, size) else None

    # Looking at groups.

    async def draft(self) -> Draft:
        """Decide for every touched group what can be decided without a place for it; the others wait."""
        draft = Draft(self._state.fleet)
        touched = self._touched | self._state.ledgers.touched
        self._touched, self._state.ledgers.touched = set(), set()
        async for key in sliced(touched):
            if not self._looked_at(key, draft):
                self._waiting.forget(key)
        for name, ledger in self._state.ledgers.items():
            if ledger.error is not None:
                draft.changed.setdefault(name, set())
                draft.repair("unreadable", [name], f"written anew from pods and groups; it said: {ledger.error}")
        await self._enter_owed(draft)
        await self._tell_places(draft)
        return draft

    def _looked_at(self, key: Key, draft: Draft) -> bool:
        self._untold.discard(key)
        self._owed.pop(key, None)
        with self._held_apart(key, draft):
            return self._look_at(key, draft)
        return False

    @contextlib.contextmanager
    def _held_apart(self, key: Key, draft: Draft) -> Iterator[None]:
        """A group that brings a mistake of ours to light holds up no other and is tried again later."""
        try:
            yield
        except Exception:
            _log.exception("CardGroup %s cannot be looked at", group_text(key))
            self._touched.add(key)
            draft.retry = True

    def _look_at(self, key: Key, draft: Draft) -> bool:
        """Whether the group waits for cards."""
        group = self._caches.groups.store.get(key)
        held = self._state.ledgers.by_group.get(group_text(key), {})
        if not held:
            self._seating.forget(group_text(key))
        for uid, parts in held.items():
            if (group is None or group.uid != uid) and not self._in_use(key, uid):
                draft.release(key, parts)
                draft.repair("orphaned", parts, f"{group_text(key)} is gone; its cards are free again")
        if group is None:
            return False
        parts = held.get(group.uid, {})
        if group.deleting:
            self._let_go(group, parts, draft)
        elif names.FINALIZER_CARDS not in group.finalizers:
            self._owed[key] = lambda draft: draft.unprotected.append(group)
        elif doubled := self._doubled(group.uid, parts):
            self._give_up(group, parts, doubled, draft)
        elif group.model is None:
            holds = bool(parts) or is_true(group.status, ConditionType.ALLOCATED)
            self._owe(group, status.unreadable_group if holds else status.invalid_group)
        elif not self._settled(group, parts, draft):
            self._waiting.put(group, self._turn(group), now(), time.monotonic())
            return True
        return False

    def _settled(self, group: Group, parts: dict[str, LedgerEntry], draft: Draft) -> bool:
        """Whether the group has its cards, or will have them once its ledgers are mended."""
        assert group.model is not None
        members = self._seating.members(parts) if parts else ()
        if _whole(members, group.model.spec.members):
            self._confirm(group, members, parts)
            return True
        if self._recover(group, parts, draft):
            return True
        if not parts:
            return False
        if group.uid in self.arriving:
            return True  # it is looked at again when its pods are there, and tell what it holds
        draft.release(group.key, parts)
        wanted = group.model.spec.members
        text = f"{group_text(group.key)} has {len(members)} members, not each of {wanted} once; taken back"
        draft.repair("incomplete", parts, text)
        return True

    def _doubled(self, uid: str, parts: Iterable[str]) -> list[str]:
        """The supernodes, of these whose ledgers name the group, in which another group had cards of it before."""
        return [name for name in parts if uid in self._state.ledgers[name].doubled]

    def _give_up(self, group: Group, parts: Mapping[str, LedgerEntry], doubled: Iterable[str], draft: Draft) -> None:
        """Take back what was given to two groups from the one that came later, once no pod of it runs any more."""
        if self._in_use(group.key, group.uid):
            self._owe(group, lambda group, now: status.doubled_group(group, self._stranded(group.key), now))
            return
        draft.release(group.key, parts)
        text = f"cards of {group_text(group.key)} were given to another group before; it gets others"
        draft.repair("doubled", doubled, text)

    def _recover(self, group: Group, parts: dict[str, LedgerEntry], draft: Draft) -> bool:
        """Book what a group holds by its pods or its status, and nothing else; whether it holds anything."""
        if denied(group) and not parts:
            return False  # whatever pods say: anybody may have made them
        pods = [pod for pod in self._caches.pods.store.by_index("group", group.key) if pod.group_uid == group.uid]
        if not pods and not is_true(group.status, ConditionType.ALLOCATED):
            return False
        found = recover(group, parts, pods, self._state, draft.booked)
        unused = not pods and group.uid not in self.arriving
        if found is Verdict.NOTHING_HELD or (isinstance(found, Homeless) and unused):
            return False
        self.touch(group.key)  # the next pass sees whether the swap succeeded, or the supernode is there
        if isinstance(found, Homeless):
            node = found.node
            self._owe(group, lambda group, now: status.homeless_group(group, node, now))
            return True
        if isinstance(found, Verdict):
            draft.retry = True
            return True
        used = {member.supernode for member in (*found.members, *found.spares)}
        surplus = {name: entry for name, entry in parts.items() if name not in used}
        draft.release(group.key, surplus)
        changes = draft.book(group, found.members, found.spares, held=parts)
        text = f"{group_text(group.key)} holds {len(found.members)} members"
        draft.repair("rebuilt", changes, f"{text}, not all of them as the ledger said; booked again")
        draft.repair("surplus", surplus, f"{text} elsewhere; what was booked here too is free again")
        return True

    def _in_use(self, key: Key, uid: str) -> bool:
        if uid in self.arriving:
            return True
        pods = self._caches.pods.store.by_index("group", key)
        return any(not pod.finished and pod.group_uid in (None, uid) for pod in pods)

    def _stranded(self, key: Key) -> tuple[PodRecord, ...]:
        return stranded(self._caches.pods.store.by_index("group", key), self._caches.nodes.store)

    def _let_go(self, group: Group, parts: dict[str, LedgerEntry], draft: Draft) -> None:
        if self._in_use(group.key, group.uid):
            self._owe(group, lambda group, now: status.releasing_group(group, self._stranded(group.key), now))
            return
        draft.release(group.key, parts)
        if parts.keys() & self._state.left_out.keys():
            return  # its finalizer cannot go before these ledgers are written: owed for nothing, pass after pass
        if names.FINALIZER_CARDS in group.finalizers:
            self._owed[group.key] = lambda draft: draft.finalized.append(group)

    def _confirm(self, group: Group, members: Sequence[Member], parts: Mapping[str, LedgerEntry]) -> None:
        """A group whose members are all in the ledgers: its status must say so, and where they are."""
        said, spares = group.status, self._seating.spares(parts)
        if not is_true(said, ConditionType.ALLOCATED) or not told(group, parts, members, spares):
            self._untold.add(group.key)
        elif said.get("observedGeneration") != group.generation or not is_true(said, ConditionType.READY):
            self._owe(group, status.confirmed_group)

    def _owe(self, group: Group, made: Callable[[Group, datetime], Json]) -> None:
        """Have a group told this status, in this pass or in one that has time for it."""
        self._owed[group.key] = lambda draft: draft.confirmed.append((group, made(group, now())))

    async def _enter_owed(self, draft: Draft) -> None:
        """Enter what groups are owed since they were last looked at, as much as one pass has time for."""
        async for key in sliced(list(islice(self._owed, WRITTEN_AT_ONCE))):
            with self._held_apart(key, draft):
                self._owed.pop(key)(draft)
        draft.unfinished |= bool(self._owed)

    async def _tell_places(self, draft: Draft) -> None:
        """Make the statuses anew that were lost or name other places, as many as one pass has time for."""
        ends = time.perf_counter() + PASS_SECONDS
        for key in list(islice(self._untold, WRITTEN_AT_ONCE)):
            self._untold.discard(key)
            with self._held_apart(key, draft):
                await self._tell_place(key, draft)
            if time.perf_counter() > ends:
                break
        draft.unfinished |= bool(self._untold)

    async def _tell_place(self, key: Key, draft: Draft) -> None:
        group = self._caches.groups.store.get(key)
        if group is None or group.deleting or group.model is None:
            return
        members = self.members_of(key, group.uid)
        if members is None:
            return
        spares = self._seating.spares(self._state.ledgers.by_group[group_text(key)][group.uid])
        placement = await self._reconstructed(group, members, spares, draft.fleet)
        profile = draft.fleet.profiles.get(placement.profile)
        draft.confirmed.append((group, status.allocated_group(group, placement, profile, now())))
        self._on_change(key)

    async def _reconstructed(
        self, group: Group, members: tuple[Member, ...], spares: tuple[Member, ...], fleet: Fleet
    ) -> Placement:
        homes = {member.supernode for member in (*members, *spares)}
        profile = next((fleet.supernodes[name].profile.name for name in sorted(homes) if name in fleet.supernodes), "")
        answer = None
        if homes <= fleet.supernodes.keys():
            without = fleet.release((*members, *spares))
            answer = await self._planner.would_place(without, status.request_of(group))
        return status.reconstruct(profile, members, spares, answer)

    # Placing.

    def _turn(self, group: Group) -> Turn:
        return turn_of(group, self._caches.jobs.store.get(group.key))

    async def place_waiting(self, draft: Draft) -> None:
        """Find places for groups that may fit by now, by priority and age, as many as one pass has time for."""
        self._follow_fleet()
        self._waiting.time_passed(now(), time.monotonic())
        queue = await self._decide_some([((0, turn), line) for turn, line in self._waiting.queue()], draft)
        queue = await self._decide_some(
            [((-self._missed.get(line, 0), turn), line) for (_, turn), line in queue], draft
        )
        self._missed = {line: 1 - rank for (rank, _), line in queue}
        self._new &= bool(queue)
        draft.unfinished |= bool(queue)
        if time.monotonic() >= self._review_at:
            await self._review_holds(draft)
        if not queue:
            await self._retell(draft)
        for group, answer in self._waiting.to_tell(TOLD_AT_ONCE, time.monotonic()):
            self._tell(group, answer, draft)
        draft.unfinished |= self._waiting.untold

    async def _decide_some(self, queue: list[_Place], draft: Draft) -> list[_Place]:
        """Decide lines in this order for half of the pass; what is left. A dear decision at the head, which any card
        that comes free asks for again, must not keep those behind it from theirs. Until each line has had an answer
        from this leader, which knows of no hold before, nodes are held before anyone behind is decided."""
        heapq.heapify(queue)
        ends = time.perf_counter() + PASS_SECONDS / 2
        while queue and time.perf_counter() <= ends:
            _, line = heapq.heappop(queue)
            await self._decide(line, draft)
            if (turn := self._waiting.turn(line)) is not None:
                heapq.heappush(queue, ((0, turn), line))
            elif self._new and self._holds.lacks(line.heads(), now()):
                await self._review_holds(draft)
        return queue

    async def _review_holds(self, draft: Draft) -> None:
        wall, moment = now(), time.monotonic()
        self._review_at = moment + HOLD_REVIEW_PAUSE
        heads = self._waiting.heads(self._holds.turns)
        start = await self._holds.review(draft.fleet, heads, self._planner, wall, moment)
        self._hold_time = None if start is None else moment + start
        if self._holds.released:
            self._holds.released = False
            self._waiting.wake_all()
            draft.unfinished = True

    @property
    def _version(self) -> Version:
        return self._state.version, self._holds.version

    def _follow_fleet(self) -> None:
        state = self._state
        if state.reshaped:
            self._waiting.wake_all()
        else:
            self._waiting.supernodes_changed(state.fleet, state.rebuilt)
        if state.reshaped or len(state.rebuilt) > MANY_SUPERNODES:
            self._planner.expect_long()
        state.reshaped, state.rebuilt = False, set()
        self._waiting.follow(self._version)

    async def _decide(self, line: Line, draft: Draft) -> float:
        """Place the head of a line, or refuse the whole line; the processor seconds it took."""
        head, turn, seconds = line.head, line.first, 0.0
        if head is None or turn is None:
            return 0.0
        answer = line.answer_for(turn, self._version)
        if answer is None:
            found, seconds = await self._planner.decide(self._holds.open_to(draft.fleet, turn), line.ask)
            if isinstance(found, Placement):
                draft.book(head, found.members, found.spares)
                draft.placed[head.key] = (head, found)
                self._waiting.forget(head.key)
                self._holds.started(turn)
                return seconds
            answer = found
        self._waiting.refused(line, answer, self._state.fleet, self._version)
        return seconds

    def _tell(self, group: Group, answer: Refusal, draft: Draft) -> None:
        told = self._holds.explained(answer, self._turn(group), draft.fleet)
        draft.confirmed.append((group, status.waiting_group(group, told, now())))

    async def _retell(self, draft: Draft) -> None:
        """Bring the message of one waiting group up to date, if it is time for that."""
        found = self._waiting.to_retell(time.monotonic())
        if found is None:
            return
        line, group = found
        current = line.version == self._version
        seconds = 0.0 if current else await self._decide(line, draft)
        self._waiting.retold(group.key, time.monotonic(), seconds)
        if line.answer is not None and group.key in line.groups:
            self._tell(group, line.answer, draft)

    def look_again(self) -> None:
        """Ledgers are not as the last decisions supposed: none of them holds."""
        self._waiting.wake_all()

    def next_time(self) -> float | None:
        """Seconds until there is something to do that no event tells of."""
        hold = None if self._hold_time is None else max(self._hold_time, self._review_at)
        times = [due for due in (self._waiting.next_time(), hold) if due is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None


def _whole(members: Sequence[Member], size: int) -> bool:
    """Whether members, by rank, are each of a group of this size, and each once."""
    return len(members) == size and all(member.rank == rank for rank, member in enumerate(members))


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)
