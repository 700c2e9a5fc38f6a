"""The commands on a running cluster: the operator's answers, read back."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import small_fleet as small
import yaml
from cli_command import Ran, Run
from small_fleet import Json

from testbed import bed as testbed
from testbed.bed import Bed
from testbed.installation import Operator, apply, install, kubectl, manifests

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
PROFILE = "ascend-a3-384"


@pytest.fixture(scope="module")
def live() -> Iterator[Bed]:
    """Two A3 supernodes of 8 nodes, two of them kept in reserve; the job `waits` wants what the job `runs` has."""
    with testbed.start(fleet=ROOT / "examples" / "fleets" / "small.yaml") as bed:
        operator = Operator(bed, install(bed))
        operator.start()
        apply(bed, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "research"}}])
        runs = small.job("runs", cards=48, profile=PROFILE, parallelism={"tensor": 8, "context": 2, "data": 3})
        waits = small.job("waits", cards=192, profile=PROFILE)
        _until(bed, "sn", lambda found: len(found) == 2)
        apply(bed, [runs])
        _until(bed, "tj", lambda found: _phases(found) == {"runs": "Running"})
        apply(bed, [waits])
        _until(bed, "tj", lambda found: _phases(found).get("waits") == "Pending" and "InsufficientCards" in str(found))
        yield bed
        operator.stop()


def _until(bed: Bed, kind: str, reached: Callable[[list[Json]], bool]) -> None:
    """Wait until the objects of a kind are as wanted."""
    deadline = time.monotonic() + 60
    while not reached(found := yaml.safe_load(kubectl(bed, "get", kind, "-A", "-o", "yaml"))["items"]):
        assert time.monotonic() < deadline, yaml.safe_dump(found)
        time.sleep(0.2)


def _phases(jobs: list[Json]) -> dict[str, str]:
    return {job["metadata"]["name"]: job.get("status", {}).get("phase", "") for job in jobs}


def _kubeconfig(bed: Bed, account: str, *binding: str) -> Path:
    """Of a service account of namespace research that has this binding, and nothing else."""
    kubectl(bed, "create", "serviceaccount", account, "-n", "research")
    kubectl(bed, "create", *binding, f"--serviceaccount=research:{account}")
    token = kubectl(bed, "create", "token", account, "-n", "research").strip()
    config = yaml.safe_load(bed.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    for context in config["contexts"]:
        context["context"]["namespace"] = "research"
    path = bed.folder / f"{account}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def on(run: Run, live: Bed) -> Run:
    """A command on the live cluster, which must succeed."""

    def on(*arguments: object, code: int = 0, stdin: bytes = b"") -> Ran:
        ran = run("--kubeconfig", live.kubeconfig, *arguments, stdin=stdin)
        assert (ran.code, ran.err) == (code, "")
        return ran

    return on


def _words(ran: Ran) -> list[list[str]]:
    return [line.split() for line in ran.out.splitlines()]


def test_jobs_tells_where_jobs_run_and_why_others_wait(on: Run) -> None:
    lines = on("jobs", "-A").out.splitlines()
    runs = next(line for line in lines if " runs " in line)
    assert runs.split()[:5] == ["research", "runs", "Running", "48", f"{PROFILE}-0"]
    assert "1 supernode, 1 rack, 3 nodes" in runs
    waits = next(line for line in lines if " waits " in line)
    assert waits.split()[:4] == ["research", "waits", "Pending", "192"]
    assert "InsufficientCards" in waits
    assert "needs 12 whole nodes" in waits
    assert [line[0] for line in _words(on("jobs", "-n", "research"))] == ["NAME", "runs", "waits"]


def test_jobs_in_an_empty_namespace_says_so(run: Run, live: Bed) -> None:
    ran = run("jobs", "--kubeconfig", live.kubeconfig)
    assert (ran.code, ran.out, ran.err) == (0, "", "no training jobs in namespace default; -A shows all\n")


def test_why_tells_conditions_spans_and_placement(on: Run) -> None:
    words = _words(on("why", "research/runs"))
    assert ["TrainingJob", "research/runs:", "Running"] in words
    assert ["CardGroup", "research/runs:", "Allocated"] in words
    assert ["rack", "1", "1"] in words
    assert [
        "tensor",
        "8",
        "one",
        "node",
        "inside",
        "one",
        "worker,",
        "whose",
        "cards",
        "are",
        "in",
        "one",
        "node",
    ] in words
    assert [f"{PROFILE}-0", "0", "a3-0-n[000-002]", "0-2", "0-15"] in words
    assert on("why", "runs", "-n", "research").out == on("why", "research/runs").out


def test_why_tells_what_a_job_waits_for(on: Run) -> None:
    told = on("why", "research/waits").out
    assert "needs 12 whole nodes" in told
    assert "InsufficientCards: Fewer healthy, free cards are left" in told


def test_why_knows_when_there_is_no_such_thing(run: Run, live: Bed) -> None:
    ran = run("why", "research/none", "--kubeconfig", live.kubeconfig)
    assert (ran.code, ran.out) == (1, "")
    assert "no TrainingJob and no CardGroup none in namespace research" in ran.err


def test_an_engineer_reads_her_own_jobs_and_is_told_what_else_she_may_not(run: Run, live: Bed) -> None:
    """With the role `edit` in her namespace, as docs/install.md has it."""
    kubeconfig = _kubeconfig(live, "engineer", "rolebinding", "edits", "--clusterrole=edit", "-n", "research")
    listed = run("jobs", "--kubeconfig", kubeconfig)
    assert listed.code == 0
    assert [line[0] for line in _words(listed)] == ["NAME", "runs", "waits"]
    assert "in the order of their names: supernodeprofiles.supernode.io is forbidden" in listed.err
    explained = run("why", "runs", "--kubeconfig", kubeconfig)
    assert explained.code == 0
    assert [f"{PROFILE}-0", "a3-0-n[000-002]", "0-2", "0-15"] in _words(explained)
    assert [line.split(":")[0] for line in explained.err.splitlines()] == [
        "levels are told in the order of their names",
        "domains of supernodes written by hand are not told",
        "domains are not told",
    ]
    refused = run("plan", "-f", "-", "--kubeconfig", kubeconfig, stdin=small.text(small.group()).encode())
    assert (refused.code, refused.out) == (1, "")
    assert "is forbidden" in refused.err


def test_a_planner_needs_no_right_but_the_roles_of_the_chart(run: Run, live: Bed) -> None:
    binding = ("clusterrolebinding", "planners", "--clusterrole=supernode-operator-plan")
    kubeconfig = _kubeconfig(live, "planner", *binding)
    reports = ("--role=supernode-operator-card-reports", "--serviceaccount=research:planner", "-n", "kube-system")
    kubectl(live, "create", "rolebinding", "planners", *reports)
    request = small.text(small.group(cards=4)).encode()
    for command, stdin in ((["map"], b""), (["plan", "-f", "-"], request), (["jobs", "-A"], b"")):
        ran = run(*command, "--kubeconfig", kubeconfig, stdin=stdin)
        assert (ran.code, ran.err) == (0, "")


def test_a_server_that_is_away_is_told_at_once(run: Run, live: Bed, tmp_path: Path) -> None:
    config = yaml.safe_load(live.kubeconfig.read_text())
    for cluster in config["clusters"]:
        cluster["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "away").write_text(yaml.safe_dump(config))
    started = time.monotonic()
    ran = run("map", "--kubeconfig", tmp_path / "away")
    assert time.monotonic() - started < 3
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)


def test_map_counts_what_the_operator_counts(on: Run, live: Bed) -> None:
    for supernode in yaml.safe_load(kubectl(live, "get", "sn", "-o", "yaml"))["items"]:
        name, cards = supernode["metadata"]["name"], supernode["status"]["cards"]
        row = next(line for line in _words(on("map")) if line[:1] == [name])
        unhealthy = cards["total"] - cards["healthy"]
        assert [int(n) for n in row[3:7]] == [cards["total"], cards["free"], cards["allocated"], unhealthy]
    assert ["research/runs", "3", "0", "48", "a3-0-n[000-002]"] in _words(on("map", f"{PROFILE}-0"))


def _unhealthy(ran: Ran) -> int:
    row = next(line for line in _words(ran) if line[:1] == [f"{PROFILE}-1"])
    return int(row[6])


def test_cards_that_a_device_plugin_reports_count_as_for_the_operator(on: Run, run: Run, live: Bed) -> None:
    before = _unhealthy(on("map"))
    lists = {"huawei.com/Ascend910-Unhealthy": "Ascend910-3"}
    metadata = {"name": "mindx-dl-deviceinfo-a3-1-n007", "namespace": "kube-system"}
    report = {"metadata": {**metadata, "labels": {"mx-consumer-cim": "true"}}, "apiVersion": "v1", "kind": "ConfigMap"}
    apply(live, [{**report, "data": {"DeviceInfoCfg": json.dumps({"DeviceInfo": {"DeviceList": lists}})}}])
    healthy = 16 * 8 - before - 2  # its package fails with it
    _until(live, "sn", lambda found: any(sn["status"]["cards"]["healthy"] == healthy for sn in found))
    assert _unhealthy(on("map")) == before + 2
    kubectl(live, "delete", "rolebinding", "supernode-operator-card-reports", "-n", "kube-system")
    restricted = run("--kubeconfig", live.folder / "operator.kubeconfig", "map")
    assert restricted.err.startswith("cards that only reports of device plugins call failed count as healthy: ")
    assert (restricted.code, _unhealthy(restricted)) == (0, before)
    apply(live, [obj for obj in manifests("supernode-operator") if obj["kind"] == "RoleBinding"])
    kubectl(live, "delete", "configmap", metadata["name"], "-n", "kube-system")
    _until(live, "sn", lambda found: all(sn["status"]["cards"]["healthy"] != healthy for sn in found))


def test_a_captured_fleet_gives_the_live_answer(on: Run, run: Run, live: Bed, tmp_path: Path) -> None:
    captured = kubectl(
        live, "get", "nodes,supernodeprofiles,supernodes,cardgroups,trainingjobs,pods", "-A", "-o", "yaml"
    )
    (tmp_path / "fleet.yaml").write_text(captured)
    request = small.text(small.job("next", cards=64, profile=PROFILE)).encode()
    replayed = run("plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", stdin=request)
    assert (replayed.code, replayed.err) == (0, "")
    assert replayed.out == on("plan", "-f", "-", stdin=request).out
    assert "a3-0-n[000-002]" not in replayed.out


def test_a_request_without_namespace_is_planned_in_that_of_the_context(on: Run) -> None:
    assert on("plan", "-f", "-", stdin=small.text(small.group(cards=4)).encode()).out.startswith("default/g: fits")


def test_as_a_plug_in_of_kubectl(live: Bed) -> None:
    command = ["kubectl", "supernode", "--kubeconfig", str(live.kubeconfig), "map"]
    environment = dict(os.environ)  # without it the child gets libc's, where the Helm library has set COLUMNS
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, f"{PROFILE}-0" in done.stdout) == (0, True), done


@pytest.mark.parametrize("command", [["map"], ["jobs"], ["why", "x"]])
def test_no_cluster_is_told_in_one_line(run: Run, tmp_path: Path, command: list[str]) -> None:
    ran = run(*command, "--kubeconfig", tmp_path / "none")
    assert ran.code == 1
    assert ran.err.startswith("error: cannot use the kubeconfig")
    assert len(ran.err.splitlines()) == 1


def test_a_cluster_without_the_operator_is_told(run: Run) -> None:
    with testbed.start() as bare:
        ran = run("map", "--kubeconfig", bare.kubeconfig)
    assert ran.code == 1
    assert "install the operator" in ran.err
