"""The smallest change that would give a refused group its place, on the prices of `supernode.placement.shortfall`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from supernode.placement.board import board_of
from supernode.placement.coding import Coding
from supernode.placement.fronts import OverBudgetError
from supernode.placement.rows import Ints
from supernode.placement.search import fits
from supernode.placement.shape import Task
from supernode.placement.shortfall import NEVER, Keep, Shortfall, ascending
from supernode.topology.fleet import SuperNodeView
from supernode.topology.missing import missing

TRIES = 8
"""Supernodes, or blocks in them, whose reserve is followed before the cheapest so far is called good enough."""

Nodes = dict[int, int]
"""Index of a node in its view to the cards (bitmask) that must come free on it."""


@dataclass(frozen=True, slots=True)
class Change:
    """Cards that would give the group its place once they are free, healthy, schedulable and held for nobody else.

    opened: index of a view to its nodes, of all views that the group would then lie in. least: fewer cards never would.
    """

    opened: Mapping[int, Nodes]
    least: bool

    @property
    def cards(self) -> int:
        return sum(mask.bit_count() for nodes in self.opened.values() for mask in nodes.values())


def smallest_change(relaxed: Shortfall, task: Task) -> Change | None:
    """The change with the fewest cards that is found, or None. relaxed: the prices with reserves aside."""
    if not task.spans and not task.shape.spares:
        found = _Search(relaxed, task, everything=False).best()
        return found if found is not None and found.cards else None
    tried = (_Search(Shortfall(relaxed.ground, narrow.shape), narrow).best() for narrow in _narrowed(task))
    kept = [found for found in tried if found is not None and found.cards and _fits(relaxed.views, found, task)]
    return min((Change(found.opened, least=False) for found in kept), key=lambda found: found.cards, default=None)


def _narrowed(task: Task) -> Iterator[Task]:
    """Stricter tasks without bounds on inner levels: all members in one domain, or in even shares over the most; with
    spares, as many members more."""
    members = task.request.members
    if task.shape.spares:
        shared = max((step for step in task.shape.steps if step < members), default=1)
        grown = members - (-task.shape.spares // shared) * shared
        steps = tuple(grown if step == members else step for step in task.shape.steps)
        yield replace(
            task, request=replace(task.request, members=grown), shape=replace(task.shape, steps=steps), spans=()
        )
        yield replace(task, spans=())
    for index, most in task.spans:
        for domains in (1, most):
            share = -(-members // domains)
            share += -share % task.shape.steps[-1]
            steps = (*task.shape.steps[:index], *[share] * (len(task.shape.steps) - index))
            request = replace(task.request, members=-(-members // share) * share)
            yield replace(task, request=request, shape=replace(task.shape, steps=steps), spans=())


def _fits(views: Sequence[SuperNodeView], change: Change, task: Task) -> bool:
    """Whether the group really has a place after the change, in the supernodes that the change names."""
    changed = [opened(views[index], nodes) for index, nodes in change.opened.items()]
    counts = [sum(len(view.nodes) for view in changed)]
    counts += [sum(len(view.layout.names[depth]) for view in changed) for depth in range(len(task.shape.above))]
    members = task.request.members
    board = board_of({}, changed, task.shape, members, Coding.for_counts(counts), "opened")
    try:
        return fits(board, task)
    except OverBudgetError:
        return False


def opened(view: SuperNodeView, nodes: Nodes) -> SuperNodeView:
    """The supernode with just these cards available beside those that are; not cordoned."""
    names = {}
    for at, node in enumerate(view.nodes):
        if view.cordoned or at in nodes:
            free = (0 if view.cordoned else node.free) | nodes.get(at, 0)
            names[node.name] = replace(
                node,
                healthy=node.all_cards,
                taken=node.all_cards & ~free,
                unbindable=0,
                schedulable=True,
                held=False,
                taints=(),
            )
    return SuperNodeView(
        view.name, view.profile, [names.get(node.name, node) for node in view.nodes], reserve=view.reserve
    )


class _Search:
    """everything: whether a change also names supernodes of the group in which nothing has to come free."""

    def __init__(self, relaxed: Shortfall, task: Task, *, everything: bool = True) -> None:
        self.relaxed = relaxed
        self.views = relaxed.views
        self.shape = relaxed.shape
        self.members = task.request.members
        self.need = task.request.members // relaxed.members
        self.limit = task.most_supernodes
        self.reserve = np.array([view.reserve for view in self.views], np.int64)
        self.closed = not everything and self.shape.whole_nodes and not self.reserve.any()

    def best(self) -> Change | None:
        if self.need == 1 or self.limit == 1:
            found = self._in_one()
        elif self.limit is None:
            found = self._anywhere()
        else:
            found = self._in_few(self.limit)
        if found is not None and not self.relaxed.convex:
            return Change(found.opened, least=False)
        return found

    # All in one supernode.

    def _in_one(self) -> Change | None:
        prices, homes = self.relaxed.prices, self.relaxed.homes
        counts = np.bincount(homes, minlength=len(self.views))
        at = np.arange(len(prices)) if self.need == 1 else (np.cumsum(counts) - counts)[counts >= self.need]
        reach = np.concatenate([[0], np.cumsum(prices)])
        costs = reach[at + self.need] - reach[at]
        floors = costs + self._least_beside(costs, homes[at])
        best, exact = None, True
        for _ in range(TRIES):
            i = int(np.argmin(floors)) if len(floors) else -1
            if i < 0 or floors[i] >= min(NEVER, best.cards if best else NEVER):
                break
            found = self._with_reserve(self.relaxed, np.arange(at[i], at[i] + self.need))
            exact = exact and (self._simple or (found is not None and found.cards == costs[i]))
            best = found if best is None or (found is not None and found.cards < best.cards) else best
            floors[i] = NEVER
        else:
            exact = False
        if best is None:
            return self._kept() if self.need == 1 and self.reserve.any() else None
        return Change(best.opened, least=exact)

    @property
    def _simple(self) -> bool:
        """Whether the only blocks are whole nodes and the whole group, so that the cheapest nodes are the best ones
        for the reserve too."""
        return self.shape.whole_nodes and {1, self.members}.issuperset(self.shape.steps)

    def _least_beside(self, costs: Ints, homes: Ints) -> Ints:
        """What the reserves cost at least, beside steps of these costs."""
        if not self.shape.whole_nodes or not self.reserve.any():
            return np.zeros(len(costs), np.int64)
        whole = np.array([0 if view.cordoned else view.wholly_free for view in self.views], np.int64)
        short = self.members + self.reserve[homes] - whole[homes] - np.minimum(costs, self.members)
        return np.where(self.reserve[homes] > 0, np.maximum(0, short) * self._cheapest_nodes[homes], 0)

    @property
    def _cheapest_nodes(self) -> Ints:
        """Per supernode, the fewest cards that make one more node wholly free."""
        return np.array([view.memo("cheapest node", partial(_cheapest_node, view)) for view in self.views])

    # Over several supernodes.

    def _anywhere(self) -> Change | None:
        chosen = _cheapest(self.relaxed.prices, self.need)
        if chosen is None:
            return None
        if not self.reserve.any():
            return self._with_reserve(self.relaxed, chosen)
        kept = self._kept()
        if kept is not None and kept.least:
            return kept
        best = min(filter(None, (kept, *self._beside(chosen))), key=lambda found: found.cards, default=None)
        if best is None:
            return None
        least = int(self.relaxed.prices[chosen].sum())
        return Change(best.opened, least=best.cards == least)

    def _beside(self, chosen: Ints) -> Iterator[Change | None]:
        """Steps chosen without regard to reserves, and what these need beside."""
        yield self._with_reserve(self.relaxed, chosen)
        table = Shortfall(self.relaxed.ground, self.shape, Keep.DEAREST)
        spread = _cheapest(table.prices, self.need)
        yield None if spread is None else self._with_reserve(table, spread)

    def _in_few(self, limit: int) -> Change | None:
        """In the supernodes where equal shares are cheapest, or in one."""
        table = Shortfall(self.relaxed.ground, self.shape, Keep.WHOLE) if self.reserve.any() else self.relaxed
        prices, homes, share = table.prices, table.homes, -(-self.need // limit)
        room = np.bincount(homes[prices < NEVER], minlength=len(self.views))
        first = np.searchsorted(homes, np.arange(len(self.views)))
        reach = np.concatenate([[0], np.cumsum(prices)])
        costs = np.where(room >= share, reach[np.minimum(first + share, len(prices))] - reach[first], NEVER)
        tried = [self._in_one()]
        for order in (np.lexsort((-room, costs)), np.argsort(-room, kind="stable")):
            there = np.isin(homes, order[:limit])
            chosen = _cheapest(np.where(there, prices, NEVER), self.need)
            tried.append(None if chosen is None else self._with_reserve(table, chosen))
        best = min(filter(None, tried), key=lambda found: found.cards, default=None)
        return None if best is None else Change(best.opened, least=False)

    def _kept(self) -> Change | None:
        """On nodes that no reserve keeps."""
        table = Shortfall(self.relaxed.ground, self.shape, Keep.WHOLE)
        chosen = _cheapest(table.prices, self.need)
        found = None if chosen is None else self._with_reserve(table, chosen)
        if chosen is None or found is None:
            return None
        return Change(found.opened, least=self._no_bargain(int(table.prices[chosen].max())))

    def _no_bargain(self, highest: int) -> bool:
        """Whether keeping the reserves as they are cannot cost more than changing what they keep."""
        nominal = self.shape.profile.cards_per_node
        if not self.shape.whole_nodes or max(self.shape.steps[:-1], default=1) > 1:
            return False
        if any(node.cards != nominal for view in self.views for node in view.nodes):
            return False
        short = [view.reserve > (0 if view.cordoned else view.wholly_free) for view in self.views]
        return bool((self._cheapest_nodes[short] * self.relaxed.members >= highest).all())

    # What steps come to.

    def _with_reserve(self, table: Shortfall, chosen: Ints) -> Change | None:
        """What these steps open, and the nodes that must be opened beside for the reserve; None if there are none."""
        packing, step = self.shape.packing, self.shape.steps[self.shape.profile.node_index]
        used: dict[int, Nodes] = {}
        for view, at, members in table.nodes(chosen, closed=self.closed):
            node = self.views[view].nodes[at]
            free = 0 if self.views[view].cordoned else node.free
            used.setdefault(view, {})[at] = missing(packing, free, node.cards)[members // step]
        if all(_keep(self.views[view], nodes) for view, nodes in used.items()):
            shown = {view: {at: mask for at, mask in nodes.items() if mask} for view, nodes in used.items()}
            return Change(shown, least=True)
        return None


def _keep(view: SuperNodeView, used: Nodes) -> bool:
    """Add to the nodes a group uses those that must be opened for the supernode's reserve; whether that can be done."""
    if not view.reserve:
        return True
    free = [0 if view.cordoned else node.free for node in view.nodes]
    whole = {at for at, node in enumerate(view.nodes) if node.cards and free[at] | used.get(at, 0) == node.all_cards}
    if whole.isdisjoint(used):
        return True
    short = view.reserve - len(whole - used.keys())
    closed = [at for at, node in enumerate(view.nodes) if node.cards and at not in used and at not in whole]
    closed.sort(key=lambda at: (view.nodes[at].cards - free[at].bit_count(), at))
    used |= {at: view.nodes[at].all_cards & ~free[at] for at in closed[: max(0, short)]}
    return short <= len(closed)


def _cheapest(prices: Ints, count: int) -> Ints | None:
    """Indices of the cheapest, the first of equals; None where there are too few to be had."""
    if len(prices) < count:
        return None
    chosen = ascending(np.zeros(len(prices), np.int64), prices)[:count]
    return None if prices[chosen[-1]] >= NEVER else chosen


def _cheapest_node(view: SuperNodeView) -> int:
    return min(
        (
            kind.cards - (0 if view.cordoned else kind.free.bit_count())
            for kind, count in view.census.counts()
            if count and kind.cards and (view.cordoned or not kind.wholly_free)
        ),
        default=NEVER,
    )
