"""Races with the rest of the cluster: pods of others, device plugins, kubelets."""

import json
import time
from typing import Any

import pytest
from cluster_view import Cluster, Json, training_job

pytestmark = pytest.mark.cluster
RESOURCE = "huawei.com/Ascend910"


def _intruder(name: str, namespace: str, node: str) -> Json:
    """A pod that takes a whole node and asks no scheduler."""
    container = {
        "name": "main",
        "image": "example.invalid/serve:1",
        "resources": {"limits": {RESOURCE: "16"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [container], "nodeName": node},
    }


def _reasons(cluster: Cluster, namespace: str) -> set[str]:
    return {event["reason"] for event in cluster.every("events", namespace)}


def _set_status(cluster: Cluster, kind: str, name: str, *scope: str, **fields: Any) -> None:
    patch = json.dumps({"status": fields})
    cluster.kubectl("patch", kind, name, *scope, "--subresource=status", "--type=merge", "-p", patch)


def test_a_group_whose_node_others_took_is_placed_again(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("late", namespace, replicas=3, topology={"required": "supernode"}))
    cluster.wait_phase("late", namespace, "Running")
    node = cluster.pods("late", namespace)[0]["spec"]["nodeName"]
    cluster.apply(_intruder("intruder", namespace, node))
    cluster.kubectl("delete", "pod", "late-0", "-n", namespace, "--wait=false")

    def elsewhere() -> bool:
        pods = cluster.pods("late", namespace)
        nodes = {pod["spec"].get("nodeName") for pod in pods}
        return len(pods) == 3 and None not in nodes and node not in nodes

    cluster.wait("it has three other nodes", elsewhere, 60)
    job = cluster.wait_phase("late", namespace, "Running", 60)
    assert job["status"]["restarts"] == 0
    assert "CardsTaken" in _reasons(cluster, namespace)
    [entry] = [e for entries in cluster.ledger().values() for e in entries if e["group"] == f"{namespace}/late"]
    assert entry["uid"] == cluster.pods("late", namespace)[0]["metadata"]["annotations"]["supernode.io/group-uid"]


def test_a_device_plugin_that_restarts_loses_nothing(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("steady", namespace, replicas=1))
    cluster.wait_phase("steady", namespace, "Running")
    [pod] = cluster.pods("steady", namespace)
    free = [n["metadata"]["name"] for n in cluster.every("nodes") if n["metadata"]["name"] != pod["spec"]["nodeName"]]
    healthy = _cards(cluster, "healthy")
    restarting = [pod["spec"]["nodeName"], *free[:14]]
    for node in restarting:
        _set_status(cluster, "node", node, allocatable={RESOURCE: "0"})
    try:
        cluster.wait("their cards are closed", lambda: _cards(cluster, "free") == 16)
        cluster.apply(training_job("two", namespace, replicas=2))
        cluster.wait_phase("two", namespace, "Pending")
        time.sleep(2)
        assert _cards(cluster, "healthy") == healthy
        assert cluster.pods("two", namespace) == []
    finally:
        for node in restarting:
            _set_status(cluster, "node", node, allocatable={RESOURCE: "16"})
    cluster.wait_phase("two", namespace, "Running")
    [same] = cluster.pods("steady", namespace)
    assert same["metadata"]["uid"] == pod["metadata"]["uid"]


def test_a_group_is_placed_again_when_its_node_offers_fewer_cards_for_good(cluster: Cluster, namespace: str) -> None:
    """As ordinary device plugins tell of a card that failed."""
    cluster.apply(training_job("worn", namespace, replicas=1))
    cluster.wait_phase("worn", namespace, "Running")
    node = cluster.pods("worn", namespace)[0]["spec"]["nodeName"]
    cluster.operator.stop()  # one that starts takes the node as it is; one that runs would wait for the device plugin
    _set_status(cluster, "node", node, allocatable={RESOURCE: "15"})
    cluster.operator.start()
    try:
        cluster.delete("pod", "worn-0", namespace=namespace)
        cluster.wait("it is told why", lambda: "CardsFailed" in _reasons(cluster, namespace), 60)
        job = cluster.wait_phase("worn", namespace, "Running", 60)
        assert cluster.pods("worn", namespace)[0]["spec"]["nodeName"] != node
        assert job["status"]["restarts"] == 0
    finally:
        _set_status(cluster, "node", node, allocatable={RESOURCE: "16"})


def _cards(cluster: Cluster, state: str) -> int:
    return sum(int(sn["status"]["cards"][state]) for sn in cluster.every("supernodes"))


@pytest.mark.parametrize("reason", ["UnexpectedAdmissionError", "OutOfhuawei.com/Ascend910", "NodeAffinity"])
def test_a_pod_its_kubelet_refuses_comes_again(cluster: Cluster, namespace: str, reason: str) -> None:
    cluster.apply(training_job("refused", namespace, replicas=2, faultPolicy={"maxRestarts": 0}))
    cluster.wait_phase("refused", namespace, "Running")
    first = cluster.pods("refused", namespace)[0]
    _refuse(cluster, namespace, reason)
    cluster.wait("a new pod runs", lambda: _runs_anew(cluster, namespace, first["metadata"]["uid"]), 60)
    job = cluster.wait_phase("refused", namespace, "Running", 60)
    assert job["status"]["restarts"] == 0
    assert "refusals" not in job["status"], "forgotten once all pods run"
    assert "PodRefused" in _reasons(cluster, namespace)
    assert cluster.pods("refused", namespace)[0]["spec"]["nodeName"] == first["spec"]["nodeName"]


def test_a_node_that_keeps_refusing_is_left(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("probe", namespace, replicas=1))
    cluster.wait_phase("probe", namespace, "Running")
    node = cluster.pods("probe", namespace)[0]["spec"]["nodeName"]
    cluster.delete("tj", "probe", namespace=namespace)
    cluster.wait("its cards are free", lambda: f"{namespace}/probe" not in cluster.holders())
    began = time.monotonic()
    refused = {"testbed.supernode.io/refused-on": node}
    job = training_job("refused", namespace, replicas=1, faultPolicy={"maxRestarts": 0}, annotations=refused)
    cluster.apply(job)
    status = cluster.wait_phase("refused", namespace, "Running", 90)["status"]
    assert time.monotonic() - began > 1 + 2 + 4, "each time later"
    assert status["restarts"] == 0
    assert cluster.pods("refused", namespace)[0]["spec"]["nodeName"] != node
    cluster.operator.stop()  # only this process knows that it left the node; other tests want all of them
    cluster.operator.start()


def _refuse(cluster: Cluster, namespace: str, reason: str) -> None:
    status = {"phase": "Failed", "reason": reason, "message": "Allocate failed due to no healthy devices present"}
    patch = json.dumps({"status": status})
    cluster.try_kubectl(
        "patch", "pod", "refused-0", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch
    )


def _runs_anew(cluster: Cluster, namespace: str, old: str) -> bool:
    pod = cluster.get("pod", "refused-0", namespace)
    return pod is not None and pod["metadata"]["uid"] != old and pod["status"]["phase"] == "Running"
