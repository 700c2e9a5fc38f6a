"""How other schedulers choose domains, written anew from their published rules, to be asked on the same states.

`first_fit` walks the nodes by index. `best_fit` is the greedy of topology-aware scheduling in the style of Kueue: the
lowest level one of whose domains fits, else the roomiest domains; on the way down the children of all chosen domains
are pooled and taken roomiest first, the last one by best fit; under the level of a slice, each domain on its own.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bench.tree import Ints, Slices, Tree


def first_fit(tree: Tree, members: int) -> Ints | None:
    """Members per node, filling nodes in order of their index; None when there is too little."""
    before = np.cumsum(tree.caps) - tree.caps
    counts = np.clip(members - before, 0, tree.caps)
    return counts if counts.sum() == members else None


def best_fit(tree: Tree, members: int, level: int, *, required: bool = False, slices: Slices = ()) -> Ints | None:
    """Members per node; None when it finds no place.

    level: where the search for a single domain begins (preferred), or the only one that counts (required). slices:
    blocks, inner to outer, whose sizes divide each other and the members.
    """
    home, size = slices[-1] if slices else (0, 1)
    inner = _inner_sizes(slices)
    rooms, units = _capacities(tree, home, size, inner)
    wanted = members // size
    while units[level].max() < wanted:
        if required:
            return None
        if level + 1 == tree.levels:
            break
        level += 1
    everything = np.arange(tree.size(level))
    chosen = _cover(_by_units(everything, units[level], rooms[level]), units[level], wanted)
    if chosen is None:
        return None
    while level > home:
        pool = np.concatenate([tree.children(level, domain) for domain in chosen])
        level -= 1
        chosen = _cover(_by_units(pool, units[level], rooms[level]), units[level], wanted)
        if chosen is None:
            return None
    given = {domain: amount * size for domain, amount in chosen.items()}
    while level > 0:
        level -= 1
        given = _share_apart(tree, level, given, rooms[level], inner.get(level, 1))
    counts = np.zeros(len(tree.caps), np.int64)
    counts[list(given)] = list(given.values())
    return counts


def _inner_sizes(slices: Slices) -> dict[int, int]:
    """The size that binds each level under the outermost slice."""
    sizes = {}
    for (level, size), (outer, _) in pairwise(slices):
        sizes.update(dict.fromkeys(range(level, outer), size))
    return sizes


def _capacities(tree: Tree, home: int, size: int, inner: dict[int, int]) -> tuple[list[Ints], list[Ints]]:
    """Members and slices that fit each domain of each level; no slices are counted below their own level."""
    rooms, units = [tree.caps], []
    for level in range(tree.levels):
        if level:
            below = rooms[-1] - rooms[-1] % inner.get(level - 1, 1)
            rooms.append(tree.gather(below, level - 1))
        if level < home:
            units.append(np.zeros_like(rooms[-1]))
        else:
            units.append(rooms[-1] // size if level == home else tree.gather(units[-1], level - 1))
    return rooms, units


def _by_units(domains: Ints, units: Ints, rooms: Ints) -> Ints:
    """Most slices first; among equals the least room, then the lowest index."""
    return domains[np.lexsort((domains, rooms[domains], -units[domains]))]


def _cover(order: Ints, available: Ints, wanted: int) -> dict[int, int] | None:
    """Domains in the given order until the rest fits into one; that one by best fit among those left."""
    held = available[order]
    last = int(np.searchsorted(np.cumsum(held), wanted))
    if last == len(order):
        return None
    given = {int(domain): int(amount) for domain, amount in zip(order[:last], held[:last], strict=True) if amount}
    rest = wanted - int(held[:last].sum())
    fitting = np.flatnonzero(held[last:] >= rest)
    best = last + int(fitting[np.argmin(held[last:][fitting])])
    given[int(order[best])] = rest
    return given


def _share_apart(tree: Tree, level: int, given: dict[int, int], rooms: Ints, size: int) -> dict[int, int]:
    """Each domain's members among its own children: those with most slices of `size`, or with least room, first."""
    shared: dict[int, int] = {}
    for domain, amount in given.items():
        children = tree.children(level + 1, domain)
        order = _by_units(children, rooms // size if size > 1 else np.zeros_like(rooms), rooms)
        part = _cover(order, rooms // size, amount // size)
        assert part is not None, "a domain was given more than its children take"
        shared.update({child: count * size for child, count in part.items()})
    return shared
