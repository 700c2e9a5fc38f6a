"""etcd is full: nothing can be written, not even by a new operator. Nothing is lost either."""

import asyncio
import json

import pytest
from scenario import JOB, PODS
from world import World

from testbed.bed import Bed
from testbed.errors import ApiError
from testbed.loopback import fetch

pytestmark = pytest.mark.cluster


def _alarm(bed: Bed, action: str) -> None:
    """Raise or lift etcd's own alarm for no space: until it is lifted it refuses every write, deletions too."""
    body = json.dumps({"action": action, "memberID": "0", "alarm": "NOSPACE"}).encode()
    url = f"http://127.0.0.1:{bed.layout.etcd_port}/v3/maintenance/alarm"
    assert fetch(url, body)[0] == 200


async def test_no_space_left(world: World, site: Bed) -> None:
    operator = await world.operator()
    await world.submit(JOB, replicas=PODS, cards=2)
    state = await world.running(JOB)
    await world.submit("starting", replicas=PODS, cards=2)
    _alarm(site, "ACTIVATE")
    try:
        with pytest.raises(ApiError, match="space exceeded"):
            await world.submit("refused")
        await world.end(operator)
        operator = await world.replica()
        operator.start()
        await asyncio.sleep(3.0)
        assert operator.failure is None
    finally:
        _alarm(site, "DEACTIVATE")
    assert await world.running(JOB, 60) == state
    await world.running("starting", 60)
    await world.settled()
