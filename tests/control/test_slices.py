"""Long work lets others run."""

import asyncio
import time

from supernode.control.slices import SLICE_SECONDS, Slices


async def _others(work: asyncio.Task[None]) -> int:
    """How often another task ran until the work was done."""
    turns = 0
    while not work.done():
        turns += 1
        await asyncio.sleep(0)
    return turns


async def test_short_work_is_not_interrupted() -> None:
    async def work() -> None:
        slices = Slices()
        for _ in range(10):
            await slices.turn()

    assert await _others(asyncio.create_task(work())) <= 2


async def test_others_run_after_each_slice() -> None:
    async def work() -> None:
        slices = Slices()
        for _ in range(10):
            until = time.perf_counter() + SLICE_SECONDS
            while time.perf_counter() < until:
                pass
            await slices.turn()

    assert await _others(asyncio.create_task(work())) >= 10
