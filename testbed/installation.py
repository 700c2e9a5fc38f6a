"""The operator on a test bed as a user would have it: both charts applied, with the rights of their ServiceAccount.

No image is run: the process is this checkout's, but its credentials are a token of the chart's ServiceAccount, so that
it can do what the chart grants and nothing else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import helm_python
import yaml

from testbed import processes
from testbed.bed import Bed
from testbed.build import tail
from testbed.controlplane import HOST, free_ports
from testbed.errors import StartError, TestbedError
from testbed.loopback import fetch
from testbed.paths import PROJECT
from testbed.processes import ProcessId

NAMESPACE = "supernode-system"
RELEASE = "supernode-operator"
CHARTS = PROJECT / "charts"

SHORT_LEASE = ("--lease-duration=6", "--renew-deadline=4", "--retry-period=1")
"""Three times as quick as in production: tests that kill an operator wait for its Lease to expire."""


def kubectl(bed: Bed, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl as the bed's administrator; its output. Raises TestbedError with what it complained about."""
    command = ["kubectl", "--kubeconfig", str(bed.kubeconfig), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TestbedError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout


def manifests(chart: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The objects of one of this project's charts."""
    with helm_python.Chart.load(CHARTS / chart) as loaded:
        files = loaded.render(values, name=RELEASE, namespace=NAMESPACE)
    documents = [d for path, text in sorted(files.items()) if path.endswith(".yaml") for d in yaml.safe_load_all(text)]
    return [document for document in documents if document]


def install(bed: Bed) -> Path:
    """Apply the charts without the Deployment; the kubeconfig of the operator's ServiceAccount."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    objects = manifests("supernode-operator")
    account = next(obj["metadata"]["name"] for obj in objects if obj["kind"] == "ServiceAccount")
    crds = [obj for obj in objects if obj["kind"] == "CustomResourceDefinition"]
    apply(bed, [namespace, *crds])
    names = [f"crd/{crd['metadata']['name']}" for crd in crds]
    kubectl(bed, "wait", "--for=condition=Established", "--timeout=60s", *names)
    apply(bed, [obj for obj in objects if obj["kind"] not in ("CustomResourceDefinition", "Deployment")])
    apply(bed, manifests("supernode-profiles"))
    return service_account_kubeconfig(bed, account)


def apply(bed: Bed, objects: list[dict[str, Any]]) -> None:
    """Apply objects by server-side apply."""
    kubectl(bed, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))


def service_account_kubeconfig(bed: Bed, account: str) -> Path:
    """A kubeconfig that holds nothing but a token of the ServiceAccount, in the namespace of the release."""
    token = kubectl(bed, "create", "token", account, "-n", NAMESPACE, "--duration=24h").strip()
    config = yaml.safe_load(bed.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    for context in config["contexts"]:
        context["context"]["namespace"] = NAMESPACE
    path = bed.folder / "operator.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path


class Operator:
    """One replica of the operator: a process on a bed, which ends with it.

    ``url`` is where it serves metrics and probes. Replicas of one bed differ in their ``name``.
    """

    def __init__(
        self, bed: Bed, kubeconfig: Path, *, name: str = "operator", arguments: Sequence[str] = SHORT_LEASE
    ) -> None:
        self.log = bed.folder / f"{name}.log"
        self.url = f"http://{HOST}:{free_ports(1)[0]}"
        self._bed = bed
        self._name = name
        self._kubeconfig = kubeconfig
        self._arguments = arguments
        self._process: ProcessId | None = None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.alive()

    def cpu_seconds(self) -> float:
        """Processor time the process has used, all threads and both modes. The process must live."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def start(self, *, ready_within: float | None = 60.0) -> None:
        """Start it and wait until it is ready; ``None`` does not wait. Raises StartError with the end of its log."""
        port = self.url.rpartition(":")[2]
        command = [sys.executable, "-m", "supernode.app", "--kubeconfig", str(self._kubeconfig)]
        command += ["--host", HOST, "--port", port, "--identity", self._name, *self._arguments]
        self._process = processes.spawn(command, self.log, self._bed.folder, os.environ)
        self._bed.record(self._name, self._process)
        if ready_within is not None:
            self.wait_ready(ready_within)

    def wait_ready(self, seconds: float) -> None:
        """Wait until ``/readyz`` says so."""
        until = time.monotonic() + seconds
        while self.get("/readyz")[0] != 200:
            if not self.running or time.monotonic() > until:
                raise StartError(f"the operator did not become ready; the end of its log:\n{tail(self.log)}")
            time.sleep(0.05)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of ``/metrics``, ``/healthz`` or ``/readyz``; status 0 when nothing answers."""
        return fetch(self.url + path)

    @property
    def leads(self) -> bool:
        """Whether this replica leads, as it sees it; a frozen one must not be asked."""
        return "\nsupernode_leader 1.0" in self.get("/metrics")[1]

    def freeze(self) -> None:
        """Stop it where it is (SIGSTOP), as a machine does that swaps or migrates."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on (SIGCONT)."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM), without waiting."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            processes.end([self._process], grace=0.0)

    def stop(self) -> None:
        """End it as the kubelet would: SIGTERM, then SIGKILL after its grace period."""
        if self._process is not None:
            processes.end([self._process], grace=30.0)
