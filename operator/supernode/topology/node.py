"""One Kubernetes node as decisions see it, and a member of a group that was placed on one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from supernode.topology.ranges import natural_key
from supernode.topology.taints import Taint


@dataclass(frozen=True, slots=True)
class Node:
    """One Kubernetes node.

    cards: how many its profile says, 0 when it is gone while groups hold some; those it does not have are not healthy.
    healthy, taken, unbindable: bitmasks over node card indices; the last are cards that work, but no pod can be bound
    to. schedulable: whether new cards may be given on it (ready, not cordoned, no taint that bars it). path: names of
    its domains above the node, outer to inner, the first being its supernode; empty when the node is its own supernode.
    at: for each of these, the row-major position of the node's child in its ring or torus, -1 where it has none; may be
    empty when all are -1. held: what is free of it is kept for another request. taints: why it is not schedulable, if
    it is only because its profile does not tolerate these. remarks: what people should know of it, in words.
    """

    name: str
    cards: int
    healthy: int
    taken: int = 0
    schedulable: bool = True
    path: tuple[str, ...] = ()
    at: tuple[int, ...] = ()
    held: bool = False
    taints: tuple[Taint, ...] = ()
    remarks: tuple[str, ...] = ()
    unbindable: int = 0

    @property
    def gone(self) -> bool:
        """Whether there is no such node in its supernode any more, while groups hold cards of it."""
        return self.cards == 0

    @property
    def free(self) -> int:
        """Bitmask of the cards that can be given now."""
        if not self.schedulable or self.held:
            return 0
        return self.healthy & ~(self.taken | self.unbindable) & self.all_cards

    @property
    def all_cards(self) -> int:
        return (1 << self.cards) - 1

    @property
    def wholly_free(self) -> bool:
        """Every card of the node is healthy, not taken, and the node is schedulable."""
        return self.cards > 0 and self.free == self.all_cards

    @property
    def ailing(self) -> bool:
        """Whether a card of it is unhealthy: more are likely to follow there than elsewhere."""
        return self.healthy & self.all_cards != self.all_cards


class Member(NamedTuple):
    """One placed member: its cards (bitmask) of its node, and its domain's name at the level node and each above."""

    rank: int
    supernode: str
    node: str
    cards: int
    domains: Mapping[str, str] = MappingProxyType({})


def order_of(node: Node) -> tuple[tuple[int, tuple[tuple[int, int, str], ...]], ...]:
    """Orders the nodes of a supernode depth-first."""
    positions = (0, *node.at) if node.at else (0,) * (len(node.path) + 1)
    return tuple(zip(positions, map(natural_key, (*node.path, node.name)), strict=True))
