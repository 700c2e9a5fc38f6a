"""A cluster as a user has it: control plane, fleet, charts, and the operator with the rights its chart grants."""

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
    name = cluster.new_namespace()
    yield name
    if not cluster.operator.running:
        cluster.operator.start()
    # A namespace's own deletion comes round to custom resources in steps of seconds; one test waits for it.
    cluster.try_kubectl("delete", "tj,cg,pods", "--all", "-n", name, "--wait=false")
    cluster.leave_namespace(name)
