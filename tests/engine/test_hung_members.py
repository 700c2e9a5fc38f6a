"""Members that hang on a node that is not ready, as on a machine that has died, while their peers fail."""

import json
import time
from collections.abc import Iterator

import pytest
from cluster_view import Cluster, Json, condition, training_job

from testbed.nodes import READY

pytestmark = pytest.mark.cluster


@pytest.fixture
def silenced(cluster: Cluster) -> Iterator[list[str]]:
    """Nodes that a test adds here, once they are silent, are ready again when it has ended."""
    nodes: list[str] = []
    yield nodes
    for node in nodes:
        _ready(cluster, node, None)


def _ready(cluster: Cluster, node: str, status: str | None) -> None:
    """Have a kubelet say so of its node, or fall silent; as usual with ``None``."""
    patch = {"metadata": {"annotations": {READY: status}}}
    cluster.kubectl("patch", "node", node, "--type=merge", "-p", json.dumps(patch))
    cluster.wait(f"{node} is {status}", lambda: _is_ready(cluster, node) == (status or "True"))


def _is_ready(cluster: Cluster, node: str) -> str:
    return str(condition(cluster.get("node", node) or {}, "Ready")["status"])


def _fail(cluster: Cluster, pod: Json, namespace: str) -> None:
    name = pod["metadata"]["name"]
    cluster.kubectl("annotate", "pod", name, "-n", namespace, "testbed.supernode.io/fail-seconds=0")
    cluster.wait(
        f"{name} has failed", lambda: (cluster.get("pod", name, namespace) or pod)["status"]["phase"] != "Running"
    )


@pytest.mark.parametrize("status", ["Unknown", "False"])
@pytest.mark.parametrize("runtime", ["pytorch", "mpi"])
def test_who_fails_beside_a_member_on_a_node_that_is_not_ready_waits_for_it_uncounted(
    cluster: Cluster, namespace: str, silenced: list[str], status: str, runtime: str
) -> None:
    cluster.apply(training_job("hung", namespace, runtime=runtime, faultPolicy={"maxRestarts": 0}))
    cluster.wait_phase("hung", namespace, "Running")
    peer, hung = cluster.pods("hung", namespace)
    node = hung["spec"]["nodeName"]
    silenced.append(node)
    _ready(cluster, node, status)
    cluster.wait(
        "the job says so", lambda: f"2 of 2 pods run; not ready: {node}" in _said(cluster, namespace)["message"]
    )
    _fail(cluster, peer, namespace)
    cluster.wait("the job tells of both", lambda: _said(cluster, namespace)["reason"] == "NodesNotReady")
    time.sleep(3)
    assert [pod["metadata"]["uid"] for pod in cluster.pods("hung", namespace)] == [
        pod["metadata"]["uid"] for pod in (peer, hung)
    ], "made again it would only fail again"
    job = cluster.job("hung", namespace)
    assert (job["status"]["phase"], job["status"]["restarts"]) == ("Starting", 0)
    assert f"1 of 2 pods run; not ready: {node}" in condition(job, "Ready")["message"]

    _ready(cluster, node, None)
    job = cluster.wait_phase("hung", namespace, "Running")
    assert job["status"]["restarts"] == 0
    assert condition(job, "Ready")["message"] == "2 of 2 pods run"
    again, same = cluster.pods("hung", namespace)
    assert again["metadata"]["uid"] != peer["metadata"]["uid"]
    assert same["metadata"]["uid"] == hung["metadata"]["uid"]


def _said(cluster: Cluster, namespace: str) -> Json:
    return condition(cluster.job("hung", namespace), "Ready")
