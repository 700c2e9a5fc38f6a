"""The queue of keys between events and reconcile: de-duplicated, one worker per key, back-off per key."""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys that wait to be reconciled.

    A key is queued at most once, is never handed to two workers at the same time, and is queued again when it was
    added while a worker had it. A key that fails comes back after ``first_delay * 2**(failures-1)`` seconds, at most
    ``max_delay``, so that one object that always fails never holds up the others. Same semantics as the work queue of
    controller-runtime. Must be used from one event loop.
    """

    def __init__(self, *, first_delay: float = 0.05, max_delay: float = 60.0) -> None:
        self._first_delay = first_delay
        self._max_delay = max_delay
        self._ready: deque[K] = deque()
        self._queued: set[K] = set()
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._delayed: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._sequence = itertools.count()
        self._wakeup = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        """Queue ``key`` now, or as soon as the worker that has it is done."""
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._wakeup.set()

    def add_after(self, key: K, delay: float) -> None:
        """Queue ``key`` in ``delay`` seconds; of several delays asked for one key the soonest counts."""
        due = asyncio.get_running_loop().time() + max(0.0, delay)
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._delayed, (due, next(self._sequence), key))
        self._wakeup.set()

    async def get(self) -> K:
        """Wait for a key; the caller must call :meth:`done` or :meth:`failed` with it."""
        while True:
            timeout = self._release_due()
            if self._ready:
                key = self._ready.popleft()
                self._queued.discard(key)
                self._active.add(key)
                return key
            self._wakeup.clear()
            with suppress(TimeoutError):  # not wait_for, which loses a cancellation that comes with a wake-up
                async with asyncio.timeout(timeout):
                    await self._wakeup.wait()

    def done(self, key: K) -> None:
        """The worker finished with ``key``; its failures are forgotten."""
        self._failures.pop(key, None)
        self._finish(key)

    def failed(self, key: K) -> float:
        """The worker failed on ``key``: queue it again later. Returns the delay in seconds."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        delay = min(self._max_delay, self._first_delay * float(2 ** min(failures - 1, 30)))
        self._again.discard(key)
        self._finish(key)
        self.add_after(key, delay)
        return delay

    def _finish(self, key: K) -> None:
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _release_due(self) -> float | None:
        """Move keys whose time has come to the ready ones; seconds until the next, ``None`` when there is none."""
        now = asyncio.get_running_loop().time()
        while self._delayed:
            due, _, key = self._delayed[0]
            if self._due.get(key) != due:
                heapq.heappop(self._delayed)
            elif due <= now:
                heapq.heappop(self._delayed)
                del self._due[key]
                self.add(key)
            else:
                return due - now
        return None
