"""Whether nothing is written any more is judged for longer than any interval after which an operator writes."""

import asyncio
from pathlib import Path
from typing import cast

import pytest
from history import History
from replica import Replica
from world import INTERVALS, QUIET_SECONDS, World

from testbed.bed import Bed
from testbed.client import ApiClient
from testbed.proxy import Call


class _Clockwork(Replica):
    """An operator that writes the same thing every few seconds, for ever or for some time."""

    def __init__(self, seconds: float, until: float = float("inf")) -> None:
        super().__init__("http://127.0.0.1:1", "", Path(), "clockwork")
        self._every, self._until, self._clock = seconds, until, asyncio.get_running_loop().time
        self._began = self._clock()

    @property
    def writes(self) -> int:
        call = Call("patch", "trainingjobs/status", "a", "x", {})
        self.proxy.calls = int(min(self._clock() - self._began, self._until) / self._every) * [call]
        return super().writes


async def test_an_operator_that_writes_for_ever_is_found() -> None:
    world = _world(_Clockwork(2.0))
    with pytest.raises(AssertionError, match=r"still writes after 5 s.*trainingjobs/status a/x"):
        await world.quiet(within=5)


async def test_one_that_comes_to_rest_is_not_blamed() -> None:
    await _world(_Clockwork(0.5, until=1.0)).quiet(within=5)


def test_every_interval_of_the_engine_is_shorter() -> None:
    assert max(INTERVALS.values()) < QUIET_SECONDS


def _world(replica: Replica) -> World:
    nowhere = cast(Bed, None), cast(ApiClient, None), cast(History, None)
    world = World(*nowhere, "a")
    world.replicas.append(replica)
    return world
