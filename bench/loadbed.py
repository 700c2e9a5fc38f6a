"""A test bed with the operator on it, and what its processes cost."""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from bench.loadapi import SUPERNODES, Api
from testbed import bed as beds
from testbed.bed import Bed
from testbed.errors import TestbedError
from testbed.fleet import Fleet
from testbed.installation import Operator, apply, install

Json = dict[str, Any]

NAMESPACE = "load"
_TICKS = os.sysconf("SC_CLK_TCK")
_WRITES = frozenset({"create", "update", "patch", "delete"})
_LAG = "supernode_loop_lag_seconds"
_BUSY = "supernode_loop_busy_seconds"


@dataclass(frozen=True, slots=True)
class Shape:
    """A machine that is asked for: a profile and what its nodes hold. document: a SuperNodeProfile the chart lacks."""

    profile: str
    resource: str
    cards: int
    document: Json | None = field(default=None, compare=False)


def own_profile(name: str, cards: int, racks: int, nodes: int) -> Shape:
    """Supernodes of ``racks`` racks of ``nodes`` nodes of ``cards`` cards, any number of which may be given."""
    levels = [
        {"name": "node", "fanOut": cards, "fabric": "switch", "bandwidth": 400},
        {
            "name": "rack",
            "fanOut": nodes,
            "fabric": "switch",
            "bandwidth": 200,
            "nodeLabel": f"example.com/{name}-rack",
        },
        {
            "name": "supernode",
            "fanOut": racks,
            "fabric": "switch",
            "bandwidth": 100,
            "nodeLabel": f"example.com/{name}",
        },
    ]
    spec = {
        "card": {"resource": "example.com/card"},
        "levels": levels,
        "nodeSelector": {"example.com/machine": name},
        "allocation": {"wholeNodesAcrossNodes": False},
        "pinning": {"mode": "env", "key": "EXAMPLE_VISIBLE_CARDS"},
    }
    document = {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "SuperNodeProfile",
        "metadata": {"name": name},
        "spec": spec,
    }
    return Shape(name, "example.com/card", cards, document)


A3 = Shape("ascend-a3-384", "huawei.com/Ascend910", 16)
A960 = Shape("ascend-960", "huawei.com/npu", 8)
HGX = Shape("nvidia-hgx8", "nvidia.com/gpu", 8)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much to measure: in the quick form less, and what is measured against a floor so many times."""

    quick: bool
    times: int


class Stage:
    """A bed with the charts applied, and one operator process that can be started and stopped on it."""

    def __init__(self, bed: Bed, shapes: tuple[Shape, ...]) -> None:
        self.bed = bed
        self._shapes = shapes
        self.operator = Operator(bed, install(bed), arguments=())
        self._supernodes = 0
        documents = [shape.document for shape in shapes if shape.document]
        if documents:
            apply(bed, documents)
        apply(bed, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])

    @classmethod
    def open(cls, *shapes: Shape) -> Stage:
        """A new bed without nodes."""
        bed = beds.start(f"load-{os.getpid()}", audit=False, progress=_quiet)
        try:
            return cls(bed, shapes)
        except BaseException:
            bed.stop()
            raise

    def close(self) -> None:
        """End all of it."""
        self.bed.stop()

    def grow(self, **supernodes: int) -> int:
        """Have so many supernodes of each shape, by the number of the shape (``s0=21``); how many nodes that is."""
        pools = [
            {"name": f"p{number}", "profile": self._profile(shape), "supernodes": supernodes[f"s{number}"]}
            for number, shape in enumerate(self._shapes)
            if supernodes.get(f"s{number}")
        ]
        self._supernodes = sum(supernodes.values())
        return self.bed.apply(Fleet.parse({"pools": pools}), _quiet)

    @staticmethod
    def _profile(shape: Shape) -> object:
        return shape.document["spec"] if shape.document else shape.profile

    async def lend_reserves(self, api: Api) -> None:
        """Let jobs have every node: no supernode keeps any back. Waits until all are there and nothing is written."""
        supernodes: list[Json] = []
        try:
            async with asyncio.timeout(300.0):
                while len(supernodes) != self._supernodes:
                    await self.calm()
                    supernodes = await api.every(SUPERNODES)
                for supernode in supernodes:
                    path = f"{SUPERNODES}/{supernode['metadata']['name']}"
                    await api.request("PATCH", path, {"spec": {"reserve": 0}}, merge=True)
                await self.calm()
        except TimeoutError:
            raise TestbedError(f"{len(supernodes)} supernodes were discovered, not {self._supernodes}") from None

    async def calm(self, seconds: float = 2.0) -> None:
        """Wait until the operator writes nothing for so long."""
        before = -1.0
        while True:
            now = (await self.metrics()).writes
            if now == before:
                return
            before = now
            await asyncio.sleep(seconds)

    async def start_operator(self) -> float:
        """Start the operator; seconds until it is ready."""
        began = time.monotonic()
        await asyncio.to_thread(self.operator.start, ready_within=300.0)
        return time.monotonic() - began

    async def stop_operator(self) -> None:
        """End the operator, with what it writes at its end."""
        await asyncio.to_thread(self.operator.stop)

    # What it costs.

    def seconds(self) -> dict[str, float]:
        """Processor seconds of each program so far; `bench` is this client: it makes the floor's pods, and watches."""
        return {program: _cpu_seconds(pid) for program, pid in (self.bed.pids | {"bench": os.getpid()}).items()}

    @property
    def operator_pid(self) -> int:
        return self.bed.pids["operator"]

    def peak_memory(self) -> float:
        """The operator's largest resident size so far, in MiB."""
        status = Path(f"/proc/{self.operator_pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    async def metrics(self) -> Metrics:
        """The operator's metrics now."""
        code, text = await asyncio.to_thread(self.operator.get, "/metrics")
        if code != 200:
            raise TestbedError(f"the operator's metrics answered {code}")
        return Metrics.parse(text)


@dataclass(frozen=True, slots=True)
class Lags:
    """How late the loop was, in ms, and without its waits for a core: what 99 % of the moments did not exceed, and none
    did. Bounds of the histogram's buckets, NaN where nothing was measured.
    """

    p99: float
    largest: float
    own_p99: float
    own_largest: float

    def __str__(self) -> str:
        p99 = f"lag p99 {self.p99:.0f} ms, {self.own_p99:.0f} its own"
        return f"{p99}, largest {self.largest:.0f} ms, {self.own_largest:.0f} its own"


@dataclass(frozen=True, slots=True)
class Metrics:
    """One scrape: requests by verb and resource, and buckets (upper bound to count so far) of how late the loop was and
    how long it was busy itself."""

    requests: Mapping[tuple[str, str], float]
    lag: Mapping[float, float]
    busy: Mapping[float, float]

    @classmethod
    def parse(cls, text: str) -> Metrics:
        """Read the text format."""
        requests: dict[tuple[str, str], float] = {}
        buckets: dict[str, dict[float, float]] = {_LAG: {}, _BUSY: {}}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "supernode_api_requests_total":
                    key = (sample.labels["verb"], sample.labels["resource"])
                    requests[key] = requests.get(key, 0) + sample.value
                elif sample.name.removesuffix("_bucket") in buckets and "le" in sample.labels:
                    buckets[sample.name.removesuffix("_bucket")][float(sample.labels["le"])] = sample.value
        return cls(requests, buckets[_LAG], buckets[_BUSY])

    @property
    def writes(self) -> float:
        """Requests that write, but those of the leader's Lease, which has to be renewed for ever."""
        return sum(
            count for (verb, resource), count in self.requests.items() if verb in _WRITES and resource != "leases"
        )

    def since(self, before: Metrics) -> dict[tuple[str, str], float]:
        """Requests since an earlier scrape."""
        return {key: rise for key, count in self.requests.items() if (rise := count - before.requests.get(key, 0)) > 0}

    def lags(self, before: Metrics) -> Lags:
        """How late the loop was since `before`."""
        return Lags(
            *(_quantile_ms(self.lag, before.lag, s) for s in (0.99, 1.0)),
            *(_quantile_ms(self.busy, before.busy, s) for s in (0.99, 1.0)),
        )


def _quantile_ms(buckets: Mapping[float, float], before: Mapping[float, float], share: float) -> float:
    counts = [(bound, count - before.get(bound, 0)) for bound, count in sorted(buckets.items())]
    if not counts or not counts[-1][1]:
        return math.nan
    return next(bound for bound, count in counts if count >= share * counts[-1][1]) * 1000


def _cpu_seconds(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _quiet(_: str) -> None:
    return
