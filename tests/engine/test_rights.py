"""The operator uses the rights its chart grants, and none beyond: the audit log held against ClusterRole and Role."""

import json
import time
from collections.abc import Iterator

import pytest
from cluster_view import Cluster, training_job
from test_launch import annotate

from testbed.fleet import Fleet
from testbed.installation import NAMESPACE, manifests

pytestmark = pytest.mark.cluster

Right = tuple[str, str, str]

ONLY_NOW_AND_THEN: set[Right] = {
    ("get", "", "pods"),  # a pod of the name exists: whose is it?
    ("get", "resource.k8s.io", "resourceclaims"),  # a claim of the name exists: whose is it?
    ("get", "supernode.io", "supernodes"),  # a ledger swap lost: what does it say now?
    ("update", "supernode.io", "trainingjobs/finalizers"),  # checked by an admission plugin, never a request
    ("patch", "events.k8s.io", "events"),  # the same Event again
    ("patch", "", "configmaps"),  # a member moved: the others' files name its new node
    ("get", "coordination.k8s.io", "leases"),  # another wrote the Lease: what does it say now?
}


@pytest.fixture
def claimed(cluster: Cluster, namespace: str) -> Iterator[str]:
    """One more node, whose cards are devices to be claimed; the name of its profile."""
    devices = {"driver": "card.example.com", "deviceClass": "cards.example.com", "indexAttribute": "index"}
    profile = {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "SuperNodeProfile",
        "metadata": {"name": "claimed"},
        "spec": {
            "card": {"resource": "example.com/card"},
            "levels": [{"name": "node", "fanOut": 4}],
            "nodeSelector": {"example.com/machine": "claimed"},
            "pinning": {"mode": "dra", "devices": devices},
        },
    }
    cluster.apply(profile)
    cluster.bed.apply(Fleet.parse({"pools": [{"name": "claimed", "profile": profile}]}))
    cluster.wait("its supernode", lambda: len(cluster.every("supernodes")) == 3)
    yield "claimed"
    cluster.kubectl("delete", "tj", "claims", "-n", namespace)
    # The garbage collector learns of new kinds each half minute, and looks ever more rarely at pods of unknown owners.
    cluster.wait("its card is free", lambda: f"{namespace}/claims" not in cluster.holders(), 90)
    for kind, name in (("node", "claimed-0"), ("supernodeprofile", "claimed"), ("deviceclass", "cards.example.com")):
        cluster.kubectl("delete", kind, name)
    cluster.kubectl("delete", "resourceslices", "--all")
    cluster.wait("it is gone", lambda: len(cluster.every("supernodes")) == 2)


def _granted() -> set[Right]:
    roles = [
        obj
        for obj in manifests("supernode-operator")
        if obj["kind"] in ("ClusterRole", "Role")
        and obj["metadata"]["name"] in ("supernode-operator", "supernode-operator-card-reports")
    ]
    return {
        (verb, group, resource)
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def _requests(cluster: Cluster) -> list[tuple[Right, int]]:
    """What the operator asked for and the HTTP status it got, from the audit log."""
    user = f"system:serviceaccount:{NAMESPACE}:supernode-operator"
    found = []
    with cluster.bed.audit_log.open() as log:
        for line in log:
            if user not in line:
                continue
            event = json.loads(line)
            about = event.get("objectRef", {})
            if event["user"]["username"] != user or "resource" not in about or "responseStatus" not in event:
                continue
            name = "/".join(filter(None, (about["resource"], about.get("subresource"))))
            found.append(((event["verb"], about.get("apiGroup", ""), name), event["responseStatus"].get("code", 0)))
    return found


def test_rights_are_enough_and_each_is_used(cluster: Cluster, namespace: str, claimed: str) -> None:
    for supernode in ("0", "1"):
        annotate(cluster, supernode)
    run, fail = {"testbed.supernode.io/run-seconds": "1"}, {"testbed.supernode.io/fail-seconds": "1"}
    cluster.apply(training_job("ends", namespace, annotations=run, ttlSecondsAfterFinished=0))
    cluster.apply(training_job("fails", namespace, annotations=fail, faultPolicy={"maxRestarts": 1}))
    cluster.apply(training_job("ranks", namespace, runtime="mpi"))
    group = {"members": 1, "cardsPerMember": 16, "profile": "ascend-a3-384"}
    cluster.apply(
        {
            "apiVersion": "supernode.io/v1alpha1",
            "kind": "CardGroup",
            "metadata": {"name": "bare", "namespace": namespace},
            "spec": group,
        }
    )
    cluster.apply(training_job("claims", namespace, profile=claimed, replicas=1, cards=2))
    node = cluster.every("nodes")[0]["metadata"]["name"]
    label = "huawei.com/topotree.superpodid"
    cluster.kubectl("label", "node", node, "--overwrite", f"{label}=5")
    cluster.wait("a fourth supernode", lambda: len(cluster.every("supernodes")) == 4)
    cluster.kubectl("label", "node", node, "--overwrite", f"{label}=0")
    cluster.wait("it is gone", lambda: len(cluster.every("supernodes")) == 3)
    cluster.wait_phase("fails", namespace, "Failed")
    cluster.wait_phase("ranks", namespace, "Running")
    cluster.wait_phase("claims", namespace, "Running")
    cluster.wait("the ended job is gone", lambda: cluster.get("tj", "ends", namespace) is None)
    time.sleep(2)  # Events are posted after what they tell of

    requests = _requests(cluster)
    granted = _granted()
    used = {right for right, code in requests if code < 400}
    # kopf asks what the server offers; every authenticated user may.
    assert used - granted == set()
    # Lists are for servers that cannot stream the first list of a watch; this one can.
    unused = {right for right in granted - used if right[0] != "list"}
    assert unused - ONLY_NOW_AND_THEN == set(), "granted and never used"


def test_nothing_was_ever_denied(cluster: Cluster) -> None:
    """But for what is allowed at other times: an API server that has just started does not know the roles yet, and a
    namespace that is being deleted takes nothing new."""
    requests = _requests(cluster)
    allowed = {right for right, code in requests if code < 400}
    denied = {right for right, code in requests if code == 403}
    assert allowed
    assert denied - allowed == set()
