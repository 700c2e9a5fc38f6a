"""Real nodes end with what started them, however it ends, and leave nothing on the machine."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from real_cluster import programs_or_skip

from testbed import bed as testbed
from testbed.bed import Bed
from testbed.errors import StartError
from testbed.paths import beds_root
from testbed.realnodes import cgroups, network
from testbed.realnodes import cluster as real
from testbed.realnodes.node import Machine, RealNode

pytestmark = [pytest.mark.cluster, pytest.mark.realnodes]

BEGIN = """
import sys, time
from testbed import bed
from testbed.realnodes import cluster
from testbed.realnodes.node import RealNode
running = bed.start(sys.argv[1])
cluster.start(running, [RealNode("lonely")], cluster.machine(print))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def programs() -> Machine:
    """What nodes are made of."""
    return programs_or_skip()


def traces(bed: str) -> list[str]:
    """What of a bed's nodes is on the machine: processes, mounts, bridge, control groups, files."""
    folder = str(beds_root() / bed)
    found = [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if folder in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if folder in (command := (process / "cmdline").read_text().replace("\0", " ")):
                found.append(f"process {command}")
        except OSError:
            continue
    found += [str(path) for path in Path("/sys/fs/cgroup").rglob(cgroups.group_of(bed).strip("/"))]
    found += [str(path) for path in (Path("/sys/class/net") / network.bridge_name(bed), Path(folder)) if path.exists()]
    return found


@pytest.mark.usefixtures("programs")
def test_a_killed_test_runs_nodes_end_at_the_next_start() -> None:
    name = "killed-with-node"
    with subprocess.Popen([sys.executable, "-c", BEGIN, name], stdout=subprocess.PIPE, text=True) as begun:
        assert begun.stdout is not None
        assert "ready\n" in iter(begun.stdout.readline, "")
        assert len(traces(name)) > 5
        begun.send_signal(signal.SIGKILL)
    testbed.sweep(print)
    assert traces(name) == []


def test_nodes_that_cannot_start_say_why_and_are_undone(bed: Bed, programs: Machine) -> None:
    with pytest.raises(StartError, match=r"node broken did not become ready(.|\n)*containerd\.log"):
        real.start(bed, [RealNode("broken")], replace(programs, containerd="/bin/false"))
    left = [trace for trace in traces(bed.name) if "real-nodes" in trace or "supernode" in Path(trace).name]
    assert left == []
