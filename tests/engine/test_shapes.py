"""Shapes on a pod of TPU cubes, from job to pods, and hosts whose place is in doubt."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_view import Cluster, Json, condition, operated, training_job

from testbed.check import check
from testbed.check.reading import read

pytestmark = pytest.mark.cluster

FLEET = Path(__file__).parents[2] / "examples" / "fleets" / "tpu-v4.yaml"
HOST = "supernode.io/tpu-host"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three cubes of a TPU v4 pod, nothing held in reserve, and one running operator."""
    with operated(FLEET, supernodes=1) as cluster:
        yield cluster


def shaped(name: str, namespace: str, hosts: int, shape: list[int]) -> Json:
    return training_job(name, namespace, replicas=hosts, cards=4, profile="tpu-v4", topology={"shape": shape})


def test_shapes_lie_in_cubes_as_asked_and_hosts_in_doubt_stand_outside(cluster: Cluster, namespace: str) -> None:
    cluster.apply(shaped("cubes", namespace, 32, [4, 4, 8]), shaped("half", namespace, 8, [2, 4, 4]))
    for name in ("cubes", "half"):
        cluster.wait_phase(name, namespace, "Running", 60)
    hosts = {
        name: {cluster.get("node", pod["spec"]["nodeName"])["metadata"]["labels"][HOST] for pod in pods}  # type: ignore[index]
        for name in ("cubes", "half")
        if (pods := cluster.pods(name, namespace))
    }
    assert len(hosts["cubes"]) == 16
    axes = [sorted({place.split("-")[axis] for place in hosts["half"]}) for axis in range(3)]
    assert len(hosts["half"]) == 8
    assert [len(axis) for axis in axes] in ([1, 2, 4], [2, 1, 4], [2, 2, 2])

    cluster.apply(shaped("odd", namespace, 3, [2, 2, 3]))
    refused = cluster.wait_phase("odd", namespace, "Stalled")
    assert condition(refused, "Stalled")["reason"] == "IllegalShape"
    assert "2x2x4 (16 cards)" in condition(refused, "Stalled")["message"]

    report = check(read(cluster.bed.kubeconfig))
    assert report.violations == []

    cluster.kubectl("label", "node", "tpu-0-n047", f"{HOST}=0-0-0", "--overwrite")
    profile = cluster.wait("the two are counted", lambda: _with_unassigned(cluster, 2))
    assert "name the same position" in condition(profile, "Ready")["message"]
    cluster.kubectl("label", "node", "tpu-0-n047", f"{HOST}=1-1-3", "--overwrite")
    cluster.wait("they are back", lambda: _with_unassigned(cluster, 0))


def _with_unassigned(cluster: Cluster, count: int) -> Json | None:
    profile = cluster.get("supernodeprofile", "tpu-v4")
    return profile if profile and profile["status"].get("unassignedNodes", 0) == count else None
