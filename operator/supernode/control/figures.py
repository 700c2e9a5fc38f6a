"""What the engine knows at one moment. It is taken on the engine's loop, in next to no time, and read in any thread."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from supernode.cluster.reflector import Reflector
from supernode.control.grouping import Group
from supernode.control.waiting import waiting_since
from supernode.topology.fleet import Fleet


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """A cache: the plural of its resource, how many objects it holds, and how it is kept.

    ``age`` is the seconds since the server last told anything of it, ``relists`` and ``errors`` count full lists and
    attempts to list or watch that failed.
    """

    resource: str
    objects: int
    age: float
    relists: int
    errors: int

    @classmethod
    def of(cls, reflector: Reflector[Any]) -> Self:
        """The cache that a reflector keeps."""
        age = time.monotonic() - reflector.last_activity
        return cls(reflector.resource.plural, len(reflector.store), age, reflector.relists, reflector.errors)


@dataclass(frozen=True, slots=True)
class LeaderFigures:
    """The fleet and the work as the leader sees them at a ``moment``.

    ``unassigned`` is how many nodes of each profile are in no supernode, ``jobs`` how many jobs are in which phase.
    ``waiting`` is how many groups wait for cards, ``hopeful`` are those of them that waiting can help. ``silence`` is
    the seconds since the allocator's last pass, ``queued`` how many jobs wait for a worker. ``write_limit`` is how many
    writes may go on side by side, ``writes_waiting`` how many wait for their turn. ``events_dropped`` counts the Events
    that were not posted in this term.
    """

    fleet: Fleet
    unassigned: Mapping[str, int]
    jobs: Mapping[str, int]
    waiting: int
    hopeful: Sequence[Group]
    moment: datetime
    silence: float
    queued: int
    write_limit: int
    writes_waiting: int
    events_dropped: int

    def longest_wait(self) -> float:
        """Seconds that the first of the ``hopeful`` has waited, 0 without any; it looks at all of them."""
        since = min(map(waiting_since, self.hopeful), default=self.moment)
        return max(0.0, (self.moment - since).total_seconds())


@dataclass(frozen=True, slots=True)
class Figures:
    """What a replica knows: whether all caches are filled, the caches, and its view as the leader if it leads."""

    ready: bool
    caches: tuple[CacheFigures, ...]
    leader: LeaderFigures | None
