"""A long run of jobs that come and go: memory and tasks of the operator's process stay what they were."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from scenario import lose
from world import World

from testbed import processes
from testbed.bed import Bed
from testbed.controlplane import HOST, free_ports
from testbed.installation import NAMESPACE
from testbed.processes import ProcessId

pytestmark = [pytest.mark.cluster, pytest.mark.nightly]

MEASURED = Path(__file__).with_name("measured_operator.py")
SECONDS = float(os.environ.get("SUPERNODE_SOAK_SECONDS", "1200"))
WARM_UP = 0.2
"""The share of the time after which caches, pools and series of Events have their size."""
JOBS = 6
GROWTH_KIB = 1024
"""Traced memory may grow by so much: what is remembered of objects not seen for long, by its bounds."""
RSS_GROWTH = 1.05
"""What the allocator does not give back."""


async def _measured(process: ProcessId, report: Path) -> dict[str, Any]:
    report.unlink(missing_ok=True)  # noqa: ASYNC240 (a small local file)
    os.kill(process.pid, signal.SIGUSR1)
    async with asyncio.timeout(60):
        while not report.exists():  # noqa: ASYNC110, ASYNC240 (another process writes it)
            await asyncio.sleep(0.1)
    found: dict[str, Any] = json.loads(report.read_text())  # noqa: ASYNC240
    return found


async def _round(world: World) -> None:
    """Jobs start, lose a pod, and go."""
    names = [f"job-{number}" for number in range(JOBS)]
    for name in names:
        await world.submit(name, replicas=5, cards=2)
    for name in names:
        await world.running(name, 90)
    for name in names:
        await lose(world, f"{name}-2")
    for name in names:
        await world.running(name, 90)
        await world.delete("TrainingJob", name)
    for name in names:
        await world.gone(name, 90)


async def test_memory_and_tasks_stay_what_they_were(world: World, site: Bed, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, str(MEASURED), str(report), "--kubeconfig", str(site.folder / "operator.kubeconfig")]
    command += ["--host", HOST, "--port", str(free_ports(1)[0]), "--identity", "soak", f"--lease-namespace={NAMESPACE}"]
    process = processes.spawn(command, site.folder / "soak.log", site.folder, os.environ)
    site.record("soak", process)
    began, rounds, early = time.monotonic(), 0, None
    try:
        while time.monotonic() - began < SECONDS:
            await _round(world)
            assert await world.broken() == []
            rounds += 1
            if early is None and time.monotonic() - began > WARM_UP * SECONDS:
                early = await _measured(process, report)
        await asyncio.sleep(5.0)
        late = await _measured(process, report)
    finally:
        await asyncio.to_thread(processes.end, [process])
    assert early is not None
    print(f"{rounds} rounds in {SECONDS:.0f} s: {early} then {late}")
    assert late["tasks"] <= early["tasks"] + 2
    assert late["traced_kib"] <= early["traced_kib"] + GROWTH_KIB, late["top"]
    assert late["rss_kib"] <= RSS_GROWTH * early["rss_kib"], late["top"]
