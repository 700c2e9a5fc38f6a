"""Many writes at a pace the API server can take, with fair turns between the jobs they belong to.

Additive increase, multiplicative decrease: a 429 halves the number of requests under way and pauses all of them for its
Retry-After, up to ten seconds: a webhook may ask for an hour, for what it alone refuses. Each round of successes adds
one, up to ``limit``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from supernode.cluster.errors import ApiError, TooManyRequests
from supernode.cluster.resources import JsonObject, Key, Resource
from supernode.cluster.session import Session

LONGEST_PAUSE = 10.0
"""Seconds that one 429 may hold up the calls of others; its own call waits as long as it says."""

R = TypeVar("R")

Call = Callable[[Session], Awaitable[R]]
"""A request to make with the session given, such as ``lambda session: session.create(PODS, pod)``."""


class Writer:
    """At most `limit` requests at a time over all jobs; fewer while the server sheds load.

    `patience` is how many seconds 429 may put a call off before the TooManyRequests becomes its result. ``limit`` is
    the concurrency at present, ``waiting`` the number of calls that wait for their turn.
    """

    def __init__(self, session: Session, limit: int = 64, *, patience: float = 60.0) -> None:
        self.limit = limit
        self._most = limit
        self._session = session.unretried
        self._patience = patience
        self._under_way = 0
        self._successes = 0
        self._queues: dict[Hashable, deque[asyncio.Future[None]]] = {}
        self._paused_until = 0.0
        self._halved_at = 0.0

    @property
    def waiting(self) -> int:
        """Calls waiting for their turn."""
        return sum(len(queue) for queue in self._queues.values())

    async def run(self, turn: Hashable, calls: Iterable[Call[R]]) -> list[R | ApiError]:
        """Make all `calls`; their results in order, an ApiError in the place of a call that failed.

        Calls of the same `turn` (a job's key) are made in order; different turns alternate. Cancelling it cancels what
        is under way: whether those requests were applied is then unknown.
        """

        numbered = list(enumerate(calls))
        left, results = iter(numbered), dict[int, R | ApiError]()

        async def one_by_one() -> None:
            for position, call in left:
                results[position] = await self._call(turn, call)

        async with asyncio.TaskGroup() as group:
            for _ in numbered[: self._most]:  # more could not be under way
                group.create_task(one_by_one())
        return [results[position] for position, _ in numbered]

    async def create_many(
        self, turn: Hashable, resource: Resource, objects: Sequence[JsonObject]
    ) -> list[JsonObject | ApiError]:
        """Create `objects`. AlreadyExists is a result: whether that object is ours is for the caller to see."""
        return await self.run(turn, [_create(resource, obj) for obj in objects])

    async def delete_many(
        self, turn: Hashable, resource: Resource, targets: Sequence[tuple[Key, str | None]]
    ) -> list[JsonObject | ApiError]:
        """Delete the objects of (key, uid) in `targets`; with a uid, another object of that name is left alone."""
        return await self.run(turn, [_delete(resource, key, uid) for key, uid in targets])

    async def _call(self, turn: Hashable, call: Call[R]) -> R | ApiError:
        give_up = time.monotonic() + self._patience
        own_pause = 0.0
        while True:
            await asyncio.sleep(own_pause)
            await self._take_turn(turn)
            began = time.monotonic()
            try:
                result = await call(self._session)
            except TooManyRequests as error:
                self._slow_down(began, min(error.retry_after, LONGEST_PAUSE))
                if time.monotonic() + error.retry_after > give_up:
                    return error
                own_pause = error.retry_after
            except ApiError as error:
                return error
            else:
                self._speed_up()
                return result
            finally:
                self._under_way -= 1
                self._admit()

    async def _take_turn(self, turn: Hashable) -> None:
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(turn, deque()).append(admitted)
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():
                self._under_way -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        """Let as many calls go as may be under way, one of each turn at a time."""
        while self._queues and self._under_way < self.limit and time.monotonic() >= self._paused_until:
            turn = next(iter(self._queues))
            queue = self._queues.pop(turn)
            admitted = queue.popleft()
            if queue:
                self._queues[turn] = queue
            if not admitted.done():
                self._under_way += 1
                admitted.set_result(None)

    def _slow_down(self, began: float, pause: float) -> None:
        """A call that `began` then met 429. Those sent before the last halving say nothing new about the load."""
        now = time.monotonic()
        if began >= self._halved_at:
            self.limit = max(1, self.limit // 2)
            self._halved_at = now
            self._successes = 0
        self._paused_until = max(self._paused_until, now + pause)
        asyncio.get_running_loop().call_later(self._paused_until - now + 0.001, self._admit)

    def _speed_up(self) -> None:
        self._successes += 1
        if self._successes >= self.limit:
            self._successes = 0
            self.limit = min(self._most, self.limit + 1)


def _create(resource: Resource, obj: JsonObject) -> Call[JsonObject]:
    return lambda session: session.create(resource, obj)


def _delete(resource: Resource, key: Key, uid: str | None) -> Call[JsonObject]:
    return lambda session: session.delete(resource, key, uid=uid)


def raise_first(results: Iterable[object], *harmless: type[ApiError]) -> None:
    """Raise the first error that is none of ``harmless``, so that the caller tries again."""
    for result in results:
        if isinstance(result, ApiError) and not isinstance(result, harmless):
            raise result
