"""One real node: containerd, kubelet and device plugins in a private mount and process namespace.

Two kubelets on one machine would meet in /var/lib/kubelet and /run, which are fixed paths; each node sees folders of
its own there. When the first process of the namespace ends, for whatever reason, the kernel ends every other one,
containers and shims too, and with them go mounts and the pods' network namespaces.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from testbed.realnodes import runtime
from testbed.realnodes.devices import Cards

HIDDEN = (Path("/run"), Path("/var/lib"), Path("/var/log"))
"""Folders of the machine that a node does not see."""

PAUSE_IMAGE = "localhost/supernode-pause:1"
WORKER_IMAGE = "localhost/supernode-worker:1"

# The kubelet sets these for the whole machine. It reads them first, and here it finds what it wants: files that lie
# over the kernel's own in the node's namespace only.
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}


@dataclass(frozen=True, slots=True)
class RealNode:
    """What a caller says about a node."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    cards: Sequence[Cards] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """The programs a node is made of."""

    testbed_node: Path
    containerd: str
    ctr: str
    runc: str
    cni: Path
    images: Path


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """The folder of one node. What it writes it writes here."""

    folder: Path
    node: RealNode

    @property
    def script(self) -> Path:
        return self.folder / "start.sh"

    @property
    def pod_logs(self) -> Path:
        """``<namespace>_<pod>_<uid>/<container>/<attempt>.log`` of every container."""
        return self.folder / "log" / "pods"

    def log(self, program: str) -> Path:
        return self.folder / f"{program}.log"


def write(
    files: NodeFiles,
    machine: Machine,
    *,
    address: str,
    dns: str,
    group: str,
    cni: Mapping[str, Any],
    kubeconfig: Mapping[str, Any],
    plugin_kubeconfig: Path,
) -> None:
    """Write configurations and the start script of a node.

    kubeconfig: with the rights of a node; plugin_kubeconfig: with those its device plugins need.
    """
    folder, node = files.folder, files.node
    for name in ("lib", "log", "cni", "kernel"):
        (folder / name).mkdir(parents=True)
    for setting, value in _KERNEL_SETTINGS.items():
        (folder / "kernel" / setting.replace("/", ".")).write_text(f"{value}\n")
    (folder / "cni" / "bridge.conflist").write_text(json.dumps(cni))
    (folder / "resolv.conf").write_text(f"nameserver {dns}\n")
    (folder / "kubeconfig").touch(mode=0o600)
    (folder / "kubeconfig").write_text(yaml.safe_dump(dict(kubeconfig)))
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(folder, dns, group)))
    _write_runtime(folder / "runc", machine.runc, node.cards)
    (folder / "containerd.toml").write_text(_containerd(folder, machine))
    kubelet = [
        f"--config={folder / 'kubelet.yaml'}",
        f"--kubeconfig={folder / 'kubeconfig'}",
        f"--hostname-override={node.name}",
        f"--node-ip={address}",
        f"--node-labels={','.join(f'{key}={value}' for key, value in node.labels.items())}",
    ]
    plugins = [[f"--kubeconfig={plugin_kubeconfig}", f"--node={node.name}", *cards.arguments()] for cards in node.cards]
    files.script.write_text(_script(files, machine, kubelet, plugins))


def command(files: NodeFiles) -> list[str]:
    """What starts the node and ends it when it is itself ended."""
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--propagation=private"]
    return [*namespaces, "--kill-child=KILL", "/bin/sh", str(files.script)]


def _script(files: NodeFiles, machine: Machine, kubelet: Sequence[str], plugins: Sequence[Sequence[str]]) -> str:
    folder = files.folder

    def run(name: str, *argv: object) -> str:
        return f"{shlex.join(map(str, argv))} >>{shlex.quote(str(files.log(name)))} 2>&1 &"

    covered = [f"mount --bind {folder}/kernel/{name.replace('/', '.')} /proc/sys/{name}" for name in _KERNEL_SETTINGS]
    lines = [
        "set -e",
        "mount -t tmpfs tmpfs /run",
        f"mount --bind {folder}/lib /var/lib",
        f"mount --bind {folder}/log /var/log",
        *covered,
        f"cp --archive --link {machine.images} {folder}/containerd",
        # The layers are shared with every other node; what containerd writes to is not.
        f"cd {machine.images}",
        f"find . -maxdepth 2 -name '*.db' -exec cp --parents --remove-destination '{{}}' {folder}/containerd \\;",
        f"cd {folder}",
        run("containerd", machine.containerd, "--config", folder / "containerd.toml"),
        f"until {machine.ctr} version >/dev/null 2>&1; do kill -0 $!; sleep 0.1; done",
        run("kubelet", machine.testbed_node, "kubelet", *kubelet),
        "until [ -S /var/lib/kubelet/device-plugins/kubelet.sock ]; do kill -0 $!; sleep 0.1; done",
        *(run("device-plugin", machine.testbed_node, "device-plugin", *plugin) for plugin in plugins),
        # The first process of a namespace is the parent of those that lost theirs, and must wait for them.
        "while :; do wait; sleep 1; done",
    ]
    return "\n".join(lines) + "\n"


def _write_runtime(path: Path, runc: str, cards: Sequence[Cards]) -> None:
    files = json.dumps({each.variable: each.file for each in cards})
    # Without site packages Python is up in a fiftieth of a second.
    argv = [sys.executable, "-I", "-S", runtime.__file__, runc, files]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
    path.chmod(0o700)


def _kubelet(folder: Path, dns: str, group: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # Logs are read from files, so it needs no port.
        "enableServer": False,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": group,
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "clusterDNS": [dns],
        "clusterDomain": "cluster.local",
        "resolvConf": str(folder / "resolv.conf"),
        # Nothing of the machine's netfilter is touched, and a full disk of the machine is not this node's concern.
        "makeIPTablesUtilChains": False,
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 50,
    }


def _containerd(folder: Path, machine: Machine) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd/containerd.sock"
[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
[{cri}.cni]
bin_dir = "{machine.cni}"
conf_dir = "{folder}/cni"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
BinaryName = "{folder}/runc"
"""


def environment() -> dict[str, str]:
    """Of a node's programs: a path with those for root, and nothing else of the caller's."""
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": os.environ.get("HOME", "/")}
