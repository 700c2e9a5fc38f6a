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


def read(kubeconfig: Path | None = None) -> list[Json]:
    """All objects the check looks at, of all namespaces. Raises TestbedError with what kubectl complained about."""
    where = ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
    command = ["kubectl", *where, "get", ",".join(KINDS), "--all-namespaces", "--output", "json"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise TestbedError(f"the cluster cannot be read: {done.stderr.decode().strip()}")
    items: list[Json] = orjson.loads(done.stdout)["items"]
    return items
