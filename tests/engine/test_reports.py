"""Cards that a device plugin reports as failed, on a real control plane: they get no pod, what fails there moves."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_view import Cluster, Json, condition, training_job
from test_claims import cards_of, chosen

from testbed import bed as testbed
from testbed.installation import SHORT_LEASE, Operator, install

pytestmark = pytest.mark.cluster

RESOURCE = "huawei.com/Ascend910"
BINDING = "supernode-operator-card-reports"

FLEET = Path(__file__).parents[2] / "examples" / "fleets" / "small.yaml"

Report = Callable[..., None]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two A3 supernodes of 8 nodes, and an operator that believes soon that cards are missing."""
    with testbed.start(fleet=FLEET) as running:
        operator = Operator(running, install(running), arguments=(*SHORT_LEASE, "--device-grace=1"))
        operator.start()
        cluster = Cluster(running, operator)
        cluster.wait("its supernodes are discovered", lambda: len(cluster.every("supernodes")) == 2)
        cluster.lend_reserves()
        yield cluster
        operator.stop()


@pytest.fixture
def report(cluster: Cluster) -> Iterator[Report]:
    """Has a node's device plugin say that cards failed, and offer only the others; afterwards all is well again."""
    told: set[str] = set()

    def report(node: str, failed: str, offered: int = 15) -> None:
        told.add(node)
        names = ",".join(f"Ascend910-{card}" for card in sorted(cards_of(failed)))
        info = {"DeviceInfo": {"DeviceList": {f"{RESOURCE}-Unhealthy": names}, "UpdateTime": 1744182144}}
        metadata = {"name": f"mindx-dl-deviceinfo-{node}", "namespace": "kube-system"}
        metadata["labels"] = {"mx-consumer-cim": "true"}  # type: ignore[assignment]
        data = {"DeviceInfoCfg": json.dumps(info)}
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
        _offer(cluster, node, offered)

    yield report
    for node in told:
        cluster.kubectl("delete", "configmap", f"mindx-dl-deviceinfo-{node}", "-n", "kube-system")
        _offer(cluster, node, 16)
    cluster.wait("all cards are healthy", lambda: _healthy(cluster) == 256)


def _offer(cluster: Cluster, node: str, cards: int) -> None:
    patch = json.dumps({"status": {"allocatable": {RESOURCE: str(cards)}}})
    cluster.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", patch)


def _healthy(cluster: Cluster) -> int:
    return sum(supernode["status"]["cards"]["healthy"] for supernode in cluster.every("supernodes"))


def _fail(cluster: Cluster, pod: Json) -> None:
    terminated = {"exitCode": 1, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z"}
    statuses = [{"name": "train", "state": {"terminated": terminated}}]
    patch = json.dumps({"status": {"phase": "Failed", "containerStatuses": statuses}})
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    cluster.kubectl("patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


def test_a_card_that_is_reported_as_failed_is_given_to_nobody(cluster: Cluster, namespace: str, report: Report) -> None:
    """One of 16, although the node says only that it offers 15, and the lowest 8 would fit else; nor is its package."""
    for node in cluster.every("nodes"):
        report(node["metadata"]["name"], "3")
    cluster.wait("their packages count as failed", lambda: _healthy(cluster) == 256 - 32)
    for name, cards in (("half", 8), ("pair", 2), ("six", 6)):
        cluster.apply(training_job(name, namespace, replicas=1, cards=cards))
        cluster.wait_phase(name, namespace, "Running")
    pods = [pod for name in ("half", "pair", "six") for pod in cluster.pods(name, namespace)]
    assert [len(chosen(pod)) for pod in pods] == [8, 2, 6]
    assert all(not {2, 3} & chosen(pod) for pod in pods)
    named = [pod["metadata"]["annotations"][RESOURCE].split(",") for pod in pods]
    assert all("Ascend910-3" not in cards for cards in named)


def test_a_job_on_a_card_that_fails_runs_on_and_once_it_fails_moves(
    cluster: Cluster, namespace: str, report: Report
) -> None:
    cluster.apply(training_job("hit", namespace, replicas=1, cards=8, faultPolicy={"maxRestarts": 0}))
    cluster.wait_phase("hit", namespace, "Running")
    [pod] = cluster.pods("hit", namespace)
    assert 3 in chosen(pod)
    report(pod["spec"]["nodeName"], "3")
    cluster.wait("its card counts as failed", lambda: _healthy(cluster) < 256)
    cluster.apply(training_job("next", namespace, replicas=1, cards=8))
    cluster.wait_phase("next", namespace, "Running")
    [beside] = cluster.pods("next", namespace)
    assert beside["spec"]["nodeName"] != pod["spec"]["nodeName"], "which has 7 left to bind"
    assert [p["metadata"]["uid"] for p in cluster.pods("hit", namespace)] == [pod["metadata"]["uid"]]

    _fail(cluster, pod)

    def moved() -> Json | None:
        found = [p for p in cluster.pods("hit", namespace) if p["metadata"]["uid"] != pod["metadata"]["uid"]]
        return found[0] if found and found[0]["status"]["phase"] == "Running" else None

    again = cluster.wait("it runs again", moved)
    assert 3 not in chosen(again) or again["spec"]["nodeName"] != pod["spec"]["nodeName"]
    job = cluster.wait_phase("hit", namespace, "Running")
    assert job["status"]["restarts"] == 0, "what hardware does is not the job's failure"
    events = [e for e in cluster.every("events", namespace) if e["involvedObject"]["name"] == "hit"]
    assert "CardsFailed" in {event["reason"] for event in events}


def test_a_job_that_hangs_on_a_card_that_failed_moves_once_a_peer_has_failed(
    cluster: Cluster, namespace: str, report: Report
) -> None:
    cluster.apply(training_job("hangs", namespace, faultPolicy={"maxRestarts": 0}))
    cluster.wait_phase("hangs", namespace, "Running")
    peer, hung = cluster.pods("hangs", namespace)
    node = hung["spec"]["nodeName"]
    report(node, "3")
    cluster.wait("its card counts as failed", lambda: _healthy(cluster) < 256)
    _fail(cluster, peer)

    def moved() -> bool:
        pods = cluster.pods("hangs", namespace)
        return len(pods) == 2 and all(pod["status"]["phase"] == "Running" for pod in pods) and node not in _nodes(pods)

    cluster.wait("it runs elsewhere", moved)
    job = cluster.wait_phase("hangs", namespace, "Running")
    assert job["status"]["restarts"] == 0
    told = {e["message"] for e in cluster.every("events", namespace) if e["reason"] == "CardsFailed"}
    assert told == {f"card 3 of {node} does not work; the group is placed again"}


def _nodes(pods: list[Json]) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in pods}


def test_without_the_right_to_read_reports_the_operator_goes_on_and_says_so(
    cluster: Cluster, namespace: str, report: Report
) -> None:
    binding = cluster.get("rolebinding", BINDING, "kube-system")
    assert binding is not None
    cluster.kubectl("delete", "rolebinding", BINDING, "-n", "kube-system")
    try:
        cluster.operator.freeze()
        time.sleep(7)  # longer than its Lease, so that a new term begins
        cluster.operator.thaw()
        cluster.wait("it takes over", lambda: "begins with ConfigMap as they were" in cluster.operator.log.read_text())
        cluster.wait("it leads", lambda: cluster.operator.leads)
        cluster.operator.stop()
        said = cluster.operator.log.read_text().count("configmaps: forbidden")
        cluster.operator.start()
        node = cluster.every("nodes")[0]["metadata"]["name"]
        report(node, "3")
        cluster.wait("the highest is taken for the one that failed", lambda: _healthy(cluster) == 254)
        cluster.apply(training_job("goes", namespace))
        cluster.wait_phase("goes", namespace, "Running")
        assert cluster.operator.log.read_text().count("configmaps: forbidden") == said + 1
    finally:
        binding["metadata"] = {key: binding["metadata"][key] for key in ("name", "namespace", "labels")}
        cluster.apply(binding)
    read = 'supernode_cache_objects{resource="configmaps"} 1.0'
    cluster.wait("it reads them once it may", lambda: read in cluster.operator.get("/metrics")[1])


def test_a_report_that_cannot_be_read_changes_nothing(cluster: Cluster, namespace: str) -> None:
    node = cluster.every("nodes")[0]["metadata"]["name"]
    labels = {"mx-consumer-cim": "true"}
    metadata = {"name": f"mindx-dl-deviceinfo-{node}", "namespace": "kube-system", "labels": labels}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"DeviceInfoCfg": "{"}})
    try:
        cluster.wait("it says so", lambda: f"{node} is not read: its is not JSON" in cluster.operator.log.read_text())
        cluster.apply(training_job("goes", namespace, replicas=16))
        job = cluster.wait_phase("goes", namespace, "Running")
        assert condition(job, "Ready")["status"] == "True"
    finally:
        cluster.kubectl("delete", "configmap", metadata["name"], "-n", "kube-system")
