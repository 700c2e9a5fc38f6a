"""Pods that take turns on a node, where a device plugin tells them apart by nothing but how many cards they ask for.

So it is by Ascend's protocol (`workload/pinning.py`): of two pods that want equally many cards of a node and are on
their way together, each may be given the other's. Hence the next one is created once a kubelet has admitted the last.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator

from supernode.control.records import PodRecord
from supernode.topology.fleet import Member

Turn = tuple[str, int]
"""A node, and how many of its cards a pod asks for."""

TURN_SECONDS = 0.5
"""Until a job looks again whether it is its pods' turn: those of another job may have been on their way."""


class Turns:
    """Who is on the way where. ``arriving`` gives the pods of a node that no kubelet has admitted yet."""

    def __init__(self, arriving: Callable[[str], Iterable[PodRecord]]) -> None:
        self._arriving = arriving
        self._creating: set[Turn] = set()

    def later(self, members: Iterable[Member]) -> frozenset[int]:
        """The ranks, of members that have no pod, whose turn it is not yet."""
        taken, later = set(self._creating), set()
        for member in members:
            turn = _turn(member)
            if turn in taken or any(_count(pod) == turn[1] for pod in self._arriving(member.node)):
                later.add(member.rank)
            taken.add(turn)
        return frozenset(later)

    @contextlib.contextmanager
    def taken(self, members: Iterable[Member]) -> Iterator[None]:
        """While pods of these members are being created no cache knows of them; it is nobody else's turn meanwhile."""
        turns = {_turn(member) for member in members} - self._creating
        self._creating |= turns
        try:
            yield
        finally:
            self._creating -= turns


def _turn(member: Member) -> Turn:
    return member.node, member.cards.bit_count()


def _count(pod: PodRecord) -> int:
    return (pod.cards or 0).bit_count()
