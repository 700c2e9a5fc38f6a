"""What each CardGroup needs next: cards, a rollback, a confirmation, or to be let go. Reads caches, writes nothing.

The decisions of one pass are collected in a :class:`Draft`; the allocator writes them.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from supernode.api import names
from supernode.api.cardgroup import CardGroup
from supernode.api.conditions import ConditionType, Reason
from supernode.api.errors import SupernodeError
from supernode.control import status
from supernode.control.caches import Caches
from supernode.control.conditions import is_true
from supernode.control.fleet import FleetState, group_key, group_text
from supernode.control.observer import Observer
from supernode.control.records import Custom, Key, parse_time
from supernode.control.seating import Seating
from supernode.placement import Placement, Refusal, plan
from supernode.topology.fleet import Fleet, Member
from supernode.topology.ledger import LedgerEntry, decode_placement, entries_for
from supernode.topology.views import held_cards

_log = logging.getLogger(__name__)

Group = Custom[CardGroup]

PLANNING_SLICE = 0.020
"""Seconds of planning in one pass: the loop also serves watches, probes and writers, which must not wait longer."""


@dataclass(slots=True)
class Draft:
    """What one pass wants to change, before anything is written. ``fleet`` is the snapshot after all of it."""

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

    def release(self, parts: Mapping[str, LedgerEntry]) -> None:
        """Take a group's entries out of the ledgers of these supernodes."""
        for name, entry in parts.items():
            self.removed.setdefault(name, set()).add(entry.uid)
            if (view := self.fleet.supernodes.get(name)) is not None:
                self.fleet = self.fleet.replace(view.release(held_cards([entry])))

    def book(self, group: Group, members: Sequence[Member], spares: Sequence[Member]) -> None:
        """Enter a group's members and spares into the ledgers of the supernodes they lie in."""
        for name, entry in entries_for(group_text(group.key), group.uid, members, spares).items():
            self.added.setdefault(name, []).append(entry)
        self.fleet = self.fleet.take((*members, *spares))


class Groups:
    """The groups something happened to, and those that wait for cards.

    ``on_change`` is called with a group's key when its job should look again. ``arriving`` are the uids of groups whose
    pods are being created: they hold their cards, although no cache knows of these pods yet.
    """

    def __init__(self, caches: Caches, state: FleetState, observer: Observer, on_change: Callable[[Key], None]) -> None:
        self._caches = caches
        self._state = state
        self._seating = Seating(state)
        self._observer = observer
        self._on_change = on_change
        self._touched: set[Key] = set()
        self.arriving: set[str] = set()
        self._waiting: dict[Key, Group] = {}
        self._tried: dict[Key, int] = {}
        self._recheck: dict[Key, float] = {}

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

    def members_of(self, key: Key, uid: str) -> tuple[Member, ...] | None:
        """The members of a group whose allocation is committed in every ledger it touches, in rank order."""
        record = self._caches.groups.store.get(key)
        parts = self._state.by_group.get(group_text(key), {}).get(uid)
        if parts is None or record is None or record.model is None or record.uid != uid:
            return None
        members = self._seating.members(parts)
        return members if len(members) == record.model.spec.members else None

    # Looking at groups.

    def draft(self) -> Draft:
        """Decide for every touched group and for those that wait."""
        draft = Draft(self._state.fleet)
        touched = self._touched | self._state.touched | self._orphans()
        self._touched, self._state.touched = set(), set()
        for key in touched:
            self._look_at(key, draft)
        self._place_waiting(draft)
        return draft

    def _orphans(self) -> set[Key]:
        """Groups that ledgers name and that are gone: their finalizer was removed by force."""
        return {key for text in self._state.by_group if (key := group_key(text)) not in self._caches.groups.store}

    def _look_at(self, key: Key, draft: Draft) -> None:
        group = self._caches.groups.store.get(key)
        held = self._state.by_group.get(group_text(key), {})
        for uid, parts in held.items():
            if (group is None or group.uid != uid) and not self._in_use(key, uid):
                draft.release(parts)
        self.forget(key)
        if group is None:
            return
        parts = held.get(group.uid, {})
        if group.deleting:
            self._let_go(group, parts, draft)
        elif names.FINALIZER_CARDS not in group.finalizers:
            draft.unprotected.append(group)
        elif group.model is None:
            draft.confirmed.append((group, status.invalid_group(group, now())))
        elif parts:
            self._check_held(group, parts, draft)
        elif not self._book_again(group, draft):
            self._waiting[key] = group

    def forget(self, key: Key) -> None:
        """The group does not wait any more."""
        self._waiting.pop(key, None)
        self._tried.pop(key, None)
        self._recheck.pop(key, None)

    def _in_use(self, key: Key, uid: str) -> bool:
        if uid in self.arriving:
            return True
        pods = self._caches.pods.store.by_index("group", key)
        return any(not pod.finished and pod.group_uid in (None, uid) for pod in pods)

    def _let_go(self, group: Group, parts: dict[str, LedgerEntry], draft: Draft) -> None:
        if self._in_use(group.key, group.uid):
            draft.confirmed.append((group, status.releasing_group(group, now())))
            return
        draft.release(parts)
        if names.FINALIZER_CARDS in group.finalizers:
            draft.finalized.append(group)

    def _check_held(self, group: Group, parts: dict[str, LedgerEntry], draft: Draft) -> None:
        """A group the ledgers know: complete, so its status must say so; or cut short, so it is rolled back."""
        assert group.model is not None
        members = self._seating.members(parts)
        if len(members) != group.model.spec.members:
            draft.release(parts)
            draft.unfinished = True
            self.touch(group.key)
            return
        if is_true(group.status, ConditionType.ALLOCATED):
            if group.status.get("observedGeneration") != group.generation:
                draft.confirmed.append((group, status.confirmed_group(group)))
            return
        placement = status.reconstruct(draft.fleet, group, members, self._seating.spares(parts))
        draft.confirmed.append(
            (group, status.allocated_group(group, placement, draft.fleet.profiles.get(placement.profile), now()))
        )
        self._on_change(group.key)

    def _book_again(self, group: Group, draft: Draft) -> bool:
        """A group allocated by its status but in no ledger: a ledger was lost. Book it again if that still can be."""
        if not is_true(group.status, ConditionType.ALLOCATED):
            return False
        try:
            members, spares = (
                [Member(seat.rank, supernode, seat.node, seat.cards) for supernode, seat in decode_placement(runs)]
                for runs in (group.status.get("placement", ()), group.status.get("spares", ()))
            )
        except SupernodeError:
            return False
        for member in (*members, *spares):
            ledger = self._state.ledgers.get(member.supernode)
            view = draft.fleet.supernodes.get(member.supernode)
            if ledger is None or view is None or member.node not in view.layout.index:
                return False
            if ledger.booked.get(member.node, 0) & member.cards:
                return False
        _log.warning("%s holds cards that no ledger names: booked again", group_text(group.key))
        draft.book(group, members, spares)
        self.touch(group.key)  # the next pass sees whether the swap succeeded
        return True

    # Placing.

    def _place_waiting(self, draft: Draft) -> None:
        moment = time.monotonic()
        due = [
            group
            for key, group in self._waiting.items()
            if self._tried.get(key) != self._state.generation or self._recheck.get(key, moment + 1) <= moment
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
        waited = (now() - waiting_since(group)).total_seconds()
        answer, recheck = _decide(draft.fleet, group, waited)
        outcome = "placed" if isinstance(answer, Placement) else str(answer.reason)
        self._observer.decided(outcome, time.perf_counter() - started)
        if recheck is not None:
            self._recheck[group.key] = time.monotonic() + recheck
        if isinstance(answer, Placement):
            draft.book(group, answer.members, answer.spares)
            draft.placed[group.key] = (group, answer)
        else:
            self._tried[group.key] = self._state.generation
            draft.confirmed.append((group, status.waiting_group(group, answer, now())))

    def next_recheck(self) -> float | None:
        """Seconds until the answer to a waiting group may change by time alone."""
        return max(0.0, min(self._recheck.values()) - time.monotonic()) if self._recheck else None


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
    message = f"waits for one domain of level {preferred.level}, at most {preferred.wait}: {narrow.message}"
    return replace(narrow, reason=Reason.PREFERRED_LEVEL_WAIT, message=message, level=preferred.level), rest


def _turn(group: Group) -> tuple[int, datetime, Key]:
    """Priority first, then age."""
    priority = group.model.spec.priority if group.model else 0
    return (-priority, group.created, group.key)


def waiting_since(group: Group) -> datetime:
    """Since when a group waits for cards."""
    return parse_time(group.status.get("waitingSince")) or group.created


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)
