"""Frameworks start by what the operator renders, and nothing else: their own programs, in real pods on real nodes.

Each job fills both nodes of the rack. Ranks are in placement order when the processes of the world are numbered as the
workers are, and the workers as their nodes.
"""

import json
import re

import pytest
from cluster_view import Json
from programs import JAX, MPI, TORCH, VARIABLES
from real_cluster import RealCluster, real_job

pytestmark = [pytest.mark.cluster, pytest.mark.realnodes]

AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

# One process per worker, though it has eight cards. Debian's PyTorch 1.13 fails in torchrun under Python 3.11 where
# nothing is said about the processes' output (an enumeration has lost its zero).
ONE_EACH = {
    "NPROC_PER_NODE": "1",
    "PET_REDIRECTS": "1",
    "PET_TEE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
}
TORCHRUN = ["torchrun", "--no_python", "python3", "-c", TORCH]


def results(logs: list[str], kind: str) -> list[tuple[int, int, int, float]]:
    """(number in the world, size of the world, worker, result) of every process, as they say it, by number."""
    lines = re.findall(rf"\b{kind} (\d+) of (\d+) on worker (\d+): ([\d.]+)$", "\n".join(logs), re.MULTILINE)
    return sorted((int(number), int(size), int(worker), float(total)) for number, size, worker, total in lines)


def nodes_of(pods: list[Json]) -> list[str]:
    """The node of each pod; a member's affinity allows one only, so it need not be bound yet."""
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = [pod["spec"]["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"] for pod in pods]
    return [name for [term] in terms for name in term["matchFields"][0]["values"]]


def test_open_mpi_starts_over_ssh_on_every_slot(cluster: RealCluster, namespace: str) -> None:
    command = ["mpirun", "python3", "-c", MPI]
    cluster.apply(real_job("solver", namespace, command, replicas=8, cards=4, runtime="mpi", env=AS_ROOT))
    # When rank 0 has ended the operator removes the other workers, whose daemons would run for ever.
    pods = cluster.wait("all its workers", lambda: len(found := cluster.pods("solver", namespace)) == 8 and found)
    logs = cluster.succeeded("solver", namespace, 120)
    total = sum(range(1, 33))
    assert cluster.job("solver", namespace)["status"]["restarts"] == 0, "mpirun found every worker at once"
    assert results(logs[:1], "mpi") == [(number, 32, number // 4, total) for number in range(32)]
    assert nodes_of(pods) == ["rack-0"] * 4 + ["rack-1"] * 4


PASSWD = """root:x:0:0::/root:/bin/sh
solver:x:1000:1000::/tmp:/bin/sh
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
"""


@pytest.mark.parametrize(
    "security",
    [{"runAsUser": 1000, "runAsNonRoot": True}, {"runAsUser": 1000, "fsGroup": 2000}, {"fsGroup": 2000}],
    ids=["a user", "a user with fsGroup", "root with fsGroup"],
)
def test_mpi_needs_no_user_of_its_own_and_tells_every_process_what_its_worker_was_told(
    cluster: RealCluster, namespace: str, security: Json
) -> None:
    """In images that cannot be written to, where only the program's own files have a place."""
    env = {**AS_ROOT, "LD_LIBRARY_PATH": "/opt/of/the/template", "OF_THE_TEMPLATE": 'it\'s "$HOME"\nin two lines'}
    job = real_job(
        "told", namespace, ["mpirun", "python3", "-c", VARIABLES], replicas=3, cards=2, runtime="mpi", env=env
    )
    pod = job["spec"]["workers"]["template"]["spec"]
    pod["securityContext"] = security
    pod["volumes"] = [{"name": "tmp", "emptyDir": {}}, {"name": "users", "configMap": {"name": "users"}}]
    [container] = pod["containers"]
    container["securityContext"] = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}
    container["volumeMounts"] = [
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "users", "mountPath": "/etc/passwd", "subPath": "passwd"},
    ]
    users = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "users", "namespace": namespace}}
    cluster.apply({**users, "data": {"passwd": PASSWD}}, job)
    pods = cluster.wait("all its workers", lambda: len(found := cluster.pods("told", namespace)) == 3 and found)
    logs = cluster.succeeded("told", namespace, 120)
    assert cluster.job("told", namespace)["status"]["restarts"] == 0
    told = [json.loads(line) for line in logs[0].splitlines() if line.startswith("{")]
    assert sorted(each["SUPERNODE_RANK"] for each in told) == ["0", "0", "1", "1", "2", "2"]
    names = ",".join(f"told-{rank}.told.{namespace}.svc" for rank in range(3))
    for each in told:
        worker = pods[int(each["SUPERNODE_RANK"])]["spec"]["containers"][0]["env"]
        given = {entry["name"]: entry.get("value") for entry in worker}
        given |= {"SUPERNODE_HOSTNAMES": names, "OF_THE_MACHINE": names}
        assert each.pop("PATH").endswith("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        assert each.items() <= given.items()
        assert each.keys() >= {"OF_THE_TEMPLATE", "OF_THE_MACHINE", "LD_LIBRARY_PATH", "SUPERNODE_CARDS"}


def test_jax_finds_its_coordinator(cluster: RealCluster, namespace: str) -> None:
    command = ["python3", "-c", JAX]
    cluster.apply(
        real_job("sum", namespace, command, replicas=4, cards=8, runtime="jax", env={"PYTHONPATH": "/opt/jax"})
    )
    logs = cluster.succeeded("sum", namespace, 120)
    assert results(logs, "jax") == [(rank, 4, rank, 10) for rank in range(4)]
    assert nodes_of(cluster.pods("sum", namespace)) == ["rack-0"] * 2 + ["rack-1"] * 2


def test_torchrun_keeps_the_order_of_ranks_when_a_worker_is_lost(cluster: RealCluster, namespace: str) -> None:
    """The loss makes every worker fail, at times of their own; the operator replaces the pods until they meet again."""
    job = real_job(
        "train",
        namespace,
        TORCHRUN,
        replicas=4,
        cards=8,
        runtime="pytorch",
        env={**ONE_EACH, "STEPS": "30"},
    )
    cluster.apply(job)
    lose(cluster, namespace, "train", rank=2)
    logs = cluster.succeeded("train", namespace, 150)
    assert results(logs, "torch") == [(rank, 4, rank, 10) for rank in range(4)]
    assert nodes_of(cluster.pods("train", namespace)) == ["rack-0"] * 2 + ["rack-1"] * 2
    assert cluster.job("train", namespace)["status"]["restarts"] >= 1, "and not more than the default allows"


def test_elastic_torchrun_goes_on_when_a_worker_is_lost(cluster: RealCluster, namespace: str) -> None:
    """The other workers' pods live on: their torchrun waits for the replacement and starts the processes again."""
    elastic = {**ONE_EACH, "STEPS": "30", "PET_RDZV_BACKEND": "c10d", "PET_MAX_RESTARTS": "3"}
    cluster.apply(real_job("elastic", namespace, TORCHRUN, replicas=4, cards=8, runtime="pytorch", env=elastic))
    before = lose(cluster, namespace, "elastic", rank=2)
    logs = cluster.succeeded("elastic", namespace, 150)
    ended = results(logs, "torch")
    assert [(number, size, total) for number, size, _, total in ended] == [(rank, 4, 10) for rank in range(4)]
    assert sorted(worker for _, _, worker, _ in ended) == [0, 1, 2, 3]
    after = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in cluster.pods("elastic", namespace)}
    assert {name for name, uid in before.items() if after[name] != uid} == {"elastic-2"}


def test_names_resolve_before_their_pods_are_ready(cluster: RealCluster, namespace: str) -> None:
    names = " ".join(f"names-{rank}.names.{namespace}.svc" for rank in range(2))
    script = f"for name in {names}; do until getent ahostsv4 $name; do sleep 0.2; done; done"
    job = real_job("names", namespace, ["sh", "-c", script], replicas=2, cards=16)
    [container] = job["spec"]["workers"]["template"]["spec"]["containers"]
    container["readinessProbe"] = {"exec": {"command": ["false"]}}
    cluster.apply(job)
    logs = cluster.succeeded("names", namespace)
    addresses = [pod["status"]["podIP"] for pod in cluster.pods("names", namespace)]
    assert len(set(addresses)) == 2
    assert [[address in log for address in addresses] for log in logs] == [[True, True]] * 2


def lose(cluster: RealCluster, namespace: str, job: str, *, rank: int) -> dict[str, str]:
    """Wait until all workers of a job have reduced something, then kill all processes of one; uids of its pods."""
    working = lambda: all("torch step 3" in log for log in cluster.written(job, namespace))  # noqa: E731
    cluster.wait(f"all workers of {job} are at work", working, 120)
    pods = cluster.pods(job, namespace)
    cluster.real.kill(pods[rank]["metadata"]["uid"])
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}
