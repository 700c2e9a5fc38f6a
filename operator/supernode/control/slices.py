"""Long work on the event loop in slices, so that watches, probes and the renewal of the lease come in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

SLICE_SECONDS = 0.005
"""Work that many callbacks may be waiting for; what they do comes on top of it."""


class Slices:
    """The work of one task. It awaits :meth:`turn` between its steps, each of which should be well under a slice."""

    def __init__(self) -> None:
        self._ends = time.perf_counter() + SLICE_SECONDS

    async def turn(self) -> None:
        """Let others run if this slice is over."""
        if time.perf_counter() >= self._ends:
            await asyncio.sleep(0)
            self._ends = time.perf_counter() + SLICE_SECONDS


async def sliced(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, each of which is one step of work."""
    slices = Slices()
    for item in items:
        yield item
        await slices.turn()
