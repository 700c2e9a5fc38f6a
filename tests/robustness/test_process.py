"""The whole operator process behind the proxy: no answer of the API server ends it, and no freeze makes it write."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from scenario import PODS, life
from world import World

from testbed.bed import Bed
from testbed.faults import CutWatch, Fault, Refuse, WatchError
from testbed.installation import NAMESPACE, SHORT_LEASE, Operator
from testbed.proxy import Call, Proxy

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(WatchError(500, after_events=3), id="watch error 500"),
        pytest.param(WatchError(500), id="watch error 500 at once"),
        pytest.param(Refuse(401), id="401"),
        pytest.param(WatchError(410, after_events=3), id="watch error 410", marks=pytest.mark.nightly),
        pytest.param(CutWatch(after_events=3), id="cut amid a line", marks=pytest.mark.nightly),
        pytest.param(Refuse(500), id="500", marks=pytest.mark.nightly),
        pytest.param(Refuse(429, retry_after=1), id="429", marks=pytest.mark.nightly),
    ],
)
async def test_spoilt_watches_do_not_end_the_process(world: World, site: Bed, tmp_path: Path, fault: Fault) -> None:
    async with _process(site, tmp_path, "spoilt") as (operator, proxy):
        proxy.inject("watch", "*", fault, times=30)
        proxy.sever()
        await world.submit("during", replicas=PODS, cards=2)
        await world.running("during", 90)
        proxy.heal()
        proxy.sever()
        assert operator.running
        await life(world)
        assert operator.running


async def test_a_leader_that_was_frozen_writes_nothing_when_it_wakes(world: World, site: Bed, tmp_path: Path) -> None:
    async with _process(site, tmp_path, "first") as (first, proxy):
        await world.submit("before", replicas=PODS, cards=2)
        await world.running("before", 60)
        await world.submit("amid", replicas=PODS, cards=2)
        await world.wait("its cards are booked", lambda: f"{world.namespace}/amid" in world.holders())
        os.kill(site.pids["first"], signal.SIGSTOP)
        async with _process(site, tmp_path, "second"):
            await world.running("amid", 60)
            await world.delete("TrainingJob", "before")
            await world.gone("before")
            await world.submit("after", replicas=PODS, cards=2)
            await world.running("after")
            written = _writes(proxy)
            os.kill(site.pids["first"], signal.SIGCONT)
            await asyncio.sleep(8.0)
            assert _writes(proxy)[len(written) :] == []
            assert first.running
            await life(world)
        await world.submit("last", replicas=PODS, cards=2)
        await world.running("last", 60)
        await world.wait("the one job more", lambda: len(world.pods()) == 3 * PODS)
    assert await world.broken() == []


def _writes(proxy: Proxy) -> list[Call]:
    """All that could change something, but for the Lease itself."""
    return [call for call in proxy.calls if call.writes and call.resource != "leases"]


@asynccontextmanager
async def _process(site: Bed, folder: Path, name: str) -> AsyncIterator[tuple[Operator, Proxy]]:
    """An operator process behind a proxy of its own."""
    config = yaml.safe_load((site.folder / "operator.kubeconfig").read_text())
    async with Proxy(site.url, config["users"][0]["user"]["token"]) as proxy:
        kubeconfig = proxy.kubeconfig(folder / f"{name}.kubeconfig")
        operator = Operator(site, kubeconfig, name=name, arguments=(*SHORT_LEASE, f"--lease-namespace={NAMESPACE}"))
        await asyncio.to_thread(operator.start)
        try:
            yield operator, proxy
        finally:
            await asyncio.to_thread(operator.stop)
        assert proxy.missed == []
        assert proxy.forbidden == []
