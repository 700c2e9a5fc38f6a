"""The API server as the load table sees it: raw requests over 64 connections."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from testbed.bed import Bed
from testbed.client import for_each
from testbed.errors import ApiError

Json = dict[str, Any]

CONNECTIONS = 64
PAGE = 500
JOBS = "/apis/supernode.io/v1alpha1/{}trainingjobs"
GROUPS = "/apis/supernode.io/v1alpha1/{}cardgroups"
SUPERNODES = "/apis/supernode.io/v1alpha1/supernodes"
NODES = "/api/v1/nodes"
PODS = "/api/v1/{}pods"


def within(path: str, namespace: str = "") -> str:
    """The collection in one namespace, or in all."""
    return path.format(f"namespaces/{namespace}/" if namespace else "")


class Api:
    """JSON requests as the administrator, whom flow control does not hold back."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def request(self, method: str, path: str, body: object = None, *, merge: bool = False) -> Json:
        """The decoded answer; raises ApiError."""
        data = None if body is None else orjson.dumps(body)
        kind = "application/merge-patch+json" if merge else "application/json"
        async with self.http.request(method, path, data=data, headers={"Content-Type": kind}) as response:
            content = await response.read()
        answer: Json = orjson.loads(content) if content[:1] == b"{" else {"message": content.decode()}
        if response.status >= 400:
            raise ApiError(response.status, f"{method} {path}: {response.status} {answer.get('message')}")
        return answer

    async def create(self, path: str, objects: Iterable[Json]) -> None:
        """Create objects of one collection, 64 at a time."""
        await for_each(objects, lambda obj: self.request("POST", path, obj), CONNECTIONS)

    async def pages(self, path: str) -> AsyncIterator[list[Json]]:
        """A collection in pages of 500."""
        token = ""
        while True:
            page = await self.request("GET", f"{path}?limit={PAGE}{token}")
            yield page["items"] or []
            if not page["metadata"].get("continue"):
                return
            token = f"&continue={page['metadata']['continue']}"

    async def every(self, path: str) -> list[Json]:
        """A whole collection."""
        return [obj async for page in self.pages(path) for obj in page]

    async def count(self, path: str) -> int:
        """How many objects a collection has."""
        page = await self.request("GET", f"{path}?limit=1")
        return len(page["items"] or []) + int(page["metadata"].get("remainingItemCount", 0))

    async def delete_all(self, path: str) -> None:
        """Delete the objects of a collection one by one, with no time to say goodbye."""
        paths = [f"{path}/{obj['metadata']['name']}" for obj in await self.every(path)]
        await for_each(paths, self._delete, CONNECTIONS)

    async def _delete(self, path: str) -> None:
        try:
            await self.request("DELETE", path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
        except ApiError as error:
            if error.status != 404:
                raise


@asynccontextmanager
async def connect(bed: Bed) -> AsyncIterator[Api]:
    """An Api of a bed."""
    context = ssl.create_default_context(cafile=str(bed.certificate))
    async with aiohttp.ClientSession(
        bed.url,
        headers={"Authorization": f"Bearer {bed.admin_token}", "Accept-Encoding": "identity"},
        connector=aiohttp.TCPConnector(limit=CONNECTIONS + 4, ssl=context),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        read_bufsize=1 << 18,
    ) as http:
        yield Api(http)
