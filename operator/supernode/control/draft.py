"""What one pass of the allocator wants to change, before anything is written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from supernode.control.grouping import Group
from supernode.control.ledgers import group_text
from supernode.control.records import Key
from supernode.placement import Placement
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.ledger import LedgerEntry, entries_for
from supernode.topology.node import Member
from supernode.topology.views import held_cards

RepairKind = Literal["rebuilt", "surplus", "orphaned", "incomplete", "doubled", "unreadable"]


@dataclass(frozen=True, slots=True)
class Repair:
    """Something in a ledger that was not as it must be, and what is done about it.

    ``kind``: ``rebuilt`` (cards in use that no ledger named), ``surplus`` (cards of ranks that have others),
    ``orphaned`` (a group that is gone), ``incomplete`` (not all members), ``doubled`` (cards given twice),
    ``unreadable``.
    """

    kind: RepairKind
    supernode: str
    message: str


@dataclass(slots=True)
class Draft:
    """What changes in ledgers and statuses.

    ``fleet`` is the snapshot after what is given away. What is given back is not free in it: who else has these cards
    shows once the ledgers are swapped. ``changed`` are the groups that each touched ledger gains or loses, ``booked``
    the cards given away since the snapshot (bitmask by node).
    """

    fleet: Fleet
    added: dict[str, list[LedgerEntry]] = field(default_factory=dict)
    removed: dict[str, list[LedgerEntry]] = field(default_factory=dict)
    placed: dict[Key, tuple[Group, Placement]] = field(default_factory=dict)
    confirmed: list[tuple[Group, dict[str, Any]]] = field(default_factory=list)
    finalized: list[Group] = field(default_factory=list)
    unprotected: list[Group] = field(default_factory=list)
    changed: dict[str, set[Key]] = field(default_factory=dict)
    booked: dict[str, int] = field(default_factory=dict)
    repairs: list[Repair] = field(default_factory=list)
    unfinished: bool = False
    retry: bool = False

    def release(self, key: Key, parts: Mapping[str, LedgerEntry]) -> None:
        """Take a group's entries out of the ledgers of these supernodes."""
        for name, entry in parts.items():
            self.changed.setdefault(name, set()).add(key)
            self.removed.setdefault(name, []).append(entry)

    def after(self, supernode: str) -> SuperNodeView | None:
        """A supernode once its ledger is swapped, as far as this ledger alone tells."""
        view, entries = self.fleet.supernodes.get(supernode), self.removed.get(supernode)
        return view if view is None or entries is None else view.release(held_cards(entries))

    def book(
        self,
        group: Group,
        members: Sequence[Member],
        spares: Sequence[Member],
        held: Mapping[str, LedgerEntry] | None = None,
    ) -> list[str]:
        """Enter a group's members and spares into the ledgers of the supernodes they lie in; the ledgers that change.

        ``held`` are entries that ledgers have of the group already.
        """
        changes = []
        for name, entry in entries_for(group_text(group.key), group.uid, members, spares).items():
            if held is not None and held.get(name) == entry:
                continue
            changes.append(name)
            self.added.setdefault(name, []).append(entry)
            self.changed.setdefault(name, set()).add(group.key)
        everyone = (*members, *spares)
        for member in everyone:
            self.booked[member.node] = self.booked.get(member.node, 0) | member.cards
        views = self.fleet.supernodes
        self.fleet = self.fleet.take(
            m for m in everyone if m.supernode in views and m.node in views[m.supernode].layout.index
        )
        return changes

    def repair(self, kind: RepairKind, supernodes: Iterable[str], message: str) -> None:
        """Note a repair of these supernodes' ledgers."""
        self.repairs += [Repair(kind, name, message) for name in sorted(supernodes)]
