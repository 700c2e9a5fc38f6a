"""What one user writes reaches no other: neither the jobs of others nor their objects."""

import json
from functools import partial
from typing import Any

import pytest
from cluster_view import Cluster, Json, training_job

pytestmark = pytest.mark.cluster


def _create(cluster: Cluster, job: Json, nested: int) -> None:
    """Create a job whose container has a field that nobody knows, nested so deep; kubectl sends it as it is."""
    deep = '{"a":' * nested + "1" + "}" * nested
    text = json.dumps(job).replace('"name": "train"', f'"name": "train", "deep": {deep}', 1)
    path = f"/apis/supernode.io/v1alpha1/namespaces/{job['metadata']['namespace']}/trainingjobs"
    cluster.kubectl("create", "--raw", path, "-f", "-", stdin=text)


def _stalled(cluster: Cluster, name: str, namespace: str) -> Json | None:
    """The condition of a job, if true, without the rest of the job."""
    path = "-o=jsonpath={.status.conditions}"
    conditions = json.loads(cluster.kubectl("get", "trainingjob", name, "-n", namespace, path) or "[]")
    return next((each for each in conditions if (each["type"], each["status"]) == ("Stalled", "True")), None)


def test_a_job_nested_too_deep_is_told_so_and_holds_nobody_up(cluster: Cluster, namespace: str) -> None:
    """The API server takes ten thousand levels; decoders and encoders of JSON give up from two hundred on."""
    depths = (150, 190, 220, 400, 1100, 5000)
    for depth in depths:
        _create(cluster, training_job(f"deep-{depth}", namespace, replicas=1, cards=2), depth)
    cluster.apply(training_job("after", namespace, replicas=1, cards=2))
    cluster.wait_phase("after", namespace, "Running")
    cluster.wait_phase("deep-150", namespace, "Running")
    for depth in depths[1:]:
        stalled = cluster.wait(f"deep-{depth} is stalled", partial(_stalled, cluster, f"deep-{depth}", namespace))
        assert stalled["reason"] == "InvalidSpec"
        assert "spec.workers.template.spec.containers[0].deep.a…: lies under more than" in stalled["message"]
    cluster.operator.stop()
    cluster.operator.start()
    cluster.apply(training_job("later", namespace, replicas=1, cards=2))
    cluster.wait_phase("later", namespace, "Running")


@pytest.fixture
def settings(cluster: Cluster) -> Any:
    """A ConfigMap of another user."""
    other = cluster.new_namespace()
    cluster.kubectl("create", "configmap", "settings", "-n", other, "--from-literal=mine=1")
    yield ("settings", other)
    cluster.kubectl("delete", "namespace", other, "--wait=false")


def test_what_a_pod_says_of_its_files_leads_to_no_object_of_others(
    cluster: Cluster, namespace: str, settings: tuple[str, str]
) -> None:
    """A pod that is made again renews the files of its peers, which say by an annotation what they have mounted."""
    cluster.apply(training_job("job", namespace, replicas=2))
    cluster.wait_phase("job", namespace, "Running")
    name, other = settings
    elsewhere = f"supernode.io/files=x/../../../{other}/configmaps/{name}"
    cluster.kubectl("annotate", "pod", "job-0", "-n", namespace, "--overwrite", elsewhere)
    before = cluster.pods("job", namespace)[1]["metadata"]["uid"]
    cluster.kubectl("delete", "pod", "job-1", "-n", namespace, "--wait=false")
    cluster.wait(
        "its pod is made again",
        lambda: len(pods := cluster.pods("job", namespace)) == 2 and pods[1]["metadata"]["uid"] != before,
    )
    cluster.wait_phase("job", namespace, "Running")
    assert (cluster.get("configmap", name, other) or {})["data"] == {"mine": "1"}
