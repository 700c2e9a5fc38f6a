"""A short life of a job, run undisturbed and under faults: it must come to the same, and leave nothing behind."""

from history import Json
from world import World

PODS = 12
JOB = "life"
PODS_OF_A_LIFE = 2 * PODS + 1
"""Every pod, one for the lost one, and every one again after the pause."""


async def life(world: World, *, seconds: float = 60.0) -> list[Json]:
    """Start a job over two nodes' worth of members, lose a pod, suspend, resume, delete; the state after each step."""
    states = []
    await world.submit(JOB, replicas=PODS, cards=2)
    states.append(await world.running(JOB, seconds))
    await lose(world, f"{JOB}-5")
    states.append(await world.running(JOB, seconds))
    await world.edit(JOB, suspend=True)
    await world.wait("its cards are given back", lambda: f"{world.namespace}/{JOB}" not in world.holders(), seconds)
    await world.edit(JOB, suspend=False)
    states.append(await world.running(JOB, seconds))
    await world.delete("TrainingJob", JOB)
    await world.gone(JOB, seconds)
    return states


async def lose(world: World, pod: str) -> None:
    """Delete a pod and wait until it is gone."""
    uid = world.pods()[pod]["metadata"]["uid"]
    await world.delete("Pod", pod)
    await world.wait(f"{pod} is gone", lambda: world.pods().get(pod, {}).get("metadata", {}).get("uid") != uid)


async def undisturbed(world: World) -> list[Json]:
    """The states of a life without faults; it is led once in each cluster."""
    cluster = world.bed.name
    if cluster not in _undisturbed:
        operator = await world.operator()
        _undisturbed[cluster] = await life(world)
        await world.end(operator)
        assert await world.broken() == []
        world.promises.creations.clear()
    return _undisturbed[cluster]


_undisturbed: dict[str, list[Json]] = {}
