"""Keeps a store equal to what the API server holds, whatever the server, the network or a proxy in between does.

    list ─────────► watch ──────► watch ──────► ...        a watch that ends or breaks is resumed where it was
      ▲               │ 410, or the server's history is another one
      └───────────────┘

The list is a WatchList where the server has it (beta since Kubernetes 1.32), else pages, as after one that the server
ended half-way. It replaces: what it does not hold is deleted from the store, so deletions that no watch has told are
noticed too. No answer ends the reflector.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Generic, Never, TypeVar

from supernode.cluster.backoff import Backoff
from supernode.cluster.decoding import decoded
from supernode.cluster.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Stalled,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    error_from_status,
)
from supernode.cluster.resources import JsonObject, Key, Resource, key_of
from supernode.cluster.session import Session
from supernode.cluster.store import Convert, Index, OnChange, Store, version_of

T = TypeVar("T")

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""Annotation of the bookmark that ends a WatchList's initial events (KEP-3157)."""

_WATCH_SECONDS = 300.0
_SHORT_WATCH_SECONDS = 1.0
_SLOW_SECONDS = 2.0
_LOG_AGAIN_SECONDS = 300.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Initial:
    """The initial phase of a WatchList: at which revision of the store and after how many lists it began, and the
    versions that it has told. A list beside it may end meanwhile, which does not end the phase."""

    asked_at: int
    relists: int
    seen: dict[Key, int] = field(default_factory=dict)
    ended: bool = False


class Reflector(Generic[T]):
    """Lists and watches one resource into ``store``; start it with ``run``.

    `convert` makes the slim record to keep, or None to ignore the object; `on_change` hears of every difference, also
    during the first list. ``synced`` is set once the first list is complete, ``settled`` then or once the server has
    refused to show the resource, which is asked for again and again all the same. A watch silent for `idle_timeout`
    seconds is opened anew, after a look at the server's revision: bookmarks come every minute, but not always when
    nothing changes. `rng` returns numbers from 0 to 1 for the jitter. ``last_activity`` (monotonic clock) is when the
    server last told anything, ``relists`` and ``errors`` count full lists and attempts that failed.
    """

    def __init__(
        self,
        session: Session,
        resource: Resource,
        *,
        convert: Convert[T],
        on_change: OnChange[T],
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        page_size: int = 500,
        indices: Mapping[str, Index[T]] | None = None,
        rng: Callable[[], float] = random.random,
        idle_timeout: float = 70.0,
    ) -> None:
        self.resource = resource
        self.store: Store[T] = Store(convert, on_change, indices)
        self.synced = asyncio.Event()
        self.settled = asyncio.Event()
        self.last_activity = time.monotonic()
        self.relists = self.errors = self.events = 0
        self._session = session
        self._namespace = namespace
        self._selectors = {"label_selector": label_selector, "field_selector": field_selector}
        self._page_size = page_size
        self._rng = rng
        self._idle_timeout = idle_timeout
        self._listed = False
        self._doubtful = False
        self._watch_list = True
        self._cut_short = False
        self._pages_expired = False
        self._log_again: dict[type[ApiError], float] = {}
        self._backoff = Backoff(0.5, 30.0, rng)

    def put(self, obj: JsonObject) -> bool:
        """See ``Store.put``."""
        return self.store.put(obj)

    async def read_again(self) -> None:
        """List beside the watch, so that the store is as new as what the server holds now; raises ApiError."""
        await self._list()

    async def run(self) -> Never:
        """Keep the store up to date until cancelled."""
        self.last_activity = time.monotonic()
        while True:
            try:
                await self._step()
            except ApiError as error:
                if isinstance(error, Stalled) and self._listed:
                    self._doubtful = True
                    continue
                if isinstance(error, Gone | NotFound):
                    self._listed = False
                if isinstance(error, Forbidden):
                    self.settled.set()
                if not isinstance(error, Gone):
                    self._count_error()
                self._tell(error)
                await asyncio.sleep(self._backoff.delay(_pause_asked_for(error)))
            except Exception:
                self._listed = False
                self._count_error()
                log.exception("%s: unexpected while listing or watching; listing again", self.resource)
                await asyncio.sleep(self._backoff.delay())

    async def _step(self) -> None:
        """List if need be, then watch until the server ends the watch, as it does every few minutes."""
        if self._doubtful:
            await self._check()
        if not self._listed and (self._cut_short or not self._watch_list):
            await self._list()
            return
        began, events = time.monotonic(), self.events
        try:
            await (self._watch() if self._listed else self._watch_from_list())
        except (BadRequest, Invalid) as error:
            if self._listed:
                raise
            self._watch_list = False
            log.info("%s: no WatchList, listing in pages: %s", self.resource, error)
            return
        if self.events == events and time.monotonic() - began < _SHORT_WATCH_SECONDS:
            raise Unavailable(f"the watch of {self.resource} ended at once")
        self._backoff.reset()

    async def _check(self) -> None:
        """See whether a watch fell silent because the server's history is behind what we wait for; then list again.

        It asks for no other objects than the watch: a Role may grant one name only.
        """
        page = await self._session.list(self.resource, self._namespace, **self._selectors, limit=1)
        self.last_activity = time.monotonic()
        self._listed = version_of(page) >= self.store.revision
        self._doubtful = False

    async def _list(self) -> None:
        """Replace the store by the pages of a list; by one page after the server has forgotten a list half-way."""
        seen: set[Key] = set()
        asked_at = self.store.revision  # a watch beside the list may be ahead of it when it arrives
        limit, token = (None if self._pages_expired else self._page_size), None
        while True:
            try:
                page = await self._session.list(
                    self.resource, self._namespace, **self._selectors, limit=limit, continue_=token
                )
            except Gone:
                self._pages_expired = True
                raise
            self.last_activity = time.monotonic()
            revision, token = version_of(page), page["metadata"].get("continue")
            listed = {key_of(obj): version_of(obj) for obj in page["items"] or ()}
            if revision < asked_at or self.store.contradicted(listed, revision):
                self._rewound(revision)
                asked_at = 0
            seen.update(self.store.include(obj, revision) for obj in page["items"] or ())
            if not token:
                break
        self._pages_expired = False
        self._finish_list(seen, revision)

    async def _watch_from_list(self) -> None:
        """A WatchList, and the watch it turns into; raises Invalid or BadRequest where the server does not have it."""
        initial = _Initial(self.store.revision, self.relists)
        query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        async with self._stream(query) as lines:
            async for line in lines:
                kind, obj = self._event(line)
                if initial.ended:
                    self._observe(kind, obj)
                else:
                    self._include(kind, obj, initial)
        if not initial.ended:  # as the server does to who is slower than the news; the next one may fare no better
            self._cut_short = True
            raise Unavailable(f"the watch of {self.resource} ended before its first objects were complete")

    async def _watch(self) -> None:
        """Watch from where the store is."""
        async with self._stream({"resourceVersion": str(self.store.revision)}) as lines:
            async for line in lines:
                self._observe(*self._event(line))

    def _include(self, kind: str, obj: JsonObject, initial: _Initial) -> None:
        """Take in one event of the initial phase of a WatchList, in which changes may be told already."""
        if kind == "DELETED":
            self.store.remove(obj)
            initial.seen.pop(key_of(obj), None)
            return
        if kind != "BOOKMARK":
            listed_beside = self.relists != initial.relists
            initial.seen[self.store.include(obj, version_of(obj) if listed_beside else None)] = version_of(obj)
            return
        if obj["metadata"].get("annotations", {}).get(INITIAL_EVENTS_END) != "true":
            raise BadRequest("the server does not mark the end of initial events")
        revision = version_of(obj)
        if revision < initial.asked_at or self.store.contradicted(initial.seen, revision):
            self._rewound(revision)
            raise Gone("the server's history is another one")
        initial.ended = True
        self._finish_list(initial.seen, revision)

    def _event(self, line: bytes) -> tuple[str, JsonObject]:
        """Type and object of an event; raises what an ERROR event carries, and Unavailable where it is no JSON.

        A list comes after such a line: resumed where it was, the watch would begin with the same one again.
        """
        try:
            event = decoded(line)
        except json.JSONDecodeError as error:
            self._listed = False
            raise Unavailable(f"the watch of {self.resource} sent what is no JSON: {error}") from error
        kind, obj = event["type"], event["object"]
        self.last_activity = time.monotonic()
        if kind == "ERROR":
            raise error_from_status(obj.get("code") or 500, obj)
        self.events += 1
        return kind, obj

    def _observe(self, kind: str, obj: JsonObject) -> None:
        self._backoff.reset()
        self.store.observe(kind, obj)

    def _stream(self, query: Mapping[str, str]) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a watch. Its length is random, so that watches do not all end together."""
        params = {
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(_WATCH_SECONDS * (1 + self._rng()))),
            "labelSelector": self._selectors["label_selector"],
            "fieldSelector": self._selectors["field_selector"],
            **query,
        }
        given = {name: value for name, value in params.items() if value is not None}
        return self._session.stream(self.resource, self._namespace, params=given, idle_timeout=self._idle_timeout)

    def _finish_list(self, seen: Collection[Key], revision: int) -> None:
        self.store.finish_list(seen, revision)
        self._listed = True
        self._cut_short = False
        self.synced.set()
        self.settled.set()
        self.relists += 1

    def _rewound(self, revision: int) -> None:
        log.warning(
            "%s: what the server holds at revision %d contradicts what was seen until %d: its data was restored; "
            "taking over all of it",
            self.resource,
            revision,
            self.store.revision,
        )
        self.store.rewind()

    def _count_error(self) -> None:
        self.errors += 1

    def _tell(self, error: ApiError) -> None:
        """Log `error`, but one kind at most once in a while: the reflector meets it again at every attempt."""
        now = time.monotonic()
        if now < self._log_again.get(type(error), 0.0):
            return
        self._log_again[type(error)] = now + _LOG_AGAIN_SECONDS
        if isinstance(error, Gone):
            log.info("%s: listing again: %s", self.resource, error)
        elif isinstance(error, NotFound):
            log.warning("%s: not served; waiting until it is installed or enabled (%s)", self.resource, error)
        elif isinstance(error, Forbidden):
            where = f" in {self._namespace}" if self._namespace else ""
            log.error("%s: forbidden; grant the verbs list and watch on %s%s (%s)", *[self.resource] * 2, where, error)
        else:
            log.warning("%s: cannot list or watch, trying again: %s", self.resource, error)


def _pause_asked_for(error: ApiError) -> float:
    """The shortest pause in seconds before the next attempt; what only a person mends is not asked for often."""
    if isinstance(error, TooManyRequests):
        return error.retry_after
    return _SLOW_SECONDS if isinstance(error, Forbidden | NotFound | Unauthorized) else 0.0
