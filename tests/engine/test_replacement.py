"""Workers that are replaced on a real control plane: all that names them is right, and nothing else has changed."""

import json
from typing import Any

import pytest
from cluster_view import Cluster, Json, training_job
from test_launch import annotate, mounted

pytestmark = pytest.mark.cluster

REFUSED_ON = "testbed.supernode.io/refused-on"


@pytest.fixture(autouse=True)
def _published(cluster: Cluster) -> None:
    """The nodes publish what rank tables are made of."""
    for supernode in ("0", "1"):
        annotate(cluster, supernode)


def environment(pod: Json) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in pod["spec"]["containers"][0]["env"]}


def same(pod: Json) -> Json:
    """What a pod that comes again has as it was; the API server adds a token's volume of random name."""
    annotations = {k: v for k, v in pod["metadata"]["annotations"].items() if k != "predicate-time"}
    volumes = [volume for volume in pod["spec"]["volumes"] if not volume["name"].startswith("kube-api-access")]
    parts: dict[str, Any] = {"annotations": annotations, "labels": pod["metadata"]["labels"], "volumes": volumes}
    return parts | {"node": pod["spec"]["nodeName"], "env": environment(pod), "affinity": pod["spec"]["affinity"]}


def check_names(cluster: Cluster, pods: list[Json], namespace: str) -> None:
    """Document, rank table and variables say where every pod is."""
    files = mounted(cluster, pods[0], namespace)
    assert all(mounted(cluster, pod, namespace) == files for pod in pods)
    nodes = [pod["spec"]["nodeName"] for pod in pods]
    document, table = json.loads(files["group.json"]), json.loads(files["ranktable.json"])
    named = cluster.get("cardgroup", document["job"], namespace)
    assert named is not None
    assert document["placement"] == named["status"]["placement"]
    addresses = []
    for node in nodes:
        found = cluster.get("node", node)
        assert found is not None
        addresses.append(next(a["address"] for a in found["status"]["addresses"] if a["type"] == "InternalIP"))
    assert [server["server_id"] for server in table["server_list"]] == addresses
    ranks = [int(device["rank_id"]) for server in table["server_list"] for device in server["device"]]
    assert ranks == list(range(16 * len(pods)))
    assert [environment(pod)["SUPERNODE_DOMAIN_NODE"] for pod in pods] == nodes
    assert [environment(pod)["SUPERNODE_RANK"] for pod in pods] == [str(rank) for rank in range(len(pods))]
    [supernode] = {environment(pod)["SUPERNODE_DOMAIN_SUPERNODE"] for pod in pods}
    assert [pod["super_pod_id"] for pod in table["super_pod_list"]] == [supernode]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_pod_that_comes_again_is_told_the_same(cluster: Cluster, namespace: str, rank: int) -> None:
    cluster.apply(training_job("again", namespace, replicas=3, runtime="pytorch"))
    cluster.wait_phase("again", namespace, "Running")
    before = cluster.pods("again", namespace)
    check_names(cluster, before, namespace)
    cluster.kubectl("delete", "pod", f"again-{rank}", "-n", namespace, "--wait=false")

    def back() -> list[Json] | None:
        pods = cluster.pods("again", namespace)
        if len(pods) < 3 or pods[rank]["metadata"]["uid"] == before[rank]["metadata"]["uid"]:
            return None
        return pods if all(pod["status"]["phase"] == "Running" for pod in pods) else None

    after = cluster.wait("it is back", back)
    assert [same(pod) for pod in after] == [same(pod) for pod in before]
    uids = [[pod["metadata"]["uid"] for pod in pods] for pods in (before, after)]
    assert [one == other for one, other in zip(*uids, strict=True)] == [at != rank for at in range(3)]
    check_names(cluster, after, namespace)


def test_a_group_that_a_kubelet_sends_elsewhere_is_told_of_its_new_place(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("scout", namespace, replicas=3))
    cluster.wait_phase("scout", namespace, "Running")
    [*where] = (pod["spec"]["nodeName"] for pod in cluster.pods("scout", namespace))
    cluster.kubectl("delete", "tj", "scout", "-n", namespace)
    cluster.wait("its cards are free", lambda: f"{namespace}/scout" not in cluster.holders())

    annotations = {REFUSED_ON: where[0]}
    cluster.apply(training_job("sent", namespace, replicas=3, runtime="pytorch", annotations=annotations))

    def elsewhere() -> list[Json] | None:
        pods = cluster.pods("sent", namespace)
        settled = len(pods) == 3 and all(pod["status"]["phase"] == "Running" for pod in pods)
        return pods if settled and where[0] not in {pod["spec"]["nodeName"] for pod in pods} else None

    pods = cluster.wait("it runs elsewhere", elsewhere, 90)
    check_names(cluster, pods, namespace)
    text = json.dumps([pods, mounted(cluster, pods[0], namespace)])
    annotation = json.dumps({REFUSED_ON: where[0]})[1:-1]
    assert f'"{where[0]}"' not in text.replace(annotation, "")
