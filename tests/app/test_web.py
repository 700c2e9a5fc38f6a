"""Metrics and probes over HTTP, served to whoever asks."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from typing import Any

import aiohttp
import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from supernode.app.metrics import Metrics
from supernode.app.web import Web


class Slow(Collector):
    """A metric that takes a while to collect; its value says how often that was done, `most` how often at once."""

    def __init__(self) -> None:
        self.times = self.now = self.most = 0

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        self.times, self.now = self.times + 1, self.now + 1
        self.most = max(self.most, self.now)
        time.sleep(0.05)
        self.now -= 1
        yield GaugeMetricFamily("times", "Times this was collected.", self.times)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def served(metrics: Metrics, host: str | None) -> AsyncIterator[int]:
    """The port at which the metrics are served. Probes are not asked for here, so that there is no engine."""
    nobody: Any = None
    web, port = Web(nobody, nobody, metrics), free_port()
    await web.open(host, port)
    try:
        yield port
    finally:
        await web.close()


async def scrape(port: int, accept: str = "") -> str:
    async with (
        aiohttp.ClientSession(headers={"Accept": accept}) as client,
        client.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        return await answer.text()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_kubelets_of_either_family_reach_it(address: str) -> None:
    async with served(Metrics(), None) as port:
        _, writer = await asyncio.open_connection(address, port)
        writer.close()


async def test_many_scrapes_at_once_cost_what_one_costs() -> None:
    metrics, slow = Metrics(), Slow()
    metrics.registry.register(slow)
    async with served(metrics, "127.0.0.1") as port:
        texts = await asyncio.gather(*(scrape(port) for _ in range(20)))
        assert {"times 1.0" in text for text in texts} == {True}
        assert slow.times == 1
        await asyncio.sleep(1.1)
        assert "times 2.0" in await scrape(port)


async def test_scrapes_in_different_formats_are_written_one_after_the_other() -> None:
    metrics, slow = Metrics(), Slow()
    metrics.registry.register(slow)
    formats = ["text/plain", "application/openmetrics-text; version=1.0.0"]
    async with served(metrics, "127.0.0.1") as port:
        texts = await asyncio.gather(*(scrape(port, formats[number % 2]) for number in range(6)))
    assert [text.endswith("# EOF\n") for text in texts] == [False, True] * 3
    assert slow.most == 1
