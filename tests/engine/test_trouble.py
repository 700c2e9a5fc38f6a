"""Trouble around the operator: outages, relabelled nodes, edited profiles, conflicting claims."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml
from cluster_view import Cluster, Json, condition, training_job

pytestmark = pytest.mark.cluster


def _patch(cluster: Cluster, kind: str, name: str, *scope: str, **spec: object) -> None:
    cluster.kubectl("patch", kind, name, *scope, "--type=merge", "-p", json.dumps({"spec": spec}))


def _free(cluster: Cluster) -> int:
    return sum(sn["status"]["cards"]["free"] for sn in cluster.every("supernodes"))


@contextmanager
def _away(cluster: Cluster, name: str) -> Iterator[None]:
    """A profile is deleted, and comes back."""
    profile = cluster.get("snp", name)
    assert profile is not None
    cluster.delete("snp", name)
    try:
        yield
    finally:
        profile["metadata"] = {"name": name}
        profile.pop("status", None)
        cluster.apply(profile)


def test_an_api_server_away_is_sat_out(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("before", namespace))
    cluster.wait_phase("before", namespace, "Running")
    cluster.bed.stop_apiserver()
    time.sleep(20)
    assert cluster.operator.running
    assert cluster.operator.get("/healthz")[0] == 200, "a restart would not bring the API server back"
    cluster.bed.start_apiserver()
    cluster.apply(training_job("after", namespace))
    cluster.wait_phase("after", namespace, "Running", seconds=90)
    assert cluster.job("before", namespace)["status"]["phase"] == "Running"


def test_a_cordoned_supernode_and_a_cordoned_node_give_nothing_new(cluster: Cluster, namespace: str) -> None:
    first, second = (sn["metadata"]["name"] for sn in cluster.every("supernodes"))
    _patch(cluster, "sn", first, cordoned=True)
    try:
        cluster.apply(training_job("one", namespace, replicas=8, topology={"required": "supernode"}))
        assert cluster.wait_phase("one", namespace, "Running")["status"]["superNodes"] == [second]
        cluster.apply(training_job("two", namespace, replicas=8, topology={"required": "supernode"}))
        cluster.wait_phase("two", namespace, "Pending")
        node = next(
            n for n in cluster.every("nodes") if n["metadata"]["labels"]["huawei.com/topotree.superpodid"] == "0"
        )
        cluster.kubectl("cordon", node["metadata"]["name"])
        _patch(cluster, "sn", first, cordoned=False)
        cluster.wait(
            "the reason names 7", lambda: "7" in condition(cluster.job("two", namespace), "Allocated")["message"]
        )
        cluster.kubectl("uncordon", node["metadata"]["name"])
        cluster.wait_phase("two", namespace, "Running")
    finally:
        _patch(cluster, "sn", first, cordoned=False)


def test_unhealthy_cards_are_not_given(cluster: Cluster) -> None:
    total = _free(cluster)
    node = cluster.every("nodes")[3]["metadata"]["name"]
    cluster.kubectl("annotate", "node", node, "supernode.io/unhealthy-cards=3")
    cluster.wait("the two cards of its package are not free", lambda: _free(cluster) == total - 2)
    cluster.kubectl("annotate", "node", node, "supernode.io/unhealthy-cards-")
    cluster.wait("they are free again", lambda: _free(cluster) == total)


def test_a_node_with_unknown_or_other_labels_leaves_its_supernode(cluster: Cluster) -> None:
    node = cluster.every("nodes")[0]["metadata"]["name"]
    first = cluster.every("supernodes")[0]["metadata"]["name"]

    def nodes() -> int:
        found = cluster.get("supernode", first)
        assert found is not None
        return int(found["status"]["nodes"])

    label = "huawei.com/topotree.superpodid"
    cluster.kubectl("label", "node", node, "--overwrite", f"{label}=4294967295")
    cluster.wait("seven nodes are left", lambda: nodes() == 7)
    assert {sn["metadata"]["name"] for sn in cluster.every("supernodes")} == {first, first[:-1] + "1"}, (
        "an unknown id is no domain"
    )
    cluster.kubectl("label", "node", node, "--overwrite", f"{label}=7")
    cluster.wait("a supernode of its own", lambda: len(cluster.every("supernodes")) == 3)
    cluster.kubectl("label", "node", node, "--overwrite", f"{label}=0")
    cluster.wait("all is as before", lambda: nodes() == 8 and len(cluster.every("supernodes")) == 2)


def test_cards_booked_on_a_node_that_moved_stay_booked(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("full", namespace, replicas=16))
    cluster.wait_phase("full", namespace, "Running")
    node = cluster.pods("full", namespace)[0]["spec"]["nodeName"]
    label = "huawei.com/topotree.superpodid"
    cluster.kubectl("label", "node", node, "--overwrite", f"{label}=9")
    try:
        cluster.wait("a supernode of its own", lambda: len(cluster.every("supernodes")) == 3)
        cluster.apply(training_job("thief", namespace, replicas=1, cards=1))
        cluster.wait_phase("thief", namespace, "Pending")
        time.sleep(1)
        assert cluster.pods("thief", namespace) == []
    finally:
        cluster.kubectl("label", "node", node, "--overwrite", f"{label}=0")


def test_a_pod_is_not_made_again_on_a_node_that_belongs_to_another_supernode_by_now(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(training_job("stays", namespace, topology={"required": "supernode"}))
    cluster.wait_phase("stays", namespace, "Running")
    uids = [pod["metadata"]["uid"] for pod in cluster.pods("stays", namespace)]
    node = cluster.pods("stays", namespace)[0]["spec"]["nodeName"]
    found = cluster.get("node", node)
    assert found is not None
    label = "huawei.com/topotree.superpodid"
    home = found["metadata"]["labels"][label]
    cluster.kubectl("label", "node", node, "--overwrite", f"{label}={1 - int(home)}")
    try:
        cluster.wait("it has moved", lambda: max(sn["status"]["nodes"] for sn in cluster.every("sn")) == 9)
        time.sleep(1)
        assert [pod["metadata"]["uid"] for pod in cluster.pods("stays", namespace)] == uids, "what runs is left alone"
        cluster.kubectl("delete", "pod", "stays-0", "-n", namespace)
        said = cluster.wait(
            "the job says so",
            lambda: (c := condition(cluster.job("stays", namespace), "Ready"))["reason"] == "NodesLost" and c,
        )
        assert f"in another supernode now: {node}; the group is placed again" in said["message"]
        time.sleep(1)
        assert [pod["metadata"]["uid"] for pod in cluster.pods("stays", namespace)] == uids[1:]
    finally:
        cluster.kubectl("label", "node", node, "--overwrite", f"{label}={home}")
        cluster.wait("all is as before", lambda: {sn["status"]["nodes"] for sn in cluster.every("sn")} == {8})


def test_two_supernodes_that_claim_a_node_are_told_apart(cluster: Cluster, namespace: str) -> None:
    node = cluster.every("nodes")[5]["metadata"]["name"]
    first = cluster.every("supernodes")[0]["metadata"]["name"]
    by_hand = {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "SuperNode",
        "metadata": {"name": "by-hand"},
        "spec": {"profile": "ascend-a3-384", "nodeSelector": {"kubernetes.io/hostname": node}, "reserve": 0},
    }
    cluster.apply(by_hand)
    try:
        conflict = cluster.wait(
            "the discovered one says who has the node",
            lambda: (c := condition(cluster.get("sn", first) or {}, "Ready"))["reason"] == "NodeConflict" and c,
        )
        assert node in conflict["message"]
        assert "by-hand" in conflict["message"]
        cluster.apply(training_job("goes-on", namespace, replicas=7, topology={"required": "supernode"}))
        cluster.wait_phase("goes-on", namespace, "Running")
    finally:
        cluster.delete("sn", "by-hand")
    cluster.wait("the conflict is over", lambda: condition(cluster.get("sn", first) or {}, "Ready")["status"] == "True")


def test_a_profile_edited_in_use_gives_no_new_cards_until_undone(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("holder", namespace, replicas=16))
    cluster.wait_phase("holder", namespace, "Running")
    profile = cluster.get("snp", "ascend-a3-384")
    assert profile is not None
    levels = profile["spec"]["levels"]
    edited = [{**level, "fanOut": 3} if level["name"] == "rack" else level for level in levels]
    first = cluster.every("supernodes")[0]["metadata"]["name"]
    _patch(cluster, "snp", "ascend-a3-384", levels=edited)
    try:
        cluster.wait(
            "the supernode says so",
            lambda: condition(cluster.get("sn", first) or {}, "Stalled")["reason"] == "ProfileChangedInUse",
        )
        assert cluster.job("holder", namespace)["status"]["phase"] == "Running"
    finally:
        _patch(cluster, "snp", "ascend-a3-384", levels=levels)
    cluster.wait("all is well", lambda: condition(cluster.get("sn", first) or {}, "Ready")["status"] == "True")


def test_a_profile_deleted_in_use_leaves_jobs_running(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("holder", namespace, replicas=2))
    cluster.wait_phase("holder", namespace, "Running")
    with _away(cluster, "ascend-a3-384"):
        first = cluster.every("supernodes")[0]["metadata"]["name"]
        cluster.wait(
            "the supernode says so",
            lambda: condition(cluster.get("sn", first) or {}, "Stalled")["reason"] == "ProfileMissing",
        )
        cluster.apply(training_job("late", namespace, replicas=1))
        late = cluster.wait_phase("late", namespace, "Stalled")
        assert condition(late, "Stalled")["reason"] == "UnknownProfile"
        assert len(cluster.pods("holder", namespace)) == 2
    cluster.wait_phase("late", namespace, "Running")
    assert cluster.job("holder", namespace)["status"]["phase"] == "Running"


def test_what_a_person_set_on_a_supernode_outlasts_its_nodes(cluster: Cluster) -> None:
    first, second = cluster.every("supernodes")
    name = first["metadata"]["name"]
    _patch(cluster, "sn", name, cordoned=True)
    _patch(cluster, "sn", second["metadata"]["name"], reserve=None)
    with _away(cluster, "ascend-a3-384"):
        cluster.wait("the other one goes, of which nothing was set", lambda: len(cluster.every("supernodes")) == 1)
    cluster.wait("it is back", lambda: len(cluster.every("supernodes")) == 2)
    kept = cluster.get("sn", name)
    assert kept is not None
    assert (kept["metadata"]["uid"], kept["spec"]["cordoned"]) == (first["metadata"]["uid"], True)
    _patch(cluster, "sn", name, cordoned=False)
    cluster.lend_reserves()


def test_a_pod_lost_while_the_profile_is_away_comes_when_it_is_back(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("holder", namespace, replicas=2))
    cluster.wait_phase("holder", namespace, "Running")
    with _away(cluster, "ascend-a3-384"):
        cluster.delete("pod", "holder-1", namespace=namespace)
        stalled = condition(cluster.wait_phase("holder", namespace, "Stalled"), "Stalled")
        assert stalled["reason"] == "ProfileMissing"
    cluster.wait_phase("holder", namespace, "Running", seconds=60)


def test_a_pod_of_the_jobs_name_that_is_not_its_own_is_reported(cluster: Cluster, namespace: str) -> None:
    other = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "taken-1", "namespace": namespace},
        "spec": {"containers": [{"name": "main", "image": "example.invalid/other:1"}]},
    }
    cluster.apply(other)
    cluster.apply(training_job("taken", namespace, replicas=2))
    stalled = condition(cluster.wait_phase("taken", namespace, "Stalled"), "Stalled")
    assert stalled["reason"] == "NameConflict"
    assert "taken-1" in stalled["message"]
    cluster.delete("pod", "taken-1", namespace=namespace)
    cluster.wait_phase("taken", namespace, "Running", seconds=60)


def test_pods_that_cannot_end_are_named_until_they_are_gone(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("held", namespace, replicas=2))
    cluster.wait_phase("held", namespace, "Running")
    node = cluster.pods("held", namespace)[1]["spec"]["nodeName"]

    def hold(*finalizers: str) -> None:
        """As long as a kubelet is silent nobody ends its pods; here it is a finalizer that keeps one."""
        patch = json.dumps({"metadata": {"finalizers": finalizers}})
        cluster.kubectl("patch", "pod", "held-1", "-n", namespace, "--type=merge", "-p", patch)

    hold("example.com/kubelet")
    _patch(cluster, "tj", "held", "-n", namespace, suspend=True)
    cluster.wait("its group is on its way out", lambda: _group_phase(cluster, namespace) == "Releasing")
    cluster.kubectl("annotate", "node", node, "testbed.supernode.io/ready=Unknown")
    try:
        for kind in ("tj", "cg"):
            cluster.wait(
                f"{kind} names the pod and its node",
                lambda kind=kind: f"held-1 cannot end on {node}" in _ready(cluster, kind, namespace),
            )
    finally:
        cluster.kubectl("annotate", "node", node, "testbed.supernode.io/ready-")
    cluster.wait("there is hope again", lambda: "cannot end" not in _ready(cluster, "tj", namespace))
    hold()
    cluster.wait("the group is gone", lambda: cluster.get("cg", "held", namespace) is None)


def _group_phase(cluster: Cluster, namespace: str) -> str:
    return str((cluster.get("cg", "held", namespace) or {}).get("status", {}).get("phase"))


def _ready(cluster: Cluster, kind: str, namespace: str) -> str:
    return str(condition(cluster.get(kind, "held", namespace) or {}, "Ready")["message"])


def _quota(namespace: str, pods: int) -> Json:
    meta = {"name": "team", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": str(pods)}}}


def _forbidden_pods(cluster: Cluster) -> float:
    """How often the operator was forbidden to create a pod."""
    lines = cluster.operator.get("/metrics")[1].splitlines()
    labels = ('verb="create"', 'resource="pods"', 'code="403"')
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in labels))


def test_a_job_over_its_quota_says_so_and_goes_on_once_there_is_room(cluster: Cluster, namespace: str) -> None:
    cluster.apply(_quota(namespace, 2))
    cluster.wait(
        "the quota counts",
        lambda: (cluster.get("resourcequota", "team", namespace) or {}).get("status", {}).get("used"),
    )
    cluster.apply(training_job("over", namespace, replicas=3))
    stalled = condition(cluster.wait_phase("over", namespace, "Stalled"), "Stalled")
    assert stalled["reason"] == "CreationForbidden"
    assert "exceeded quota: team" in stalled["message"]
    assert len(cluster.pods("over", namespace)) == 2
    assert f"{namespace}/over" in cluster.holders(), "what runs keeps its cards, and so does what is to come"
    events = [e for e in cluster.every("events", namespace) if e["reason"] == "CreationForbidden"]
    assert [e["type"] for e in events] == ["Warning"]
    refused = _forbidden_pods(cluster)
    cluster.wait("it is tried again", lambda: _forbidden_pods(cluster) > refused)
    told = [line for line in cluster.operator.log.read_text().splitlines() if f"TrainingJob {namespace}/over" in line]
    assert ["exceeded quota: team" in line for line in told] == [True], "the log has the words of a refusal, once"
    cluster.apply(_quota(namespace, 3))
    cluster.wait_phase("over", namespace, "Running")
    assert cluster.job("over", namespace)["status"]["restarts"] == 0


POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {name}}}
spec:
  matchConstraints:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
    resourceRules:
    - {{apiGroups: ["{api_group}"], apiVersions: ["*"], operations: [CREATE], resources: [{resource}]}}
  validations: [{{expression: "false", message: "nobody may"}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec: {{policyName: {name}, validationActions: [Deny]}}
"""


DENIED: dict[str, Json] = {
    "pods": {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "main", "image": "i"}]}},
    "configmaps": {"apiVersion": "v1", "kind": "ConfigMap"},
    "cardgroups": {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "CardGroup",
        "spec": {"members": 1, "cardsPerMember": 1},
    },
}
"""What may be denied, each with an object that would be taken."""


@contextmanager
def _denied(cluster: Cluster, namespace: str, resource: str) -> Iterator[None]:
    """No object of a kind may be made in a namespace, as a policy has it that gives no reason of its own."""
    name, probe = f"no-{resource}-{namespace}", DENIED[resource]
    api_group = probe["apiVersion"].rpartition("/")[0]
    text = POLICY.format(name=name, namespace=namespace, api_group=api_group, resource=resource)
    cluster.apply(*yaml.safe_load_all(text))
    manifest = json.dumps(probe | {"metadata": {"name": "probe", "namespace": namespace}})
    dry_run = ("create", "-f", "-", "--dry-run=server")
    cluster.wait("it is heeded", lambda: "nobody may" in cluster.try_kubectl(*dry_run, stdin=manifest).stderr)
    try:
        yield
    finally:
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            cluster.kubectl("delete", kind, name)


def test_a_policy_that_denies_a_pod_again_ends_no_running_job(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("week", namespace, replicas=4))
    cluster.wait_phase("week", namespace, "Running")
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in cluster.pods("week", namespace)}
    with _denied(cluster, namespace, "pods"):
        cluster.delete("pod", "week-2", namespace=namespace)
        stalled = condition(cluster.wait_phase("week", namespace, "Stalled"), "Stalled")
        assert stalled["reason"] == "CreationForbidden"
        assert "nobody may" in stalled["message"]
        assert len(cluster.pods("week", namespace)) == 3
    cluster.wait_phase("week", namespace, "Running")
    after = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in cluster.pods("week", namespace)}
    assert {name for name in before if before[name] != after[name]} == {"week-2"}


@pytest.mark.parametrize("resource", ["configmaps", "cardgroups"])
def test_what_a_policy_denies_is_told_and_comes_once_it_is_allowed(
    cluster: Cluster, namespace: str, resource: str
) -> None:
    with _denied(cluster, namespace, resource):
        cluster.apply(training_job("new", namespace))
        stalled = condition(cluster.wait_phase("new", namespace, "Stalled"), "Stalled")
        assert stalled["reason"] == "CreationForbidden"
        assert "nobody may" in stalled["message"]
    cluster.wait_phase("new", namespace, "Running")


def test_a_service_of_somebody_else_is_told_and_its_going_waited_for(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "service", "clusterip", "web", "--tcp=80", "-n", namespace)
    cluster.apply(training_job("web", namespace))
    stalled = condition(cluster.wait_phase("web", namespace, "Stalled"), "Stalled")
    assert stalled["reason"] == "NameConflict"
    assert "delete it or rename the job" in stalled["message"]
    assert len(cluster.pods("web", namespace)) == 2
    cluster.delete("service", "web", namespace=namespace)
    cluster.wait_phase("web", namespace, "Running")


def test_a_misspelt_field_of_the_template_is_named(cluster: Cluster, namespace: str) -> None:
    """As kubectl names one of a Deployment: nothing that was written is to vanish."""
    job = training_job("typo", namespace)
    job["spec"]["workers"]["template"]["spec"]["toleratons"] = [{"operator": "Exists"}]
    cluster.apply(job)
    failed = condition(cluster.wait_phase("typo", namespace, "Failed"), "Succeeded")
    assert failed["reason"] == "PodRejected"
    assert 'unknown field "spec.toleratons"' in failed["message"]
