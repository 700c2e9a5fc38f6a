"""The API server as the load table sees it: raw requests over 64 connections, and one watch that follows all pods."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from testbed.bed import Bed
from testbed.client import for_each
from testbed.errors import ApiError, TestbedError

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


class PodWatch:
    """The pods of one namespace as a watch tells of them; ``bound`` and ``running`` count those that are there now.

    ``deleted`` are pods that went away while it watched: in a measurement of start-up there must be none.
    """

    def __init__(self) -> None:
        self.deleted = 0
        self._stage: dict[str, int] = {}
        self._counts = [0, 0, 0]
        self._goals: list[tuple[int, int, asyncio.Future[float]]] = []

    @property
    def pods(self) -> int:
        """How many there are."""
        return len(self._stage)

    @property
    def bound(self) -> int:
        """How many have a node."""
        return self._counts[1] + self._counts[2]

    @property
    def running(self) -> int:
        """How many run."""
        return self._counts[2]

    async def until(self, pods: int, *, running: bool = False, seconds: float) -> float:
        """Wait until exactly this many pods are there and all are bound (or run); the time.monotonic() of it."""
        goal: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._goals.append((pods, 2 if running else 1, goal))
        self._settle()
        try:
            async with asyncio.timeout(seconds):
                return await goal
        except TimeoutError as error:
            text = f"after {seconds:.0f} s {self.running} pods of {pods} run, {self.bound} are bound, {self.pods} there"
            raise TestbedError(text) from error

    async def take_list(self, api: Api, path: str) -> str:
        """Take in the pods that are there; the revision of the list."""
        answer = await api.request("GET", path)
        for pod in answer["items"] or ():
            self.take({"type": "ADDED", "object": pod})
        return str(answer["metadata"]["resourceVersion"])

    def take(self, event: Json) -> str:
        """Take in one event of the watch; the revision to go on from. Raises TestbedError when it cannot go on."""
        kind, pod = event["type"], event["object"]
        if kind == "ERROR":
            raise TestbedError(f"the watch of pods broke: {pod.get('message')}")
        uid = pod["metadata"]["uid"]
        before = self._stage.pop(uid, None)
        if before is not None:
            self._counts[before] -= 1
        if kind == "DELETED":
            self.deleted += 1
        else:
            stage = _stage(pod)
            self._stage[uid] = stage
            self._counts[stage] += 1
        if self._goals:
            self._settle()
        return str(pod["metadata"]["resourceVersion"])

    def fail(self, follower: asyncio.Task[None]) -> None:
        """Tell whoever waits that nothing more will be seen."""
        if not follower.cancelled() and (error := follower.exception()):
            for _, _, goal in self._goals:
                goal.set_exception(error)

    def _settle(self) -> None:
        for pods, stage, goal in list(self._goals):
            if len(self._stage) == pods and sum(self._counts[stage:]) == pods:
                self._goals.remove((pods, stage, goal))
                if not goal.done():
                    goal.set_result(time.monotonic())


def _stage(pod: Json) -> int:
    if pod["status"].get("phase") == "Running":
        return 2
    return 1 if pod["spec"].get("nodeName") else 0


@asynccontextmanager
async def watch_pods(api: Api, namespace: str) -> AsyncIterator[PodWatch]:
    """Follow the pods of a namespace, those that are there already included, until left."""
    path, seen = within(PODS, namespace), PodWatch()
    revision = await seen.take_list(api, path)
    follower = asyncio.create_task(_follow(api, path, revision, seen))
    follower.add_done_callback(seen.fail)
    try:
        yield seen
    finally:
        follower.cancel()


async def _follow(api: Api, path: str, revision: str, seen: PodWatch) -> None:
    """Watch for ever. The server ends the watch of whoever reads too slowly; it is resumed where it was."""
    while True:
        async with api.http.get(f"{path}?watch=true&resourceVersion={revision}") as events:
            head = b""
            while chunk := await events.content.readany():
                *lines, head = (head + chunk).split(b"\n")
                for line in lines:
                    revision = seen.take(orjson.loads(line))
