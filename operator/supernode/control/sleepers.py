"""Which refused requests may fit after supernodes changed: an index of what they need, so that the others sleep on."""

from bisect import bisect_right, insort
from collections.abc import Collection, Hashable, Iterable
from typing import Generic, TypeVar

from supernode.placement import Measure, Need, offers, reach
from supernode.topology.fleet import Fleet, SuperNodeView

A = TypeVar("A", bound=Hashable)


class _Shelf(Generic[A]):
    """Sleepers that need more of the same measure. ``offered``: what each supernode of its profile offers.

    ``met`` are those who were refused although that sufficed: what they lack may come without a rise.
    """

    def __init__(self, measure: Measure, fleet: Fleet) -> None:
        views = fleet.of_profile(measure.profile)
        self.measure = measure
        self.views = {view.name: view for view in views}
        self.offered = dict(zip(self.views, offers(views, measure), strict=True))
        self.sizes: list[int] = []
        self.by_size: dict[int, set[A]] = {}
        self.met: set[A] = set()

    def add(self, size: int, sleeper: A) -> None:
        if size not in self.by_size:
            insort(self.sizes, size)
        self.by_size.setdefault(size, set()).add(sleeper)
        if reach(self.measure, self.offered, self.offered.keys()) >= size:
            self.met.add(sleeper)

    def discard(self, size: int, sleeper: A) -> None:
        self.met.discard(sleeper)
        found = self.by_size[size]
        found.discard(sleeper)
        if not found:
            del self.by_size[size]
            self.sizes.remove(size)

    def woken(self, fleet: Fleet, changed: Iterable[str]) -> set[A]:
        """Take over what these supernodes offer now; the sleepers whom that may help."""
        views = [view for name in changed if (view := fleet.supernodes.get(name)) is not None]
        views = [view for view in views if view.profile.name == self.measure.profile]
        risen, given = set(), False
        for view, offered in zip(views, offers(views, self.measure), strict=True):
            if offered > self.offered.get(view.name, 0):
                risen.add(view.name)
            given = given or (bool(self.met) and _gives(view, self.views.get(view.name)))
            self.offered[view.name], self.views[view.name] = offered, view
        return self._reached(risen) | (self.met if given else set())

    def _reached(self, risen: Collection[str]) -> set[A]:
        """Sleepers whose need is met now that these supernodes offer more."""
        if not risen or not self.sizes or self.sizes[0] > (most := reach(self.measure, self.offered, risen)):
            return set()
        return {sleeper for size in self.sizes[: bisect_right(self.sizes, most)] for sleeper in self.by_size[size]}


def _gives(view: SuperNodeView, before: SuperNodeView | None) -> bool:
    """Whether a supernode gives any card that it did not give before."""
    if before is None or before.cordoned or view.reserve < before.reserve:
        return True
    free = {node.name: node.free for node in before.nodes}
    return any(node.free & ~free.get(node.name, 0) for node in view.nodes)


class Sleepers(Generic[A]):
    """Whatever was refused, by what it needs. A sleeper without needs is woken by :meth:`rouse` only."""

    def __init__(self) -> None:
        self._shelves: dict[Measure, _Shelf[A]] = {}
        self._needs: dict[A, tuple[Need, ...]] = {}

    def __len__(self) -> int:
        return len(self._needs)

    def add(self, sleeper: A, needed: tuple[Need, ...], fleet: Fleet) -> None:
        """Let it sleep until its needs may be met. ``fleet`` is no later than the next :meth:`woken` is told of."""
        self.discard(sleeper)
        self._needs[sleeper] = needed
        for need in needed:
            shelf = self._shelves.get(need.measure)
            if shelf is None:
                shelf = self._shelves[need.measure] = _Shelf(need.measure, fleet)
            shelf.add(need.members, sleeper)

    def discard(self, sleeper: A) -> None:
        """It sleeps no more."""
        for need in self._needs.pop(sleeper, ()):
            shelf = self._shelves[need.measure]
            shelf.discard(need.members, sleeper)
            if not shelf.sizes:
                del self._shelves[need.measure]

    def woken(self, fleet: Fleet, changed: Collection[str]) -> set[A]:
        """Those that may fit after these supernodes changed; they sleep no more."""
        found: set[A] = set()
        for shelf in self._shelves.values():
            found |= shelf.woken(fleet, changed)
        for sleeper in found:
            self.discard(sleeper)
        return found

    def rouse(self) -> set[A]:
        """All of them; they sleep no more."""
        found = set(self._needs)
        self._needs.clear()
        self._shelves.clear()
        return found
