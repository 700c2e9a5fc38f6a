"""What the tests on real nodes share: the nodes' labels, a profile, jobs of the worker image, what their pods wrote."""

from dataclasses import dataclass
from typing import Any

import pytest
from cluster_view import Cluster, Json

from testbed.realnodes.cluster import RealNodes, machine
from testbed.realnodes.devices import NVIDIA
from testbed.realnodes.needs import NeedsError, in_ci
from testbed.realnodes.node import WORKER_IMAGE, Machine

A3 = {"accelerator-type": "module-a3-16-super-pod", "huawei.com/topotree.superpodid": "0"}
RACK = {"testbed.supernode.io/machine": "rack", "testbed.supernode.io/rack": "0"}

RACK_PROFILE: Json = {
    "apiVersion": "supernode.io/v1alpha1",
    "kind": "SuperNodeProfile",
    "metadata": {"name": "rack"},
    "spec": {
        "card": {"resource": NVIDIA.resource},
        "levels": [
            {"name": "node", "fanOut": 16, "fabric": "switch", "bandwidth": 450, "latency": 1},
            {
                "name": "rack",
                "fanOut": 2,
                "fabric": "switch",
                "bandwidth": 450,
                "latency": 1,
                "nodeLabel": "testbed.supernode.io/rack",
            },
        ],
        "uplink": {"bandwidth": 50, "latency": 5},
        "nodeSelector": {"testbed.supernode.io/machine": "rack"},
        "allocation": {"memberSizes": [1, 2, 4, 8, 14, 16]},
        "pinning": {"mode": "env", "key": NVIDIA.variable},
        "environment": {"OF_THE_MACHINE": "$(SUPERNODE_HOSTNAMES)"},
    },
}


@dataclass
class RealCluster(Cluster):
    """A cluster whose pods really run, and what they wrote."""

    real: RealNodes

    def succeeded(self, name: str, namespace: str, seconds: float = 60.0) -> list[str]:
        """Wait until a job succeeds; what each of its workers wrote, by rank."""

        def ended() -> Json | None:
            job = self.job(name, namespace)
            assert job.get("status", {}).get("phase") != "Failed", f"{self.written(name, namespace)}\n{self.state()}"
            return job if job.get("status", {}).get("phase") == "Succeeded" else None

        self.wait(f"TrainingJob {name} succeeds", ended, seconds)
        return self.written(name, namespace)

    def written(self, name: str, namespace: str) -> list[str]:
        """What each worker of a job wrote, by rank."""
        members = self.job(name, namespace)["spec"]["workers"]["replicas"]
        return [self.real.logs(namespace, f"{name}-{rank}") for rank in range(members)]


def programs_or_skip() -> Machine:
    """What nodes are made of; the test is skipped with the reason where there is none, but in CI that is a failure."""
    try:
        return machine(print)
    except NeedsError as reason:
        if in_ci():
            raise
        pytest.skip(f"no real nodes here: {reason}")


def real_job(
    name: str,
    namespace: str,
    command: list[str],
    *,
    replicas: int,
    cards: int,
    env: dict[str, str] | None = None,
    **spec: Any,
) -> Json:
    """A TrainingJob whose workers run a command in the worker image; on the rack unless ``spec`` says otherwise."""
    variables = [{"name": key, "value": value} for key, value in (env or {}).items()]
    container = {"name": "train", "image": WORKER_IMAGE, "command": command, "env": variables}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    workers = {"replicas": replicas, "cardsPerWorker": cards, "template": {"spec": pod}}
    return {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"profile": "rack", "workers": workers, **spec},
    }
