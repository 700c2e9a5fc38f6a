"""A crash before or after any call changes nothing of what is there in the end. `make nightly` takes every call."""

import pytest
from crashes import PHASES, PODS, crash_at_each_call, undisturbed
from world import World

pytestmark = pytest.mark.cluster
STRIDE = 9


@pytest.mark.nightly
@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
async def test_a_crash_at_each_and_every_call(world: World, applied: bool) -> None:
    reference = await undisturbed(world)
    crashes = await crash_at_each_call(world, reference, first=1, stride=1, applied=applied)
    print(f"calls {reference.calls}, crashes {crashes}")
    assert crashes > PODS


async def test_a_crash_at_any_call_changes_nothing(world: World) -> None:
    reference = await undisturbed(world)
    assert reference.calls[PHASES[0].name] > PODS
    crashes = await crash_at_each_call(world, reference, first=1, stride=STRIDE, applied=False)
    crashes += await crash_at_each_call(world, reference, first=2, stride=STRIDE, applied=True)
    assert crashes > 2 * PODS // STRIDE
    await world.operator()
    await world.settled()
