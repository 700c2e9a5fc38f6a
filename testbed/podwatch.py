"""The clock of every time to bound: one watch that follows pods, and tells when all are there and bound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from testbed.errors import ApiError, TestbedError

Json = dict[str, Any]


class PodWatch:
    """The pods of one collection as a watch tells of them; ``bound`` and ``running`` count those that are there now.

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

    def take_list(self, answer: Json) -> str:
        """Take in the pods that are there; the revision of the list."""
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
                if not goal.done():
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
async def watch_pods(http: aiohttp.ClientSession, path: str) -> AsyncIterator[PodWatch]:
    """Follow the pods of a collection (with a selector or without), those that are there included, until left."""
    seen = PodWatch()
    async with http.get(path) as response:
        content = await response.read()
    if response.status >= 400:
        raise ApiError(response.status, f"GET {path}: {response.status} {content.decode()}")
    revision = seen.take_list(orjson.loads(content))
    follower = asyncio.create_task(_follow(http, path, revision, seen))
    follower.add_done_callback(seen.fail)
    try:
        yield seen
    finally:
        follower.cancel()


async def first(goal: Awaitable[float], acting: asyncio.Future[Any]) -> float:
    """The goal, or at once the error of the action that was to lead to it."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(goal)
    await asyncio.wait({waiting, acting}, return_when=asyncio.FIRST_EXCEPTION)
    if acting.done() and acting.exception():
        waiting.cancel()
    await acting
    return float(await waiting)


async def _follow(http: aiohttp.ClientSession, path: str, revision: str, seen: PodWatch) -> None:
    """Watch for ever. The server ends the watch of whoever reads too slowly; it is resumed where it was."""
    sign, endless = "&" if "?" in path else "?", aiohttp.ClientTimeout(total=None)
    while True:
        async with http.get(f"{path}{sign}watch=true&resourceVersion={revision}", timeout=endless) as events:
            head = b""
            while chunk := await events.content.readany():
                *lines, head = (head + chunk).split(b"\n")
                for line in lines:
                    revision = seen.take(orjson.loads(line))
