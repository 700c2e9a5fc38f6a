"""Random walks over users, hardware, network and operators. `make nightly` walks far and prints its seed."""

import os
import random
import time

import pytest
from walk import Walk
from world import World

from supernode.control import running

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("pinned")]

_SEED = os.environ.get("SUPERNODE_WALK_SEED")
_STEPS = int(os.environ.get("SUPERNODE_WALK_STEPS", "100000"))
_LONG_QUIET_SECONDS = 12.0
"""At the end: whatever an operator does now and then it would do meanwhile."""

_WALKS = 1 if _SEED else 4
"""Side by side, each in a cluster of its own: a walk mostly waits for things to calm down."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group waits seconds instead of a minute for a node that is gone."""
    monkeypatch.setattr(running, "LOST_SECONDS", 2.0)


async def _walk(world: World, seed: int, steps: int) -> None:
    walk = Walk(world, seed)
    began = time.monotonic()
    try:
        await walk.run(steps)
    finally:
        rate = walk.steps / (time.monotonic() - began)
        print(f"seed {seed}: {walk.steps} steps, {rate:.1f} a second")


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_short_walk(world: World, seed: int) -> None:
    await _walk(world, seed, steps=160)


@pytest.mark.nightly
@pytest.mark.parametrize("_number", range(_WALKS))
async def test_a_long_walk(world: World, _number: int) -> None:
    """``SUPERNODE_WALK_STEPS`` is how far all of them go together; ``SUPERNODE_WALK_SEED`` repeats a single one."""
    seed = int(_SEED) if _SEED else random.randrange(1 << 32)
    await _walk(world, seed, steps=_STEPS // _WALKS)
    await world.quiet(_LONG_QUIET_SECONDS, within=60)
