"""The life of training jobs and card groups, as a user sees it with kubectl."""

import json
import time
from typing import Any

import pytest
from cluster_view import Cluster, Json, condition, training_job

pytestmark = pytest.mark.cluster


def test_a_job_runs_on_the_cards_the_ledger_names(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("llama", namespace, replicas=4, topology={"required": "supernode"}))
    job = cluster.wait_phase("llama", namespace, "Running")
    status = job["status"]
    assert status["spans"] == status["minimal"]
    assert (status["spans"]["supernode"], status["spans"]["node"], status["proven"]) == (1, 4, True)
    assert status["pods"] == {"pending": 0, "running": 4, "succeeded": 0, "failed": 0}
    assert condition(job, "Ready")["status"] == "True"

    [supernode] = status["superNodes"]
    entry = next(e for e in cluster.ledger()[supernode] if e["group"] == f"{namespace}/llama")
    pods = cluster.pods("llama", namespace)
    assert [pod["metadata"]["name"] for pod in pods] == [f"llama-{rank}" for rank in range(4)]
    for pod in pods:
        terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        [term] = terms["nodeSelectorTerms"]
        assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": [pod["spec"]["nodeName"]]}]
        assert pod["metadata"]["annotations"]["supernode.io/cards"] == "0-15"
        assert pod["spec"]["containers"][0]["resources"]["limits"]["huawei.com/Ascend910"] == "16"
    assert entry["uid"] == pods[0]["metadata"]["annotations"]["supernode.io/group-uid"]
    service = cluster.get("service", "llama", namespace)
    assert service is not None
    assert service["spec"]["clusterIP"] == "None"


def test_a_status_is_recorded_as_one_field_of_one_writer(cluster: Cluster, namespace: str) -> None:
    """Field by field its record would be longer than the status, and each write a quarter dearer (ADR 12)."""
    cluster.apply(training_job("brief", namespace))
    cluster.wait_phase("brief", namespace, "Running")
    for kind in ("trainingjob", "cardgroup"):
        text = cluster.kubectl("get", kind, "brief", "-n", namespace, "-o", "json", "--show-managed-fields")
        records = [e for e in json.loads(text)["metadata"]["managedFields"] if e.get("subresource") == "status"]
        assert [(e["manager"], e["fieldsV1"]) for e in records] == [("supernode-operator", {"f:status": {}})]


def test_an_ended_job_gives_its_cards_back_and_goes_after_its_time_to_live(cluster: Cluster, namespace: str) -> None:
    run = {"testbed.supernode.io/run-seconds": "1"}
    cluster.apply(training_job("short", namespace, ttlSecondsAfterFinished=4, annotations=run))
    job = cluster.wait_phase("short", namespace, "Succeeded")
    assert condition(job, "Succeeded")["reason"] == "AllSucceeded"
    cluster.wait("its cards are free", lambda: f"{namespace}/short" not in cluster.holders())
    assert len(cluster.pods("short", namespace)) == 2, "finished pods stay for their logs"
    cluster.wait("the job is gone", lambda: cluster.get("trainingjob", "short", namespace) is None)


def test_the_log_tells_once_who_got_cards_and_who_gave_them_back(cluster: Cluster, namespace: str) -> None:
    run = {"testbed.supernode.io/run-seconds": "1"}
    cluster.apply(training_job("told", namespace, annotations=run))
    cluster.wait_phase("told", namespace, "Succeeded")

    def told() -> list[str]:
        lines = cluster.operator.log.read_text().splitlines()
        return [line.split(" INFO ")[1].strip() for line in lines if f" CardGroup {namespace}/told: " in line]

    cluster.wait("its cards are free", lambda: len(told()) > 1)
    given, free = told()
    assert given.endswith("2 members have cards, on 1 supernode, 1 rack, 2 nodes")
    assert free.endswith("its cards are free")


def test_failed_pods_are_replaced_until_restarts_are_used_up(cluster: Cluster, namespace: str) -> None:
    fail = {"testbed.supernode.io/fail-seconds": "1", "testbed.supernode.io/exit-code": "3"}
    cluster.apply(training_job("bad", namespace, replicas=1, faultPolicy={"maxRestarts": 2}, annotations=fail))
    job = cluster.wait_phase("bad", namespace, "Failed")
    failed = condition(job, "Succeeded")
    assert (failed["status"], failed["reason"], job["status"]["restarts"]) == ("False", "MaxRestartsExceeded", 2)
    assert "bad-0" in failed["message"]
    cluster.wait("its cards are free", lambda: f"{namespace}/bad" not in cluster.holders())


def test_a_container_that_crashes_for_ever_uses_restarts_up(cluster: Cluster, namespace: str) -> None:
    """Its pod runs on, as the kubelet tells it, while the container is restarted in its place."""
    cluster.apply(training_job("loops", namespace, faultPolicy={"maxRestarts": 2}))
    cluster.wait_phase("loops", namespace, "Running")

    def crashed(times: int) -> None:
        _told_by_kubelet(cluster, namespace, "loops-1", {"containerStatuses/0/restartCount": times})

    crashed(2)
    cluster.wait(
        "its restarts are told",
        lambda: (cluster.get("tj", "loops", namespace) or {})["status"].get("containerRestarts") == 2,
    )
    assert (cluster.get("tj", "loops", namespace) or {})["status"]["phase"] == "Running"
    crashed(3)
    failed = condition(cluster.wait_phase("loops", namespace, "Failed"), "Succeeded")
    assert failed["reason"] == "MaxRestartsExceeded"
    assert "loops-1" in failed["message"]
    cluster.wait("its pods are gone", lambda: cluster.pods("loops", namespace) == [])
    cluster.wait("its cards are free", lambda: f"{namespace}/loops" not in cluster.holders())


def test_what_keeps_a_pod_from_starting_is_told_once(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("pulls", namespace))
    cluster.wait_phase("pulls", namespace, "Running")

    def waits(reason: str, message: str) -> None:
        state = {"waiting": {"reason": reason, "message": message}}
        _told_by_kubelet(cluster, namespace, "pulls-1", {"phase": "Pending", "containerStatuses/0/state": state})

    def job() -> Json:
        found = cluster.get("tj", "pulls", namespace)
        assert found is not None
        return found

    waits("ErrImagePull", "not found")
    text = "1 of 2 pods run; pulls-1: ImagePullBackOff: container train: not found"
    cluster.wait("it is told", lambda: condition(job(), "Ready")["message"] == text)
    version = job()["metadata"]["resourceVersion"]
    for attempt in range(3):
        waits("ImagePullBackOff", f"Back-off, attempt {attempt}")
        waits("ErrImagePull", f"not found, attempt {attempt}")
    time.sleep(2)
    assert job()["metadata"]["resourceVersion"] == version


def _told_by_kubelet(cluster: Cluster, namespace: str, pod: str, status: Json) -> None:
    """status: by path in the pod's status."""
    patch = [{"op": "replace", "path": f"/status/{path}", "value": value} for path, value in status.items()]
    how = ("--subresource=status", "--type=json", "-p", json.dumps(patch))
    cluster.kubectl("patch", "pod", pod, "-n", namespace, *how)


def test_suspending_releases_and_resuming_asks_again(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("pause", namespace))
    cluster.wait_phase("pause", namespace, "Running")
    cluster.kubectl("patch", "tj", "pause", "-n", namespace, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    cluster.wait_phase("pause", namespace, "Suspended")
    cluster.wait("its cards are free", lambda: f"{namespace}/pause" not in cluster.holders())
    assert cluster.pods("pause", namespace) == []
    cluster.kubectl("patch", "tj", "pause", "-n", namespace, "--type=merge", "-p", '{"spec":{"suspend":false}}')
    cluster.wait_phase("pause", namespace, "Running")


def test_a_deleted_job_releases_its_cards(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("gone", namespace))
    cluster.wait_phase("gone", namespace, "Running")
    cluster.delete("tj", "gone", namespace=namespace)
    cluster.wait("its cards are free", lambda: f"{namespace}/gone" not in cluster.holders())
    cluster.wait("its group is gone", lambda: cluster.get("cardgroup", "gone", namespace) is None)
    cluster.wait("its pods are gone", lambda: cluster.pods("gone", namespace) == [])


def test_a_namespace_deleted_under_a_running_job_takes_all_along(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("under", namespace))
    cluster.wait_phase("under", namespace, "Running")
    cluster.kubectl("delete", "namespace", namespace, "--timeout=60s")
    assert f"{namespace}/under" not in cluster.holders()
    assert cluster.every("pods", namespace) == []


def test_a_pod_deleted_by_a_person_comes_back_in_its_place(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("stable", namespace, replicas=3))
    cluster.wait_phase("stable", namespace, "Running")
    before = {p["metadata"]["name"]: p for p in cluster.pods("stable", namespace)}
    cluster.delete("pod", "stable-1", namespace=namespace)
    cluster.wait(
        "a new stable-1",
        lambda: _uid(cluster, "stable-1", namespace) not in (None, before["stable-1"]["metadata"]["uid"]),
    )
    cluster.wait_phase("stable", namespace, "Running")
    after = {p["metadata"]["name"]: p for p in cluster.pods("stable", namespace)}
    assert {n: p["spec"]["nodeName"] for n, p in after.items()} == {n: p["spec"]["nodeName"] for n, p in before.items()}
    assert after["stable-0"]["metadata"]["uid"] == before["stable-0"]["metadata"]["uid"]
    assert cluster.job("stable", namespace)["status"]["restarts"] == 0


def _uid(cluster: Cluster, pod: str, namespace: str) -> str | None:
    found = cluster.get("pod", pod, namespace)
    return found["metadata"]["uid"] if found and "deletionTimestamp" not in found["metadata"] else None


def test_waiting_jobs_get_freed_cards_by_priority_then_age(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("all", namespace, replicas=16))
    cluster.wait_phase("all", namespace, "Running")
    for name, priority in (("old", 0), ("young", 0), ("urgent", 5)):
        cluster.apply(training_job(name, namespace, replicas=8, priority=priority, topology={"required": "supernode"}))
        cluster.wait_phase(name, namespace, "Pending")
        cluster.wait("its reason", lambda n=name: "8 whole nodes" in _message(cluster, n, namespace))
        assert condition(cluster.job(name, namespace), "Allocated")["status"] == "False"
        time.sleep(1.1)  # ages are told apart by creationTimestamp, which has whole seconds
    cluster.delete("tj", "all", namespace=namespace)
    cluster.wait_phase("urgent", namespace, "Running")
    cluster.wait_phase("old", namespace, "Running")
    assert cluster.job("young", namespace)["status"]["phase"] == "Pending"


def _message(cluster: Cluster, name: str, namespace: str) -> str:
    return str(condition(cluster.job(name, namespace), "Allocated")["message"])


def test_small_jobs_share_a_node_and_never_a_card(cluster: Cluster, namespace: str) -> None:
    for number, cards in enumerate((2, 4, 8, 1)):
        cluster.apply(training_job(f"small-{number}", namespace, replicas=1, cards=cards))
    for number in range(4):
        cluster.wait_phase(f"small-{number}", namespace, "Running")
    pods = [cluster.pods(f"small-{number}", namespace)[0] for number in range(4)]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 1, "best fit keeps other nodes whole"
    cards = [card for pod in pods for card in _cards(pod)]
    assert len(cards) == len(set(cards)) == 15


def _cards(pod: Json) -> list[int]:
    ranges = pod["metadata"]["annotations"]["supernode.io/cards"].split(",")
    ends = [[int(end) for end in part.split("-")] for part in ranges]
    return [card for part in ends for card in range(part[0], part[-1] + 1)]


def test_a_job_that_can_never_fit_says_so_with_numbers(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("huge", namespace, replicas=9, topology={"required": "supernode"}))
    job = cluster.wait_phase("huge", namespace, "Stalled")
    stalled = condition(job, "Stalled")
    assert stalled["status"] == "True"
    assert "9" in stalled["message"]
    assert "8" in stalled["message"]
    assert cluster.pods("huge", namespace) == []


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"profile": "no-such"}, "UnknownProfile", ["no-such", "create it"]),
        ({"topology": {"required": "cabinet"}}, "UnknownLevel", ["cabinet", "rack"]),
        ({"topology": {"blocks": [{"level": "aisle", "members": 2}]}}, "UnknownLevel", ["aisle", "rack"]),
        ({"cards": 3}, "IllegalMemberSize", ["3"]),
        ({"precision": "mxfp4"}, "PrecisionUnavailable", ["mxfp4"]),
        ({"replicas": 3, "cards": 8}, "WholeNodesOnly", ["16"]),
    ],
)
def test_a_wrong_request_is_stalled_with_its_remedy_and_holds_nobody_up(
    cluster: Cluster, namespace: str, spec: dict[str, Any], reason: str, words: list[str]
) -> None:
    cluster.apply(training_job("wrong", namespace, **{"replicas": 2, "cards": 16, **spec}))
    cluster.apply(training_job("right", namespace, replicas=1))
    cluster.wait_phase("right", namespace, "Running")
    job = cluster.wait_phase("wrong", namespace, "Stalled")
    stalled = condition(job, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", reason)
    for word in words:
        assert word in stalled["message"]


def test_a_pod_template_the_server_refuses_fails_the_job(cluster: Cluster, namespace: str) -> None:
    job = training_job("odd", namespace)
    job["spec"]["workers"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Sometimes"
    cluster.apply(job)
    failed = cluster.wait_phase("odd", namespace, "Failed")
    assert condition(failed, "Succeeded")["reason"] == "PodRejected"
    assert "imagePullPolicy" in condition(failed, "Succeeded")["message"]
    cluster.wait("its cards are free", lambda: f"{namespace}/odd" not in cluster.holders())


def test_a_job_that_names_another_vendors_cards_gets_none_of_these(cluster: Cluster, namespace: str) -> None:
    job = training_job("gpus", namespace, replicas=1, cards=4, profile=None)
    job["spec"]["workers"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 4}}
    cluster.apply(job)
    waiting = cluster.wait_phase("gpus", namespace, "Pending")
    assert condition(waiting, "Allocated")["reason"] == "NoNodes"
    assert "no supernode of a profile of nvidia.com/gpu" in condition(waiting, "Allocated")["message"]
    cluster.kubectl("delete", "tj", "gpus", "-n", namespace)
    cluster.apply(job | {"spec": job["spec"] | {"profile": "ascend-a3-384"}})
    stalled = cluster.wait_phase("gpus", namespace, "Stalled")
    assert condition(stalled, "Stalled")["reason"] == "InvalidSpec"


def test_deadlines_end_jobs(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("long", namespace, replicas=16, activeDeadlineSeconds=4))
    cluster.wait_phase("long", namespace, "Running")
    cluster.apply(training_job("late", namespace, replicas=16, queueDeadlineSeconds=1))
    late = cluster.wait_phase("late", namespace, "Failed")
    assert condition(late, "Succeeded")["reason"] == "QueueDeadlineExceeded"
    long = cluster.wait_phase("long", namespace, "Failed")
    assert condition(long, "Succeeded")["reason"] == "DeadlineExceeded"
    cluster.wait("running pods are gone", lambda: cluster.pods("long", namespace) == [])


def test_a_bare_group_serves_somebody_elses_pods(cluster: Cluster, namespace: str) -> None:
    group = {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "CardGroup",
        "metadata": {"name": "claim", "namespace": namespace},
        "spec": {"members": 2, "cardsPerMember": 16, "profile": "ascend-a3-384", "topology": {"required": "rack"}},
    }
    cluster.apply(group)
    cluster.kubectl("wait", "cg/claim", "-n", namespace, "--for=condition=Allocated", "--timeout=30s")
    claim = cluster.get("cardgroup", "claim", namespace)
    assert claim is not None
    assert claim["status"]["spans"] == {"node": 2, "rack": 1, "supernode": 1}
    [run] = claim["status"]["placement"]
    node = run["nodes"].replace("[", "").split("-n")[0] + "-n" + run["nodes"].split("[")[1].split("-")[0]
    cluster.apply(_foreign_pod("mine", namespace, node, 16, {"supernode.io/group": "claim", "supernode.io/rank": "0"}))
    cluster.wait("the pod runs", lambda: cluster.get("pod", "mine", namespace)["status"]["phase"] == "Running")
    cluster.kubectl("delete", "cg", "claim", "-n", namespace, "--wait=false")
    time.sleep(2)
    assert f"{namespace}/claim" in cluster.holders(), "cards stay booked while a pod of the group runs"
    cluster.delete("pod", "mine", namespace=namespace)
    cluster.wait("the group is gone", lambda: cluster.get("cardgroup", "claim", namespace) is None)
    assert f"{namespace}/claim" not in cluster.holders()


def _foreign_pod(
    name: str,
    namespace: str,
    node: str,
    cards: int,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> Json:
    container = {
        "name": "main",
        "image": "example.invalid/serve:1",
        "resources": {"limits": {"huawei.com/Ascend910": str(cards)}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}, "annotations": annotations or {}},
        "spec": {"containers": [container], "nodeSelector": {"kubernetes.io/hostname": node}},
    }


def test_cards_of_foreign_pods_are_never_given(cluster: Cluster, namespace: str) -> None:
    node = cluster.every("nodes")[0]["metadata"]["name"]
    cluster.apply(_foreign_pod("foreign", namespace, node, 6))
    cluster.wait("it runs", lambda: cluster.get("pod", "foreign", namespace)["status"]["phase"] == "Running")
    cluster.wait(
        "its cards count as taken",
        lambda: sum(sn["status"]["cards"]["allocated"] for sn in cluster.every("supernodes")) == 6,
    )
    cluster.apply(training_job("rest", namespace, replicas=15))
    cluster.wait_phase("rest", namespace, "Running")
    assert node not in {pod["spec"]["nodeName"] for pod in cluster.pods("rest", namespace)}
    cluster.apply(training_job("one-more", namespace, replicas=1))
    cluster.wait_phase("one-more", namespace, "Pending")
    cluster.delete("pod", "foreign", namespace=namespace)
    cluster.wait_phase("one-more", namespace, "Running")


def test_cards_that_another_scheduler_chose_are_not_given(cluster: Cluster, namespace: str) -> None:
    """As Volcano does, whose jobs run on while a cluster moves to this operator."""
    node = cluster.every("nodes")[0]["metadata"]["name"]
    chosen = {"huawei.com/Ascend910": ",".join(f"Ascend910-{index}" for index in range(8, 16))}
    cluster.apply(_foreign_pod("foreign", namespace, node, 8, annotations=chosen))
    cluster.wait("it runs", lambda: cluster.get("pod", "foreign", namespace)["status"]["phase"] == "Running")
    cluster.wait(
        "its cards count as taken",
        lambda: sum(sn["status"]["cards"]["allocated"] for sn in cluster.every("supernodes")) == 8,
    )
    cluster.apply(training_job("rest", namespace, replicas=15))
    cluster.wait_phase("rest", namespace, "Running")
    cluster.apply(training_job("half", namespace, replicas=1, cards=8))
    cluster.wait_phase("half", namespace, "Running")
    [pod] = cluster.pods("half", namespace)
    assert (pod["spec"]["nodeName"], pod["metadata"]["annotations"]["supernode.io/cards"]) == (node, "0-7")


def test_a_pod_that_no_scheduler_looks_at_keeps_no_other_from_its_node(cluster: Cluster, namespace: str) -> None:
    """As of a template for a scheduler that is gone: its pods are never called unschedulable."""
    stuck = training_job("stuck", namespace, replicas=1, cards=8)
    stuck["spec"]["workers"]["template"]["spec"]["schedulerName"] = "none-such"
    cluster.apply(stuck)
    cluster.wait("its pod", lambda: cluster.pods("stuck", namespace))
    cluster.apply(training_job("next", namespace, replicas=1, cards=8))
    awaited = f"waits for pod {namespace}/stuck-0 on "
    cluster.wait("it is told whom", lambda: awaited in condition(cluster.job("next", namespace), "Ready")["message"])
    cluster.wait_phase("next", namespace, "Running", 60)
    [pod], [other] = (cluster.pods(name, namespace) for name in ("next", "stuck"))
    assert f"{awaited}{pod['spec']['nodeName']}" not in condition(cluster.job("next", namespace), "Ready")["message"]
    assert "nodeName" not in other["spec"], "its cards stay its own"


def test_nothing_is_written_once_all_is_said(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("calm", namespace, replicas=4))
    cluster.apply(training_job("waits", namespace, replicas=17))
    cluster.wait_phase("calm", namespace, "Running")
    cluster.wait_phase("waits", namespace, "Stalled")
    time.sleep(3)

    def versions() -> dict[str, str]:
        kinds = "tj,cg,sn,snp,pods,services"
        lines = cluster.kubectl(
            "get", kinds, "-A", "--no-headers", "-o", "custom-columns=U:.metadata.uid,V:.metadata.resourceVersion"
        )
        return dict(line.split() for line in lines.splitlines())

    before = versions()
    time.sleep(10)
    assert versions() == before
