"""A cluster as a user has it: control plane, fleet, charts, and the operator with the rights its chart grants."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_view import Cluster, operated

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two A3 supernodes of 8 nodes, nothing held in reserve, and one running operator."""
    with operated(ROOT / "examples" / "fleets" / "small.yaml", supernodes=2) as cluster:
        yield cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own; afterwards it is on its way out and the cards of its jobs are free."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    cluster.wait("its service account", lambda: cluster.get("serviceaccount", "default", name))
    yield name
    if not cluster.operator.running:
        cluster.operator.start()
    # A namespace's own deletion comes round to custom resources in steps of seconds; one test waits for it.
    cluster.try_kubectl("delete", "tj,cg,pods", "--all", "-n", name, "--wait=false")
    cluster.try_kubectl("delete", "namespace", name, "--wait=false")
    cluster.wait("its cards are free", lambda: not any(g.startswith(f"{name}/") for g in cluster.holders()), 60)
