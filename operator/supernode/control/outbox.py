"""The writes of the allocator's passes: each is a sign of life, and after one that failed its object has a pause."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from supernode.cluster.errors import ApiError, NotFound
from supernode.cluster.reflector import Reflector
from supernode.cluster.resources import JsonObject
from supernode.cluster.session import Session
from supernode.cluster.writer import Call, Writer
from supernode.control.pauses import Pauses
from supernode.control.slices import sliced

_log = logging.getLogger(__name__)


class Write(NamedTuple):
    """A call, by what its pauses go by, and what the log calls the object."""

    name: str
    what: str
    call: Call[JsonObject]


class Outbox:
    """``beat`` is called whenever the API server has answered, or has been waited for in vain."""

    def __init__(self, writer: Writer, beat: Callable[[], None]) -> None:
        self._writer = writer
        self._beat = beat
        self._pauses = Pauses()

    def left(self, name: str) -> float:
        """Seconds for which this is to be left alone; 0 where no write failed."""
        return self._pauses.left(name)

    def failing(self, name: str) -> bool:
        """Whether the last write failed."""
        return self._pauses.failures(name) > 0

    def forget(self, name: str) -> None:
        """The object is gone."""
        self._pauses.succeeded(name)

    async def run(self, turn: str, calls: Iterable[Call[JsonObject]]) -> list[JsonObject | ApiError]:
        """See ``Writer.run``."""
        return await self._writer.run(turn, [self._beating(call) for call in calls])

    async def write(
        self,
        turn: str,
        writes: Sequence[Write],
        cache: Reflector[Any] | None,
        harmless: type[ApiError] = NotFound,
    ) -> list[JsonObject | ApiError]:
        """Write these and cache the answers. After one that fails, but for ``harmless`` errors, there is a pause."""
        results = await self.run(turn, (write.call for write in writes))
        async for write, result in sliced(zip(writes, results, strict=True)):
            if isinstance(result, ApiError) and not isinstance(result, harmless):
                pause = self._pauses.failed(write.name)
                _log.warning("%s was not written, tries again in %.1f s: %s", write.what, pause, result)
                continue
            self._pauses.succeeded(write.name)
            if cache is not None and not isinstance(result, ApiError):
                cache.put(result)
        return results

    def _beating(self, call: Call[JsonObject]) -> Call[JsonObject]:
        async def made(session: Session) -> JsonObject:
            try:
                return await call(session)
            finally:
                self._beat()

        return made
