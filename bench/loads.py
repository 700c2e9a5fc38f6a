"""The loads of the table, grouped by the bed they run on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from bench.churn import meshes, restless_nodes
from bench.figures import Figure
from bench.load import BOUND_WITHIN, Table, carry, clean, pairs, say
from bench.loadapi import GROUPS, JOBS, NODES, PODS, Api, connect, within
from bench.loadbed import A3, A960, HGX, NAMESPACE, Extent, Shape, Stage, own_profile
from bench.loadjobs import Work
from testbed.errors import TestbedError
from testbed.podwatch import watch_pods

DENSE = own_profile("dense", cards=32, racks=8, nodes=8)
PEERS = own_profile("peers", cards=8, racks=3, nodes=16)

WAITING = 5000
REST_SECONDS = 30.0
STEPS = {1008: 21, 3024: 63, 6000: 125, 12528: 261}
"""Nodes of the growing fleet, and how many supernodes of 48 nodes they are."""

Json = dict[str, Any]
Load = Callable[[Stage, Api, str, "Extent"], Awaitable[list[Figure]]]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a bed is made of: shapes, and how many supernodes of each; in the quick form, and in full."""

    shapes: tuple[Shape, ...]
    full: tuple[int, ...]
    quick: tuple[int, ...]


FLEETS = {
    "large": Fleet((A3, A960), (221, 1), (42, 0)),
    "dense": Fleet((DENSE,), (10,), (2,)),
    "peers-1536": Fleet((PEERS,), (32,), (8,)),
    "peers-6240": Fleet((PEERS,), (130,), (8,)),
    "meshes": Fleet((A960,), (6,), (1,)),
    "servers": Fleet((HGX,), (12500,), (500,)),
    "growing": Fleet((A3,), (0,), (0,)),
}


def beside_floor(work: Work) -> Load:
    """A load that is measured against its floor, three times."""

    async def load(stage: Stage, api: Api, name: str, extent: Extent) -> list[Figure]:
        return await pairs(stage, api, name, work, extent.times)

    return load


async def start(stage: Stage, api: Api, name: str, extent: Extent) -> list[Figure]:
    """A fleet full of jobs; the operator starts on it, beside a raw client that lists the same nodes and pods."""
    table = Table(name)
    await stage.start_operator()
    await stage.lend_reserves(api)
    for work in _filling(extent.quick):
        await carry(stage, api, work, calm=False)
    await stage.stop_operator()
    for what, value, unit in await _starts(stage, api, name, extent.times):
        table.add(what, value, unit)
    await stage.start_operator()
    table.add("seconds to clean", await clean(api), "s")
    await stage.stop_operator()
    return table.figures


def _filling(quick: bool) -> list[Work]:
    if quick:
        return [Work(1, 2016, A3, 16)]
    return [Work(1, 1936, A960, 8, prefix="mesh"), Work(10, 1056, A3, 16, prefix="pod")]


async def _starts(stage: Stage, api: Api, name: str, times: int) -> list[tuple[str, float, str]]:
    ratios, starts, peaks, shares = [], [], [], []
    for turn in range(times):
        before = time.process_time()
        objects, listed = await raw_list(api)
        raw = time.process_time() - before
        ready = await stage.start_operator()
        spent = stage.seconds()["operator"]
        await asyncio.sleep(5.0)
        peak = stage.peak_memory()
        await stage.stop_operator()
        ratios.append(ready / listed)
        starts.append(ready)
        peaks.append(peak)
        shares.append(spent / raw)
        say(
            f"{name}: start {turn + 1}: {objects} objects, raw list {listed:.2f} s, operator ready {ready:.2f} s, "
            f"ratio {ready / listed:.2f}, processor {spent:.2f} s to {raw:.2f} s, peak {peak:.0f} MiB"
        )
    return [
        ("ratio to a raw list", sorted(ratios)[times // 2], ""),
        ("processor time to a raw list's", sorted(shares)[times // 2], ""),
        ("seconds to ready", sorted(starts)[times // 2], "s"),
        ("peak memory, MiB", max(peaks), ""),
    ]


async def raw_list(api: Api) -> tuple[int, float]:
    """List nodes and pods side by side in pages of 500, decoded; how many objects, and seconds."""
    began = time.monotonic()
    nodes, pods = await asyncio.gather(api.every(NODES), api.every(within(PODS)))
    return len(nodes) + len(pods), time.monotonic() - began


async def arrivals(stage: Stage, api: Api, name: str, extent: Extent) -> list[Figure]:
    """Jobs of one pod of one card, as fast as the API server takes them; then all of them deleted."""
    table, work = Table(name), Work(500 if extent.quick else 15000, 1, DENSE, 1)
    await stage.start_operator()
    await stage.calm()
    took = await carry(stage, api, work)
    memory = stage.peak_memory()
    cleaned = await clean(api)
    await stage.stop_operator()
    rate = work.jobs / took.bound
    say(f"{name}: {work.jobs} jobs bound in {took.bound:.1f} s, {rate:.1f} jobs/s; cleaned in {cleaned:.1f} s")
    took.tell(name, work)
    table.add("jobs bound a second", rate)
    table.add("requests a job", sum(took.requests.values()) / work.jobs)
    table.add("operator, processor ms a job", took.seconds["operator"] / work.jobs * 1e3)
    table.add_lags([took.lags])
    table.add("writes a minute, converged", took.quiet_writes)
    table.add("peak memory, MiB", memory)
    table.add("seconds to clean", cleaned, "s")
    return table.figures


async def waiting(stage: Stage, api: Api, name: str, extent: Extent) -> list[Figure]:
    """A full fleet and thousands of groups that cannot fit: what waiting costs, and how fast a gap is used."""
    table, waiters = Table(name), 200 if extent.quick else WAITING
    supernodes = await api.count(NODES) // 48
    await stage.start_operator()
    await stage.calm()
    full = Work(supernodes, 48, PEERS, 8, required="supernode", prefix="full")
    await carry(stage, api, full, calm=False)
    before = await stage.metrics()
    queue = Work(waiters, 48, PEERS, 8, required="supernode", prefix="wait")
    began = time.monotonic()
    await api.create(within(JOBS, NAMESPACE), queue.documents())
    await _until_waiting(api, waiters)
    say(f"{name}: {waiters} groups wait, after {time.monotonic() - began:.1f} s")
    await stage.calm()
    say(f"{name}: all of it said, after {time.monotonic() - began:.1f} s")
    after = await stage.metrics()
    lags = after.lags(before)
    spent, at_rest = stage.seconds()["operator"], await stage.metrics()
    await asyncio.sleep(REST_SECONDS)
    share = (stage.seconds()["operator"] - spent) / REST_SECONDS
    writes = ((await stage.metrics()).writes - at_rest.writes) * 60 / REST_SECONDS
    used = await _until_used(api, 3)
    say(f"{name}: {share:.2%} of a core at rest; freed supernodes used after {used} s; {lags}")
    table.add("share of a core at rest", share)
    table.add("writes a minute at rest", writes)
    table.add("seconds until a freed supernode is used", sorted(used)[len(used) // 2])
    table.add_lags([lags])
    table.add("seconds to clean", await clean(api), "s")
    await stage.stop_operator()
    return table.figures


async def _until_waiting(api: Api, number: int) -> None:
    until = time.monotonic() + BOUND_WITHIN
    while True:
        groups = await api.every(within(GROUPS, NAMESPACE))
        if sum(group.get("status", {}).get("phase") == "Pending" for group in groups) == number:
            return
        if time.monotonic() > until:
            raise TestbedError(f"not all of {number} groups say that they wait")
        await asyncio.sleep(2.0)


async def _until_used(api: Api, times: int) -> list[float]:
    """Delete a job that fills a supernode; seconds from the end of its last pod to the first of its successor's."""
    seconds = []
    for number in range(times):
        async with watch_pods(api.http, within(PODS, NAMESPACE)) as watch:
            start = watch.pods
            await api.request("DELETE", f"{within(JOBS, NAMESPACE)}/full-{number}")
            freed = await watch.until(start - 48, seconds=BOUND_WITHIN)
            used = await watch.until(start, seconds=BOUND_WITHIN)
        seconds.append(round(used - freed, 3))
    return seconds


async def peers(stage: Stage, api: Api, name: str, extent: Extent) -> list[Figure]:
    """The shapes that other schedulers were measured with, in seconds from the first request to all bound."""
    table = Table(name)
    nodes = await api.count(NODES)
    shapes = {
        "gang of 48 in one supernode": Work(1, 48, PEERS, 8, required="supernode"),
        "gang of 480": Work(1, 480, PEERS, 8),
        "gang of 1000": Work(1, 1000, PEERS, 8),
        "gang of 5000": Work(1, 5000, PEERS, 8),
        "200 gangs of 8 in a rack each": Work(200, 8, PEERS, 4, required="rack"),
    }
    await stage.start_operator()
    await stage.calm()
    for what, work in shapes.items():
        if work.pods * work.cards > nodes * 8 or (extent.quick and work.pods > 300):
            continue
        took = await carry(stage, api, work, calm=False)
        await clean(api)
        say(f"{name}: {what}: {took.bound:.2f} s")
        table.add(f"{what}: seconds to bound", took.bound)
    await stage.stop_operator()
    return table.figures


async def growth(stage: Stage, api: Api, name: str, extent: Extent) -> list[Figure]:
    """Start, memory and a job of 480 pods, from 1 008 to 12 528 nodes full of pods."""
    table, pods = Table(name), 0
    for nodes, supernodes in list(STEPS.items())[: 1 if extent.quick else None]:
        stage.grow(s0=supernodes)
        await stage.start_operator()
        await stage.lend_reserves(api)
        job = Work(1, 480, A3, 16, prefix="timed")
        took = await carry(stage, api, job, calm=False)
        await api.request("DELETE", f"{within(JOBS, NAMESPACE)}/timed-0")
        async with watch_pods(api.http, within(PODS, NAMESPACE)) as watch:
            await watch.until(pods, seconds=BOUND_WITHIN)
        jobs = (nodes - pods) // 48
        await carry(stage, api, Work(jobs, 48, A3, 16, prefix=f"fill-{nodes}"), calm=False)
        pods += jobs * 48
        await stage.stop_operator()
        found = {what: value for what, value, _ in await _starts(stage, api, name, 1)}
        say(f"{name}: {nodes} nodes: 480 pods bound in {took.bound:.2f} s")
        table.add(f"{nodes} nodes: seconds to ready", found["seconds to ready"])
        table.add(f"{nodes} nodes: peak memory, MiB", found["peak memory, MiB"])
        table.add(f"{nodes} nodes: 480 pods, seconds to bound", took.bound)
    await stage.start_operator()
    await clean(api)
    await stage.stop_operator()
    return table.figures


LOADS: dict[str, tuple[str, Load]] = {
    "job-1000": ("large", beside_floor(Work(1, 1000, A3, 16))),
    "job-5000": ("large", beside_floor(Work(1, 5000, A3, 16))),
    "job-1936": ("large", beside_floor(Work(1, 1936, A960, 8, required="supernode"))),
    "storm-200": ("large", beside_floor(Work(200, 8, A3, 16))),
    "storm-1000": ("large", beside_floor(Work(1000, 8, A3, 16))),
    "start": ("large", start),
    "arrivals": ("dense", arrivals),
    "waiting": ("peers-1536", waiting),
    "peers-1536": ("peers-1536", peers),
    "peers-6240": ("peers-6240", peers),
    "meshes": ("meshes", meshes),
    "nodes": ("large", restless_nodes),
    "nodes-servers": ("servers", restless_nodes),
    "growth": ("growing", growth),
}
QUICK = ("start", "job-1000", "storm-200")


def run(*, quick: bool, names: list[str] | None = None, number: int | None = None) -> list[Figure]:
    """Run these loads, or all of them; in the quick form one turn of a few, on a smaller fleet."""
    extent = Extent(quick, number or (1 if quick else 3))
    chosen = names or (list(QUICK) if quick else list(LOADS))
    figures: list[Figure] = []
    for bed, fleet in FLEETS.items():
        on_it = [name for name in LOADS if name in chosen and LOADS[name][0] == bed]
        if on_it:
            figures += asyncio.run(_on_bed(fleet, on_it, extent))
    return figures


async def _on_bed(fleet: Fleet, names: list[str], extent: Extent) -> list[Figure]:
    stage = Stage.open(*fleet.shapes)
    figures: list[Figure] = []
    try:
        async with connect(stage.bed) as api:
            for name in names:
                if any(fleet.full):
                    stage.grow(
                        **{f"s{i}": count for i, count in enumerate(fleet.quick if extent.quick else fleet.full)}
                    )
                figures += await LOADS[name][1](stage, api, name, extent)
    finally:
        stage.close()
    return figures
