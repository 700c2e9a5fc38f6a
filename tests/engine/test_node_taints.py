"""Nodes that are tainted to keep other pods off: jobs run there where their profile tolerates the taint."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cluster_view import Cluster, Json, condition, training_job

pytestmark = pytest.mark.cluster

PROFILE = "ascend-a3-384"
RESOURCE = "huawei.com/Ascend910"
TEAM = "gpu=team-a:NoSchedule"


@contextmanager
def tainted(cluster: Cluster, taint: str, *nodes: str) -> Iterator[None]:
    """These nodes with a taint."""
    cluster.kubectl("taint", "nodes", *nodes, taint)
    try:
        yield
    finally:
        cluster.kubectl("taint", "nodes", *nodes, f"{taint}-")


def tolerate(cluster: Cluster, *tolerations: Json) -> None:
    """Write the profile's tolerations."""
    patch = json.dumps({"spec": {"tolerations": tolerations}})
    cluster.kubectl("patch", "supernodeprofile", PROFILE, "--type=merge", "-p", patch)


def names(cluster: Cluster) -> list[str]:
    return sorted(node["metadata"]["name"] for node in cluster.every("nodes"))


def nodes_of(cluster: Cluster, job: str, namespace: str) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in cluster.pods(job, namespace)}


def test_nodes_kept_for_pods_with_cards_give_them(cluster: Cluster, namespace: str) -> None:
    """With nobody's help: the admission plugin that would add the toleration is off here, as it is by default."""
    nodes = names(cluster)
    with tainted(cluster, f"{RESOURCE}=present:NoSchedule", *nodes):
        cluster.apply(training_job("fills", namespace, replicas=len(nodes)))
        cluster.wait_phase("fills", namespace, "Running", seconds=60)
        assert nodes_of(cluster, "fills", namespace) == set(nodes)
        for pod in cluster.pods("fills", namespace):
            assert {"key": RESOURCE, "operator": "Exists", "effect": "NoSchedule"} in pod["spec"]["tolerations"]


def test_other_taints_close_nodes_until_the_profile_tolerates_them(cluster: Cluster, namespace: str) -> None:
    nodes = names(cluster)
    ours = nodes[2:4]
    home = next(sn["metadata"]["name"] for sn in cluster.every("supernodes"))
    try:
        with tainted(cluster, TEAM, *ours):
            cluster.apply(training_job("rest", namespace, replicas=len(nodes) - 2))
            cluster.wait_phase("rest", namespace, "Running", seconds=60)
            assert nodes_of(cluster, "rest", namespace) == set(nodes) - set(ours)

            late = training_job("late", namespace, replicas=2)
            late["spec"]["workers"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]
            cluster.apply(late)
            waits = cluster.wait_phase("late", namespace, "Pending")
            says = condition(waits, "Allocated")["message"]
            assert f"2 are tainted {TEAM}" in says
            assert f"add {TEAM} to tolerations of profile {PROFILE}" in says
            supernode = cluster.get("supernode", home) or {}
            assert f"2 tainted {TEAM}" in condition(supernode, "Ready")["message"]

            tolerate(cluster, {"key": "gpu", "operator": "Exists"})
            cluster.wait_phase("late", namespace, "Running", seconds=60)
            assert nodes_of(cluster, "late", namespace) == set(ours)

            with tainted(cluster, "gpu=team-a:NoExecute", *ours):
                time.sleep(3)
                assert nodes_of(cluster, "late", namespace) == set(ours)
                assert cluster.job("late", namespace)["status"]["restarts"] == 0
    finally:
        tolerate(cluster)


def test_a_toleration_of_everything_opens_no_cordoned_node(cluster: Cluster, namespace: str) -> None:
    nodes = names(cluster)
    tolerate(cluster, {"operator": "Exists"})
    cluster.kubectl("cordon", nodes[0])
    try:
        cluster.apply(training_job("all", namespace, replicas=len(nodes)))
        waits = cluster.wait_phase("all", namespace, "Pending")
        assert "1 is cordoned or not ready" in condition(waits, "Allocated")["message"]
        cluster.apply(training_job("rest", namespace, replicas=len(nodes) - 1))
        cluster.wait_phase("rest", namespace, "Running", seconds=60)
        assert nodes[0] not in nodes_of(cluster, "rest", namespace)
    finally:
        cluster.kubectl("uncordon", nodes[0])
        tolerate(cluster)
