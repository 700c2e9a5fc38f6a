"""Real nodes on a bed: started together, and gone without a trace when it stops."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from testbed import processes
from testbed.bed import Bed
from testbed.build import REAL_NODES, tail
from testbed.build import build as build_binaries
from testbed.errors import StartError, TestbedError
from testbed.installation import kubectl
from testbed.paths import PROJECT, Progress
from testbed.processes import ProcessId
from testbed.realnodes import cgroups, dns, images, needs, network, node, remains
from testbed.realnodes.node import Machine, NodeFiles, RealNode

READY_WITHIN = 120.0
"""Seconds until the nodes are ready; on an idle machine it takes four."""


@dataclass(slots=True)
class RealNodes:
    """The real nodes of a bed. They end with the bed, or before it by ``stop``."""

    bed: Bed
    nodes: Sequence[NodeFiles]

    def logs(self, namespace: str, pod: str) -> str:
        """What the containers of a pod wrote, attempt by attempt; also of one that was deleted a moment ago."""
        paths = [path for each in self.nodes for path in each.pod_logs.glob(f"{namespace}_{pod}_*/*/*.log")]
        return "".join(_plain(path) for path in sorted(paths, key=lambda path: path.stat().st_mtime))

    def kill(self, uid: str) -> None:
        """Kill every process of a pod, as the kernel does when memory runs out."""
        cgroups.kill(cgroups.group_of(self.bed.name), f"pod{uid}")

    def stop(self) -> None:
        """End the nodes at once, as a power failure would, and remove what they left. Safe to repeat."""
        _stop(self.bed, [name for name in self.bed.processes if name.startswith(_PREFIX)])

    def __enter__(self) -> RealNodes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


_PREFIX = "real-node:"
_DNS = _PREFIX + "(names)"
"""How the processes of real nodes are recorded with their bed."""


def machine(progress: Progress) -> Machine:
    """The programs of a node; builds what the project builds. Raises NeedsError, BuildError."""
    needs.check()
    cni = needs.cni_folder()
    found = {name: needs.program(name) for name in ("containerd", "ctr", "runc")}
    if cni is None or not all(found.values()):
        raise needs.NeedsError("containerd, runc and the CNI plugins went away meanwhile; install them again")
    binary = build_binaries(progress, REAL_NODES) / REAL_NODES[0].binary
    return Machine(binary, **{name: str(path) for name, path in found.items()}, cni=cni, images=images.build(progress))


def start(bed: Bed, nodes: Sequence[RealNode], programs: Machine, progress: Progress = print) -> RealNodes:
    """Start real nodes on a bed and wait until they are ready; ``machine`` gives the programs.

    A bed can have them once. Raises StartError; what was begun is then undone.
    """
    if any(name.startswith(_PREFIX) for name in bed.processes):
        raise StartError(f"bed {bed.name} has real nodes already; stop them first")
    began = time.monotonic()
    group = cgroups.group_of(bed.name)
    remains.note(bed.folder, network.bridge_name(bed.name), group)
    try:
        files = _start(bed, programs, nodes, group)
        running = RealNodes(bed, files)
        _wait(bed, files)
    except BaseException:
        _stop(bed, [name for name in bed.processes if name.startswith(_PREFIX)])
        raise
    progress(f"{len(nodes)} real nodes of bed {bed.name} ready in {time.monotonic() - began:.1f} s")
    return running


def _start(bed: Bed, programs: Machine, nodes: Sequence[RealNode], group: str) -> list[NodeFiles]:
    net = network.make(bed.name, len(nodes))
    resolver = [sys.executable, "-m", "testbed.realnodes.dns", str(bed.layout.component_kubeconfig), net.dns]
    _spawn(bed, _DNS, resolver, bed.layout.log("dns"), PROJECT, os.environ)
    started = []
    for number, each in enumerate(nodes):
        files = NodeFiles(bed.folder / "real-nodes" / each.name, each)
        own_group = f"{group}/{each.name}"
        cgroups.make(own_group)
        node.write(
            files,
            programs,
            address=net.node(number),
            dns=net.dns,
            group=own_group,
            cni=net.cni(number, f"{bed.name}-{each.name}", str(files.folder / "addresses")),
            kubeconfig=_as_node(bed, each.name),
            plugin_kubeconfig=bed.layout.component_kubeconfig,
        )
        shell = _spawn(
            bed, _PREFIX + each.name, node.command(files), files.log("start"), files.folder, node.environment()
        )
        _record_first(bed, each.name, shell)
        started.append(files)
    return started


def _as_node(bed: Bed, name: str) -> dict[str, Any]:
    """A kubeconfig with the rights of this node and no others: what the Node authorizer grants its kubelet."""
    config: dict[str, Any] = yaml.safe_load(bed.layout.component_kubeconfig.read_text())
    for user in config["users"]:
        user["user"] |= {"as": f"system:node:{name}", "as-groups": ["system:nodes", "system:authenticated"]}
    return config


def _spawn(bed: Bed, name: str, argv: list[str], log: Path, cwd: Path, env: Any) -> ProcessId:
    process = processes.spawn(argv, log, cwd, env)
    bed.record(name, process)
    return process


def _record_first(bed: Bed, name: str, shell: ProcessId) -> None:
    """Record the first process of a node's namespace: only when it is gone is everything in it gone."""
    children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children")
    deadline = time.monotonic() + 10
    while not (found := children.read_text().split() if shell.alive() else []):
        if not shell.alive() or time.monotonic() > deadline:
            raise StartError(f"node {name} did not start; is there a limit on namespaces?")
        time.sleep(0.01)
    bed.record(f"{_PREFIX}{name}:first", ProcessId.of(int(found[0])))


def _wait(bed: Bed, files: Sequence[NodeFiles]) -> None:
    deadline = time.monotonic() + READY_WITHIN
    _wait_for_names(bed)
    while waiting := [each for each in files if not _ready(bed, each.node)]:
        for each in waiting:
            if not bed.processes[f"{_PREFIX}{each.node.name}:first"].alive() or time.monotonic() > deadline:
                logs = "\n".join(f"{path}:\n{tail(path)}" for path in sorted(each.folder.glob("*.log")))
                raise StartError(f"node {each.node.name} did not become ready; the ends of its logs:\n{logs}")
        time.sleep(0.2)


def _wait_for_names(bed: Bed) -> None:
    """Wait until the name server says that it serves."""
    log, deadline = bed.layout.log("dns"), time.monotonic() + READY_WITHIN
    while dns.SERVING not in log.read_text():
        if not bed.processes[_DNS].alive() or time.monotonic() > deadline:
            raise StartError(f"the name server of bed {bed.name} did not start; the end of its log:\n{tail(log)}")
        time.sleep(0.1)


def _ready(bed: Bed, wanted: RealNode) -> bool:
    try:
        found = json.loads(kubectl(bed, "get", "node", wanted.name, "-o", "json", "--ignore-not-found") or "{}")
    except TestbedError:
        return False
    status = found.get("status", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    allocatable = status.get("allocatable", {})
    return conditions.get("Ready") == "True" and all(
        allocatable.get(cards.resource) == str(cards.count) for cards in wanted.cards
    )


def _stop(bed: Bed, names: Sequence[str]) -> None:
    processes.end([bed.processes[name] for name in names], grace=0.2)
    for name in names:
        bed.stop_program(name)
    remains.remove(bed.folder)


def _plain(log: Path) -> str:
    """The text of a log file of the container runtime: ``<time> stdout|stderr F|P <text>`` for each line or part."""
    text = []
    for line in log.read_text(errors="replace").splitlines():
        _, _, kind, *rest = line.split(" ", 3)
        text.append("".join(rest) + ("\n" if kind == "F" else ""))
    return "".join(text)
