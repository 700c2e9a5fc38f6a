"""The least vector of domains for small trees, by dynamic programming straight from its definition.

The reference of the span study, and one of the oracles that the tests hold against each other. For every domain:
`table[x]` is the least price of putting x members into it, a price being its counts of domains packed into one integer,
outermost level first. A parent combines its children one by one.
"""

from __future__ import annotations

import numpy as np

from bench.tree import Ints, Slices, Tree

NEVER = np.int64(1) << 60


def minimal(tree: Tree, members: int, blocks: Slices = ()) -> tuple[int, ...] | None:
    """The lexicographic minimum of the spans, outermost first; None when the group does not fit.

    blocks: (level, members): a domain of the level holds a multiple of so many. One that holds them all is a required
    level.
    """
    base = len(tree.caps) + 1
    sizes = dict(blocks)
    step = sizes.get(0, 1)
    tables = [_domain(_all_one(int(cap), members), step, 1) for cap in tree.caps]
    for level in range(1, tree.levels):
        joined = [
            _join([tables[child] for child in tree.children(level, domain)], members)
            for domain in range(tree.size(level))
        ]
        tables = [_domain(table, sizes.get(level, 1), base**level) for table in joined]
    price = int(_join(tables, members)[members])
    if price >= NEVER:
        return None
    return tuple(price // base**level % base for level in reversed(range(tree.levels)))


def _all_one(cap: int, members: int) -> Ints:
    """A node below its own price: any number of members up to its room is free."""
    return np.where(np.arange(members + 1) <= cap, 0, NEVER).astype(np.int64)


def _domain(table: Ints, step: int, unit: int) -> Ints:
    """The domain's own rule and price: multiples of `step` only, and one unit when it holds anything."""
    asked = np.arange(len(table))
    table = np.where((asked % step == 0) & (table < NEVER), table + unit, NEVER)
    table[0] = 0
    return table


def _join(tables: list[Ints], members: int) -> Ints:
    best = np.full(members + 1, NEVER, np.int64)
    best[0] = 0
    for table in tables:
        before = best.copy()
        for amount in np.flatnonzero(table < NEVER)[1:].tolist():
            best[amount:] = np.minimum(best[amount:], before[: len(before) - amount] + table[amount])
    return best
