"""The load table: the engine on a real control plane, each time beside a floor measured in the same run.

The floor is a raw client that creates the very pods the operator would create, with 64 connections and no operator
about. Floor and operator alternate, so that what else the machine does meets both; each pair gives one ratio, the
figure is the median. "Bound" is what one watch of all pods sees: exactly the pods asked for are there, and each has a
node.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from bench.figures import Figure
from bench.loadapi import GROUPS, JOBS, PODS, SUPERNODES, Api, within
from bench.loadbed import NAMESPACE, Lags, Stage
from bench.loadjobs import Work, pods_of
from testbed.errors import TestbedError
from testbed.podwatch import first, watch_pods

Json = dict[str, Any]

BOUND_WITHIN = 900.0
CALM_WITHIN = 60.0
QUIET_SECONDS = 15.0
WARM_UP = 200
"""Pods whose creation is not measured: right after thousands of nodes were made, a floor is a third too slow."""

_console = Console(width=140, highlight=False)


def say(text: str) -> None:
    """Tell what was just measured: a whole table takes an hour."""
    _console.print(f"{time.strftime('%H:%M:%S')} {text}")


@dataclass(slots=True)
class Round:
    """One time that the operator carried work: seconds to bound and to all running, and what it cost until then."""

    bound: float
    running: float
    seconds: dict[str, float]
    requests: dict[tuple[str, str], float]
    lags: Lags
    quiet_writes: float
    settled: float

    def tell(self, name: str, work: Work) -> None:
        """Say what it cost."""
        say(
            f"{name}: all running {self.running:.2f} s, all said so {self.settled:.2f} s; "
            f"{self.lags}; {self.quiet_writes:.0f} writes a minute after; machine load {os.getloadavg()[0]:.1f}"
        )
        say(f"    processor ms a pod: {per_pod(self.seconds, work)}")
        say(f"    requests a job: {_requests(self.requests, work)}")


@dataclass(slots=True)
class Table:
    """The figures of one load so far."""

    name: str
    figures: list[Figure] = field(default_factory=list)

    def add(self, what: str, value: float, unit: str = "") -> None:
        self.figures.append(Figure(f"load: {self.name}: {what}", value, unit))

    def add_lags(self, rounds: Sequence[Lags], what: str = "") -> None:
        """How late the loop was, and how late by its own doing: the median of the rounds, and the largest of all."""
        self.add(f"{what}loop lag p99, ms", statistics.median(lags.p99 for lags in rounds))
        self.add(f"{what}loop lag p99 without waits for a core, ms", statistics.median(lags.own_p99 for lags in rounds))
        self.add(f"{what}largest loop lag, ms", max(lags.largest for lags in rounds))
        self.add(f"{what}largest loop lag without waits for a core, ms", max(lags.own_largest for lags in rounds))


# One measurement.


@dataclass(frozen=True, slots=True)
class Floor:
    """What a raw client's pods took: seconds until all are created and bound, processor seconds per program until all
    run."""

    created: float
    bound: float
    seconds: dict[str, float]


async def floor(stage: Stage, api: Api, pods: list[Json]) -> Floor:
    """Create pods as a raw client, and remove them."""
    before, created = stage.seconds(), list[float]()
    async with watch_pods(api.http, within(PODS, NAMESPACE)) as watch:
        began = time.monotonic()
        creating = asyncio.create_task(api.create(within(PODS, NAMESPACE), pods))
        creating.add_done_callback(lambda _: created.append(time.monotonic() - began))
        bound = await first(watch.until(len(pods), seconds=BOUND_WITHIN), creating) - began
        await watch.until(len(pods), running=True, seconds=BOUND_WITHIN)
        spent = _spent(stage, before)
        await api.delete_all(within(PODS, NAMESPACE))
        await watch.until(0, seconds=BOUND_WITHIN)
    return Floor(created[0], bound, spent)


async def carry(stage: Stage, api: Api, work: Work, *, calm: bool = True) -> Round:
    """Submit work to the running operator; what it took, and with `calm` what it writes afterwards. The work stays."""
    path = within(JOBS, NAMESPACE)
    async with watch_pods(api.http, within(PODS, NAMESPACE)) as watch:
        total = watch.pods + work.pods
        before, measured = stage.seconds(), await stage.metrics()
        began = time.monotonic()
        creating = asyncio.create_task(api.create(path, work.documents()))
        bound = await first(watch.until(total, seconds=BOUND_WITHIN), creating) - began
        running = await watch.until(total, running=True, seconds=BOUND_WITHIN) - began
        await _until_phase(api, path, "Running")
        settled = time.monotonic() - began
        spent, after = _spent(stage, before), await stage.metrics()
        if watch.deleted:
            raise TestbedError(f"{watch.deleted} pods were deleted while the jobs started")
        await _check_bound(api, total)
        quiet = await _quiet_writes(stage) if calm else 0.0
    return Round(bound, running, spent, after.since(measured), after.lags(measured), quiet, settled)


async def clean(api: Api) -> float:
    """Delete every job; seconds until no job, group and pod is there and no ledger books a card."""
    began = time.monotonic()
    async with watch_pods(api.http, within(PODS, NAMESPACE)) as watch:
        await api.delete_all(within(JOBS, NAMESPACE))
        await watch.until(0, seconds=BOUND_WITHIN)
    while await api.count(within(GROUPS, NAMESPACE)) or await _booked(api):
        if time.monotonic() - began > BOUND_WITHIN:
            raise TestbedError("groups or ledger entries are left of jobs that were deleted")
        await asyncio.sleep(0.5)
    return time.monotonic() - began


async def _booked(api: Api) -> bool:
    return any(sn.get("status", {}).get("ledger") for sn in await api.every(SUPERNODES))


async def _until_phase(api: Api, path: str, phase: str) -> None:
    """Wait until every job says so. Large collections are looked at less often: looking costs, too."""
    until = time.monotonic() + BOUND_WITHIN
    while True:
        began = time.monotonic()
        phases = [job.get("status", {}).get("phase") async for page in api.pages(path) for job in page]
        if all(found == phase for found in phases):
            return
        if time.monotonic() > until:
            raise TestbedError(f"{sum(p != phase for p in phases)} of {len(phases)} jobs do not say {phase}")
        await asyncio.sleep(min(5.0, 0.1 + 5 * (time.monotonic() - began)))


async def _check_bound(api: Api, total: int) -> None:
    """A list must agree with what the watch said."""
    pods = await api.every(within(PODS, NAMESPACE))
    unbound = [pod["metadata"]["name"] for pod in pods if not pod["spec"].get("nodeName")]
    if unbound or len(pods) != total:
        raise TestbedError(f"the watch saw {total} pods bound, but a list has {len(pods)}, {len(unbound)} of them not")


async def _quiet_writes(stage: Stage, seconds: float = QUIET_SECONDS) -> float:
    """Writes per minute once everything is as it should be, Events of it told: after the first calm, for `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CALM_WITHIN):
            await stage.calm()
    before = await stage.metrics()
    await asyncio.sleep(seconds)
    return ((await stage.metrics()).writes - before.writes) * 60 / seconds


def _spent(stage: Stage, before: dict[str, float]) -> dict[str, float]:
    return {program: seconds - before.get(program, 0.0) for program, seconds in stage.seconds().items()}


# Floor and operator.


def _renamed(pod: Json) -> Json:
    """Another pod: kwok may delete a name once more after its pod is gone, and would hit the next one's."""
    return {**pod, "metadata": {**pod["metadata"], "name": f"warm-up-{pod['metadata']['name']}"}}


async def pairs(stage: Stage, api: Api, name: str, work: Work, number: int) -> list[Figure]:
    """Floor and operator in turn, `number` times."""
    table = Table(name)
    pods = await pods_of(work, api)
    await floor(stage, api, [_renamed(pod) for pod in pods[:WARM_UP]])
    ratios, rounds, floors, shares = [], [], [], []
    for turn in range(number):
        least = await floor(stage, api, pods)
        await stage.start_operator()
        await stage.lend_reserves(api)
        took = await carry(stage, api, work)
        cleaned = await clean(api)
        memory = stage.peak_memory()
        await stage.stop_operator()
        ratios.append(took.bound / least.bound)
        rounds.append(took)
        floors.append(least)
        shares.append(sum(took.seconds.values()) / sum(least.seconds.values()))
        say(
            f"{name}: pair {turn + 1}: floor {least.bound:.2f} s, operator {took.bound:.2f} s, ratio {ratios[-1]:.3f}, "
            f"of processor time {shares[-1]:.3f}; cleaned in {cleaned:.1f} s; {memory:.0f} MiB"
        )
        took.tell(name, work)
        say(f"    processor ms a pod of the floor: {per_pod(least.seconds, work)}")
    table.add("ratio to the floor", statistics.median(ratios))
    table.add("processor time to the floor's, all programs", statistics.median(shares))
    table.add("floor, pods created a second", work.pods / statistics.median(found.created for found in floors))
    table.add("floor, seconds to bound", statistics.median(found.bound for found in floors))
    table.add("seconds to bound", statistics.median(r.bound for r in rounds))
    table.add_lags([r.lags for r in rounds])
    table.add("writes a minute, converged", max(r.quiet_writes for r in rounds))
    table.add(
        "operator, processor ms a pod", statistics.median(r.seconds["operator"] for r in rounds) / work.pods * 1e3
    )
    table.add("requests a job", statistics.median(sum(r.requests.values()) for r in rounds) / work.jobs)
    return table.figures


def per_pod(seconds: dict[str, float], work: Work) -> str:
    """Processor milliseconds of each program for a pod, the dearest first."""
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return ", ".join(f"{program} {1000 * spent / work.pods:.2f}" for program, spent in ordered)


def _requests(requests: dict[tuple[str, str], float], work: Work) -> str:
    ordered = sorted(requests.items(), key=lambda item: -item[1])
    return ", ".join(f"{verb} {resource} {count / work.jobs:.3g}" for (verb, resource), count in ordered if resource)
