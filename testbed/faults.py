"""Faults for the proxy in front of a real API server. Each spoils one exchange in one way.

A fault may act at three moments, each a method: before the request is forwarded, after the server has answered, and
while the lines of a watch pass. What is not overridden leaves the exchange alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any


class Dropped(Exception):  # noqa: N818 (a signal to the proxy, not an error)
    """Close the client's connection without another byte."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer other than a watch."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def status_reply(
    code: int, reason: str = "", message: str = "injected", retry_after: int | None = None, field: str = ""
) -> Reply:
    """A Kubernetes Status as the API server would send it; ``field`` is one that it finds wrong."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
    status |= {"details": {"causes": [{"field": field, "message": message}]}} if field else {}
    body = json.dumps(status | {"reason": reason or _REASONS.get(code, "Unknown"), "message": message}).encode()
    headers = {"Content-Type": "application/json"}
    return Reply(code, body, headers | ({"Retry-After": str(retry_after)} if retry_after is not None else {}))


_REASONS = {
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Fault:
    """Leaves an exchange as it is."""

    async def before(self) -> Reply | None:
        """Runs before forwarding; a reply returned here is sent and the server never sees the request."""
        return None

    async def after(self, reply: Reply, /) -> Reply:
        """Runs when the server has answered; returns what the client gets."""
        return reply

    def lines(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Wraps the lines of a watch, each with its line feed; may yield parts of lines."""
        return lines


@dataclass(frozen=True, slots=True)
class Delay(Fault):
    """Forward only after `seconds`."""

    seconds: float

    async def before(self) -> None:
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class Refuse(Fault):
    """Answer `code` without forwarding; with a ``field`` as for an object in which that is wrong."""

    code: int
    reason: str = ""
    retry_after: int | None = None
    field: str = ""

    async def before(self) -> Reply:
        return status_reply(self.code, self.reason, retry_after=self.retry_after, field=self.field)


@dataclass(frozen=True, slots=True)
class DropRequest(Fault):
    """Close the connection without forwarding."""

    async def before(self) -> None:
        raise Dropped


@dataclass(frozen=True, slots=True)
class DropReply(Fault):
    """Let the server apply the request, then close the connection: the client cannot know."""

    async def after(self, _: Reply) -> Reply:
        raise Dropped


@dataclass(frozen=True, slots=True)
class FailAfter(Fault):
    """Let the server apply the request, then answer `code` all the same."""

    code: int = 500

    async def after(self, _: Reply) -> Reply:
        return status_reply(self.code)


@dataclass(frozen=True, slots=True)
class HalfOpen(Fault):
    """Fall silent with the connection open: a watch after `after_events` lines, another request for ever."""

    after_events: int = 0

    async def after(self, reply: Reply) -> Reply:
        await _forever()
        return reply

    async def lines(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in _first(self.after_events, lines):
            yield line
        await _forever()


@dataclass(frozen=True, slots=True)
class Pause(Fault):
    """Stop the exchange before forwarding, or after the server has applied it, until ``release`` is set.

    ``reached`` tells a test that it has stopped there: the place to kill or freeze the client at the k-th call.
    """

    applied: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def before(self) -> None:
        if not self.applied:
            await self._stop()

    async def after(self, reply: Reply) -> Reply:
        if self.applied:
            await self._stop()
        return reply

    async def _stop(self) -> None:
        self.reached.set()
        await self.release.wait()


@dataclass(frozen=True, slots=True)
class CutWatch(Fault):
    """After `after_events` lines send half of the next and close the connection; `cleanly`: as a finished response."""

    after_events: int = 0
    cleanly: bool = False

    async def lines(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in _first(self.after_events, lines):
            yield line
        async for line in lines:
            yield line[: len(line) // 2]
            break
        if not self.cleanly:
            raise Dropped


@dataclass(frozen=True, slots=True)
class WatchError(Fault):
    """After `after_events` lines send an ERROR event with `code` and end the watch."""

    code: int = 410
    after_events: int = 0

    async def lines(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in _first(self.after_events, lines):
            yield line
        yield b'{"type":"ERROR","object":' + status_reply(self.code).body + b"}\n"


@dataclass(frozen=True, slots=True)
class HoldEvents(Fault):
    """Hold everything a watch sends back until ``release`` is set: the client's view lags.

    With ``after_start`` the objects that a WatchList begins with still pass: the view is whole, then stands still.
    """

    after_start: bool = False
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def lines(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        holding = not self.after_start
        async for line in lines:
            if holding:
                await self.release.wait()
            yield line
            holding = holding or _INITIAL_END in line


_INITIAL_END = b'"k8s.io/initial-events-end":"true"'
"""In the bookmark that ends the objects a WatchList begins with."""


@dataclass(frozen=True, slots=True)
class Late(Fault):
    """Pass each event of a watch on only ``seconds`` after it came: the client's view is of the past."""

    seconds: float

    async def lines(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        came: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()

        async def read() -> None:
            async for line in lines:
                came.put_nowait((clock(), line))
            came.put_nowait(None)

        reading = asyncio.create_task(read())
        try:
            while (item := await came.get()) is not None:
                await asyncio.sleep(max(0.0, item[0] + self.seconds - clock()))
                yield item[1]
        finally:
            reading.cancel()


@dataclass(frozen=True, slots=True)
class EditEvents(Fault):
    """Replace each event of a watch by those `edit` returns: none to lose it, two to repeat it."""

    edit: Callable[[dict[str, Any]], list[dict[str, Any]]]

    async def lines(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in lines:
            for event in self.edit(json.loads(line)):
                yield json.dumps(event).encode() + b"\n"


async def _first(count: int, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while count and (line := await anext(lines, None)) is not None:
        count -= 1
        yield line


async def _forever() -> None:
    await asyncio.Event().wait()
