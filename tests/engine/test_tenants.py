"""What one user writes reaches no other: neither the jobs of others nor their objects."""

import json
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cluster_view import Cluster, Json, condition, training_job

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]


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
    failed = condition(cluster.wait_phase("deep-150", namespace, "Failed"), "Succeeded")
    assert (failed["reason"], "unknown field" in failed["message"]) == ("PodRejected", True), "as in any other pod"
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


@pytest.fixture
def bounded(cluster: Cluster, namespace: str) -> Iterator[str]:
    """The namespace, bounded by the commands of docs/install.md."""
    section = (ROOT / "docs" / "install.md").read_text().split("\n## Several teams\n")[1].split("\n## ")[0]
    (commands,) = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    for command in commands.replace("team-a", namespace).splitlines():
        program, *arguments = command.split()
        assert program == "kubectl"
        cluster.kubectl(*[str(ROOT / each) if each.startswith("examples/") else each for each in arguments])
    probe = training_job("probe", namespace, priority=101)
    try:
        cluster.wait("it is bounded", lambda: "may ask for" in _refusal(cluster, probe))
        cluster.wait(
            "its quota counts", lambda: _quota_counts(cluster, namespace) or _renew_quota(cluster, namespace), 90
        )
        yield namespace
    finally:
        cluster.kubectl("delete", "-f", str(ROOT / "examples/policies/bounded-priority.yaml"))
        cluster.wait("it is not bounded any more", lambda: "may ask for" not in _refusal(cluster, probe))


def _quota_counts(cluster: Cluster, namespace: str) -> bool:
    """Whether the quota is looked after as it is written; until then it lets nothing in that it counts."""
    quota = cluster.get("quota", "supernode-objects", namespace) or {}
    return bool(quota.get("status", {}).get("used")) and quota["status"]["hard"] == quota["spec"]["hard"]


def _renew_quota(cluster: Cluster, namespace: str) -> None:
    """The definitions are as new as the bed, and whoever counts looks for new ones twice a minute. It looks at quotas
    that are older than its knowledge every five minutes, at new ones at once."""
    path = str(ROOT / "examples/policies/team-quota.yaml")
    cluster.kubectl("replace", "--force", "-n", namespace, "-f", path)
    time.sleep(3)


def _refusal(cluster: Cluster, obj: Json) -> str:
    """What the API server has against an object, which is not kept; nothing, if it would take it."""
    done = cluster.try_kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(obj))
    return done.stderr if done.returncode else ""


def _group(namespace: str, priority: int) -> Json:
    return {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "CardGroup",
        "metadata": {"name": "group", "namespace": namespace},
        "spec": {"profile": "ascend-a3-384", "members": 1, "cardsPerMember": 2, "priority": priority},
    }


def test_a_policy_and_a_quota_bound_what_one_namespace_asks_for(cluster: Cluster, bounded: str) -> None:
    """Both of examples/policies, and the operator goes on within them, with the rights of its chart."""
    small = {"replicas": 1, "cards": 2}
    told = f"spec.priority is 101; namespace {bounded} may ask for 100 at most (its label supernode.io/max-priority)"
    assert told in _refusal(cluster, training_job("high", bounded, priority=101))
    assert told in _refusal(cluster, _group(bounded, 101))
    assert _refusal(cluster, _group(bounded, 100)) == ""
    cluster.apply(training_job("job", bounded, priority=99, **small))
    cluster.wait_phase("job", bounded, "Running")
    raised = cluster.try_kubectl("patch", "tj/job", "-n", bounded, "--type=merge", "-p", '{"spec":{"priority":101}}')
    assert told in raised.stderr
    cluster.kubectl("patch", "tj/job", "-n", bounded, "--type=merge", "-p", '{"spec":{"priority":100}}')
    cluster.wait("its group follows", lambda: _priority(cluster, "job", bounded) == 100)

    other = cluster.new_namespace()
    assert "may ask for 0 at most" in _refusal(cluster, training_job("job", other, priority=1))
    assert _refusal(cluster, training_job("job", other, priority=-1)) == ""
    cluster.kubectl("label", "namespace", other, "supernode.io/max-priority=many")
    assert _refusal(cluster, training_job("job", other)) == ""
    assert "may ask for 0 at most" in _refusal(cluster, training_job("job", other, priority=1))
    cluster.leave_namespace(other)

    cluster.kubectl("label", "namespace", bounded, "--overwrite", "supernode.io/max-priority=10")
    cluster.wait("the label counts", lambda: _refusal(cluster, training_job("probe", bounded, priority=11)))
    cluster.kubectl("patch", "tj/job", "-n", bounded, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    cluster.wait_phase("job", bounded, "Suspended")
    cluster.wait("its cards are free", lambda: f"{bounded}/job" not in cluster.holders())
    cluster.kubectl("patch", "tj/job", "-n", bounded, "--type=merge", "-p", '{"spec":{"suspend":false}}')
    assert cluster.wait("it is stalled", partial(_stalled, cluster, "job", bounded))["reason"] == "CreationForbidden"
    cluster.kubectl("patch", "tj/job", "-n", bounded, "--type=merge", "-p", '{"spec":{"priority":10}}')
    cluster.wait_phase("job", bounded, "Running")


def test_a_quota_bounds_how_many_jobs_and_groups_a_namespace_has(cluster: Cluster, bounded: str) -> None:
    hard = {"count/trainingjobs.supernode.io": "2", "count/cardgroups.supernode.io": "1"}
    patch = json.dumps({"spec": {"hard": hard}})
    cluster.kubectl("patch", "quota/supernode-objects", "-n", bounded, "--type=merge", "-p", patch)
    cluster.wait("the quota counts", lambda: _quota_counts(cluster, bounded))
    for name in ("first", "second"):
        cluster.apply(training_job(name, bounded, replicas=1, cards=2))
        cluster.wait(f"{name} is decided", lambda name=name: cluster.job(name, bounded).get("status"))
    assert "exceeded quota: supernode-objects" in _refusal(cluster, training_job("third", bounded))
    cluster.wait_phase("first", bounded, "Running")
    stalled = cluster.wait("the second is told", partial(_stalled, cluster, "second", bounded))
    assert stalled["reason"] == "CreationForbidden"
    assert "exceeded quota: supernode-objects" in stalled["message"]
    cluster.delete("tj", "first", namespace=bounded)
    cluster.wait_phase("second", bounded, "Running")


def _priority(cluster: Cluster, group: str, namespace: str) -> int:
    return int((cluster.get("cg", group, namespace) or {"spec": {"priority": -1}})["spec"]["priority"])
