"""What a decision returns: a placement, or a refusal that says why with numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from supernode.api.conditions import Reason
from supernode.topology.node import Member


@dataclass(frozen=True, slots=True)
class Box:
    """The part of a ring or torus that a group took.

    domain: of this level. anchor: its first cell, from where it may wrap; extents: cells along each axis. A cell is one
    child of the domain, of `unit` cards along each axis; unit is empty where the profile does not say.
    """

    level: str
    domain: str
    anchor: tuple[int, ...]
    extents: tuple[int, ...]
    unit: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a group goes.

    members: by rank. spares: held for repairs, by their own index in place of a rank. spans: level (node and above) to
    how many of its domains the members touch. minimal: the lexicographic minimum of the spans, outermost level first,
    among all legal placements; when `proven` is false the search budget ran out and minimal is the best known lower
    bound. box: where the group takes part of a ring or torus.
    """

    profile: str
    members: tuple[Member, ...]
    spans: Mapping[str, int] = field(hash=False)
    minimal: Mapping[str, int] = field(hash=False)
    proven: bool = True
    box: Box | None = None
    spares: tuple[Member, ...] = ()

    @property
    def held(self) -> tuple[Member, ...]:
        """Members and spares: all whose cards are taken."""
        return self.members + self.spares

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Placement) and self._content == other._content

    @property
    def _content(self) -> tuple[object, ...]:
        return self.profile, self.members, self.spans, self.minimal, self.proven, self.box, self.spares


class LaterPlacement(Placement):
    """A placement that makes its members when they are first asked for.

    What is decided are nodes, kept in columns; a group of thousands that is only asked whether it fits, or how tightly,
    need not pay for an object of each member.
    """

    @classmethod
    def of(
        cls,
        profile: str,
        make: Callable[[], tuple[Member, ...]],
        spans: Mapping[str, int],
        minimal: Mapping[str, int],
        proven: bool,
    ) -> LaterPlacement:
        """make: the members, by rank."""
        found = cls.__new__(cls)
        found.__dict__.update(profile=profile, _make=make, spans=spans, minimal=minimal, proven=proven)
        return found

    @cached_property
    def members(self) -> tuple[Member, ...]:
        make: Callable[[], tuple[Member, ...]] = self.__dict__["_make"]
        return make()


@dataclass(frozen=True, slots=True)
class Opening:
    """Cards of one domain that would have to come free: node name to bitmask, of nodes under it."""

    domain: str
    supernode: str
    nodes: Mapping[str, int] = field(hash=False)

    @property
    def cards(self) -> int:
        return sum(mask.bit_count() for mask in self.nodes.values())


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a group has no place.

    level: the level that failed, if one did. needed, best: members that had to lie together and the most that could; 0
    where no count applies. stalled: true when waiting cannot help, because the request breaks a rule or would not fit
    the fleet with every card healthy and free. proven: false when a search budget ended the search.

    change: cards that, once free, healthy and schedulable, would give the group its place; empty when none is known.
    least: no change of fewer cards would do, on any profile.
    """

    reason: Reason
    message: str
    level: str | None = None
    needed: int = 0
    best: int = 0
    stalled: bool = False
    proven: bool = True
    change: tuple[Opening, ...] = ()
    least: bool = False

    @property
    def cards(self) -> int:
        """Cards of the change."""
        return sum(opening.cards for opening in self.change)
