"""Which sets of cards inside one node are legal, how many fit together, and which to take.

A member of k cards is *aligned*: for each level inside the node with domains of s cards, it lies inside one domain
when k <= s, and otherwise touches exactly ceil(k / s) domains, all but at most one of them wholly. Such a set is a
number of whole domains of the level below its home level, and a remainder that is aligned in one further domain. Whole
domains are alike, so counting how many sets fit together needs no search.

Rings differ: cards that are more than a ring and not whole rings are split evenly over all rings of the next domain
out, at the same positions of each.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from operator import and_

from supernode.topology.profile import NodeMake, Profile

_MEMO_LIMIT = 1 << 16


class Packing:
    """Members of one size in nodes of one make.

    steps: for each level inside the node and the node itself, the members in one domain come in multiples of this
    (blocks); each step divides the next.
    """

    def __init__(self, make: NodeMake, cards: int, steps: tuple[int, ...]) -> None:
        sizes = make.sizes
        self.make = make
        self.sizes = sizes
        self.cards = cards
        self.steps = steps
        self.home = next((i for i, size in enumerate(sizes) if cards <= size), len(sizes))
        self._counts: dict[int, int] = {}
        self._places: dict[tuple[int, int], tuple[int, ...]] = {}

    def capacity(self, free: int) -> int:
        """The most members the free cards (bitmask) of a node take together; a multiple of the node's step."""
        known = self._counts.get(free)
        if known is None:
            if len(self._counts) >= _MEMO_LIMIT:
                self._counts.clear()
            top = len(self.sizes) - 1
            nominal = free & ((1 << self.sizes[top]) - 1)
            known = self._counts[free] = self._count(top, nominal) if self.home <= top else 0
        return known

    def place(self, free: int, members: int) -> tuple[int, ...]:
        """Card sets (bitmasks, lowest first) for `members` <= capacity, a multiple of the node's step.

        Best fit: the fewest wholly free domains are broken, outer levels first; then the fullest domain; then the
        lowest index. Of rings, those first that leave whole pairs, then those that leave the fewest cards.
        """
        key = (free, members)
        known = self._places.get(key)
        if known is None:
            if len(self._places) >= _MEMO_LIMIT:
                self._places.clear()
            top = len(self.sizes) - 1
            nominal = free & ((1 << self.sizes[top]) - 1)
            known = self._places[key] = tuple(self._place(top, members, nominal))
        return known

    def _children(self, level: int, mask: int) -> list[int]:
        """The masks of a domain's children, each shifted down to bit 0."""
        size = self._size(level - 1)
        full = (1 << size) - 1
        return [mask >> start & full for start in range(0, self.sizes[level], size)]

    def _size(self, level: int) -> int:
        return self.sizes[level] if level >= 0 else 1

    def _count(self, level: int, mask: int) -> int:
        if level == self.home:
            count = self._sets(level, self.cards, mask)
        else:
            count = sum(self._count(level - 1, child) for child in self._children(level, mask))
        return count - count % self.steps[level]

    def _over_rings(self, level: int, cards: int) -> bool:
        """Whether cards in a domain of this level are split evenly over its children."""
        size = self.sizes[level - 1]
        return level - 1 in self.make.rings and cards > size and cards % size > 0

    def _sets(self, level: int, cards: int, mask: int) -> int:
        """The most disjoint aligned sets of `cards` in one domain, blocks aside."""
        if mask.bit_count() < cards:
            return 0
        if level == 0:
            return mask.bit_count() // cards
        size = self.sizes[level - 1]
        children = self._children(level, mask)
        if cards <= size:
            return sum(self._sets(level - 1, cards, child) for child in children)
        if self._over_rings(level, cards):
            share, odd = divmod(cards, len(children))
            odd += share % self._size(level - 2)  # a broken domain in each ring would be more than one
            return 0 if odd else self._sets(level - 1, share, reduce(and_, children))
        whole, rest = divmod(cards, size)
        full = (1 << size) - 1
        free = children.count(full)
        if rest == 0:
            return free // whole
        in_full = self._sets(level - 1, rest, full)
        rests = sum(self._sets(level - 1, rest, child) for child in children)
        return min(free // whole, rests // (1 + whole * in_full))

    def _place(self, level: int, members: int, mask: int) -> list[int]:
        if level == self.home:
            sets = []
            for _ in range(members):
                chosen = self._pick(level, self.cards, mask)
                mask &= ~chosen
                sets.append(chosen)
            return sorted(sets, key=_lowest)
        size, step = self.sizes[level - 1], self.steps[level - 1]
        children = self._children(level, mask)
        units: list[list[int]] = []
        for _ in range(members // step):
            options = [
                (i, self._place(level - 1, step, c)) for i, c in enumerate(children) if self._count(level - 1, c)
            ]
            i, unit = min(
                options, key=lambda option: self._damage(level - 1, children[option[0]], sum(option[1]), option[0])
            )
            children[i] &= ~sum(unit)
            units.append([chosen << i * size for chosen in unit])
        return [chosen for unit in sorted(units, key=lambda unit: _lowest(unit[0])) for chosen in unit]

    def _pick(self, level: int, cards: int, mask: int) -> int:
        """One aligned set that leaves room for as many others as any could; needs `_sets` >= 1."""
        if cards == self.sizes[level]:
            return mask
        if level == 0:
            return sum(1 << i for i in [i for i in range(self.sizes[0]) if mask >> i & 1][:cards])
        size = self.sizes[level - 1]
        full = (1 << size) - 1
        children = self._children(level, mask)
        if self._over_rings(level, cards):
            part = self._pick(level - 1, cards // len(children), reduce(and_, children))
            return sum(part << i * size for i in range(len(children)))
        whole, rest = divmod(cards, size)
        chosen = 0
        if rest:
            options = [
                (i, self._pick(level - 1, rest, c)) for i, c in enumerate(children) if self._sets(level - 1, rest, c)
            ]
            i, part = min(
                options, key=lambda option: self._damage(level - 1, children[option[0]], option[1], option[0])
            )
            chosen = part << i * size
            children[i] = 0
        for i in [i for i, child in enumerate(children) if child == full][:whole]:
            chosen |= full << i * size
        return chosen

    def _damage(self, level: int, mask: int, taken: int, index: int) -> tuple[int, ...]:
        """Wholly free domains that taking cards breaks, outer level first; then the cards free before; then index.

        Of a ring, what it leaves counts: cards beyond whole pairs, then all. This is the order in which the vendor's
        scheduler takes rings of four (Ascend/mind-cluster, affinity scheduling): with 1, 3, 2, 4 cards free for one
        card, with 2, 4, 3 for two.
        """
        after = mask & ~taken
        if level in self.make.rings:
            left = after.bit_count()
            return (left % self.make.pair, left, index)
        broken = [self._whole(inner, mask) - self._whole(inner, after) for inner in range(level, -1, -1)]
        return (*broken, mask.bit_count(), index)

    def _whole(self, level: int, mask: int) -> int:
        size = self.sizes[level]
        full = (1 << size) - 1
        return sum(mask >> start & full == full for start in range(0, mask.bit_length(), size))


@lru_cache(maxsize=1024)
def packing(make: NodeMake, cards: int, steps: tuple[int, ...] | None = None) -> Packing:
    """The shared Packing of these; no steps means no blocks inside the node."""
    return Packing(make, cards, steps or (1,) * len(make.sizes))


def legal_sizes(profile: Profile) -> tuple[int, ...]:
    """The numbers of cards a member may have: those the profile lists, or all, of which there is an aligned set."""
    return _legal_sizes(profile.node_make, profile.member_sizes)


@lru_cache(maxsize=256)
def _legal_sizes(make: NodeMake, listed: tuple[int, ...]) -> tuple[int, ...]:
    cards = make.sizes[-1]
    return tuple(k for k in listed or range(1, cards + 1) if packing(make, k).capacity((1 << cards) - 1))


def _lowest(mask: int) -> int:
    return mask & -mask
