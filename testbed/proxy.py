"""A fault-injecting proxy between a client and a real API server, on loopback.

    async with Proxy(bed.url, bed.admin_token) as proxy:
        proxy.inject("create", "pods", DropReply(), nth=3)
        ... run the operator with proxy.kubeconfig(path) ...
        assert [call.verb for call in proxy.calls] == [...]

The server behind it stays real; what is injected is what networks, load balancers and busy servers do (``faults``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
import yaml
from aiohttp import web

from testbed.faults import Dropped, DropRequest, Fault, Pause, Reply

_LONGEST_LINE_BYTES = 64 << 20
_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
_TERMINATING = b'"reason":"NamespaceTerminating"'
"""In a 403 that tells of no missing right."""
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Call:
    """One request as RBAC sees it; `resource` includes the subresource ("pods/status"), absent parts are ""."""

    verb: str
    resource: str
    namespace: str
    name: str
    query: dict[str, str]

    @property
    def writes(self) -> bool:
        """Whether it can change anything."""
        return self.verb not in {"get", "list", "watch"}

    @classmethod
    def of(cls, method: str, path: str, query: dict[str, str]) -> Self:
        """Read the call off the URL: /api/v1/... or /apis/GROUP/VERSION/..., anything else has resource ""."""
        parts = path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in {"status", "finalize"}:
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = (*rest, "", "", "")[:3]
        verb = _VERBS.get(method) or ("watch" if query.get("watch") == "true" else "get" if name else "list")
        if verb == "delete" and not name:
            verb = "deletecollection"
        return cls(verb, f"{plural}/{subresource}" if subresource else plural, namespace, name, query)


@dataclass(slots=True)
class _Rule:
    verb: str
    resource: str
    fault: Fault
    first: int
    last: int | None
    when: Callable[[Call], bool]
    may_miss: bool
    matched: int = 0

    def takes(self, call: Call) -> bool:
        if self.verb not in {"*", call.verb} or self.resource not in {"*", call.resource} or not self.when(call):
            return False
        self.matched += 1
        return self.matched >= self.first and (self.last is None or self.matched <= self.last)


class Proxy:
    """Forwards to the API server at `server`, with `token` for requests that bring no credentials of their own.

    It listens on `port` of the loopback interface (0: a free one). ``calls`` are all requests so far, ``forbidden``
    those that the server itself refused for want of a right. While ``unreachable`` is True every request is dropped
    before it is forwarded.
    """

    def __init__(self, server: str, token: str, *, port: int = 0) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self.forbidden: list[Call] = []
        self.unreachable = False
        self._server = server.rstrip("/")
        self._token = token
        self._port = port
        self._rules: list[_Rule] = []
        self._healed: list[_Rule] = []
        self._open: list[web.BaseRequest] = []
        self._under_way = 0
        self._settled = asyncio.Event()

    def inject(
        self,
        verb: str,
        resource: str,
        fault: Fault,
        *,
        nth: int = 1,
        times: int | None = 1,
        when: Callable[[Call], bool] = lambda _: True,
        may_miss: bool = False,
    ) -> None:
        """Spoil the `nth` call from now on with this verb and resource ("*": any) for which `when` holds.

        `times` calls in a row are spoilt, None means all that follow. Of several matching rules the first one acts.
        One that spoils no call at all is a mistake of the test, and among the ``missed``, unless it `may_miss`.
        """
        last = None if times is None else nth + times - 1
        self._rules.append(_Rule(verb, resource, fault, nth, last, when, may_miss))

    @property
    def missed(self) -> list[str]:
        """Faults that have spoilt nothing so far and should have."""
        rules = (*self._healed, *self._rules)
        missed = [rule for rule in rules if rule.matched < rule.first and not rule.may_miss]
        return [f"call {r.first} of {r.verb} {r.resource} for {r.fault}: {r.matched} came" for r in missed]

    def heal(self) -> None:
        """Forget all faults; exchanges that are being spoilt stay so."""
        self._healed += self._rules
        self._rules.clear()
        self.unreachable = False

    def sever(self, *, watches_only: bool = False) -> None:
        """Abort every open connection, idle watches too; or nothing but watches."""
        for request in self._open:
            watches = request.query.get("watch") == "true"
            if isinstance(request.transport, asyncio.Transport) and (watches or not watches_only):
                request.transport.abort()

    async def stop_at(self, nth: int, *, applied: bool) -> None:
        """Let the `nth` write from now on be the last: wait until it comes and no earlier exchange is under way.

        It is not forwarded, or ``applied`` and never answered; all later requests are dropped. That is what the server
        sees of a client that crashes there.
        """
        pause = Pause(applied)
        self.inject("*", "*", pause, nth=nth, when=lambda call: call.writes, may_miss=True)
        self.inject("*", "*", DropRequest(), nth=nth, times=None, when=lambda call: call.writes, may_miss=True)
        await pause.reached.wait()
        self.unreachable = True
        while self._under_way > 1:
            self._settled.clear()
            await self._settled.wait()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here, without credentials, to `path`; returns it."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "current-context": "proxy",
        }
        path.write_text(yaml.safe_dump(config))
        return path

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=False),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=_LONGEST_LINE_BYTES,
            auto_decompress=False,
        )
        self._runner = web.ServerRunner(web.Server(self._handle, handler_cancellation=True), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.sever()
        await self._runner.cleanup()
        await self._client.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = Call.of(request.method, request.path, dict(request.query))
        self.calls.append(call)
        self._open.append(request)
        self._under_way += call.verb != "watch"
        try:
            return await self._exchange(request, call, self._fault(call))
        except (Dropped, aiohttp.ClientError):
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        finally:
            self._open.remove(request)
            self._under_way -= call.verb != "watch"
            self._settled.set()

    def _fault(self, call: Call) -> Fault:
        if self.unreachable:
            return DropRequest()
        return next((rule.fault for rule in self._rules if rule.takes(call)), Fault())

    async def _exchange(self, request: web.BaseRequest, call: Call, fault: Fault) -> web.StreamResponse:
        injected = await fault.before()
        if injected is not None:
            return _response(injected)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers.setdefault("Authorization", f"Bearer {self._token}")
        body = await request.content.read() if request.body_exists else None
        async with self._client.request(
            request.method, self._server + request.path_qs, data=body, headers=headers
        ) as upstream:
            if call.verb == "watch" and upstream.status == 200:
                return await _pass_watch(request, upstream, fault)
            kept = {name: value for name, value in upstream.headers.items() if name.lower() not in _HOP_BY_HOP}
            reply = Reply(upstream.status, await upstream.read(), kept)
        if reply.status == 403 and _TERMINATING not in reply.body:
            self.forbidden.append(call)
        return _response(await fault.after(reply))


async def _pass_watch(request: web.BaseRequest, upstream: aiohttp.ClientResponse, fault: Fault) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": upstream.content_type})
    response.enable_chunked_encoding()
    await response.prepare(request)
    lines: AsyncIterator[bytes] = aiter(upstream.content)
    with suppress(StopAsyncIteration, ConnectionError):
        async for part in fault.lines(lines):
            await response.write(part)
    return response


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
