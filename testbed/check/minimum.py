"""The fewest domains a group could touch, found by a method of its own: brute force inside a node, and around it a
table per domain of the best ways to put any number of members there, filled from the inside out.

A way is the vector of domains touched, outermost level first. Vectors add from the domains to their parent, so the
lexicographically least ways of the parts make those of the whole; where the request limits a level, or a supernode
keeps nodes back, every way is kept that is not beaten in those counts as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from math import ceil, comb

from testbed.check.facts import NODE, Cards, Host, Profile

MAX_CARDS = 16
"""Cards of a node up to which brute force is quick."""

Vector = tuple[int, ...]
_Way = tuple[Vector, int]
"""Domains touched, outermost level first; and how many wholly free nodes are used up."""
_Ways = dict[int, list[_Way]]
"""By number of members."""


class NotRecomputedError(Exception):
    """The minimum cannot be found by this method; says why."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a group asks for. Levels are the profile's own names."""

    members: int
    cards: int
    """Cards per member."""
    required: str | None = None
    blocks: Mapping[str, int] = field(default_factory=dict)
    max_span: Mapping[str, int] = field(default_factory=dict)


def aligned(cards: Iterable[int], nests: Iterable[tuple[int, int]]) -> bool:
    """Whether a card set breaks no more domains inside the node than it must.

    ``nests``: as ``Profile.nests``. A set of k cards lies in one domain where k cards fit, else touches ceil(k / size)
    domains and takes all but one of them wholly; of rings it may instead take the same places in all that lie together.
    """
    chosen = set(cards)
    for size, around in nests:
        if around and len(chosen) > size:
            splits = {_split(chosen, size, range(c - c % around, c - c % around + around, size)) for c in chosen}
            if "uneven" in splits:
                return False
            if "even" in splits:
                continue
        touched = {card // size for card in chosen}
        wholly = [d for d in touched if all(card in chosen for card in range(d * size, (d + 1) * size))]
        if len(touched) != ceil(len(chosen) / size) or (len(chosen) > size and len(touched) - len(wholly) > 1):
            return False
    return True


def _split(cards: set[int], size: int, rings: range) -> str:
    """How cards lie in the rings of ``size`` cards that start there: wholly in one or in whole ones, or how else."""
    parts = [{card - first for card in cards if first <= card < first + size} for first in rings]
    touched = [part for part in parts if part]
    if len(touched) == 1 or all(len(part) == size for part in touched):
        return "whole"
    return "even" if all(part == parts[0] for part in parts) else "uneven"


def minimum(
    profile: Profile, hosts: Iterable[Host], free: Mapping[str, Cards], keep: Mapping[str, int], claim: Claim
) -> Vector | None:
    """The least vector of domains (``profile.counted``) for a claim; None when it does not fit.

    free: the cards that may be given, by host. keep: wholly free nodes that each supernode keeps back.
    """
    if profile.rings:
        raise NotRecomputedError("a level is a ring or a torus")
    if profile.node.cards > MAX_CARDS:
        raise NotRecomputedError(f"a node has more than {MAX_CARDS} cards")
    if inside := ({claim.required} | claim.max_span.keys()) & {level.name for level in profile.inner}:
        raise NotRecomputedError(f"the level {min(map(str, inside))} inside the node is limited")
    return _Search(profile, claim, keep).run(list(hosts), free)


class _Search:
    def __init__(self, profile: Profile, claim: Claim, keep: Mapping[str, int]) -> None:
        self.profile = profile
        self.claim = claim
        self.keep = keep
        self.required = claim.required
        if profile.whole_nodes and claim.cards != profile.node.cards:
            self.required = NODE
        self.limited = [i for i, name in enumerate(profile.counted) if name in claim.max_span]
        self.known: dict[object, _Ways] = {}

    def run(self, hosts: list[Host], free: Mapping[str, Cards]) -> Vector | None:
        outermost = self.profile.counted[0]
        supernodes = []
        for name in sorted({host.supernode for host in hosts}):
            own = [host for host in hosts if host.supernode == name]
            whole = sum(_whole(host, free) for host in own)
            supernodes.append(self._kept(self._ways(0, own, free), whole - self.keep.get(name, 0)))
        alone = [way for ways in supernodes for way in ways.get(self.claim.members, ())]
        if not alone and self.required != outermost:
            alone = self._together(supernodes).get(self.claim.members, [])
        fitting = [vector for vector, _ in alone if self._within_limits(vector)]
        return min(fitting, default=None)

    def _within_limits(self, vector: Vector) -> bool:
        counted = self.profile.counted
        return all(vector[i] <= self.claim.max_span[counted[i]] for i in self.limited)

    def _kept(self, ways: _Ways, spare: int) -> _Ways:
        """Without the ways that use wholly free nodes which the supernode keeps back."""
        left = {n: [(v, 0) for v, used in options if used == 0 or used <= spare] for n, options in ways.items()}
        return {n: options for n, options in left.items() if options}

    def _ways(self, depth: int, hosts: list[Host], free: Mapping[str, Cards]) -> _Ways:
        """The ways in one domain of the level ``counted[depth]``, which itself counts as one if it is touched."""
        level = self.profile.counted[depth]
        if level == NODE:
            return self._in_node(hosts[0], free[hosts[0].name])
        inner = self.profile.counted[depth + 1]
        parts: dict[tuple[str, ...], list[Host]] = {}
        for host in hosts:
            parts.setdefault(host.domains[inner], []).append(host)
        children = sorted((self._ways(depth + 1, part, free) for part in parts.values()), key=id)
        key = (level, tuple(map(id, children)))
        if key not in self.known:
            self.known[key] = self._legal(level, self._together(children))
        return self.known[key]

    def _in_node(self, host: Host, free: Cards) -> _Ways:
        blocks = tuple((level.cards, self.claim.blocks.get(level.name, 0)) for level in self.profile.inner)
        most = _capacity(self.profile.node.cards, self.profile.nests, blocks, self.claim.cards, free)
        whole = len(free) == host.cards
        key = (NODE, most, whole)
        if key not in self.known:
            ways: _Ways = {n: [((), int(whole))] for n in range(1, min(most, self.claim.members) + 1)}
            self.known[key] = self._legal(NODE, {0: [((), 0)], **ways})
        return self.known[key]

    def _legal(self, level: str, ways: _Ways) -> _Ways:
        """Whole blocks only, all or nothing of the group at the level required; the domain itself is counted."""
        step = self.claim.blocks.get(level, 1)
        missing = len(self.profile.counted) - self.profile.counted.index(level) - 1
        nothing: _Ways = {0: [((0,) * (missing + 1), 0)]}
        return nothing | {
            n: [((1, *vector), used) for vector, used in options]
            for n, options in ways.items()
            if n and n % step == 0 and (level != self.required or n == self.claim.members)
        }

    def _together(self, children: list[_Ways]) -> _Ways:
        """The ways in several domains side by side."""
        total: _Ways = {}
        for child in children:
            if not total:
                total = child
                continue
            merged: _Ways = {}
            for n, options in total.items():
                for m, others in child.items():
                    if n + m <= self.claim.members:
                        merged.setdefault(n + m, []).extend(
                            (tuple(map(sum, zip(a, b, strict=True))), used + more)
                            for a, used in options
                            for b, more in others
                        )
            total = {n: self._unbeaten(options) for n, options in merged.items()}
        return total

    def _unbeaten(self, ways: list[_Way]) -> list[_Way]:
        depth = len(self.profile.counted) - len(ways[0][0])
        limited = [i - depth for i in self.limited if i >= depth]
        kept: list[_Way] = []
        for vector, used in sorted(set(ways)):
            if not any(u <= used and all(v[i] <= vector[i] for i in limited) for v, u in kept):
                kept.append((vector, used))
        return kept


def _whole(host: Host, free: Mapping[str, Cards]) -> bool:
    return 0 < host.cards == len(free[host.name])


@lru_cache(maxsize=4096)
def _capacity(
    count: int, nests: tuple[tuple[int, int], ...], blocks: tuple[tuple[int, int], ...], cards: int, free: Cards
) -> int:
    """The most members of ``cards`` cards each that the free cards of a node take together."""
    units = _units(count, nests, blocks, cards)
    members = max((size for _, size in blocks), default=0) or 1
    if len(units) == comb(count, cards):  # any cards will do
        return len(free) // cards
    return _most(units, sum(1 << card for card in free)) * members


@lru_cache(maxsize=256)
def _units(
    count: int, nests: tuple[tuple[int, int], ...], blocks: tuple[tuple[int, int], ...], cards: int
) -> tuple[int, ...]:
    """The card sets (as bit masks) of one member, or of one block where blocks lie inside the node."""
    units = [chosen for chosen in combinations(range(count), cards) if aligned(chosen, nests)]
    per = 1
    for size, members in blocks:
        if members:
            together = {
                tuple(sorted({card for unit in group for card in unit}))
                for group in combinations(units, members // per)
                if len({card // size for unit in group for card in unit}) == 1
            }
            units = sorted(unit for unit in together if len(unit) == members * cards)
            per = members
    return tuple(sum(1 << card for card in unit) for unit in units)


@lru_cache(maxsize=1 << 18)
def _most(units: tuple[int, ...], free: int) -> int:
    """The most of these sets that are disjoint and inside ``free``: with the lowest free card, or without it."""
    usable = tuple(unit for unit in units if unit & ~free == 0)
    if not usable:
        return 0
    least = min(unit & -unit for unit in usable)
    options = [1 + _most(usable, free & ~unit) for unit in usable if unit & least]
    return max([*options, _most(usable, free & ~least)])
