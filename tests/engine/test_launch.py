"""What workers find as files and variables, on the real API server: ConfigMaps, Secrets, Events."""

import json
import time

import pytest
from cluster_view import Cluster, Json, condition, training_job

pytestmark = pytest.mark.cluster


def mounted(cluster: Cluster, pod: Json, namespace: str) -> dict[str, str]:
    """The text files a pod finds in its group's directory."""
    [volume] = [v for v in pod["spec"]["volumes"] if v["name"] == "supernode-group"]
    names = [source["configMap"]["name"] for source in volume["projected"]["sources"]]
    maps = [cluster.get("configmap", name, namespace) for name in names]
    assert all(maps), f"a pod mounts {names}, which are not all there"
    return {name: text for each in maps if each for name, text in each.get("data", {}).items()}


def events(cluster: Cluster, namespace: str) -> list[str]:
    return [f"{event['reason']}: {event['message']}" for event in cluster.every("events", namespace)]


def annotate(cluster: Cluster, supernode: str) -> None:
    """Publish device addresses on the nodes of a supernode, as the vendor's device plugin does."""
    for number, node in enumerate(cluster.every("nodes", selector=f"huawei.com/topotree.superpodid={supernode}")):
        devices = {
            f"Ascend910-{card}": {"IP": f"10.0.{number}.{card + 1}", "SuperDeviceID": number << 22 | card}
            for card in range(16)
        }
        text = f"huawei.com/npu.base-device-infos={json.dumps(devices)}"
        cluster.kubectl("annotate", "node", node["metadata"]["name"], "--overwrite", text)


def test_every_worker_finds_where_the_others_are(cluster: Cluster, namespace: str) -> None:
    for supernode in ("0", "1"):
        annotate(cluster, supernode)
    cluster.apply(training_job("tables", namespace, replicas=3, parallelism={"tensor": 16}))
    cluster.wait_phase("tables", namespace, "Running")
    pods = cluster.pods("tables", namespace)
    files = mounted(cluster, pods[0], namespace)
    assert [mounted(cluster, pod, namespace) for pod in pods] == [files] * 3
    document, table = json.loads(files["group.json"]), json.loads(files["ranktable.json"])
    assert document["members"] == 3
    assert [server["host_ip"] for server in table["server_list"]] == [
        next(
            address["address"]
            for address in (cluster.get("node", pod["spec"]["nodeName"]) or {})["status"]["addresses"]
            if address["type"] == "InternalIP"
        )
        for pod in pods
    ]
    assert [len(server["device"]) for server in table["server_list"]] == [16] * 3
    cluster.delete("tj", "tables", namespace=namespace)
    # The garbage collector looks for kinds it does not know yet every half minute.
    gone = lambda: not cluster.every("configmaps", namespace, "supernode.io/job=tables")  # noqa: E731
    cluster.wait("its files are gone", gone, seconds=90)


def test_a_missing_address_and_a_contradiction_are_told(cluster: Cluster, namespace: str) -> None:
    job = training_job("silent", namespace, profile="ascend-a3-384", runtime="pytorch")
    job["spec"]["workers"]["template"]["spec"]["containers"][0]["env"] = [{"name": "MASTER_PORT", "value": "1234"}]
    for node in cluster.every("nodes"):
        cluster.kubectl("annotate", "node", node["metadata"]["name"], "huawei.com/npu.base-device-infos-")
    cluster.apply(job)
    cluster.wait_phase("silent", namespace, "Running")
    told = cluster.wait("both Events", lambda: len(found := events(cluster, namespace)) > 1 and found)
    assert any(text.startswith("RankTableMissing: no rank table: node ") for text in told)
    assert any(text.startswith("EnvironmentOverridden: the template sets MASTER_PORT to other") for text in told)
    assert "ranktable.json" not in mounted(cluster, cluster.pods("silent", namespace)[0], namespace)


def test_mpi_workers_share_a_key_that_outlives_their_pods(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("solver", namespace, runtime="mpi"))
    cluster.wait_phase("solver", namespace, "Running")
    [secret] = [s for s in cluster.every("secrets", namespace) if s["metadata"]["name"].startswith("solver-ssh-")]
    assert set(secret["data"]) == {"id_ed25519", "authorized_keys"}
    first, second = cluster.pods("solver", namespace)
    assert "command" not in first["spec"]["containers"][0]
    assert "sshd" in second["spec"]["containers"][0]["command"][2]
    hosts = mounted(cluster, first, namespace)["hostfile"].splitlines()
    assert hosts == [f"solver-{rank}.solver.{namespace}.svc slots=16" for rank in range(2)]
    cluster.delete("pod", "solver-1", namespace=namespace)
    cluster.wait("it is there again", lambda: len(cluster.pods("solver", namespace)) == 2)
    [same] = [s for s in cluster.every("secrets", namespace) if s["metadata"]["name"].startswith("solver-ssh-")]
    assert same["data"] == secret["data"]


def test_what_is_added_to_a_worker_is_admitted_where_the_worker_is(cluster: Cluster, namespace: str) -> None:
    """By Pod Security at its strictest, and by a quota that wants limits of every container."""
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    quota = {"limits.cpu": "4", "limits.memory": "4Gi"}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "all", "namespace": namespace},
            "spec": {"hard": quota},
        }
    )
    cluster.wait(
        "the quota counts", lambda: (cluster.get("quota", "all", namespace) or {}).get("status", {}).get("hard")
    )
    job = training_job("strict", namespace, runtime="mpi")
    pod = job["spec"]["workers"]["template"]["spec"]
    pod["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    pod["containers"][0] |= {
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"limits": {"cpu": "2", "memory": "2Gi"}},
    }
    cluster.apply(job)
    cluster.wait_phase("strict", namespace, "Running")


def test_the_first_rank_of_mpi_comes_when_the_others_run(cluster: Cluster, namespace: str) -> None:
    """All on one node, where they start one after the other; none is bound before the node is opened."""
    job = training_job("patient", namespace, replicas=4, cards=4, runtime="mpi")
    job["spec"]["workers"]["template"]["spec"]["nodeSelector"] = {"test.supernode.io/open": namespace}
    cluster.apply(job)

    def ranks() -> list[int]:
        return [int(pod["metadata"]["labels"]["supernode.io/rank"]) for pod in cluster.pods("patient", namespace)]

    def open_to(value: str) -> None:
        cluster.kubectl("label", "nodes", "--all", "--overwrite", f"test.supernode.io/open={value}")

    def waits() -> bool:
        message = condition(cluster.job("patient", namespace), "Ready")["message"]
        return "rank 0 comes once the others run" in message and "Unschedulable" in message

    cluster.wait("the others cannot be bound", lambda: ranks() == [1, 2, 3] and waits())
    cluster.wait("its Service", lambda: cluster.get("service", "patient", namespace))
    assert ranks() == [1, 2, 3]
    assert f"{namespace}/patient" in cluster.holders(), "the cards of rank 0 are kept for it"
    open_to(namespace)
    cluster.wait_phase("patient", namespace, "Running")
    assert ranks() == [0, 1, 2, 3]

    open_to("closed")
    cluster.kubectl("delete", "pods", "patient-1", "patient-0", "-n", namespace, "--wait=false")
    cluster.wait("rank 1 cannot be bound", lambda: ranks() == [1, 2, 3] and waits())
    open_to(namespace)
    settled = cluster.wait_phase("patient", namespace, "Running")
    assert ranks() == [0, 1, 2, 3]
    assert settled["status"]["restarts"] == 0
    time.sleep(2)
    assert cluster.job("patient", namespace)["metadata"]["resourceVersion"] == settled["metadata"]["resourceVersion"]
