"""Random walks over users, hardware, network and operators. `make nightly` walks far and prints its seed."""

import os
import random
import time

import pytest
from walk import Walk
from world import World

pytestmark = pytest.mark.cluster


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
async def test_a_long_walk(world: World) -> None:
    """``SUPERNODE_WALK_SEED`` repeats a walk, ``SUPERNODE_WALK_STEPS`` is how far it goes."""
    seed = int(os.environ.get("SUPERNODE_WALK_SEED", random.randrange(1 << 32)))
    await _walk(world, seed, steps=int(os.environ.get("SUPERNODE_WALK_STEPS", "100000")))
