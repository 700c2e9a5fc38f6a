"""Pods that take turns on a node, where a device plugin tells them apart by nothing but how many cards they ask for.

So it is by Ascend's protocol (`workload/pinning.py`): of two pods that want equally many cards of a node and are on
their way together, each may be given the other's. Hence the next one is created once a kubelet has admitted the last.

Nobody waits for ever for a pod that is not on its way although it seems to be: one without a scheduler, one that a gate
holds, one that only carries a group's label.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from supernode.control.records import PodRecord
from supernode.topology.node import Member

Turn = tuple[str, int]
"""A node, and how many of its cards a pod asks for."""

TURN_SECONDS = 0.5
"""Until a job looks again whether it is its pods' turn: those of another job may have been on their way."""

UNBOUND_SECONDS = 30.0
"""So long a pod that has no node counts as on its way: a scheduler that looks at it binds it or says that it cannot."""

LONG_SECONDS = 5.0
"""A pod that is on its way for longer is told of to those who wait for it, and they look again as rarely."""

DOUBT_SECONDS = 10.0
"""So long it stays the turn of pods whose creation got no answer: they may have come, and no cache know it yet."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Turns:
    """Who is on the way where. ``arriving`` gives the pods of a node that no kubelet has admitted yet, ``seated`` says
    of one whether its group has cards of that node."""

    def __init__(
        self, arriving: Callable[[str], Iterable[PodRecord]], seated: Callable[[PodRecord], bool] = lambda _: True
    ) -> None:
        self._arriving = arriving
        self._seated = seated
        self._creating: set[Turn] = set()
        self._doubtful: dict[Turn, list[tuple[float, Member]]] = {}

    def later(self, members: Iterable[Member], now: datetime) -> dict[int, PodRecord | None]:
        """The ranks, of members that have no pod, whose turn it is not yet, and the pod each waits for; ``None`` where
        that has yet to be created."""
        taken, later = set(self._creating), dict[int, PodRecord | None]()
        for member in members:
            turn = _turn(member)
            before = self._before(turn, now)
            if turn in taken or before is not None or self._is_anothers(member):
                later[member.rank] = before
            taken.add(turn)
        return later

    def _before(self, turn: Turn, now: datetime) -> PodRecord | None:
        """The pod, of those on their way whose turn it is, that has been for longest."""
        node, cards = turn
        there = (pod for pod in self._arriving(node) if _count(pod) == cards and _comes(pod, now))
        return min(filter(self._seated, there), key=_order, default=None)

    def _is_anothers(self, member: Member) -> bool:
        """Whether it may be the turn of a pod of another member, whose creation got no answer not long ago."""
        now = time.monotonic()
        return any(until > now and other != member for until, other in self._doubtful.get(_turn(member), ()))

    @contextlib.contextmanager
    def taken(self, members: Iterable[Member]) -> Iterator[None]:
        """While pods of these members are being created no cache knows of them; it is nobody else's turn meanwhile."""
        turns = {_turn(member) for member in members} - self._creating
        self._creating |= turns
        try:
            yield
        finally:
            self._creating -= turns

    def doubt(self, members: Iterable[Member]) -> None:
        """The creation of these members' pods got no answer: it stays their turn for a while."""
        now = time.monotonic()
        self._doubtful = {turn: known for turn, known in self._doubtful.items() if known[-1][0] > now}
        for member in members:
            known = self._doubtful.get(_turn(member), ())
            others = [(until, other) for until, other in known if until > now and other != member]
            self._doubtful[_turn(member)] = [*others, (now + DOUBT_SECONDS, member)]


def long_awaited(later: Mapping[int, PodRecord | None], now: datetime) -> PodRecord | None:
    """The pod that ranks wait for which has been on its way for longest, if that is long."""
    awaited = min((pod for pod in later.values() if pod is not None), key=_order, default=None)
    return awaited if awaited is not None and _age(awaited, now) > LONG_SECONDS else None


def _comes(pod: PodRecord, now: datetime) -> bool:
    return pod.node is not None or _age(pod, now) < UNBOUND_SECONDS


def _age(pod: PodRecord, now: datetime) -> float:
    """Seconds since it was created."""
    return (now - (pod.created or now)).total_seconds()


def _order(pod: PodRecord) -> tuple[datetime, tuple[str, str]]:
    return pod.created or _LONG_AGO, pod.key


def _turn(member: Member) -> Turn:
    return member.node, member.cards.bit_count()


def _count(pod: PodRecord) -> int:
    return (pod.cards or 0).bit_count()
