"""What is asked for, and whether a profile's rules allow it at all, whatever is free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Block:
    """Each run of `members` consecutive ranks must lie in one domain of `level`."""

    level: str
    members: int


@dataclass(frozen=True, slots=True)
class Spares:
    """Each domain of `within` that holds ranks also holds `members` more members, for repairs. within: None is the
    required level, or the outermost."""

    members: int
    within: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A group to place: `members` of `cards_per_member` cards each, all or nothing.

    profile: only this profile. resource: only profiles that count their cards by it. precision: only profiles whose
    cards compute in it. required: the whole group lies in one domain of this level. preferred: and in one of this
    level, which says nothing of where its spares lie. max_span: level to the most domains of it the group may touch.
    spares: what is held for repairs besides the members. objective: bandwidth | latency. shape: extents in cards of the
    box of a torus to take; empty: any.
    """

    name: str
    members: int
    cards_per_member: int = 1
    profile: str | None = None
    resource: str | None = None
    precision: str | None = None
    required: str | None = None
    preferred: str | None = None
    blocks: tuple[Block, ...] = ()
    max_span: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    spares: Spares | None = None
    objective: str = "bandwidth"
    shape: tuple[int, ...] = ()

    @property
    def cards(self) -> int:
        return self.members * self.cards_per_member

    @classmethod
    def of_blocks(cls, name: str, members: int, cards_per_member: int, blocks: Iterable[tuple[str, int]]) -> Request:
        """Shorthand for a request that only has blocks, given as (level, members)."""
        return cls(name, members, cards_per_member, blocks=tuple(Block(level, count) for level, count in blocks))
