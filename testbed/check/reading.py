"""Reading a cluster's objects with kubectl."""

from __future__ import annotations

import subprocess
from pathlib import Path

import orjson

from testbed.check.facts import Json
from testbed.errors import TestbedError

KINDS = (
    "nodes",
    "pods",
    "supernodeprofiles.supernode.io",
    "supernodes.supernode.io",
    "cardgroups.supernode.io",
    "trainingjobs.supernode.io",
)
DEVICES = "resource.k8s.io"
"""The API group of devices, of which older versions serve fewer kinds, or none."""
OF_DEVICES = ("resourceslices", "resourceclaims", "devicetaintrules")


def read(kubeconfig: Path | None = None) -> list[Json]:
    """All objects the check looks at, of all namespaces. Raises TestbedError with what kubectl complained about."""
    served = _kubectl(kubeconfig, "api-resources", f"--api-group={DEVICES}", "--output=name").decode().split()
    kinds = [*KINDS, *(name for kind in OF_DEVICES if (name := f"{kind}.{DEVICES}") in served)]
    items: list[Json] = orjson.loads(
        _kubectl(kubeconfig, "get", ",".join(kinds), "--all-namespaces", "--output", "json")
    )["items"]
    return items


def _kubectl(kubeconfig: Path | None, *arguments: str) -> bytes:
    where = ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
    done = subprocess.run(["kubectl", *where, *arguments], capture_output=True, check=False)
    if done.returncode:
        raise TestbedError(f"the cluster cannot be read: {done.stderr.decode().strip()}")
    return done.stdout
