"""One pool of connections to one API server: a request out, an answer or an error of ``errors`` back. No retries."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection

from supernode.cluster.credentials import Credentials
from supernode.cluster.decoding import decoded
from supernode.cluster.errors import NotLeading, Unavailable
from supernode.cluster.resources import JsonObject
from supernode.cluster.wire import read_error

T = TypeVar("T")

CONNECT_SECONDS = 10.0
"""What a connection, and the credentials to be sent with it, may take."""

_STREAM_BUFFER_BYTES = 1 << 18


Guard = Callable[[], float]
"""Seconds within which a request sent now must have ended; raises NotLeading when none may be sent now."""


_guard: ContextVar[Guard | None] = ContextVar("guard", default=None)


class _GuardedRequest(aiohttp.ClientRequest):
    """Asks again when it has its connection, which takes time, and when it sends a body, which before Python 3.12 is a
    turn of the event loop later: a process may be stopped meanwhile."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if (guard := _guard.get()) is not None:
            guard()
        return await super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        if (guard := _guard.get()) is not None:
            try:
                guard()
            except NotLeading as refusal:  # this may be a task of its own: whoever waits for the answer is told
                assert conn.protocol is not None
                conn.protocol.set_exception(refusal)
                return
        await super().write_bytes(writer, conn, content_length)


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: `path` without the server, `data` encoded already. `guard` is asked right before it is sent."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = None
    content_type: str = "application/json"
    guard: Guard | None = None


KEPT_SECONDS = 60.0
"""So long a connection is kept for the next request: a handshake costs as much as three requests, and a job that comes
after a rest makes one for each connection. The API server closes those that have rested for 90 seconds."""


class Transport:
    """Connections opened as needed, at most `connections` at a time, authenticated with `credentials`.

    Answers are not asked for compressed: inside a cluster, CPU on both sides is dearer than the network.
    """

    def __init__(self, credentials: Credentials, *, user_agent: str, connections: int) -> None:
        self.credentials = credentials
        self._headers = {"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "identity"}
        self._connections = connections
        self._http: aiohttp.ClientSession | None = None

    @property
    def http(self) -> aiohttp.ClientSession:
        """The pool, opened at first use: it belongs to the event loop that runs then."""
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, ssl=self.credentials.ssl, keepalive_timeout=KEPT_SECONDS
                ),
                headers=self._headers,
                proxy=self.credentials.proxy,
                read_bufsize=_STREAM_BUFFER_BYTES,
                request_class=_GuardedRequest,
            )
            # aiohttp would send a PUT or DELETE again when its connection breaks. The second answer (409, 404) would
            # hide that the first was applied; a compare-and-swap must see Unavailable instead.
            self._http._retry_connection = False
        return self._http

    async def lend(self) -> aiohttp.ClientSession:
        """A session of its own over the same connections, with the present credentials; closing it leaves them open."""
        headers = {**self._headers, **await self.credentials.headers()}
        connector, proxy = self.http.connector, self.credentials.proxy
        return aiohttp.ClientSession(connector=connector, connector_owner=False, headers=headers, proxy=proxy)

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def exchange(self, request: Request, deadline: float) -> tuple[int, JsonObject]:
        """Send `request`; its HTTP code and decoded answer, before `deadline` on the monotonic clock.

        Raises ApiError. A connection error is Unavailable, with ``maybe_applied`` as it really is.
        """
        try:
            async with await self.open(request, deadline=deadline) as response:
                if response.status >= 400:
                    raise await read_error(response)
                return response.status, decoded(await response.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            message = f"cannot connect to {self.credentials.server}: {words_of(error)}"
            raise Unavailable(message, maybe_applied=False) from error
        except (aiohttp.ClientError, OSError, json.JSONDecodeError) as error:
            message = f"{request.method} {request.path}: {words_of(error)}"
            raise Unavailable(message, maybe_applied=request.method != "GET") from error

    async def open(
        self, request: Request, *, deadline: float = math.inf, idle: float | None = None
    ) -> aiohttp.ClientResponse:
        """Send with the present credentials, and once more with newer ones if the server refuses them (401).

        The answer must be complete before `deadline`, and must not pause for `idle` seconds.
        """
        headers = await self._in_time(self.credentials.headers(), deadline)
        response = await self._once(request, headers, deadline, idle)
        if response.status != 401:
            return response
        try:
            if not await self._in_time(self.credentials.replaced(headers), deadline):
                return response
            headers = await self._in_time(self.credentials.headers(), deadline)
        except BaseException:
            response.close()
            raise
        response.release()
        return await self._once(request, headers, deadline, idle)

    async def _in_time(self, credentials: Awaitable[T], deadline: float) -> T:
        """What is asked of the credentials, which may wait for a file or a plug-in; raises Unavailable."""
        left = min(_left(deadline), CONNECT_SECONDS)
        try:
            async with asyncio.timeout(left):
                return await credentials
        except TimeoutError as error:
            message = f"the credentials for {self.credentials.server} were not renewed within {left:.1f} s"
            raise Unavailable(message, maybe_applied=False) from error

    async def _once(
        self, request: Request, headers: Mapping[str, str], deadline: float, idle: float | None
    ) -> aiohttp.ClientResponse:
        left = _left(deadline)
        if request.guard is not None:
            left = min(left, request.guard())
        endless = left == math.inf
        limits = aiohttp.ClientTimeout(
            total=None if endless else left,
            connect=CONNECT_SECONDS if endless else None,  # a proxy may take the connection and say no more
            sock_connect=min(left, CONNECT_SECONDS),
            sock_read=idle,
            ceil_threshold=math.inf,  # else limits over 5 s end with a full second, after the Lease may have passed on
        )
        asked = _guard.set(request.guard)
        try:
            return await self.http.request(
                request.method,
                self.credentials.server + request.path,
                params=request.params,
                data=request.data,
                headers={**headers, **({"Content-Type": request.content_type} if request.data else {})},
                timeout=limits,
                server_hostname=self.credentials.server_hostname,
            )
        finally:
            _guard.reset(asked)


def _left(deadline: float) -> float:
    """Seconds until `deadline`; a little when it has passed, as aiohttp takes 0 for no limit."""
    return max(deadline - time.monotonic(), 0.001)


def words_of(error: BaseException) -> str:
    """What happened, also for errors that carry no words of their own, such as time-outs."""
    return str(error) or type(error).__name__
