"""What the engine knows at one moment. It is taken on the engine's loop, in next to no time, and read in any thread."""

from collections.abc import Mapping
from dataclasses import dataclass

from supernode.topology.fleet import Fleet


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """A cache: the plural of its resource and how many objects it holds."""

    resource: str
    objects: int


@dataclass(frozen=True, slots=True)
class LeaderFigures:
    """The fleet and the work as the leader sees them.

    ``unassigned`` is how many nodes of each profile are in no supernode, ``waiting`` how many groups wait for cards,
    ``queued`` how many jobs wait for a worker, ``write_limit`` how many writes may go on side by side.
    """

    fleet: Fleet
    unassigned: Mapping[str, int]
    waiting: int
    queued: int
    write_limit: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What a replica knows: whether all caches are filled, the caches, and its view as the leader if it leads."""

    ready: bool
    caches: tuple[CacheFigures, ...]
    leader: LeaderFigures | None
