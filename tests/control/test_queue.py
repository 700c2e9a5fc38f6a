"""The work queue: nothing lost, nothing twice at a time, failures apart."""

import asyncio

import pytest

from supernode.control.queue import WorkQueue


async def test_a_key_added_often_is_handed_out_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_added_while_worked_on_comes_again_and_not_before() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_failures_delay_a_key_more_and_more_up_to_a_bound_and_success_forgets_them() -> None:
    queue: WorkQueue[str] = WorkQueue(first_delay=0.001, max_delay=0.004)
    delays = []
    queue.add("a")
    for _ in range(4):
        await queue.get()
        delays.append(queue.failed("a"))
    assert delays == [0.001, 0.002, 0.004, 0.004]
    await queue.get()
    queue.done("a")
    queue.add("a")
    await queue.get()
    assert queue.failed("a") == 0.001


async def test_a_failing_key_does_not_hold_up_others() -> None:
    queue: WorkQueue[str] = WorkQueue(first_delay=60)
    queue.add("poison")
    queue.add("fine")
    await queue.get()
    queue.failed("poison")
    assert await asyncio.wait_for(queue.get(), 1) == "fine"


async def test_of_several_delays_the_soonest_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 60)
    queue.add_after("a", 0.01)
    queue.add_after("a", 30)
    assert await asyncio.wait_for(queue.get(), 1) == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_a_waiting_worker_wakes_for_a_new_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(worker, 1) == "a"


@pytest.mark.parametrize("turns", range(4))
async def test_a_worker_cancelled_while_it_is_woken_ends(turns: int) -> None:
    queue: WorkQueue[str] = WorkQueue()

    async def work() -> None:
        while True:
            queue.done(await queue.get())

    queue.add_after("later", 60)
    worker = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    queue.add("a")
    for _ in range(turns):
        await asyncio.sleep(0)
    worker.cancel()
    done, _ = await asyncio.wait([worker], timeout=1)
    assert done
