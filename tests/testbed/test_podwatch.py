"""The count of bound pods, which every time to bound stands on."""

import asyncio
from typing import Any

import pytest

from testbed.errors import TestbedError
from testbed.podwatch import PodWatch, first


def event(kind: str, uid: str, node: str | None = None, phase: str = "Pending") -> dict[str, Any]:
    spec = {"nodeName": node} if node else {}
    pod = {"metadata": {"uid": uid, "name": f"pod-{uid}", "resourceVersion": "7"}, "spec": spec}
    return {"type": kind, "object": pod | {"status": {"phase": phase}}}


async def test_a_pod_counts_as_bound_while_it_is_there_and_has_a_node() -> None:
    watch = PodWatch()
    for uid in "ab":
        watch.take(event("ADDED", uid))
    both = asyncio.create_task(watch.until(2, seconds=5))
    watch.take(event("MODIFIED", "a", "n1"))
    watch.take(event("DELETED", "a", "n1"))
    watch.take(event("ADDED", "a2"))  # a pod of the same name that took its place and has no node yet
    watch.take(event("MODIFIED", "b", "n2", "Running"))
    await asyncio.sleep(0)
    assert not both.done()
    assert (watch.pods, watch.bound, watch.running, watch.deleted) == (2, 1, 1, 1)
    watch.take(event("MODIFIED", "a2", "n1"))
    assert await both > 0
    with pytest.raises(TestbedError, match="1 pods of 2 run, 2 are bound"):
        await watch.until(2, running=True, seconds=0.01)


async def test_whoever_was_to_make_the_pods_fails_and_nobody_waits_for_them() -> None:
    async def refused() -> None:
        raise TestbedError("kubectl apply failed")

    goal = asyncio.ensure_future(PodWatch().until(4, seconds=60))
    async with asyncio.timeout(5):
        with pytest.raises(TestbedError, match="kubectl apply failed"):
            await first(goal, asyncio.ensure_future(refused()))
    await asyncio.sleep(0)
    assert goal.cancelled()


async def test_a_watch_that_breaks_is_told_to_who_waits() -> None:
    watch = PodWatch()
    given_up = asyncio.ensure_future(watch.until(2, seconds=60))
    waiting = asyncio.ensure_future(watch.until(1, seconds=60))
    await asyncio.sleep(0)
    given_up.cancel()
    broken = {"type": "ERROR", "object": {"message": "too old"}}

    async def follow() -> None:
        watch.take(broken)

    follower = asyncio.ensure_future(follow())
    follower.add_done_callback(watch.fail)
    with pytest.raises(TestbedError, match="too old"):
        await waiting
