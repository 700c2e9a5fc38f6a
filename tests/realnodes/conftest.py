"""Four real nodes under the operator: two of an Atlas A3 supernode, two of a made-up rack of NVIDIA's."""

from collections.abc import Iterator

import pytest
from real_cluster import A3, RACK, RACK_PROFILE, RealCluster, programs_or_skip

from testbed import bed as testbed
from testbed.installation import Operator, install
from testbed.realnodes import cluster as real
from testbed.realnodes.devices import ASCEND, NVIDIA
from testbed.realnodes.node import RealNode


@pytest.fixture(scope="session")
def cluster() -> Iterator[RealCluster]:
    """The four nodes and a running operator, for all of these tests."""
    nodes = [RealNode(f"a3-{number}", A3, (ASCEND, NVIDIA)) for number in range(2)]
    nodes += [RealNode(f"rack-{number}", RACK, (ASCEND, NVIDIA)) for number in range(2)]
    programs = programs_or_skip()
    with testbed.start() as bed, real.start(bed, nodes, programs) as started:
        operator = Operator(bed, install(bed))
        operator.start()
        cluster = RealCluster(bed, operator, started)
        cluster.apply(RACK_PROFILE)
        cluster.wait("both supernodes are discovered", lambda: len(cluster.every("supernodes")) == 2)
        cluster.lend_reserves()
        yield cluster
        operator.stop()


@pytest.fixture
def namespace(cluster: RealCluster) -> Iterator[str]:
    """A namespace of the test's own; afterwards its pods are gone and the cards of its jobs free."""
    name = cluster.new_namespace()
    yield name
    cluster.try_kubectl("delete", "tj,pods", "--all", "-n", name, "--wait=false", "--grace-period=1")
    cluster.wait("its pods are gone", lambda: not cluster.every("pods", name), 60)
    cluster.leave_namespace(name)
