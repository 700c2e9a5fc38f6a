"""Cards that are devices of a DRA driver: real claims, allocated by the real scheduler to what placement chose."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cluster_view import Cluster, Json, training_job

from testbed import bed as testbed
from testbed.check import check
from testbed.check.reading import read
from testbed.client import connect, run
from testbed.devices import TAINT, publish, slices
from testbed.fleet import Devices
from testbed.installation import Operator, install

pytestmark = pytest.mark.cluster

FLEET = Path(__file__).parent / "claims.yaml"
PROFILES: dict[str, Json] = {
    pool["profile"]["metadata"]["name"]: pool["profile"] for pool in yaml.safe_load(FLEET.read_text())["pools"]
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes of 40 cards and a supernode of 24 nodes of 16, and one running operator."""
    with testbed.start(fleet=FLEET) as running:
        operator = Operator(running, install(running))
        cluster = Cluster(running, operator)
        cluster.apply(*PROFILES.values())
        operator.start()
        cluster.wait("its supernodes are discovered", lambda: len(cluster.every("supernodes")) == 3)
        yield cluster
        operator.stop()


def devices(profile: str) -> Devices:
    return Devices.model_validate(PROFILES[profile]["spec"]["pinning"]["devices"])


def job(name: str, namespace: str, profile: str, **options: object) -> Json:
    return training_job(name, namespace, profile=profile, **options)


def cards_of(text: str) -> set[int]:
    ends = [part.partition("-") for part in text.split(",")]
    return {card for first, _, last in ends for card in range(int(first), int(last or first) + 1)}


def claims_of(cluster: Cluster, pod: Json) -> list[Json]:
    names = [claim["resourceClaimName"] for claim in pod["spec"]["resourceClaims"]]
    found = [cluster.get("resourceclaim", name, pod["metadata"]["namespace"]) for name in names]
    assert all(found), f"{pod['metadata']['name']} uses {names}, which are not all there"
    return [claim for claim in found if claim]


def allocated(cluster: Cluster, pod: Json) -> set[int]:
    """The cards of the pod's node that the scheduler gave it; fails if one is of another node or given twice."""
    results = [
        result for claim in claims_of(cluster, pod) for result in claim["status"]["allocation"]["devices"]["results"]
    ]
    assert {result["pool"] for result in results} == {pod["spec"]["nodeName"]}
    cards = [int(result["device"].rpartition("-")[2]) for result in results]
    assert len(set(cards)) == len(cards)
    return set(cards)


def chosen(pod: Json) -> set[int]:
    return cards_of(pod["metadata"]["annotations"]["supernode.io/cards"])


@pytest.mark.parametrize(
    ("profile", "replicas", "cards", "sizes"),
    [
        ("racks", 1, 1, [1]),
        ("racks", 1, 8, [8]),
        ("wide", 1, 40, [32, 8]),
        ("wide", 2, 40, [32, 8]),
        ("racks", 24, 16, [16]),
    ],
)
def test_claims_get_the_devices_placement_chose(
    cluster: Cluster, namespace: str, profile: str, replicas: int, cards: int, sizes: list[int]
) -> None:
    cluster.apply(job("exact", namespace, profile, replicas=replicas, cards=cards))
    cluster.wait_phase("exact", namespace, "Running", 60)
    pods = cluster.pods("exact", namespace)
    assert len(pods) == replicas
    for pod in pods:
        assert allocated(cluster, pod) == chosen(pod)
        assert len(chosen(pod)) == cards
        asked = [claim["spec"]["devices"]["requests"][0]["exactly"]["count"] for claim in claims_of(cluster, pod)]
        assert asked == sizes
        resources = pod["spec"]["containers"][0]["resources"]
        assert [claim["name"] for claim in resources["claims"]] == [f"supernode-cards-{n}" for n in range(len(sizes))]
        assert "limits" not in resources
    assert check(read(cluster.bed.kubeconfig)).violations == []
    cluster.kubectl("delete", "tj", "exact", "-n", namespace)
    # The garbage collector looks for kinds it does not know yet every half minute.
    cluster.wait("its claims are gone", lambda: not cluster.every("resourceclaims", namespace), 90)


def test_jobs_that_share_a_node_share_no_device(cluster: Cluster, namespace: str) -> None:
    sizes = {"two": 2, "fourteen": 14}
    for name, cards in sizes.items():
        cluster.apply(job(name, namespace, "racks", replicas=1, cards=cards))
        cluster.wait_phase(name, namespace, "Running")
    [two], [fourteen] = (cluster.pods(name, namespace) for name in sizes)
    assert two["spec"]["nodeName"] == fourteen["spec"]["nodeName"]
    assert allocated(cluster, two) == chosen(two)
    assert allocated(cluster, fourteen) == chosen(fourteen)
    assert allocated(cluster, two) | allocated(cluster, fourteen) == set(range(16))
    assert check(read(cluster.bed.kubeconfig)).violations == []


def test_a_pod_that_comes_again_has_the_same_devices(cluster: Cluster, namespace: str) -> None:
    cluster.apply(job("again", namespace, "racks", replicas=2, cards=16))
    cluster.wait_phase("again", namespace, "Running")
    first, second = cluster.pods("again", namespace)
    claims = [claim["metadata"]["uid"] for claim in claims_of(cluster, first)]
    cluster.kubectl("delete", "pod", "again-0", "-n", namespace, "--wait=false")

    def new() -> Json | None:
        pods = cluster.pods("again", namespace)
        there = len(pods) == 2 and pods[0]["metadata"]["uid"] != first["metadata"]["uid"]
        return pods[0] if there and pods[0]["status"]["phase"] == "Running" else None

    pod = cluster.wait("the pod is there again", new)
    assert [claim["metadata"]["uid"] for claim in claims_of(cluster, pod)] == claims
    assert (pod["spec"]["nodeName"], allocated(cluster, pod)) == (first["spec"]["nodeName"], chosen(first))
    assert cluster.pods("again", namespace)[1]["metadata"]["uid"] == second["metadata"]["uid"]


def taint_in_slice(cluster: Cluster, node: str, card: int | None) -> None:
    """The driver publishes the node anew, with this device tainted."""
    cards = PROFILES["racks"]["spec"]["levels"][0]["fanOut"] * 2
    objects = slices(devices("racks"), node, cards, [] if card is None else [card])

    async def put() -> None:
        async with connect(cluster.bed.kubeconfig) as api:
            await publish(api, objects)

    run(put())


def taint_by_rule(cluster: Cluster, node: str, card: int | None, effect: str = "NoSchedule") -> None:
    """An administrator bars the device."""
    selector = {"driver": "gpu.nvidia.com", "pool": node, "device": f"gpu-{card}"}
    rule = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceTaintRule",
        "metadata": {"name": "bars"},
        "spec": {"deviceSelector": selector, "taint": {**TAINT, "effect": effect}},
    }
    if card is None:
        cluster.kubectl("delete", "devicetaintrule", "bars")
    else:
        cluster.apply(rule)


@pytest.mark.parametrize("taint", [taint_in_slice, taint_by_rule])
def test_a_device_tainted_before_the_pod_is_bound_leads_to_another_place(
    cluster: Cluster, namespace: str, taint: object
) -> None:
    assert callable(taint)
    cluster.bed.stop_program("kube-scheduler")
    try:
        cluster.apply(job("moved", namespace, "racks", replicas=2, cards=16))
        pods = cluster.wait("both pods", lambda: len(p := cluster.pods("moved", namespace)) == 2 and p)
        claimed = {claim["metadata"]["name"] for pod in pods for claim in claims_of(cluster, pod)}
        terms = pods[0]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        node = terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
        taint(cluster, node, 3)
    finally:
        cluster.bed.start_program("kube-scheduler")
    try:
        cluster.wait_phase("moved", namespace, "Running", 60)
        pods = cluster.pods("moved", namespace)
        assert node not in {pod["spec"]["nodeName"] for pod in pods}
        assert all(allocated(cluster, pod) == chosen(pod) for pod in pods)
        assert not claimed & {claim["metadata"]["name"] for pod in pods for claim in claims_of(cluster, pod)}
        events = [event["reason"] for event in cluster.every("events", namespace)]
        assert "CardsFailed" in events
    finally:
        taint(cluster, node, None)


def test_a_group_whose_pods_a_taint_evicts_is_placed_again(cluster: Cluster, namespace: str) -> None:
    cluster.apply(job("evicted", namespace, "racks", replicas=2, cards=16))
    cluster.wait_phase("evicted", namespace, "Running")
    node = cluster.pods("evicted", namespace)[0]["spec"]["nodeName"]
    taint_by_rule(cluster, node, 7, "NoExecute")
    try:

        def elsewhere() -> bool:
            pods = cluster.pods("evicted", namespace)
            running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
            return len(running) == 2 and node not in {pod["spec"]["nodeName"] for pod in pods}

        cluster.wait("it runs elsewhere", elsewhere, 90)
        cluster.wait_phase("evicted", namespace, "Running")
        assert all(allocated(cluster, pod) == chosen(pod) for pod in cluster.pods("evicted", namespace))
    finally:
        taint_by_rule(cluster, node, None)


def test_an_operator_that_starts_anew_leaves_claimed_cards_as_they_are(cluster: Cluster, namespace: str) -> None:
    cluster.apply(job("stays", namespace, "racks", replicas=2, cards=16))
    cluster.wait_phase("stays", namespace, "Running")

    def written() -> list[str]:
        kinds = ("pods", "resourceclaims", "cardgroups", "trainingjobs")
        return [obj["metadata"]["resourceVersion"] for kind in kinds for obj in cluster.every(kind, namespace)]

    def cards() -> list[Json]:
        return [supernode["status"]["cards"] for supernode in cluster.every("supernodes")]

    cluster.operator.stop()
    before, counted = written(), cards()
    cluster.operator.start()
    cluster.wait("it leads", lambda: cluster.operator.leads)
    for _ in range(30):
        assert cards() == counted
        time.sleep(0.1)
    assert written() == before


def foreign(name: str, namespace: str, node: str, count: int) -> list[Json]:
    """A pod of somebody else's with a claim for any devices of a node."""
    request = {"name": "any", "exactly": {"deviceClassName": "gpu.nvidia.com", "count": count}}
    metadata = {"name": name, "namespace": namespace}
    claim = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": metadata,
        "spec": {"devices": {"requests": [request]}},
    }
    container = {"name": "c", "image": "example.invalid/c:1", "resources": {"claims": [{"name": "any"}]}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "resourceClaims": [{"name": "any", "resourceClaimName": name}],
            "containers": [container],
        },
    }
    return [claim, pod]


def test_devices_that_others_have_claimed_are_left_to_them(cluster: Cluster, namespace: str) -> None:
    node = "racks-0-n000"
    cluster.apply(*foreign("theirs", namespace, node, 3))

    def given() -> list[Json] | None:
        claim = cluster.get("resourceclaim", "theirs", namespace) or {}
        found: list[Json] | None = claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results")
        return found

    theirs = {int(result["device"].rpartition("-")[2]) for result in cluster.wait("their devices", given)}

    def counted() -> bool:
        supernode = next(sn for sn in cluster.every("supernodes") if sn["spec"]["profile"] == "racks")
        return bool(supernode["status"]["cards"]["free"] == 384 - 3)

    cluster.wait("they are counted", counted)
    cluster.apply(job("rest", namespace, "racks", replicas=24, cards=13))
    cluster.wait_phase("rest", namespace, "Running", 60)
    pods = cluster.pods("rest", namespace)
    [beside] = [pod for pod in pods if pod["spec"]["nodeName"] == node]
    assert allocated(cluster, beside) == set(range(16)) - theirs
    assert all(allocated(cluster, pod) == chosen(pod) for pod in pods)


def test_a_device_claimed_by_others_before_the_pod_is_bound_leads_to_another_place(
    cluster: Cluster, namespace: str
) -> None:
    cluster.bed.stop_program("kube-scheduler")
    try:
        cluster.apply(job("late", namespace, "racks", replicas=1, cards=2))
        [pod] = cluster.wait("its pod", lambda: cluster.pods("late", namespace))
        terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        node = terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
        # Of higher priority, so that the scheduler takes it first; all devices of the node.
        name = f"first-{uuid.uuid4().hex[:6]}"
        cluster.apply(
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": 1000,
                "preemptionPolicy": "Never",
            }
        )
        claim, greedy = foreign("greedy", namespace, node, 16)
        greedy["spec"]["priorityClassName"] = name
        cluster.apply(claim, greedy)
    finally:
        cluster.bed.start_program("kube-scheduler")
    cluster.wait_phase("late", namespace, "Running", 60)
    [pod] = cluster.pods("late", namespace)
    assert pod["spec"]["nodeName"] != node
    assert allocated(cluster, pod) == chosen(pod)
