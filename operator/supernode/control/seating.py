"""Who sits where: the members of committed groups, from the entries of the ledgers."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from supernode.control.fleet import FleetState
from supernode.topology.census import Layout
from supernode.topology.ledger import LedgerEntry, Seat
from supernode.topology.node import Member
from supernode.topology.views import seated

LARGE = 64
"""Members of a group from which on they are kept: while its pods start, a job of thousands is looked at often."""

KEPT = 1024
"""Groups whose members are kept; the one asked for longest ago goes first."""

_Sources = tuple[tuple[str, LedgerEntry, Layout | None], ...]


class Seating:
    """Makes members, and makes those of a large group anew only when its entries or its supernodes' nodes changed."""

    def __init__(self, state: FleetState) -> None:
        self._state = state
        self._known: OrderedDict[str, tuple[_Sources, tuple[Member, ...]]] = OrderedDict()

    def members(self, parts: Mapping[str, LedgerEntry]) -> tuple[Member, ...]:
        """The members of one group in rank order. parts: its entry in each ledger, by supernode."""
        views = self._state.fleet.supernodes
        sources = tuple((name, entry, views[name].layout if name in views else None) for name, entry in parts.items())
        group = next(iter(parts.values())).group
        known = self._known.get(group)
        if known is not None and _same(known[0], sources):
            self._known.move_to_end(group)
            return known[1]
        found = (self._located(name, entry.seats()) for name, entry in parts.items())
        members = tuple(sorted(chain.from_iterable(found), key=lambda member: member.rank))
        if len(members) >= LARGE:
            self._known[group] = (sources, members)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return members

    def forget(self, group: str) -> None:
        """No ledger names this group ("namespace/name") any more."""
        self._known.pop(group, None)

    def spares(self, parts: Mapping[str, LedgerEntry]) -> tuple[Member, ...]:
        """What one group holds for repairs, numbered from 0."""
        found = chain.from_iterable(self._located(name, entry.spare_seats()) for name, entry in sorted(parts.items()))
        return tuple(spare._replace(rank=number) for number, spare in enumerate(found))

    def _located(self, supernode: str, seats: Iterable[Seat]) -> Iterator[Member]:
        return seated(self._state.fleet.supernodes.get(supernode), supernode, seats)


def _same(old: _Sources, new: _Sources) -> bool:
    """By identity: neither entries nor layouts change once they are made."""
    return len(old) == len(new) and all(
        a[0] == b[0] and a[1] is b[1] and a[2] is b[2] for a, b in zip(old, new, strict=True)
    )
