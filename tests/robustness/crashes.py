"""The reference scenario, and a crash at each of its calls: what is there in the end is the same.

A job of 48 pods over two supernodes starts, loses a pod, and is deleted. Only writes are counted as calls: a crash at a
read leaves on the server what a crash at the next write leaves.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from history import Json
from replica import Replica
from world import World

PODS = 48
JOB = "job"
LOST = f"{JOB}-7"
TAIL_SECONDS = 1.5
"""Within this the last writes of a phase have come, those of counts too."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the scenario: what sets it off, and the wait for its end."""

    name: str
    act: Callable[[World], Awaitable[object]]
    ended: Callable[[World], Awaitable[Json | None]]


async def _start(world: World) -> None:
    await world.submit(JOB, replicas=PODS, cards=2)


async def _lose_a_pod(world: World) -> None:
    uid = world.pods()[LOST]["metadata"]["uid"]
    await world.delete("Pod", LOST)
    await world.wait(f"{LOST} is gone", lambda: world.pods().get(LOST, {}).get("metadata", {}).get("uid") != uid)


async def _end(world: World) -> None:
    await world.delete("TrainingJob", JOB)


async def _gone(world: World) -> None:
    await world.gone(JOB)


PHASES = (
    Phase("start", _start, lambda world: world.running(JOB)),
    Phase("lose a pod", _lose_a_pod, lambda world: world.running(JOB)),
    Phase("delete", _end, _gone),
)


@dataclass(slots=True)
class Reference:
    """The undisturbed run: calls of each phase, and what was there at the end of each."""

    calls: dict[str, int] = field(default_factory=dict)
    states: dict[str, Json | None] = field(default_factory=dict)


async def undisturbed(world: World) -> Reference:
    """Run the scenario without a fault; the operator of that run is gone afterwards."""
    reference = Reference()
    operator = await world.operator()
    for phase in PHASES:
        before = operator.writes
        await phase.act(world)
        reference.states[phase.name] = await phase.ended(world)
        await asyncio.sleep(TAIL_SECONDS)
        reference.calls[phase.name] = operator.writes - before
    await world.end(operator)
    return reference


async def crash_at_each_call(world: World, reference: Reference, *, first: int, stride: int, applied: bool) -> int:
    """Crash at the calls ``first``, ``first + stride``, ... of every phase, one per run; how many crashes there were.

    The runs of different phases share a job: each phase ends as if nothing had happened before the next one begins.
    """
    crashes = 0
    operator = await world.operator()
    for nth in range(first, max(reference.calls.values()) + 1, stride):
        assert await world.broken() == []
        before = world.promises.creations.total()
        for phase in PHASES:
            if nth <= reference.calls[phase.name]:
                operator, crashed = await _crash(world, phase, operator, nth, applied=applied)
                crashes += crashed
            else:
                await phase.act(world)
            where = f"{phase.name}: crash {'after' if applied else 'before'} call {nth}"
            assert await phase.ended(world) == reference.states[phase.name], where
        assert await world.broken() == [], f"crash {'after' if applied else 'before'} call {nth}"
        created = world.promises.creations.total() - before
        assert created == PODS + 1, f"call {nth}: {created} pods came into being"
    await world.end(operator)
    return crashes


async def _crash(world: World, phase: Phase, operator: Replica, nth: int, *, applied: bool) -> tuple[Replica, bool]:
    """Crash in one phase and start a new operator. False if the phase was over before its `nth` call."""
    crash = asyncio.create_task(operator.crash_at(nth, applied=applied))
    await phase.act(world)
    ended = asyncio.ensure_future(phase.ended(world))
    await asyncio.wait({crash, ended}, return_when=asyncio.FIRST_COMPLETED)
    if not crash.done():
        await asyncio.wait({crash}, timeout=TAIL_SECONDS)
    crashed = crash.done()
    if crashed:
        await crash
    else:
        crash.cancel()
        await operator.crash()
    world.replicas.remove(operator)
    operator = await world.operator()
    await ended
    return operator, crashed
