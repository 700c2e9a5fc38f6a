"""Requests to the API server: JSON in, JSON out, and every failure one of the errors in ``errors``.

aiohttp and orjson instead of the official client, which costs ten times the CPU per request.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import aiohttp
import orjson

from supernode import __version__
from supernode.cluster import credentials as credentials_of
from supernode.cluster.credentials import Credentials
from supernode.cluster.errors import ApiError, NotJson, Stalled, TooManyRequests, Unavailable
from supernode.cluster.resources import JsonObject, Key, Resource
from supernode.cluster.transport import Guard, Request, Transport, words_of
from supernode.cluster.wire import lines, read_error

FIELD_MANAGER = "supernode-operator"
"""Who the API server records as the owner of the fields this operator writes."""

OnResponse = Callable[[str, str, int], None]
"""Called after every request with its RBAC verb, the resource's plural and the HTTP code (0: no answer)."""

Propagation = Literal["Background", "Foreground", "Orphan"]

_MERGE = "application/merge-patch+json"
_MANAGED: Mapping[str, str] = {"fieldManager": FIELD_MANAGER}
_CONNECT_PAUSE_SECONDS = 0.2


class Session:
    """One pool of connections to one API server. Use it as an asynchronous context manager, or call ``close``.

    `timeout` is the time in seconds a request may take, its retries included. Retried are only requests that surely
    were not processed: a refused connection (unless `retries_refused` is False: a person would rather know), a 429
    (after its Retry-After) and, once, a 401 with newer credentials. A read whose kept-alive connection turns out to be
    closed is repeated too. Everything else surfaces.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        timeout: float = 30.0,
        on_response: OnResponse | None = None,
        user_agent: str = f"supernode-operator/{__version__}",
        connections: int = 100,
        retries_refused: bool = True,
    ) -> None:
        self.server = credentials.server
        self.namespace = credentials.namespace
        self._transport = Transport(credentials, user_agent=user_agent, connections=connections)
        self._timeout = timeout
        self._on_response = on_response
        self._retries_throttled = True
        self._retries_refused = retries_refused
        self._guard: Guard | None = None

    @classmethod
    def connect(cls, kubeconfig: Path | None = None, *, context: str | None = None, **options: Any) -> Self:
        """A session with the credentials kubectl would use (see ``credentials.find``); raises NoCluster."""
        return cls(credentials_of.find(kubeconfig, context), **options)

    async def lend(self) -> aiohttp.ClientSession:
        """The connections, authenticated, for a framework that makes requests of its own; it may close what it got."""
        return await self._transport.lend()

    @property
    def unretried(self) -> Session:
        """The same connections, but 429 surfaces at once, for callers that do their own pacing."""
        view = copy.copy(self)
        view._retries_throttled = False
        return view

    def within(self, seconds: float) -> Session:
        """The same connections, but a request may take `seconds`."""
        view = copy.copy(self)
        view._timeout = seconds
        return view

    def guarded(self, guard: Guard) -> Session:
        """The same connections, but `guard` is asked right before each request that can change something."""
        view = copy.copy(self)
        view._guard = guard
        return view

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        timeout: float | None = None,  # noqa: ASYNC109 (asyncio.timeout cannot tell whether the request was sent)
    ) -> JsonObject:
        """Send one request to `path`; the decoded answer, or ApiError. `timeout` seconds override the session's."""
        request = Request(method, path, params or {}, _encoded(body), content_type)
        return await self._send(method.lower(), None, request, timeout)

    async def get(self, resource: Resource, key: Key) -> JsonObject:
        """Read one object; raises NotFound."""
        return await self._send("get", resource, Request("GET", _path(resource, key)))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int | None = None,
        continue_: str | None = None,
    ) -> JsonObject:
        """Read one page of a collection; raises Gone when the `continue_` token has expired."""
        params = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": str(limit) if limit else None,
            "continue": continue_,
        }
        return await self._send("list", resource, Request("GET", resource.path(namespace), _given(params)))

    async def create(self, resource: Resource, obj: JsonObject, *, strict: bool = False) -> JsonObject:
        """Create an object in its ``metadata.namespace``; raises AlreadyExists.

        Where it is to be ``strict``, raises BadRequest for fields that the server does not know; else it drops them.
        """
        path = resource.path(obj["metadata"].get("namespace"))
        params = {**_MANAGED, "fieldValidation": "Strict"} if strict else _MANAGED
        return await self._send("create", resource, Request("POST", path, params, _typed(resource, obj)))

    async def merge_patch(
        self, resource: Resource, key: Key, patch: JsonObject, *, subresource: str | None = None
    ) -> JsonObject:
        """Apply a JSON merge patch (RFC 7386); a ``metadata.resourceVersion`` in it is a precondition."""
        request = Request("PATCH", _path(resource, key, subresource), _MANAGED, _encoded(patch), _MERGE)
        return await self._send("patch", resource, request)

    async def delete(
        self,
        resource: Resource,
        key: Key,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: Propagation | None = None,
    ) -> JsonObject:
        """Delete one object. Raises NotFound, and Conflict when it is not the one with `uid` or `resource_version`.

        The answer is the object, or a ``Status`` when the server has already removed it and does not return it.
        """
        options = {
            "preconditions": _given({"uid": uid, "resourceVersion": resource_version}) or None,
            "propagationPolicy": propagation,
        }
        body = _encoded(_given(options) or None)
        return await self._send("delete", resource, Request("DELETE", _path(resource, key), {}, body))

    @asynccontextmanager
    async def stream(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        params: Mapping[str, str],
        idle_timeout: float = 70.0,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch; gives its complete lines, of any length. A last line without its end is dropped.

        Raises ApiError when the watch is refused or breaks, Stalled after `idle_timeout` seconds without a byte.
        """
        request = Request("GET", resource.path(namespace), {"watch": "true", **params})
        code = 0
        try:
            async with await self._transport.open(request, idle=idle_timeout) as response:
                code = response.status
                if code >= 400:
                    raise await read_error(response)
                yield lines(response.content)
        except aiohttp.SocketTimeoutError as error:
            raise Stalled(f"the watch of {resource} sent nothing for {idle_timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"the watch of {resource} broke: {words_of(error)}") from error
        finally:
            self._count("watch", resource.plural, code)

    async def _send(
        self, verb: str, resource: Resource | None, request: Request, seconds: float | None = None
    ) -> JsonObject:
        deadline = time.monotonic() + (self._timeout if seconds is None else seconds)
        if request.method != "GET":
            request = replace(request, guard=self._guard)
        plural = resource.plural if resource else ""
        while True:
            code = 0
            try:
                code, answer = await self._transport.exchange(request, deadline)
            except ApiError as error:
                code = error.status
                pause = self._pause(error)
                if pause is None or time.monotonic() + pause >= deadline:
                    raise
            else:
                return answer
            finally:
                self._count(verb, plural, code)
            await asyncio.sleep(pause)

    def _pause(self, error: ApiError) -> float | None:
        """Seconds to wait before sending the request again; None when that is not surely harmless."""
        if isinstance(error, TooManyRequests):
            return error.retry_after if self._retries_throttled else None
        if isinstance(error, Unavailable) and not error.maybe_applied:
            return _CONNECT_PAUSE_SECONDS if self._retries_refused else None
        return None

    def _count(self, verb: str, plural: str, code: int) -> None:
        if self._on_response is not None:
            self._on_response(verb, plural, code)


def _path(resource: Resource, key: Key, subresource: str | None = None) -> str:
    namespace, name = key
    return resource.path(namespace, name, subresource)


def _encoded(body: object) -> bytes | None:
    return None if body is None else _json(body)


def _typed(resource: Resource, obj: JsonObject) -> bytes:
    """The object as JSON, with apiVersion and kind, which objects taken from a list lack."""
    return _json({"apiVersion": resource.api_version, "kind": resource.kind, **obj})


def _json(body: object) -> bytes:
    """Raises NotJson, an answer like others to whoever writes: one object alone shall not end a process."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise NotJson(f"not expressible as JSON: {error}") from error


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
