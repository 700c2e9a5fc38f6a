"""What one supernode can take, and at what price: the tables a decision reads, remembered per view and shape.

The price of x members in a domain is the least vector (domains touched, outer level first, down to the node) inside it,
packed into one integer so that numpy can add and compare whole tables. Adding packed vectors keeps lexicographic order,
which is what makes the tree knapsack exact.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from supernode.api.errors import SupernodeError
from supernode.placement.capacity import caps_of
from supernode.placement.coding import Coding
from supernode.placement.fronts import Dim, FrontTree, OverBudgetError, clamped
from supernode.placement.kept import kept_of
from supernode.placement.racks import Racks
from supernode.placement.rows import Ints, Row, make_row, parent_row, stacked
from supernode.placement.shape import Shape
from supernode.placement.spares import loose_caps
from supernode.placement.split import cheapest_split
from supernode.topology.fleet import SuperNodeView

Parts = list[tuple[int, int]]
"""(index of a domain's child, members in it)."""


class RoughError(SupernodeError):
    """A reserve cannot be followed exactly within the budget; `Tables.narrowed` can be used instead."""


class Tables:
    """One view and one shape, for groups of up to `limit` members. caps[0] counts members per node, caps[i] per domain
    of the i-th level above the node; `cap` is what the whole supernode takes with its reserve kept. usable: the wholly
    free nodes that may be taken, where members on partly used nodes or spares make that a bound of its own. bound: the
    same as cap where it is exact; else no less than the truth."""

    def __init__(
        self, view: SuperNodeView, shape: Shape, limit: int, coding: Coding, caps: list[Ints], cap: int
    ) -> None:
        self.view = view
        self.shape = shape
        self.limit = limit
        self.coding = coding
        self.caps = caps
        self.cap = self.bound = cap
        self.exact = True
        self._rows: dict[int, list[Row]] = {}
        self._splits: dict[int, tuple[int, Parts]] = {}
        counted = shape.per_node and shape.spares_in_top
        binds = view.reserve and not counted and 0 < view.usable < self._most_opened(min(limit, cap))
        self.usable = view.usable if binds else None

    @cached_property
    def _homes(self) -> Ints:
        """What the domains take that hold spares besides; none where these lie on the ranks' own nodes."""
        depth = self.shape.within - self.shape.profile.node_index
        return self.caps[depth] if self.shape.spares and depth else np.zeros(0, np.int64)

    @property
    def _flat(self) -> bool:
        """Whether the nodes lie directly in the supernode."""
        return len(self.shape.above) == 1

    @property
    def home(self) -> int:
        """The node that gives the cards of a supernode that is one node, by index in the view."""
        return int(self.caps[0].argmax())

    def _most_opened(self, members: int) -> int:
        """No placement of this many members takes more wholly free nodes, spares included."""
        whole = self.view.census.wholly_free
        usable = loose_caps(self.view, self.shape) if self.shape.spares else self.caps[0]
        spares = self.shape.spares * min(members, int((self._homes > 0).sum()))
        return min(members + spares, int((usable[whole] > 0).sum()))

    @cached_property
    def narrowed(self) -> Tables:
        """The same without the wholly free nodes that may not be taken, if these are the ones with which least fits:
        then the reserve takes no search. Of nodes that lie directly in the supernode the roomiest serve as well as any;
        else only some placements are known."""
        if self.usable is None:
            return self
        closed = self.view.census.wholly_free
        closed[kept_of(self.view, self.shape, self.caps).opened()] = False
        if self._flat:
            caps = [np.where(closed, 0, self.caps[0]), np.array([self.cap])]
        else:
            [caps] = caps_of([self.view], self.shape, np.flatnonzero(closed))
        found = Tables(self.view, self.shape, self.limit, self.coding, caps, int(caps[-1].max(initial=0)))
        found.usable, found.exact, found.bound = None, self._flat, self.bound
        return found

    @property
    def front(self) -> FrontTree:
        """Prices by the number of wholly free nodes taken. Raises RoughError when that is beyond the budget."""
        if isinstance(self._front, str):
            raise RoughError(self._front)
        return self._front

    @cached_property
    def _front(self) -> FrontTree | str:
        """The same, or why not: a search that is beyond the budget is not begun again."""
        dims = (Dim(None, self.usable or 0),)
        tree = FrontTree(self.view, self.shape, self.caps, dims, self.limit, self.coding)
        try:
            tree.top  # noqa: B018 - built here, where it may fail
        except OverBudgetError as error:
            return str(error)
        return tree

    @cached_property
    def row(self) -> Row:
        """Prices of the whole supernode. Raises RoughError."""
        step, most = self.shape.steps[-1], min(self.cap, self.limit)
        if most < step or not self.shape.above:
            return make_row(np.zeros(most // step + 1, np.int64), step)
        prices = self.rows(len(self.shape.above))[0].prices[: most // step + 1]
        if self.usable is not None and any(self._breaks_reserve(price) for price in np.unique(prices).tolist()):
            prices = self.narrowed.row.prices if self._flat else self.front.prices(step, most)
        return make_row(prices, step)

    @cached_property
    def floors(self) -> Ints:
        """By steps of members, lower bounds of the prices of the whole supernode; needs a level between it and the
        nodes, and no block in it that the nodes do not have."""
        found = self.racks.floors(min(self.cap, self.limit))
        return found[:: self.shape.steps[-1] // self.racks.step]

    def price(self, members: int, floor: int | None = None) -> int:
        """The price of this many members, at most `cap`, without those of other numbers where it can be had so.

        Wholly free nodes count where no level above the node is crossed; else an even split comes first. floor: a lower
        bound of the price. Raises RoughError.
        """
        levels = len(self.shape.above)
        if not levels:
            return self.coding.whole * self.view.nodes[self.home].wholly_free
        price, _ = self.split(members, floor)
        if self._breaks_reserve(price):
            price = self.narrowed.price(members) if self._flat else int(self.front.prices(members, members)[1])
        crossed = any(self.coding.digit(price, above) > 1 for above in range(1, levels))
        return self.coding.vector(price) if crossed else price

    def breaks_reserve(self, members: int) -> bool:
        """Whether the reserve may forbid the cheapest placement of so many members without it."""
        return self.usable is not None and self._breaks_reserve(self.split(members)[0])

    @cached_property
    def racks(self) -> Racks:
        """The domains of nodes."""
        sizes = np.diff(self.view.layout.bounds[0])
        whole = self.view.census.wholly_free if self.coding.low else None
        return Racks(self.caps, sizes, whole, self.coding, self.shape.steps[self.shape.above[0]])

    def split(self, members: int, floor: int | None = None) -> tuple[int, Parts]:
        """The least price of this many members, the reserve aside, and (child, members) of the outermost domain."""
        known = self._splits.get(members)
        if known is None:
            top = len(self.shape.above)
            caps: list[int] = self.caps[top - 1].tolist()
            if top == 1:
                known = int(self.racks.prices(np.zeros(1, np.int64), members)[0]), []
            elif top == 2:
                steps, node = self.shape.steps, self.shape.profile.node_index
                known = self.racks.split(members, floor, alike=steps[node] == steps[node + 1])
            if known is None:
                rows, unit = self.rows(top - 1), self.coding.unit(top - 1)
                known = cheapest_split(
                    stacked([row.prices for row in rows]), rows[0].step, caps, members, unit, floor, self.coding.low
                )
            self._splits[members] = known
        return known

    def _breaks_reserve(self, price: int) -> bool:
        """Whether a placement of this price may take more wholly free nodes than the reserve leaves."""
        if self.usable is None:
            return False
        coding, depth = self.coding, self.shape.within - self.shape.profile.node_index
        opened = coding.digit(price, 0)
        if self.shape.spares and depth:
            if not coding.widths[depth]:
                return True
            opened += self.shape.spares * (1 if self.shape.spares_in_top else coding.digit(price, depth))
        return not coding.widths[0] or opened > self.usable

    def rows(self, above: int) -> list[Row]:
        """Prices of each domain of the above-th level (1 is the first above the node), the reserve aside.

        Of a supernode of nodes they are asked beside others, where wholly free nodes do not count.
        """
        if above not in self._rows:
            ties = len(self.shape.above) > 1
            self._rows[above] = self.racks.rows(self.limit, ties=ties) if above == 1 else self._price(above)
        return self._rows[above]

    def _price(self, above: int) -> list[Row]:
        bounds, children = self.view.layout.bounds[above - 1], self.rows(above - 1)
        step = self.shape.steps[self.shape.above[above - 1]]
        unit = self.coding.unit(above - 1)
        rows = []
        for start, end, most in zip(bounds, bounds[1:], self.caps[above].tolist(), strict=False):
            parts = sorted((child for child in children[start:end] if child.most), key=lambda row: row.content)
            rows.append(parent_row(parts, unit, step, min(most, self.limit)))
        return rows

    def front_for(self, dims: tuple[Dim, ...]) -> FrontTree:
        """Fronts under bounds on the domains touched, and the reserve where it binds (as the last bound)."""
        if self._flat and self.usable is not None:
            return self.narrowed.front_for(dims)
        dims = clamped(dims, self.view, len(self.shape.above))
        if self.usable is not None:
            dims = (*dims, Dim(None, self.usable))
        key = ("front", self.shape, self.limit, self.coding, dims)
        tree: FrontTree = self.view.memo(
            key, lambda: FrontTree(self.view, self.shape, self.caps, dims, min(self.limit, self.cap), self.coding)
        )
        return tree
