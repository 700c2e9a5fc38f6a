"""A cache of one resource that never goes back in time.

Objects are ordered by resourceVersion, comparable integers within one resource (KEP-5504). Three things arrive in no
particular order: the watch, lists, and the answers to our own writes. The newest wins for each key. Deletions are known
in two ways: everything up to ``revision`` has been seen, so an object that is neither here nor newer is gone; a removal
that is ahead of the watch leaves a tombstone until the watch has passed it.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Collection, Hashable, ItemsView, Iterable, Iterator, KeysView, Mapping
from typing import Generic, TypeVar

from supernode.cluster.resources import JsonObject, Key, key_of

T = TypeVar("T")

Convert = Callable[[JsonObject], T | None]
"""Makes the record to keep of an object; None: as if the object were absent."""

OnChange = Callable[[Key, T | None, T | None], None]
"""Called with key, old and new record; old None: added, new None: deleted."""

Index = Callable[[T], Iterable[Hashable]]
"""The values under which a record is found in a secondary index."""

log = logging.getLogger(__name__)


class Store(Generic[T]):
    """Records of type T by key, with secondary indices. Changes are reported after they are visible."""

    def __init__(
        self, convert: Convert[T], on_change: OnChange[T], indices: Mapping[str, Index[T]] | None = None
    ) -> None:
        self.revision = 0
        self._convert = convert
        self._on_change = on_change
        self._records: dict[Key, T] = {}
        self._versions: dict[Key, int] = {}
        self._tombstones: list[tuple[int, Key]] = []
        self._index_of = dict(indices or {})
        self._indexed: dict[str, dict[Hashable, dict[Key, T]]] = {name: {} for name in self._index_of}

    def get(self, key: Key) -> T | None:
        """The record of `key`, or None."""
        return self._records.get(key)

    def keys(self) -> KeysView[Key]:
        """All keys, oldest first."""
        return self._records.keys()

    def values(self) -> Iterable[T]:
        """All records, oldest first."""
        return self._records.values()

    def items(self) -> ItemsView[Key, T]:
        """All keys with their records, oldest first."""
        return self._records.items()

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._records)

    def __contains__(self, key: Key) -> bool:
        return key in self._records

    def by_index(self, index: str, value: Hashable) -> list[T]:
        """The records that index `index` files under `value`; raises KeyError for an index that was not declared."""
        return list(self._indexed[index].get(value, {}).values())

    def count(self, index: str, value: Hashable) -> int:
        """How many records index `index` files under `value`; raises KeyError for an index that was not declared."""
        return len(self._indexed[index].get(value, ()))

    def put(self, obj: JsonObject) -> bool:
        """Take in the answer to a write of ours at once. False when it is not newer than what is known already."""
        key, version = key_of(obj), version_of(obj)
        return not self._gone(key, version) and self._set(key, version, obj)

    def remove(self, obj: JsonObject) -> None:
        """Take in a deletion told amid a list."""
        self._delete(key_of(obj), version_of(obj))

    def observe(self, kind: str, obj: JsonObject) -> None:
        """Take in one watch event: kind ADDED, MODIFIED, DELETED or BOOKMARK."""
        version = version_of(obj)
        if kind == "DELETED":
            self._delete(key_of(obj), version)
        elif kind != "BOOKMARK" and not self._gone(key_of(obj), version):
            self._set(key_of(obj), version, obj)
        self.passed(version)

    def include(self, obj: JsonObject, at: int | None = None) -> Key:
        """Take in an object of a list at revision `at`, None when it is not known yet; its key.

        When a watch beside the list has shown more than that, an object that is not here has been deleted since.
        """
        key = key_of(obj)
        if at is None or at >= self.revision or key in self._versions:
            self._set(key, version_of(obj), obj)
        return key

    def contradicted(self, listed: Mapping[Key, int], revision: int) -> bool:
        """Whether the versions in a list at `revision` prove that it is of another history than what was seen before.

        In one history a list cannot show an object older than it was at or before the list's own revision. After a
        restore of etcd with a bumped revision it does: lists have jumped ahead, objects have their versions of old.
        """
        return any(version < self._versions.get(key, 0) <= revision for key, version in listed.items())

    def passed(self, revision: int) -> None:
        """Everything up to `revision` has been seen."""
        if revision <= self.revision:
            return
        self.revision = revision
        while self._tombstones and self._tombstones[0][0] <= revision:
            version, key = heapq.heappop(self._tombstones)
            if key not in self._records and self._versions.get(key) == version:
                del self._versions[key]

    def finish_list(self, seen: Collection[Key], revision: int) -> None:
        """A list at `revision` is complete and held the keys `seen`: whatever else is not newer has been deleted."""
        for key in [key for key in self._records if key not in seen]:
            self._delete(key, revision)
        self.passed(revision)

    def rewind(self) -> None:
        """Forget versions, keep records: the server's history is not the one seen before (a restore of etcd)."""
        self.revision = 0
        self._versions = dict.fromkeys(self._records, 0)
        self._tombstones.clear()

    def _gone(self, key: Key, version: int) -> bool:
        """Whether a later deletion of this object has been seen, by a list that was ahead of the watch too."""
        return key not in self._versions and version <= self.revision

    def _set(self, key: Key, version: int, obj: JsonObject) -> bool:
        if version <= self._versions.get(key, -1):
            return False
        try:
            record = self._convert(obj)
        except Exception:
            log.exception("cannot read %s %s/%s, treating it as absent", obj.get("kind", "object"), *key)
            record = None
        if record is None:
            return self._delete(key, version)
        old = self._records.get(key)
        self._versions[key] = version
        self._records[key] = record
        self._file(key, old, record)
        self._report(key, old, record)
        return True

    def _delete(self, key: Key, version: int) -> bool:
        if version < self._versions.get(key, -1):
            return False
        old = self._records.pop(key, None)
        if version > self.revision:
            self._versions[key] = version
            heapq.heappush(self._tombstones, (version, key))
        else:
            self._versions.pop(key, None)
        self._file(key, old, None)
        self._report(key, old, None)
        return old is not None

    def _file(self, key: Key, old: T | None, new: T | None) -> None:
        for name, index_of in self._index_of.items():
            entries = self._indexed[name]
            before = set(index_of(old)) if old is not None else set()
            after = set(index_of(new)) if new is not None else set()
            for value in before - after:
                del entries[value][key]
                if not entries[value]:
                    del entries[value]
            if new is not None:
                for value in after:
                    entries.setdefault(value, {})[key] = new

    def _report(self, key: Key, old: T | None, new: T | None) -> None:
        if old == new:
            return
        try:
            self._on_change(key, old, new)
        except Exception:
            log.exception("the change of %s/%s was not taken in", *key)


def version_of(obj: JsonObject) -> int:
    """The object's resourceVersion as the integer it is."""
    return int(obj["metadata"]["resourceVersion"])
