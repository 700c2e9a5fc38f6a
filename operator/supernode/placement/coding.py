"""Vectors of domain counts packed into one integer, outermost level in the highest digit.

Adding packed vectors adds digit by digit and comparing them is lexicographic, so whole tables of vectors can be added
and compared by numpy at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

PACKED_BITS = 60

FAR = 1 << 61
"""A price no placement has; two of them still add without overflow."""


@dataclass(frozen=True, slots=True)
class Coding:
    """shifts, widths: bit position and size of each level's digit, node first. A width of 0 drops the level. low: bits
    below them, for the wholly free nodes taken; 0 where these are not counted."""

    shifts: tuple[int, ...]
    widths: tuple[int, ...]
    low: int = 0

    @classmethod
    def for_counts(cls, counts: Sequence[int], *, count_whole: bool = False) -> Coding:
        """Digits for at most `counts` domains per level, node first. Inner levels that find no room are dropped, and
        before them the count of wholly free nodes."""
        widths: list[int] = []
        for count in reversed(counts):
            width = count.bit_length()
            widths.append(width if sum(widths) + width <= PACKED_BITS else 0)
        widths.reverse()
        low = counts[0].bit_length() if count_whole else 0
        low = low if sum(widths) + low <= PACKED_BITS else 0
        return cls(tuple(accumulate(widths[:-1], initial=low)), tuple(widths), low)

    @property
    def complete(self) -> bool:
        """Whether every level has its digit, so that prices say all."""
        return all(self.widths)

    @property
    def whole(self) -> int:
        """The price of taking a wholly free node, beyond that of touching it."""
        return 1 if self.low else 0

    def vector(self, price: int) -> int:
        """A price without its count of wholly free nodes."""
        return price >> self.low << self.low

    def unit(self, above: int) -> int:
        """The price of touching one domain: above = 0 for a node, 1 for a domain of the first level above it, ..."""
        return 1 << self.shifts[above] if self.widths[above] else 0

    def digit(self, price: int, above: int) -> int:
        """How many domains of one level a price counts."""
        return price >> self.shifts[above] & ((1 << self.widths[above]) - 1)

    def pack(self, counts: Sequence[int]) -> int:
        """The price of a vector, node first."""
        return sum(count * self.unit(above) for above, count in enumerate(counts))

    def unpack(self, price: int) -> tuple[int, ...]:
        """The vector of a price, node first."""
        return tuple(self.digit(price, above) for above in range(len(self.widths)))
