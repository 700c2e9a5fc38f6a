"""What more steps would cost: the cards that would have to come free, in every domain of every level at once.

A *step* is as many members as a domain must hold together. Its price is the number of its cards that are not available
now: taken, unhealthy, or on a cordoned node or supernode. Each domain offers its steps cheapest first, so that sorting
is enough: at each level that binds members together, the children's steps are sorted inside each domain and joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from supernode.placement.ground import Ground, Indices, Plot, node_starts
from supernode.placement.rows import Ints, cumulated
from supernode.placement.shape import Shape
from supernode.topology.cards import Packing
from supernode.topology.fleet import SuperNodeView
from supernode.topology.missing import missing

NEVER = 1 << 22
"""The price of a step that no change can give; more cards than any fleet has."""


class Keep(Enum):
    """What of each supernode is left out for its reserve."""

    NOTHING = auto()
    WHOLE = auto()
    DEAREST = auto()


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one level. Step i costs prices[i], and lies in domain homes[i]. It joins `size` steps of the level
    before: with those of its domain in ascending order, the one of rank ranks[i] and those that follow.

    below: prices of the level before, by domain. starts: of the domains in it, one longer.
    """

    prices: Ints
    homes: Ints
    ranks: Ints
    below: Ints
    starts: Ints
    size: int

    def parts(self, chosen: Ints) -> Ints:
        """The steps of the level before that these steps join."""
        domains, at = np.unique(self.homes[chosen], return_inverse=True)
        counts = self.starts[domains + 1] - self.starts[domains]
        before = np.cumsum(counts) - counts
        inside = np.arange(int(counts.sum())) + np.repeat(self.starts[domains] - before, counts)
        order = inside[ascending(np.repeat(domains, counts), self.below[inside])]
        found: Ints = order[((before[at] + self.ranks[chosen])[:, None] + np.arange(self.size)).ravel()]
        return found


class Shortfall:
    """The steps of all domains, for one shape.

    keep: what to price as never to be had. Nothing; or the wholly free nodes that reserves keep now, where a supernode
    that has fewer of them than its reserve offers no whole node at all; or of each supernode as many nodes as its
    reserve, the dearest, so that these are left to be opened for it. empty: suppose that every card is healthy and free
    and nothing cordoned. convex: no step is cheaper than one that its node offers before.
    """

    def __init__(self, ground: Ground, shape: Shape, keep: Keep = Keep.NOTHING, *, empty: bool = False) -> None:
        self.ground = ground
        self.views = ground.views
        self.shape = shape
        self.empty = empty
        self.first_node = ground.first[0]
        self.convex = True
        table = self._table(ground.each, self.views)
        if keep is not Keep.NOTHING:
            kept = [at for at, view in enumerate(self.views) if view.reserve]
            for at, (start, end) in zip(kept, self._nodes_of(kept), strict=True):
                _KEEPERS[keep](table[start:end], self.views[at])
        self.per_node = table.shape[1]
        self._each = table.ravel()
        self._changed = keep is not Keep.NOTHING
        self.levels = self._join_all()

    def _table(self, kinds: Indices, views: Sequence[SuperNodeView]) -> Ints:
        """By node, one supernode after the other, what each of its steps costs, reserves aside."""
        by_kind, convex = _by_kind(self.ground, self.shape.packing, empty=self.empty)
        self.convex = self.convex and convex
        table = by_kind[kinds]
        shut = [view.cordoned for view in views]
        if any(shut) and not self.empty:
            closed, convex = _by_kind(self.ground, self.shape.packing, cordoned=True)
            self.convex = self.convex and convex
            inside = np.repeat(shut, [len(view.nodes) for view in views])
            table[inside] = closed[kinds[inside]]
        return table

    def _nodes_of(self, views: Sequence[int]) -> Iterator[tuple[int, int]]:
        return ((int(self.first_node[at]), int(self.first_node[at + 1])) for at in views)

    @property
    def members(self) -> int:
        """Members of a step of a whole supernode."""
        return self.shape.steps[-1]

    @property
    def prices(self) -> Ints:
        """What each step of a whole supernode costs; those of one supernode are together, cheapest first."""
        return self.levels[-1].prices if self.levels else self._each

    @cached_property
    def homes(self) -> Ints:
        """The supernode of each of these steps, as an index into `views`."""
        domains = self.levels[-1].homes if self.levels else self._node_homes
        owners: Ints = np.searchsorted(self.ground.first[-1], domains, side="right") - 1
        return owners

    @cached_property
    def _node_homes(self) -> Ints:
        return np.repeat(np.arange(self.first_node[-1]), self.per_node)

    def _join_all(self) -> list[Steps]:
        steps, found, homes = self.shape.steps, list[Steps](), None
        step = steps[self.shape.profile.node_index]
        for depth, index in enumerate(self.shape.above):
            homes = None if homes is None else self.ground.parents[depth][homes]
            if steps[index] == step and index not in self.shape.whole and index != self.shape.above[-1]:
                continue
            size = steps[index] // step
            if homes is None:
                joined = self._joined_nodes(depth + 1, size)
            else:
                starts = np.searchsorted(homes, np.arange(self._domains(depth + 1) + 1))
                joined = _joined(_costs(found[-1].prices, np.diff(starts)), found[-1].prices, starts, size)
            if index in self.shape.whole:
                joined.prices[~self._nominal(depth, index)[joined.homes]] = NEVER
            found.append(joined)
            step, homes = steps[index], joined.homes
        return found

    def _joined_nodes(self, level: int, size: int) -> Steps:
        """The steps of nodes joined in each domain of a level. What they cost is kept for the next refusal."""
        starts = np.append(node_starts(self.ground.starts, level), self._domains(0)) * self.per_node
        if self._changed:
            costs = _costs(self._each, np.diff(starts))
        else:
            rows = partial(self._costs_of, level, int(np.diff(starts).max()))
            costs = self.ground.kept(("costs", self.shape.packing, self.empty, level), level, rows)
        return _joined(costs, self._each, starts, size)

    def _costs_of(self, level: int, widest: int, plot: Plot) -> Ints:
        table = self._table(self.ground.each[plot.where[0]], plot.views)
        counts = np.diff(node_starts(plot.starts, level), append=len(table)) * self.per_node
        return _costs(table.ravel(), counts, widest)

    def _domains(self, level: int) -> int:
        """How many domains a level above the node has; 0 stands for the node."""
        return int(self.ground.first[level][-1])

    def _nominal(self, depth: int, index: int) -> NDArray[np.bool_]:
        """Which domains of a level have exactly the nodes the profile says."""
        profile = self.shape.profile
        want = profile.levels[index].cards // profile.cards_per_node
        homes = np.arange(self._domains(0))
        for parents in self.ground.parents[: depth + 1]:
            homes = parents[homes]
        return np.asarray(np.bincount(homes, minlength=self._domains(depth + 1)) == want)

    def free(self, index: int) -> Ints:
        """Members that are healthy and free in each domain of a level, blocks of that level and further out and all
        reserves aside. Below the node level blocks are those of the node."""
        steps = self.shape.steps
        step = steps[self.shape.profile.node_index]
        prices, homes, joined = self._each, self._node_homes, iter(self.levels)
        count = self._domains(0)
        for depth, level in enumerate(self.shape.above):
            if level > index:
                break
            homes, count = self.ground.parents[depth][homes], self._domains(depth + 1)
            if level < index and (steps[level] != step or level in self.shape.whole):
                found = next(joined)
                prices, homes, step = found.prices, found.homes, steps[level]
        return np.bincount(homes[prices == 0], minlength=count) * step

    def most(self, *, lent: bool = False) -> Ints:
        """Members that each supernode could take with everything healthy and free; lent: and nothing reserved.

        A reserve leaves partly used nodes alone, of which there may be more later. But whichever are, a supernode never
        gives more than all nodes outside its reserve do when they are empty, or else all nodes when each has a card in
        use: where as many as its reserve are wholly free, so many are kept, and where fewer are, none of them is given.
        """
        members = np.bincount(self.homes[self.prices < NEVER], minlength=len(self.views)) * self.members
        rooms: dict[int, tuple[int, int]] = {}
        for at, view in enumerate(self.views):
            if view.reserve and not lent:
                cards = [kind.cards for kind, count in view.census.counts() if kind.cards for _ in range(count)]
                each = [rooms.get(of) or rooms.setdefault(of, _rooms(self.shape.packing, of)) for of in cards]
                whole = sorted((room for room, _ in each), reverse=True)[: max(0, len(each) - view.reserve)]
                most = max(sum(whole), sum(room for _, room in each))
                members[at] = min(int(members[at]), most - most % self.members)
        return members

    def room(self) -> int:
        """Members that all supernodes together could take now if blocks did not matter, reserves kept."""
        if self.empty:
            return int(Shortfall(self.ground, self.shape.without(0), empty=True).most().sum())
        if not self.shape.whole_nodes:
            loose = self.shape.without(0)
            return sum(view.memo(("room", loose), partial(_room, view, loose)) for view in self.views)
        free = np.diff(np.concatenate([[0], np.cumsum(self._each == 0)])[self.first_node])
        for at, view in enumerate(self.views):
            if view.reserve:
                free[at] = min(int(free[at]), view.usable)
        return int(free.sum())

    def nodes(self, chosen: Ints, *, closed: bool = False) -> list[tuple[int, int, int]]:
        """(view, node, members) of steps of whole supernodes. closed: without the parts that cost nothing."""
        for level in reversed(self.levels):
            chosen = level.parts(chosen)
        if closed:
            chosen = chosen[self._each[chosen] > 0]
        found, counts = np.unique(chosen // self.per_node, return_counts=True)
        views = np.searchsorted(self.first_node, found, side="right") - 1
        each = self.shape.steps[self.shape.profile.node_index]
        return list(
            zip(views.tolist(), (found - self.first_node[views]).tolist(), (counts * each).tolist(), strict=True)
        )


def _costs(prices: Ints, counts: Indices, widest: int | None = None) -> Ints:
    """costs[d, k] of the k cheapest steps of domain d. prices: by domain. counts: steps of each. widest: as in
    `cumulated`."""
    reach = cumulated(NEVER - prices, counts, widest)
    return np.asarray(np.arange(reach.shape[1]) * NEVER - reach, np.int64)


def _joined(costs: Ints, below: Ints, starts: Indices, size: int) -> Steps:
    """Join the cheapest `size` steps in each domain, then the next. Arguments as in `_costs` and `Steps`."""
    groups = np.diff(starts) // size
    homes = np.repeat(np.arange(len(groups)), groups)
    ranks = (np.arange(len(homes)) - np.repeat(np.cumsum(groups) - groups, groups)) * size
    prices = np.minimum(costs[homes, ranks + size] - costs[homes, ranks], NEVER)
    return Steps(prices, homes, ranks, below, starts, size)


def ascending(homes: Ints, prices: Ints) -> Ints:
    """Indices by (home, price, index). Homes mostly ascend already, of which a stable sort makes good use."""
    order: Ints = np.argsort(homes << NEVER.bit_length() | prices, kind="stable")
    return order


def _by_kind(ground: Ground, packing: Packing, *, empty: bool = False, cordoned: bool = False) -> tuple[Ints, bool]:
    """prices[k, j] of the j-th step of a node of kind k, and whether none is cheaper than the one before."""
    key = ("prices", packing, empty, cordoned)
    known: tuple[Ints, bool] = ground.notes.get(key) or (np.zeros((0, _most(packing)), np.int64), True)
    new = list(ground.kinds)[len(known[0]) :]
    if new:
        free = ((1 << kind.cards) - 1 if empty else 0 if cordoned else kind.free for kind in new)
        rows = [_row(packing, mask, kind.cards) for mask, kind in zip(free, new, strict=True)]
        prices = np.concatenate((known[0], np.array([row for row, _ in rows], np.int64)))
        known = ground.notes[key] = prices, known[1] and all(convex for _, convex in rows)
    return known


def _most(packing: Packing) -> int:
    """Steps that a node could hold."""
    return len(missing(packing, 0, packing.sizes[-1])) - 1


def _keep_dearest(table: Ints, view: SuperNodeView) -> None:
    table[np.argsort(table[:, 0], kind="stable")[max(0, len(table) - view.reserve) :]] = NEVER


def _keep_whole(table: Ints, view: SuperNodeView) -> None:
    whole = np.zeros(len(view.nodes), np.bool_) if view.cordoned else view.census.wholly_free
    kept = np.flatnonzero(whole)
    if len(kept) >= view.reserve:
        capacity = (table[kept] < NEVER).sum(axis=1)
        table[kept[np.argsort(capacity, kind="stable")[: view.reserve]]] = NEVER
        return
    table[kept] = NEVER
    for at, node in enumerate(view.nodes):
        closed = (0 if view.cordoned else node.free) ^ node.all_cards
        table[at, np.cumsum(table[at]) >= closed.bit_count()] = NEVER


_KEEPERS = {Keep.WHOLE: _keep_whole, Keep.DEAREST: _keep_dearest}


def _row(packing: Packing, free: int, cards: int) -> tuple[list[int], bool]:
    """The prices of a node's steps, none less than the one before, and whether that changed none."""
    masks = missing(packing, free, cards)
    prices, last, convex = [], 0, True
    for before, after in pairwise(masks):
        price = after.bit_count() - before.bit_count()
        convex = convex and price >= last
        last = max(last, price)
        prices.append(last)
    return prices + [NEVER] * (_most(packing) - len(prices)), convex


def _rooms(packing: Packing, cards: int) -> tuple[int, int]:
    """Members that a node of so many cards takes when it is empty, and the most when one of its cards is in use."""
    full = (1 << cards) - 1
    return packing.capacity(full), max((packing.capacity(full ^ 1 << card) for card in range(cards)), default=0)


def _room(view: SuperNodeView, shape: Shape) -> int:
    """Members a supernode could take, its reserve kept."""
    members, whole = 0, []
    usable = 0 if view.cordoned else view.usable
    for kind, count in view.census.counts():
        capacity = 0 if view.cordoned else shape.packing.capacity(kind.free)
        if kind.wholly_free:
            whole.append((capacity, count))
        else:
            members += capacity * count
    for capacity, count in sorted(whole, reverse=True):
        members += capacity * min(count, usable)
        usable -= min(count, usable)
    return members
