"""The groups that wait for cards: who is to be decided next, and whose message is to be brought up to date.

Groups that ask for the same stand in one line: a refusal of its head is the answer to all of them. A refused line
sleeps until supernodes offer what it needs. No clock here: times are given in seconds of a monotonic clock.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple

from supernode.api.cardgroup import CardGroupSpec
from supernode.api.conditions import ConditionType, Reason
from supernode.control.conditions import find
from supernode.control.grouping import Group, request_for
from supernode.control.planner import Ask
from supernode.control.records import Custom, Key, parse_time
from supernode.control.sleepers import Sleepers
from supernode.placement import Refusal, Request, needs
from supernode.topology.fleet import Fleet

Turn = tuple[int, datetime, Key]

RETELL_SECONDS = 10.0
"""A waiting group's message is written at most so often for the sake of numbers alone."""

RETELL_PAUSE = 0.5
"""Seconds between two such writes of different groups: thousands of waiting groups must not flood the API server."""

RETELL_SHARE = 0.01
"""The share of a core that keeping messages up to date may take."""


def turn_of(group: Group, job: Custom[Any] | None) -> Turn:
    """Priority first, then age: that of the job which owns the group, as a job that is placed again has a new group, or
    else the group's own. job: the one of the group's name, if there is any."""
    priority = group.model.spec.priority if group.model else 0
    created = job.created if job is not None and job.uid == group.owner_uid else group.created
    return (-priority, created, group.key)


def waiting_since(group: Group) -> datetime:
    """Since when a group waits for cards."""
    return parse_time(group.status.get("waitingSince")) or group.created


Version = tuple[int, int]
"""Of the fleet's snapshot and of the holds."""

_NONE: Version = (-1, -1)


class Head(NamedTuple):
    """The first of its priority of those who ask for the same, and the profiles whose cards could help."""

    turn: Turn
    group: Group
    request: Request
    profiles: frozenset[str]


@dataclass(slots=True, eq=False)
class Line:
    """Groups that ask for the same. ``answer`` is the last refusal, given on the snapshot of this ``version`` to the
    head of this ``turn``, and ``profiles`` are those whose cards could help. An answer of no version holds no more.

    ``untold`` are those whose status tells no answer yet.
    """

    ask: Ask
    groups: dict[Key, Group] = field(default_factory=dict)
    untold: dict[Key, Group] = field(default_factory=dict)
    answer: Refusal | None = None
    version: Version = _NONE
    turn: Turn | None = None
    profiles: frozenset[str] = frozenset()
    _turn_of: dict[Key, Turn] = field(default_factory=dict)
    _orders: dict[int, list[Turn]] = field(default_factory=dict)
    _left: int = 0

    def add(self, group: Group, turn: Turn) -> None:
        """Join the line."""
        self._turn_of[group.key] = turn
        heapq.heappush(self._orders.setdefault(turn[0], []), turn)
        self.renew(group)

    def renew(self, group: Group) -> bool:
        """Take the group as it is now; whether its status tells it no answer yet."""
        self.groups[group.key] = group
        told = find(group.status, ConditionType.ALLOCATED)
        if told.get("status") == "False" and told.get("observedGeneration") == group.generation:
            self.untold.pop(group.key, None)
            return False
        self.untold[group.key] = group
        return True

    def remove(self, key: Key) -> None:
        """Leave the line. Turns of those who left are dropped once they are first, or are more than the others."""
        self.groups.pop(key, None)
        self.untold.pop(key, None)
        self._turn_of.pop(key, None)
        self._left += 1
        if self._left > len(self.groups):
            self._left, self._orders = 0, {}
            for turn in sorted(self._turn_of.values()):
                self._orders.setdefault(turn[0], []).append(turn)

    def turn_of(self, key: Key) -> Turn:
        """The turn of a group that stands here."""
        return self._turn_of[key]

    def answer_for(self, turn: Turn, version: Version) -> Refusal | None:
        """The last refusal if it holds now: whoever comes later in turn has no more to choose from, others may have."""
        known = self.version == version and self.turn is not None and self.turn <= turn
        return self.answer if known else None

    @property
    def first(self) -> Turn | None:
        """The turn of its head, ``None`` when nobody stands here."""
        return next(self.turns(), None)

    @property
    def head(self) -> Group | None:
        """The group whose turn it is, ``None`` when nobody stands here."""
        turn = self.first
        return None if turn is None else self.groups[turn[2]]

    def turns(self) -> Iterator[Turn]:
        """Those of the first of each priority, in order."""
        for priority in sorted(self._orders):
            order = self._orders[priority]
            while order and self._turn_of.get(order[0][2]) != order[0]:
                heapq.heappop(order)
            if order:
                yield order[0]
            else:
                del self._orders[priority]

    def heads(self) -> list[Head]:
        """The first of each priority, if cards held back could help."""
        return [] if _helpless(self.answer) else [self.head_at(turn) for turn in self.turns()]

    def head_at(self, turn: Turn) -> Head:
        """One that stands here."""
        return Head(turn, self.groups[turn[2]], self.ask.request, self.profiles)


class Waiting:
    """Every group that waits for cards."""

    def __init__(self) -> None:
        self._lines: dict[Ask, Line] = {}
        self._line_of: dict[Key, Line] = {}
        self._awake: dict[Ask, Line] = {}
        self._sleepers: Sleepers[Ask] = Sleepers()
        self._until: dict[Key, float] = {}
        self._told: dict[Key, float] = {}
        self._mute: dict[Ask, Line] = {}
        self._round: deque[Key] = deque()
        self._round_version: Version = _NONE
        self._retell_at = 0.0

    def __len__(self) -> int:
        return len(self._line_of)

    def hopeful(self) -> list[Group]:
        """Those of them that waiting can help, as far as is known: not those whose request is wrong."""
        lines = (line for line in self._lines.values() if line.answer is None or not line.answer.stalled)
        return [group for line in lines for group in line.groups.values()]

    # Coming and going.

    def put(self, group: Group, turn: Turn, wall: datetime, moment: float) -> None:
        """The group waits. One that waited before and asks for the same keeps its place and wakes nobody, but for one
        whose status could not be written: it has still to be told."""
        line = self._line_of.get(group.key)
        if line is not None and line.turn_of(group.key) == turn:
            before = line.groups[group.key]
            if (before.uid, before.generation) == (group.uid, group.generation):
                if line.renew(group):
                    self._wake(line)
                return
        self.drop(group.key)
        self._join(group, turn, wall, moment)

    def _join(self, group: Group, turn: Turn, wall: datetime, moment: float) -> None:
        assert group.model is not None
        ask, rest = ask_of(group.model.spec, waiting_since(group), wall)
        if rest is not None:
            self._until[group.key] = moment + rest
        line = self._lines.get(ask)
        if line is None:
            line = self._lines[ask] = Line(ask)
        line.add(group, turn)
        self._line_of[group.key] = line
        self._wake(line)

    def drop(self, key: Key) -> None:
        """The group does not wait any more."""
        line = self._line_of.pop(key, None)
        self._until.pop(key, None)
        if line is None:
            return
        line.remove(key)
        if not line.groups:
            del self._lines[line.ask]
            self._awake.pop(line.ask, None)
            self._sleepers.discard(line.ask)

    def forget(self, key: Key) -> None:
        """The group is gone, or has its cards."""
        self.drop(key)
        self._told.pop(key, None)

    def _wake(self, line: Line) -> None:
        self._sleepers.discard(line.ask)
        self._awake[line.ask] = line

    # What happened.

    def supernodes_changed(self, fleet: Fleet, changed: set[str]) -> None:
        """Wake the lines that may fit after these supernodes changed."""
        for ask in self._sleepers.woken(fleet, changed):
            self._awake[ask] = self._lines[ask]

    def wake_all(self) -> None:
        """Anything may fit by now, and no answer holds any more."""
        self._sleepers.rouse()
        self._awake.update(self._lines)
        for line in self._lines.values():
            line.version = _NONE

    def time_passed(self, wall: datetime, moment: float) -> None:
        """Wake the groups that prefer a level no longer."""
        for key in [key for key, until in self._until.items() if until <= moment]:
            line = self._line_of[key]
            group, turn = line.groups[key], line.turn_of(key)
            self.drop(key)
            self._join(group, turn, wall, moment)

    def next_time(self) -> float | None:
        """When the answer to some group changes by time alone, or the next message is to be brought up to date."""
        times = list(self._until.values())
        if self._round:
            times.append(max(self._retell_at, self._due(self._round[0])))
        return min(times, default=None)

    # Deciding.

    def queue(self) -> list[tuple[Turn, Line]]:
        """The lines to be decided, by the turn of their heads."""
        firsts = ((line.first, line) for line in self._awake.values())
        return sorted(((turn, line) for turn, line in firsts if turn is not None), key=itemgetter(0))

    def turn(self, line: Line) -> Turn | None:
        """The turn of a line that is still to be decided, ``None`` for one that is not."""
        return line.first if line.ask in self._awake else None

    def refused(self, line: Line, answer: Refusal, fleet: Fleet, version: Version) -> None:
        """All of the line sleep with this answer; who has not been told any yet is to be told this one."""
        line.answer, line.version = answer, version
        line.turn = line.first
        self._awake.pop(line.ask, None)
        request = line.ask.narrow if answer.reason == Reason.PREFERRED_LEVEL_WAIT else line.ask.request
        needed = needs(fleet, request)
        line.profiles = frozenset(need.measure.profile for need in needed)
        self._sleepers.add(line.ask, needed, fleet)
        if line.untold:
            self._mute[line.ask] = line

    def heads(self, holders: Iterable[Turn] = ()) -> list[Head]:
        """The first of each priority of all lines that cards held back could help, by turn; with those for whom nodes
        are held by now, although a job that is placed again may have come before them in their line."""
        found = {head.turn: head for line in self._lines.values() for head in line.heads()}
        for turn in holders:
            line = self._line_of.get(turn[2])
            if line is not None and not _helpless(line.answer) and line.turn_of(turn[2]) == turn:
                found[turn] = line.head_at(turn)
        return sorted(found.values(), key=itemgetter(0))

    # Telling.

    def to_tell(self, most: int, moment: float) -> list[tuple[Group, Refusal]]:
        """Some of those that sleep and know no answer, with it. They count as told now."""
        found: list[tuple[Group, Refusal]] = []
        while self._mute and len(found) < most:
            ask, line = next(iter(self._mute.items()))
            if line.answer is None or ask in self._awake or not line.untold:
                del self._mute[ask]  # awake again, or gone
                continue
            key, group = next(iter(line.untold.items()))
            del line.untold[key]
            self._told[key] = moment
            found.append((group, line.answer))
        return found

    @property
    def untold(self) -> bool:
        """Whether there may be more of them."""
        return bool(self._mute)

    def follow(self, version: Version) -> None:
        """A new snapshot: all messages are to be looked at, one after the other, once the last round has ended."""
        if not self._round and self._round_version != version:
            self._round_version = version
            self._round.extend(key for _, _, key in sorted(line.turn_of(k) for k, line in self._line_of.items()))

    def _due(self, key: Key) -> float:
        return self._told.get(key, 0.0) + RETELL_SECONDS

    def to_retell(self, moment: float) -> tuple[Line, Group] | None:
        """The group whose message is to be brought up to date now, if any."""
        while self._round and self._round[0] not in self._line_of:
            self._round.popleft()
        if not self._round or moment < max(self._retell_at, self._due(self._round[0])):
            return None
        key = self._round.popleft()
        line = self._line_of[key]
        return line, line.groups[key]

    def retold(self, key: Key, moment: float, seconds: float) -> None:
        """A message was looked at, at the cost of so many seconds."""
        self._told[key] = moment
        self._retell_at = moment + max(RETELL_PAUSE, seconds / RETELL_SHARE)


def _helpless(answer: Refusal | None) -> bool:
    """Whether no card held back can help: the request is wrong, or a place is there and a better one is waited for."""
    return answer is None or answer.stalled or answer.reason == Reason.PREFERRED_LEVEL_WAIT


def ask_of(spec: CardGroupSpec, since: datetime, wall: datetime) -> tuple[Ask, float | None]:
    """What a group that waits since then asks for now, and the seconds until it asks for something else."""
    request = request_for("", spec)
    preferred = spec.topology.preferred if spec.topology else None
    if preferred is None:
        return Ask(request), None
    over = since + timedelta(seconds=preferred.wait_seconds)
    rest = (over - wall).total_seconds()
    if rest <= 0:
        return Ask(request), None
    return Ask(request, (preferred.level, preferred.wait)), rest
