"""Keeps SuperNodes true: creates those that labels tell of, deletes empty ones, writes counts and profile statuses."""

import time
from typing import Any

from supernode.api import names
from supernode.api.supernode import SuperNode
from supernode.cluster import resources
from supernode.cluster.errors import AlreadyExists, ApiError
from supernode.control import status
from supernode.control.caches import Caches
from supernode.control.fleet import FleetState
from supernode.control.groups import now
from supernode.control.outbox import Outbox, Write
from supernode.control.records import Custom, Key
from supernode.control.slices import Slices
from supernode.control.writes import creation, deletion, status_patch
from supernode.topology.discovery import Discovery, Found

AT_ONCE = 200
"""SuperNodes that one pass creates, and statuses that it writes: for a second or so, in which nobody gets cards."""

STATUS_INTERVAL = 1.0
"""Seconds between two writes of one SuperNode's counts when its ledger did not change: nodes flap together."""


class Upkeep:
    """Part of the allocator's passes: nobody else writes SuperNodes and the status of profiles."""

    def __init__(self, outbox: Outbox, caches: Caches, state: FleetState) -> None:
        self._outbox = outbox
        self._caches = caches
        self._state = state
        self._due: dict[str, float] = {}
        self._reviewed: Discovery | None = None
        self._missing: list[Found] = []
        self._nodeless: list[Key] = []

    async def sync(self) -> bool:
        """Create the SuperNodes that node labels tell of; delete discovered ones that have neither nodes nor groups.
        Whether there are more to be created at once.

        What a person has set on one is kept, and the SuperNode with it: its nodes may be gone for a moment only.
        """
        store = self._caches.supernodes.store
        self._review()
        missing = [found for found in self._missing if ("", found.name) not in store]
        due = [found for found in missing if not self._outbox.left(found.name)]
        await self._create(due[:AT_ONCE])
        empty = filter(None, map(store.get, self._nodeless))
        await self._remove([r for r in empty if self._is_left_over(r) and not self._outbox.left(r.uid)])
        if self._state.discovered:
            self._state.discovered = not await self._write_profiles()
        if missing:
            await self._state.refresh()
        return len(due) > AT_ONCE

    async def _create(self, missing: list[Found]) -> None:
        writes = [
            Write(
                found.name,
                f"SuperNode {found.name}",
                creation(resources.SUPERNODES, status.discovered_supernode(found)),
            )
            for found in missing
        ]
        results = await self._outbox.write("discovery", writes, self._caches.supernodes, AlreadyExists)
        before = dict(self._state.uncreated)
        for found, result in zip(missing, results, strict=True):
            self._state.uncreated.pop(found.name, None)
            if isinstance(result, ApiError) and not isinstance(result, AlreadyExists):
                self._state.uncreated[found.name] = str(result)
        self._state.discovered |= self._state.uncreated != before

    async def _remove(self, empty: list[Custom[SuperNode]]) -> None:
        calls = [deletion(resources.SUPERNODES, r.key, r.uid, r.resource_version) for r in empty]
        writes = [Write(r.uid, f"SuperNode {r.key[1]}", call) for r, call in zip(empty, calls, strict=True)]
        await self._outbox.write("discovery", writes, None)

    def _review(self) -> None:
        """Find what a new discovery misses, and what it has no nodes for: a pass cannot look at every supernode."""
        discovery, store = self._state.discovery, self._caches.supernodes.store
        if discovery is not self._reviewed:
            self._reviewed = discovery
            self._missing = [found for found in discovery.supernodes.values() if ("", found.name) not in store]
            having_nodes = {name for name, found in discovery.supernodes.items() if found.nodes}
            self._nodeless = [key for key in store if key[1] not in having_nodes]
            still = {found.name for found in self._missing}
            self._state.uncreated = {n: words for n, words in self._state.uncreated.items() if n in still}

    def _is_left_over(self, record: Custom[SuperNode]) -> bool:
        return _as_discovered(record) and not record.deleting and self._is_empty(record.key[1])

    def _is_empty(self, name: str) -> bool:
        found = self._state.discovery.supernodes.get(name)
        ledger = self._state.ledgers.get(name)
        return (found is None or not found.nodes) and ledger is not None and not ledger.entries and not ledger.error

    async def _write_profiles(self) -> bool:
        """Write what discovery found of each profile; whether all of them say it now."""
        moment = now()
        differing = [
            (record, patch)
            for record in self._caches.profiles.store.values()
            if (patch := status.difference(record.status, status.profile_status(record, self._state, moment)))
        ]
        writes = [
            Write(
                r.uid,
                f"SuperNodeProfile {r.key[1]}",
                status_patch(resources.SUPERNODEPROFILES, r.key, patch, r.resource_version),
            )
            for r, patch in differing
            if not self._outbox.left(r.uid)
        ]
        results = await self._outbox.write("profiles", writes, self._caches.profiles)
        return sum(not isinstance(result, ApiError) for result in results) == len(differing)

    def forget(self, name: str) -> None:
        """A SuperNode is gone."""
        self._due.pop(name, None)

    async def write_counts(self) -> float | None:
        """Write the counts of supernodes whose view changed; seconds until the next write that had to wait."""
        await self._state.refresh()
        writes: list[Write] = []
        later = []
        moment, slices = time.monotonic(), Slices()
        for name in sorted(self._state.changed, key=lambda name: (self._due.get(name, 0.0), name)):
            await slices.turn()
            if (wait := max(self._due.get(name, 0.0) - moment, self._outbox.left(name))) > 0:
                later.append(wait)
                continue
            if len(writes) == AT_ONCE:
                later.append(0.0)
                break
            self._state.changed.discard(name)
            if (call := self._counts_of(name)) is not None:
                self._due[name] = moment + STATUS_INTERVAL
                writes.append(Write(name, f"SuperNode {name}", call))
        results = await self._outbox.write("counts", writes, self._caches.supernodes)
        for write, result in zip(writes, results, strict=True):
            if isinstance(result, ApiError):
                self._state.changed.add(write.name)
                later.append(max(STATUS_INTERVAL, self._outbox.left(write.name)))
        return min(later, default=None)

    def _counts_of(self, name: str) -> Any:
        record = self._caches.supernodes.store.get(("", name))
        if record is None:
            return None
        view = self._state.fleet.supernodes.get(name)
        patch = status.difference(record.status, status.supernode_status(record, view, self._state, now()))
        return status_patch(resources.SUPERNODES, record.key, patch, record.resource_version) if patch else None


def _as_discovered(record: Custom[SuperNode]) -> bool:
    """Whether a SuperNode was discovered, and nobody has set since how it is to be used."""
    spec = record.model.spec if record.model is not None else None
    untouched = spec is None or (not spec.cordoned and spec.reserve is None)
    return untouched and record.labels.get(names.LABEL_DISCOVERED) == "true"
