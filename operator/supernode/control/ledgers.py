"""The ledgers of all supernodes as they were last read: who holds what, by supernode, by group and by node."""

from collections.abc import Iterable, Iterator, Mapping

from supernode.api.supernode import SuperNode
from supernode.control.records import Custom, Key
from supernode.control.supernodes import Ledger, changes
from supernode.topology.ledger import LedgerEntry


class Ledgers(Mapping[str, Ledger]):
    """Ledgers by supernode. ``by_group`` are their entries by group, its uid and supernode.

    ``touched`` are groups whose entries were read anew; who handles them resets it. ``strays`` are cards (bitmasks by
    node) that a ledger books on a node which, by its labels, belongs to another supernode now, by that supernode.
    """

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}
        self._abroad: dict[str, dict[str, int]] = {}
        self.by_group: dict[str, dict[str, dict[str, LedgerEntry]]] = {}
        self.touched: set[Key] = set()
        self.strays: dict[str, dict[str, int]] = {}

    def __getitem__(self, supernode: str) -> Ledger:
        return self._ledgers[supernode]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ledgers)

    def __len__(self) -> int:
        return len(self._ledgers)

    def read(self, supernode: str, record: Custom[SuperNode] | None) -> list[LedgerEntry]:
        """Read a supernode's ledger if it is another one; the entries that only this one or only the last one has."""
        old = self._ledgers.get(supernode)
        if record is not None and old is not None and old.resource_version == record.resource_version:
            return []
        new = Ledger.of(record, old) if record is not None else None
        if new is None:
            self._ledgers.pop(supernode, None)
        else:
            self._ledgers[supernode] = new
        before, after = ({entry.uid: entry for entry in ledger.entries} if ledger else {} for ledger in (old, new))
        for uid, entry in before.items():
            if after.get(uid) is not entry:
                self._unlink(supernode, entry)
        for uid, entry in after.items():
            if before.get(uid) is not entry:
                self.touched.add(group_key(entry.group))
                self.by_group.setdefault(entry.group, {}).setdefault(uid, {})[supernode] = entry
        gone, came = changes(old.entries if old else (), new.entries if new else ())
        return gone + came

    def _unlink(self, supernode: str, entry: LedgerEntry) -> None:
        """A supernode's ledger does not have this entry any more."""
        self.touched.add(group_key(entry.group))
        by_uid = self.by_group[entry.group]
        by_uid[entry.uid].pop(supernode, None)
        if not by_uid[entry.uid]:
            del by_uid[entry.uid]
        if not by_uid:
            del self.by_group[entry.group]

    def find_strays(self, read: Iterable[str], assigned: Mapping[str, str]) -> dict[str, set[str]]:
        """Bring ``strays`` up to date; the supernodes for which they changed, with the nodes that have or had some.

        read: the supernodes whose ledger or nodes may have changed. assigned: the supernode of each node.
        """
        for name in read:
            booked = self._ledgers[name].booked if name in self._ledgers else {}
            self._abroad.pop(name, None)
            if abroad := {node: cards for node, cards in booked.items() if assigned.get(node) != name}:
                self._abroad[name] = abroad
        strays: dict[str, dict[str, int]] = {}
        for abroad in self._abroad.values():
            for node, cards in abroad.items():
                if (home := assigned.get(node)) is not None:
                    strays.setdefault(home, {})[node] = strays.get(home, {}).get(node, 0) | cards
        before, self.strays = self.strays, strays
        return {
            home: before.get(home, {}).keys() | strays.get(home, {}).keys()
            for home in strays.keys() | before.keys()
            if strays.get(home) != before.get(home)
        }

    def groups_on(self, node: str) -> set[Key]:
        """The groups that ledgers give cards of this node to."""
        return {
            group_key(entry.group)
            for ledger in self._ledgers.values()
            if node in ledger.booked
            for entry in ledger.entries
            if node in entry.held
        }

    def held_on(self, node: str, home: str | None, group: str) -> int:
        """The cards (bitmask) of a node that ledgers give to a group ("namespace/name"), as :meth:`booked_on`."""
        moved = node in self.strays.get(home or "", {})
        held = 0
        for ledger in self._ledgers_of(None if moved else home):
            held |= ledger.held_on(node, group)
        return held

    def booked_on(self, node: str, home: str | None) -> int:
        """The cards (bitmask) of a node that ledgers give to anyone. home: its supernode, ``None`` if it has none."""
        booked = self.strays.get(home or "", {}).get(node, 0)
        for ledger in self._ledgers_of(home):
            booked |= ledger.booked.get(node, 0)
        return booked

    def _ledgers_of(self, home: str | None) -> Iterable[Ledger]:
        """The ledger of a supernode, all of them for ``None``."""
        if home is None:
            return self._ledgers.values()
        return (self._ledgers[home],) if home in self._ledgers else ()


def group_text(key: Key) -> str:
    """A group's name as ledgers write it."""
    return f"{key[0]}/{key[1]}"


def group_key(text: str) -> Key:
    """Inverse of :func:`group_text`."""
    namespace, _, name = text.partition("/")
    return (namespace, name)
