"""Beds start, serve, survive what tests do to them, and leave nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import bed as beds
from testbed.bed import Bed
from testbed.build import cached
from testbed.client import connect, run
from testbed.controlplane import START_ORDER
from testbed.errors import ApiError, StartError
from testbed.fleet import Fleet
from testbed.nodes import render
from testbed.paths import PROJECT
from testbed.processes import ProcessId

pytestmark = pytest.mark.cluster
SMALL = PROJECT / "examples" / "fleets" / "small.yaml"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture(scope="module")
def small() -> Iterator[Bed]:
    """A bed of this module's own, because its tests take programs away."""
    with beds.start(fleet=SMALL) as running:
        yield running


def call(bed: Bed, method: str, path: str, body: object = None, **options: str) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with connect(bed.kubeconfig) as api:
            return await api.request(method, path, body, **options)

    return run(ask())


def eventually(met: Callable[[], Any], within: float = 30.0) -> Any:
    deadline = time.monotonic() + within
    while not (found := met()):
        assert time.monotonic() < deadline, "not met in time"
        time.sleep(0.1)
    return found


def pod(name: str, annotations: dict[str, str] | None = None, node: str = "a3-1-n002") -> dict[str, Any]:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {
            "affinity": {"nodeAffinity": required},
            "containers": [{"name": "main", "image": "any"}],
            "restartPolicy": "Never",
        },
    }


def phase(bed: Bed, name: str) -> Any:
    return call(bed, "GET", f"{PODS}/{name}")["status"].get("phase")


def annotate(bed: Bed, node: str, key: str, value: str | None) -> None:
    body = {"metadata": {"annotations": {key: value}}}
    call(bed, "PATCH", f"/api/v1/nodes/{node}", body, content_type="application/merge-patch+json")


def test_pods_run_where_they_are_pinned_until_told_otherwise(small: Bed) -> None:
    call(small, "POST", PODS, pod("runs"))
    call(small, "POST", PODS, pod("succeeds", {"testbed.supernode.io/run-seconds": "0.5"}))
    call(
        small,
        "POST",
        PODS,
        pod("fails", {"testbed.supernode.io/fail-seconds": "1", "testbed.supernode.io/exit-code": "3"}),
    )
    eventually(lambda: phase(small, "succeeds") == "Succeeded")
    eventually(lambda: phase(small, "fails") == "Failed")
    failed = call(small, "GET", f"{PODS}/fails")
    assert failed["spec"]["nodeName"] == "a3-1-n002"
    assert failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert phase(small, "runs") == "Running"
    assert call(small, "GET", f"{PODS}/runs")["status"]["podIP"].startswith("10.")
    call(small, "DELETE", f"{PODS}/runs")
    with pytest.raises(ApiError, match="404"):
        eventually(lambda: not phase(small, "runs"))


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_node_is_lost_and_comes_back(small: Bed, status: str) -> None:
    def seen() -> tuple[str, bool]:
        node = call(small, "GET", "/api/v1/nodes/a3-0-n001")
        ready = {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}["Ready"]
        return ready, any(taint["effect"] == "NoSchedule" for taint in node["spec"].get("taints", ()))

    assert seen() == ("True", False)
    annotate(small, "a3-0-n001", "testbed.supernode.io/ready", status)
    eventually(lambda: seen() == (status, True))
    annotate(small, "a3-0-n001", "testbed.supernode.io/ready", None)
    eventually(lambda: seen() == ("True", False))


def test_rbac_and_service_account_tokens_are_real(small: Bed, tmp_path: Path) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    token = call(small, "POST", f"{accounts}/default/token", {"spec": {"expirationSeconds": 600}})["status"]["token"]
    limited = yaml.safe_load(small.kubeconfig.read_text())
    limited["users"][0]["user"]["token"] = token
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(limited))

    async def list_nodes() -> None:
        async with connect(file) as api:
            await api.request("GET", "/api/v1/nodes")

    with pytest.raises(ApiError, match=r"system:serviceaccount:default:default.* cannot list resource"):
        run(list_nodes())
    events = [json.loads(line) for line in small.audit_log.read_text().splitlines()]
    refused = [
        event for event in events if event["user"]["username"].startswith("system:serviceaccount:default:default")
    ]
    assert [(event["verb"], event["objectRef"]["resource"]) for event in refused] == [("list", "nodes")]
    assert not any(event["user"]["username"] == "testbed-component" for event in events)


def test_garbage_collection_and_namespace_deletion_are_fast(small: Bed) -> None:
    call(small, "POST", "/api/v1/namespaces", {"metadata": {"name": "short"}})
    maps = "/api/v1/namespaces/short/configmaps"
    owner = call(small, "POST", maps, {"metadata": {"name": "owner"}})["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    call(small, "POST", maps, {"metadata": {"name": "owned", "ownerReferences": [reference]}})
    call(small, "DELETE", f"{maps}/owner")
    with pytest.raises(ApiError, match="404"):
        eventually(lambda: not call(small, "GET", f"{maps}/owned"))
    call(small, "DELETE", "/api/v1/namespaces/short")
    with pytest.raises(ApiError, match="404"):
        eventually(lambda: not call(small, "GET", "/api/v1/namespaces/short"))


def test_the_api_server_goes_away_and_comes_back_with_its_data(small: Bed) -> None:
    before = small.pids
    small.stop_apiserver()
    assert "kube-apiserver" not in small.pids
    with pytest.raises(ApiError, match="cannot be reached"):
        call(small, "GET", "/api/v1/nodes")
    small.start_apiserver()
    after = small.pids
    assert len(call(small, "GET", "/api/v1/nodes")["items"]) == 16
    assert before.pop("kube-apiserver") != after.pop("kube-apiserver")
    assert before == after, "only the API server was restarted"
    call(small, "POST", PODS, pod("later"))
    eventually(lambda: phase(small, "later") == "Running")


def test_the_database_goes_away_and_comes_back(small: Bed) -> None:
    small.stop_etcd()
    with pytest.raises(ApiError):
        call(small, "GET", "/readyz")
    small.start_etcd()

    def answers() -> bool:
        try:
            return len(call(small, "GET", "/api/v1/nodes?limit=100")["items"]) == 16
        except ApiError:
            return False

    eventually(answers)


def test_a_fleet_is_applied_again_with_what_changed(small: Bed) -> None:
    fleet = yaml.safe_load(SMALL.read_text())
    fleet["pools"][0]["irregular"] = [{"supernodes": [0], "cordoned": [3], "unhealthyCards": {4: [5]}, "notReady": [6]}]
    assert small.apply(Fleet.parse(fleet)) == 16
    assert call(small, "GET", "/api/v1/nodes/a3-0-n003")["spec"]["unschedulable"] is True
    node = call(small, "GET", "/api/v1/nodes/a3-0-n004")
    assert node["metadata"]["annotations"]["supernode.io/unhealthy-cards"] == "5"
    assert node["status"]["allocatable"]["huawei.com/Ascend910"] == "15"
    assert small.apply(SMALL) == 16
    node = call(small, "GET", "/api/v1/nodes/a3-0-n004")
    assert "supernode.io/unhealthy-cards" not in node["metadata"]["annotations"]
    assert node["status"]["allocatable"]["huawei.com/Ascend910"] == "16"
    assert "unschedulable" not in call(small, "GET", "/api/v1/nodes/a3-0-n003")["spec"]


def test_what_a_fleet_no_longer_says_of_its_nodes_goes(small: Bed) -> None:
    fleet = yaml.safe_load(SMALL.read_text())
    fleet["pools"][0] |= {"labels": {"zone": "a"}, "capacity": {"cpu": "8", "pods": "110", "example.com/nic": "2"}}
    small.apply(Fleet.parse(fleet))
    before = call(small, "GET", "/api/v1/nodes/a3-0-n005")
    assert (before["metadata"]["labels"]["zone"], before["status"]["capacity"]["example.com/nic"]) == ("a", "2")
    small.apply(SMALL)
    node = call(small, "GET", "/api/v1/nodes/a3-0-n005")
    described = next(n for n in render(Fleet.load(SMALL)) if n["metadata"]["name"] == "a3-0-n005")
    assert node["metadata"]["labels"] == described["metadata"]["labels"]
    assert node["status"]["capacity"] == described["status"]["capacity"]
    assert node["status"]["allocatable"] == described["status"]["allocatable"]


@pytest.mark.parametrize(
    ("program", "file"),
    [("kube-apiserver", "audit-policy.yaml"), ("kube-scheduler", "scheduler.yaml"), ("kwok", "kwok.yaml")],
)
def test_a_program_that_cannot_start_shows_its_log(small: Bed, program: str, file: str) -> None:
    config = small.folder / file
    good = config.read_text()
    small.stop_program(program)
    config.write_text("kind: Nonsense")
    try:
        expected = rf"{program} of bed {small.name} ended with code [1-9](.|\n)*end of its log"
        with pytest.raises(StartError, match=expected):
            small.start_program(program)
    finally:
        config.write_text(good)
        small.start_program(program)
    assert set(small.pids) == set(START_ORDER)


# From here on the command line, in a cache folder of its own.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with the binaries and nothing else, and a space in its name."""
    built = cached()
    root = tmp_path / "a cache" / "supernode-operator"
    root.mkdir(parents=True)
    (root / built.name).symlink_to(built)
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent))
    return root


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "testbed", *arguments]
    return subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)


def mentions(home: Path) -> list[str]:
    """The command lines of all processes on this machine that have to do with this cache folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(home) in line:
            found.append(line)
    return found


def assert_nothing_is_left(home: Path) -> None:
    assert mentions(home) == []
    assert [path.name for path in (home / "beds").iterdir()] == [".lock"]


def test_two_beds_side_by_side_from_up_to_down(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "here" / "kubeconfig"
    first = command("up", "--name", "one", "--fleet", str(SMALL), "--kubeconfig-out", str(out))
    assert first.returncode == 0, first.stderr
    assert f"export KUBECONFIG={out}" in first.stdout
    assert "16 nodes as described" in first.stderr
    pids = beds.find_bed("one").pids
    assert set(pids) == set(START_ORDER)
    assert command("up", "--name", "two").returncode == 0
    again = command("up", "--name", "one", "--fleet", str(SMALL))
    assert again.returncode == 0
    assert beds.find_bed("one").pids == pids, "up is idempotent"
    assert len(call(beds.find_bed("one"), "GET", "/api/v1/nodes")["items"]) == 16
    assert call(beds.find_bed("two"), "GET", "/api/v1/nodes")["items"] == []
    using = command("up", "--fleet", str(SMALL), "--kubeconfig", str(beds.find_bed("two").kubeconfig))
    assert "nothing was started" in using.stdout
    assert len(call(beds.find_bed("two"), "GET", "/api/v1/nodes")["items"]) == 16
    status = command("status").stdout
    assert str(pids["etcd"]) in status
    assert "DOWN" not in status
    env = command("env", "--name", "one").stdout
    shell = subprocess.run(["sh", "-c", 'eval "$0"; printf %s "$KUBECONFIG"', env], capture_output=True, text=True)
    assert shell.stdout == str(beds.find_bed("one").kubeconfig)
    audited = command("up", "--name", "one", "--audit")
    assert audited.returncode == 1
    assert "bed one runs already, without --audit; stop it first" in audited.stderr
    assert command("down", "--name", "one").stdout == "bed one stopped\n"
    assert "two" in command("status").stdout
    assert command("down", "--all").stdout == "bed two stopped\n"
    assert_nothing_is_left(home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing(home: Path, number: signal.Signals) -> None:
    fleet = PROJECT / "examples" / "fleets" / "fleet-100k.yaml"
    argv = [sys.executable, "-m", "testbed", "up", "--fleet", str(fleet)]
    with subprocess.Popen(argv, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        line = process.stderr.readline()
        assert "control plane of bed default ready" in line
        assert len(mentions(home)) == len(START_ORDER)
        time.sleep(0.5)
        process.send_signal(number)
        assert "has been undone" in process.stderr.read()
    assert process.returncode == 130
    assert_nothing_is_left(home)


def test_a_bed_whose_owner_was_killed_is_swept(home: Path) -> None:
    code = "import os, signal; from testbed import bed; bed.start('orphan'); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, timeout=120, check=False, capture_output=True)
    assert len(mentions(home)) == len(START_ORDER)
    beds.sweep(lambda _: None)
    assert_nothing_is_left(home)


def test_down_leaves_the_beds_of_running_programs_to_them(home: Path) -> None:
    with beds.start("tests") as running:
        answer = command("down", "--all")
        assert answer.stdout == f"bed tests is left to process {os.getpid()}, with which it ends\n"
        assert set(running.pids) == set(START_ORDER)
        assert command("down", "--name", "tests").stdout == "bed tests stopped\n"
    assert_nothing_is_left(home)


def test_a_damaged_bed_is_named_and_does_not_disturb_the_others(home: Path) -> None:
    state = home / "beds" / "odd" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    assert f"{state} is damaged" in command("status").stderr
    answer = command("down", "--name", "odd")
    assert answer.returncode == 1
    assert f"remove {state.parent}" in answer.stderr
    with beds.start("whole") as whole:
        assert [bed.name for bed in beds.beds()] == [whole.name]


def test_down_spares_a_process_that_took_over_a_pid(home: Path) -> None:
    bed = beds.start("reused")
    recorded = bed.processes.pop("kwok")
    bystander = ProcessId.of(os.getpid())
    bed.processes["kwok"] = ProcessId(bystander.pid, bystander.started - 1)
    bed.stop()  # had it not looked at the start time, this test would have ended itself
    assert bystander.alive()
    bed.processes["kwok"] = recorded
    bed.stop()
    assert_nothing_is_left(home)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("down", "--name", "nobody"), "there is no bed 'nobody' (beds: none)"),
        (("up", "--name", "No_Name"), "is no name for a bed"),
        (("up", "--fleet", "nowhere.yaml"), "the fleet nowhere.yaml cannot be read"),
        (("up", "--fleet", str(SMALL), "--kubeconfig", "/nowhere"), "/nowhere is no usable kubeconfig"),
    ],
)
def test_a_users_mistake_is_one_message(home: Path, arguments: tuple[str, ...], words: str) -> None:
    answer = command(*arguments)
    assert answer.returncode == 1
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
    assert mentions(home) == []
