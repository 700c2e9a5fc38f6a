"""Which cards of a node would have to come free for it to take more members.

The same alignment rules as in `supernode.topology.cards`, with a price on every card that is not free now. A choice of
cards is a bitmask; of two the one with fewer cards is better, then the lower one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import lru_cache, reduce
from operator import or_
from typing import TypeVar

from supernode.topology.cards import Packing

K = TypeVar("K", bound=Hashable)

Masks = dict[int, int]
"""Members to the fewest cards (bitmask) that must come free for a domain to take as many; absent where it never can."""


@lru_cache(maxsize=1 << 14)
def missing(packing: Packing, free: int, cards: int) -> tuple[int, ...]:
    """The cards that must come free in a node of `cards` cards for 0, 1, 2, ... times the node's step of members."""
    top = len(packing.sizes) - 1
    full = (1 << packing.sizes[top]) - 1
    if packing.cards == packing.sizes[top]:
        return (0, full & ~free) if cards >= packing.cards and packing.steps[top] == 1 else (0,)
    found = _Units(packing, free, (1 << cards) - 1, tuple(1 << i for i in range(packing.sizes[top]))).members(top, 0)
    step = packing.steps[top]
    return tuple(found[count] for count in range(0, max(found) + 1, step))


class _Units:
    """A node, or what stands for one: units[i] are the cards (bitmask) taken together as the i-th."""

    def __init__(self, packing: Packing, free: int, real: int, units: tuple[int, ...]) -> None:
        self.packing = packing
        self.free = free
        self.real = real
        self.units = units

    def members(self, level: int, start: int) -> Masks:
        """Multiples of the level's step, in the domain whose first unit is `start`."""
        packing = self.packing
        if level == packing.home:
            found = self._sets(level, packing.cards, start)
        else:
            found = reduce(_added, (self.members(level - 1, at) for at in self._children(level, start)))
        return {count: mask for count, mask in found.items() if count % packing.steps[level] == 0}

    def _children(self, level: int, start: int) -> range:
        return range(start, start + self.packing.sizes[level], self.packing.sizes[level - 1])

    def _sets(self, level: int, cards: int, start: int) -> Masks:
        """Disjoint aligned sets of `cards` units, blocks aside."""
        if level == 0:
            return self._loose(cards, start)
        size, children = self.packing.sizes[level - 1], self._children(level, start)
        if cards <= size:
            return reduce(_added, (self._sets(level - 1, cards, at) for at in children))
        if level - 1 in self.packing.make.rings and cards % size:
            share, odd = divmod(cards, len(children))
            odd += share % (self.packing.sizes[level - 2] if level > 1 else 1)
            columns = tuple(reduce(or_, (self.units[at + i] for at in children)) for i in range(size))
            return {0: 0} if odd else _Units(self.packing, self.free, self.real, columns)._sets(level - 1, share, 0)
        whole, rest = divmod(cards, size)
        states: dict[tuple[int, int], int] = {(0, 0): 0}
        for at in children:
            options = {(0, count): mask for count, mask in (self._sets(level - 1, rest, at) if rest else {}).items()}
            domain = reduce(or_, self.units[at : at + size])
            options |= {(0, 0): 0} if domain & ~self.real else {(0, 0): 0, (1, 0): domain & ~self.free}
            states = _least(
                ((wholes + more, rests + others), mask | opened)
                for (wholes, rests), mask in states.items()
                for (more, others), opened in options.items()
            )
        most = self.packing.sizes[level] // cards
        return {k: states[key] for k in range(most + 1) if (key := (k * whole, k if rest else 0)) in states}

    def _loose(self, cards: int, start: int) -> Masks:
        """Sets of any units of an innermost domain."""
        units = [unit for unit in self.units[start : start + self.packing.sizes[0]] if not unit & ~self.real]
        closed = sorted((unit & ~self.free for unit in units), key=int.bit_count)
        return {k: reduce(or_, closed[: k * cards], 0) for k in range(len(units) // cards + 1)}


def _added(first: Masks, second: Masks) -> Masks:
    return _least((k + j, mask | other) for k, mask in first.items() for j, other in second.items())


def _least(choices: Iterable[tuple[K, int]]) -> dict[K, int]:
    best: dict[K, int] = {}
    for key, mask in choices:
        known = best.get(key)
        if known is None or (mask.bit_count(), mask) < (known.bit_count(), known):
            best[key] = mask
    return best
