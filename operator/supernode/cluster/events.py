"""Kubernetes Events for people who run ``kubectl describe``: repeats are counted, floods are cut, nobody waits."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Never

from supernode.cluster.errors import AlreadyExists, ApiError, NotFound
from supernode.cluster.resources import EVENTS, JsonObject, Resource
from supernode.cluster.session import Session

_NOTE_BYTES = 1024
_INSTANCE_CHARACTERS = 128
_NAME_CHARACTERS = 230
_REMEMBERED = 4096
_QUEUED = 1000
_SERIES_SECONDS = 600.0
_STALE_SECONDS = 3.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reference:
    """The object an event is about."""

    resource: Resource
    namespace: str
    name: str
    uid: str

    def to_json(self) -> JsonObject:
        """As an ObjectReference."""
        namespace = {"namespace": self.namespace} if self.namespace else {}
        kind = {"apiVersion": self.resource.api_version, "kind": self.resource.kind}
        return {**kind, **namespace, "name": self.name, "uid": self.uid}


@dataclass(slots=True)
class _Series:
    """One event and how often it has happened; times of the monotonic clock."""

    body: JsonObject
    last_seen: float
    warning: bool
    queued_at: float = 0.0
    last_posted: float = 0.0
    count: int = 1
    queued: bool = True
    posted: bool = False


class EventRecorder:
    """Posts events.k8s.io/v1 Events: `rate` per second with bursts of `burst`, the same one again at most every
    `repeat_every` seconds, as a count. What is about the same object with the same reason and note is the same event.

    Events are a courtesy: when the server does not take one, or there are too many, it is dropped and counted in
    ``dropped``. Of a flood the warnings are posted, late if need be; what went well is news for three seconds only, so
    that a thousand jobs that started do not keep the server busy after the last of them runs.
    """

    def __init__(
        self,
        session: Session,
        *,
        controller: str = "supernode.io/operator",
        instance: str | None = None,
        rate: float = 10.0,
        burst: int = 50,
        repeat_every: float = 30.0,
    ) -> None:
        self.dropped = 0
        self._session = session
        self._controller = controller
        self._instance = (instance or socket.gethostname())[:_INSTANCE_CHARACTERS]
        self._rate = rate
        self._burst = burst
        self._repeat_every = repeat_every
        self._tokens, self._filled_at = float(burst), time.monotonic()
        self._series: OrderedDict[tuple[Reference, str, str], _Series] = OrderedDict()
        self._queue: asyncio.Queue[_Series] = asyncio.Queue(_QUEUED)

    def record(
        self,
        regarding: Reference,
        reason: str,
        note: str,
        *,
        action: str,
        warning: bool = False,
    ) -> None:
        """Post soon that `reason` happened to `regarding` while the operator did `action`; never raises or waits.

        `reason` and `action` are CamelCase words of at most 128 characters, `note` is for people. To be called inside
        the event loop.
        """
        key, now = (regarding, reason, note), time.monotonic()
        series = self._series.get(key)
        if series is None or now - series.last_seen > _SERIES_SECONDS:
            series = _Series(self._event(regarding, reason, note, action, warning), now, warning)
            self._series[key] = series
            if len(self._series) > _REMEMBERED:
                self._series.popitem(last=False)
            self._enqueue(series)
            return
        series.count += 1
        series.last_seen = now
        self._series.move_to_end(key)
        if not series.queued:
            series.queued = True
            wait = max(0.0, series.last_posted + self._repeat_every - now)
            asyncio.get_running_loop().call_later(wait, self._enqueue, series)

    async def run(self) -> Never:
        """Post what is recorded until cancelled."""
        while True:
            series = await self._queue.get()
            series.queued = False
            if not series.warning and time.monotonic() - series.queued_at > _STALE_SECONDS:
                self.dropped += 1
                continue
            await self._take_token()
            series.last_posted = time.monotonic()
            try:
                await self._post(series)
            except ApiError as error:
                self.dropped += 1
                log.info("event %s not posted: %s", series.body["metadata"]["name"], error)

    def _enqueue(self, series: _Series) -> None:
        series.queued_at = time.monotonic()
        try:
            self._queue.put_nowait(series)
        except asyncio.QueueFull:
            series.queued = False
            self.dropped += 1

    async def _take_token(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate) - 1
        self._filled_at = now
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate)

    async def _post(self, series: _Series) -> None:
        metadata = series.body["metadata"]
        repeats = {"series": {"count": series.count, "lastObservedTime": _micro_time()}} if series.count > 1 else {}
        if series.posted:
            try:
                await self._session.merge_patch(EVENTS, (metadata["namespace"], metadata["name"]), repeats)
            except NotFound:
                log.debug("event %s has expired, posting it again", metadata["name"])
            else:
                return
        try:
            await self._session.create(EVENTS, {**series.body, **repeats})
        except AlreadyExists:
            log.debug("event %s was posted before", metadata["name"])
        series.posted = True

    def _event(self, regarding: Reference, reason: str, note: str, action: str, warning: bool) -> JsonObject:
        whose = regarding.name[:_NAME_CHARACTERS].rstrip("-.")  # what is cut behind these is no name
        name = f"{whose}.{uuid.uuid4().hex[:16]}"
        return {
            "metadata": {"name": name, "namespace": regarding.namespace or "default"},
            "eventTime": _micro_time(),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "type": "Warning" if warning else "Normal",
            "note": note.encode()[:_NOTE_BYTES].decode(errors="ignore"),
            "regarding": regarding.to_json(),
        }


def _micro_time() -> str:
    """Now, as the API's MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
