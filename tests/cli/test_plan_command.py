"""`plan`: what it reads, what it answers, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_fleet as small
import yaml
from cli_command import Ran, Run
from small_fleet import Json

ROOT = Path(__file__).parents[2]
Plan = Callable[..., tuple[int, list[Json]]]


@pytest.fixture
def plan(run: Run, tmp_path: Path) -> Plan:
    """The exit status and the results of planning requests on a fleet."""

    def plan(requests: list[Json], fleet: list[Json], *options: str) -> tuple[int, list[Json]]:
        (tmp_path / "requests.yaml").write_text(small.text(*requests))
        (tmp_path / "fleet.yaml").write_text(small.text(*fleet))
        ran = run("plan", "-f", tmp_path / "requests.yaml", "--fleet", tmp_path / "fleet.yaml", "-o", "json", *options)
        assert ran.out, ran.err
        return ran.code, json.loads(ran.out)["results"]

    return plan


def seats(result: Json) -> list[tuple[str, list[int]]]:
    return [(member["node"], member["cards"]) for member in result["members"]]


FLEET = [small.profile(), *small.nodes("a")]


def test_a_result_has_exactly_the_documented_form(plan: Plan) -> None:
    code, [result] = plan([small.group(members=2, cards=2)], FLEET)
    assert code == 0
    seconds = result.pop("decisionSeconds")
    assert 0 < seconds < 10
    domains = {"node": "a-n0", "rack": "a/0", "supernode": "a"}
    assert result == {
        "name": "default/g",
        "feasible": True,
        "members": [
            {"rank": 0, "node": "a-n0", "cards": [0, 1], "domains": domains},
            {"rank": 1, "node": "a-n0", "cards": [2, 3], "domains": domains},
        ],
        "spares": [],
        "spans": {"supernode": 1, "rack": 1, "node": 1},
        "minimal": {"supernode": 1, "rack": 1, "node": 1},
        "proven": True,
        "estimate": None,
        "reason": None,
        "message": None,
        "change": [],
    }
    assert list(result["spans"]) == ["supernode", "rack", "node"], "outermost first"


def test_spares_are_listed_besides_and_taken_from_later_requests(plan: Plan) -> None:
    spare = small.group("one", 1, topology={"spares": {"members": 1, "within": "rack"}})
    code, [first, second] = plan([spare, small.group("two", 3)], FLEET)
    assert (code, seats(first)) == (3, [("a-n0", [0, 1, 2, 3])])
    domains = {"node": "a-n1", "rack": "a/0", "supernode": "a"}
    assert first["spares"] == [{"node": "a-n1", "cards": [0, 1, 2, 3], "domains": domains}]
    assert second["reason"] == "InsufficientCards"


def test_a_refusal_has_the_reason_and_numbers(plan: Plan) -> None:
    code, [result] = plan([small.group(members=5)], FLEET)
    assert code == 3
    assert (result["feasible"], result["members"], result["spans"]) == (False, [], {})
    assert result["reason"] == "NeverFits"
    assert "5" in result["message"]
    assert "4" in result["message"]


def test_requests_see_what_earlier_ones_took_unless_independent(plan: Plan) -> None:
    requests = [small.group("one", 3), small.group("two", 2)]
    code, results = plan(requests, FLEET)
    assert (code, [r["feasible"] for r in results]) == (3, [True, False])
    assert results[1]["reason"] == "InsufficientCards"
    code, results = plan(requests, FLEET, "--independent")
    assert (code, [r["feasible"] for r in results]) == (0, [True, True])


def test_a_job_is_turned_into_its_group_as_in_a_cluster(plan: Plan) -> None:
    code, [result] = plan([small.job(cards=8, parallelism={"tensor": 8})], FLEET)
    assert code == 0
    assert result["name"] == "research/j"
    assert [len(cards) for _, cards in seats(result)] == [4, 4]
    assert result["spans"]["rack"] == 1, "eight cards of one tensor-parallel group share a rack"


def asking(resource: str, **spec: Any) -> Json:
    """A job of four cards whose template names a resource."""
    job = small.job(cards=4, **spec)
    job["spec"]["workers"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {resource: 4}}
    return job


def test_a_job_goes_where_the_cards_are_that_its_template_names(plan: Plan) -> None:
    other = small.node("b-n0", "b")
    other["status"] |= {key: {"other.com/card": "4"} for key in ("capacity", "allocatable")}
    profiles = [small.profile(), small.profile("other", card={"resource": "other.com/card"})]
    fleet = [*profiles, *small.nodes("a"), other]
    code, results = plan([asking(small.RESOURCE), asking("other.com/card")], fleet)
    assert (code, [seats(result)[0][0] for result in results]) == (0, ["a-n0", "b-n0"])
    code, [absent] = plan([asking("other.com/card")], [*profiles, *small.nodes("a")])
    assert (code, absent["reason"]) == (3, "NoNodes")
    assert "no supernode of a profile of other.com/card (other) has a node" in absent["message"]
    code, [contrary] = plan([asking("other.com/card", profile="box")], fleet)
    assert (code, contrary["reason"]) == (3, "InvalidSpec")
    assert "names other.com/card, but the cards of profile box are example.com/card" in contrary["message"]


@pytest.mark.parametrize(
    ("request_", "reason", "part"),
    [
        (small.job(cards=6), "AmbiguousWorker", "ask for 4 or 8"),
        (small.job(cards=4, profile="nope"), "UnknownProfile", "nope"),
        (small.job(cards=4, precision="fp4"), "PrecisionUnavailable", "fp4"),
        (small.group(profile="nope"), "UnknownProfile", "box"),
        (small.group(resource="nope.com/card"), "UnknownProfile", "example.com/card"),
        (small.group(precision="fp4"), "PrecisionUnavailable", "bf16"),
        (small.group(topology={"required": "row"}), "UnknownLevel", "rack"),
        (small.job(cards=12, topology={"blocks": [{"level": "rack", "members": 2}]}), "InvalidSpec", "divide"),
    ],
)
def test_what_a_cluster_would_stall_is_no_bad_input(plan: Plan, request_: Json, reason: str, part: str) -> None:
    code, [result] = plan([request_], FLEET)
    assert (code, result["reason"]) == (3, reason)
    assert part in result["message"]


def test_a_name_that_the_api_server_is_to_make_up_stands_in_the_answer(plan: Plan) -> None:
    group, job = small.group(), small.job(cards=4)
    for body in (group, job):
        del body["metadata"]["name"]
        body["metadata"]["generateName"] = "try-"
    code, results = plan([group, job], FLEET)
    assert (code, [result["name"] for result in results]) == (0, ["default/try-xxxxx", "research/try-xxxxx"])


@pytest.mark.parametrize("option", ["-n", "--namespace"])
def test_requests_that_name_no_namespace_are_in_the_one_of_the_command_line(plan: Plan, option: str) -> None:
    _, results = plan([small.group(), small.job(cards=4)], FLEET, option, "team-a")
    assert [result["name"] for result in results] == ["team-a/g", "research/j"]


def test_a_namespace_is_a_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(small.text(small.group()))
    ran = run("plan", "-f", tmp_path / "r.yaml", "-n", "../x")
    assert (ran.code, ran.err) == (1, "error: --namespace: '../x' is no name; correct it\n")


def test_a_name_that_the_operator_may_add_to_a_pod_does_not_fit(plan: Plan) -> None:
    job = small.job(cards=4)
    job["spec"]["workers"]["template"]["spec"]["volumes"] = [{"name": "supernode-group", "emptyDir": {}}]
    code, [result] = plan([job], FLEET)
    assert (code, result["reason"]) == (3, "InvalidSpec")
    assert "volumes[0].name: 'supernode-group' begins with supernode-" in result["message"]


def test_a_preferred_level_is_taken_when_free_and_given_up_when_not(plan: Plan) -> None:
    request = small.group(members=2, topology={"preferred": {"level": "rack", "wait": "10m"}})
    assert plan([request], FLEET)[1][0]["spans"]["rack"] == 1
    busy = [small.profile(), *small.nodes("a"), small.pod("p", "a-n0", 4), small.pod("q", "a-n2", 4)]
    code, [result] = plan([request], busy)
    assert (code, result["spans"]["rack"]) == (0, 2)


def test_a_preferred_level_leaves_the_spares_where_they_belong(plan: Plan) -> None:
    fleet = [small.profile(), *small.nodes("a"), small.pod("p", "a-n1", 4)]
    spares = [{"members": 1}, {"members": 1, "within": "supernode"}, {"members": 1, "within": "rack"}]
    topologies = [{"preferred": {"level": "rack"}, "spares": one} for one in spares]
    results = [plan([small.group(members=1, topology=topology)], fleet)[1][0] for topology in topologies]
    assert [seats(result)[0][0] for result in results] == ["a-n0", "a-n0", "a-n2"]


# What the fleet may be made of.


def test_cards_in_ledgers_are_taken(plan: Plan) -> None:
    entries = [small.held("research/x", "a-n[0-2]", "0-3", ranks="0-2")]
    fleet = [*FLEET, small.supernode(ledger=entries)]
    assert seats(plan([small.group()], fleet)[1][0]) == [("a-n3", [0, 1, 2, 3])]


def test_pods_take_cards_once(plan: Plan) -> None:
    entries = [small.held("research/x", "a-n0", "0-3")]
    member = small.pod("x-0", "a-n0", 4, **{"supernode.io/group": "x", "supernode.io/rank": "0"})
    fleet = [*FLEET, small.supernode(ledger=entries), member, small.pod("foreign", "a-n1", 2)]
    code, [result] = plan([small.group(members=5, cards=2)], fleet)
    assert code == 0
    assert ("a-n0", [0, 1]) not in seats(result)
    assert seats(result)[0] == ("a-n1", [2, 3])


def test_pods_of_a_group_beyond_its_seats_take_theirs_too(plan: Plan) -> None:
    label = {"supernode.io/group": "x"}
    pods = [
        small.pod("x-0", "a-n0", 4, **label),
        small.pod("x-1", "a-n0", 2, **label),
        small.pod("x-2", "a-n1", 4, **label),
    ]
    fleet = [*FLEET, small.supernode(ledger=[small.held("research/x", "a-n0", "0-1")]), *pods]
    code, [result] = plan([small.group(members=4, cards=2)], fleet)
    assert code == 0
    assert {node for node, _ in seats(result)} == {"a-n2", "a-n3"}


def test_finished_pods_hold_nothing(plan: Plan) -> None:
    pods = [small.pod(f"p{i}", f"a-n{i}", 4) | {"status": {"phase": "Succeeded"}} for i in range(4)]
    assert plan([small.group(members=4)], [*FLEET, *pods])[0] == 0


@pytest.mark.parametrize(
    ("spec", "tolerations", "free"),
    [
        (small.taints("example.com/card=present:NoSchedule"), [], True),
        (small.taints("example.com/card=present:NoExecute"), [], False),
        (small.taints("gpu=team-a:NoSchedule"), [], False),
        (small.taints("gpu=team-a:NoSchedule"), [{"key": "gpu", "value": "team-a", "effect": "NoSchedule"}], True),
        (small.taints("gpu=team-a:NoSchedule"), [{"key": "gpu", "value": "team-b"}], False),
        (small.taints("node.kubernetes.io/disk-pressure=:NoSchedule"), [{"operator": "Exists"}], False),
        ({"unschedulable": True}, [{"operator": "Exists"}], False),
    ],
)
def test_tainted_nodes_give_cards_where_the_profile_tolerates_it(
    plan: Plan, spec: Json, tolerations: list[Json], free: bool
) -> None:
    nodes = [node | {"spec": spec} for node in small.nodes("a")]
    code, [result] = plan([small.group()], [small.profile(tolerations=tolerations), *nodes])
    assert (code == 0) == free
    if not free and "gpu=team-a" in json.dumps(result):
        assert "4 are tainted gpu=team-a:NoSchedule" in result["message"]
        assert "add gpu=team-a:NoSchedule to tolerations of profile box" in result["message"]


def test_tolerations_of_a_jobs_own_open_no_node(plan: Plan) -> None:
    job = small.job(cards=4)
    job["spec"]["workers"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]
    nodes = [node | {"spec": small.taints("gpu=team-a:NoSchedule")} for node in small.nodes("a")]
    code, [result] = plan([job], [small.profile(), *nodes])
    assert (code, result["reason"]) == (3, "InsufficientCards")


def test_an_impossible_pod_holds_no_more_than_its_node(plan: Plan) -> None:
    fleet = [*FLEET, small.pod("huge", "a-n0", 10**17)]
    assert plan([small.group(members=3)], fleet)[0] == 0
    assert plan([small.group(members=4)], fleet)[0] == 3


def _device_info(node: str, **lists: str) -> Json:
    devices = {f"{small.RESOURCE}-{key}": value for key, value in lists.items()}
    info = {"DeviceInfo": {"DeviceList": devices, "UpdateTime": 1744182144}, "SuperPodID": -2, "CheckCode": "a5"}
    name = f"mindx-dl-deviceinfo-{node}"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "kube-system"},
        "data": {"DeviceInfoCfg": json.dumps(info)},
    }


def test_cards_are_unhealthy_that_device_plugins_report(plan: Plan) -> None:
    report = _device_info("a-n0", Unhealthy="Ascend910-0,Ascend910-1", NetworkUnhealthy="Ascend910-2", Recovering="")
    profile = small.profile(health={"reports": "mindcluster"})
    code, [result] = plan([small.group(cards=1)], [profile, small.node("a-n0"), report])
    assert (code, seats(result)) == (0, [("a-n0", [3])])
    assert plan([small.group(cards=4)], [profile, small.node("a-n0"), report])[0] == 3
    assert plan([small.group(cards=4)], [small.profile(), small.node("a-n0"), report])[0] == 0, "as the operator has it"


@pytest.mark.parametrize(
    ("captured", "reports", "reported", "told"),
    [
        (True, "mindcluster", False, 1),
        (True, "mindcluster", True, 0),
        (True, None, False, 0),
        (False, "mindcluster", False, 0),
    ],
)
def test_the_want_of_reports_in_a_captured_fleet_is_told(
    run: Run, tmp_path: Path, captured: bool, reports: str | None, reported: bool, told: int
) -> None:
    node = small.node("a-n0")
    node["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z"} if captured else {}
    report = [_device_info("a-n0", Unhealthy="Ascend910-0")] if reported else []
    profile = small.profile(health={"reports": reports} if reports else {})
    (tmp_path / "fleet.yaml").write_text(small.text(profile, node, *report))
    ran = run("map", "--fleet", tmp_path / "fleet.yaml")
    assert (ran.code, len(ran.err.splitlines()), ran.err.count("only reports of device plugins")) == (0, told, told)


def test_devices_of_a_driver_are_cards(plan: Plan) -> None:
    """One is tainted by the driver, one barred by hand, one claimed by others; what a group has is counted once."""
    bare = [{**node, "status": {}} for node in small.nodes("a", 2)]
    objects = [
        small.published("a-n0", 4, 0),
        small.published("a-n1"),
        small.barred("a-n0", 1),
        small.claimed("theirs", "a-n1", 0),
        small.claimed("x-0", "a-n1", 1, **{"supernode.io/group": "x"}),
        small.supernode(ledger=[small.held("research/x", "a-n1", "1")]),
    ]
    fleet = [small.profile(**small.BY_CLAIMS), *bare, *objects]
    code, results = plan([small.group(cards=2), small.group("h", cards=2), small.group("i", cards=1)], fleet)
    assert code == 3
    assert [seats(result) for result in results[:2]] == [[("a-n1", [2, 3])], [("a-n0", [2, 3])]]
    assert seats(results[2]) == []


def test_supernodes_are_discovered_or_as_given(plan: Plan) -> None:
    two = [small.profile(), *small.nodes("a"), *small.nodes("b")]
    request = small.group(members=5)
    assert plan([request], two)[1][0]["spans"]["supernode"] == 2
    cordoned = [*two, small.supernode("a", cordoned=True)]
    assert plan([request], cordoned)[0] == 3
    reserve = [small.profile(), *small.nodes("a"), small.supernode("a", reserve=2)]
    assert plan([small.group(members=3)], reserve)[0] == 3
    assert plan([small.group(members=2)], reserve)[0] == 0


def test_a_profile_changed_in_use_gives_no_new_cards(plan: Plan) -> None:
    changed = small.supernode(ledger=[small.held("research/x", "a-n0", "0-3")])
    changed["status"]["shape"] = "another"
    assert plan([small.group()], [*FLEET, changed])[0] == 3


def test_hand_written_nodes_need_no_kubelet(plan: Plan) -> None:
    bare = small.node("a-n0")
    bare["status"] = {"capacity": {small.RESOURCE: 4}}
    assert plan([small.group()], [small.profile(), bare])[0] == 0
    bare["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    assert plan([small.group()], [small.profile(), bare])[0] == 3


# Where input comes from.


def test_lists_folders_json_and_several_paths(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    folder.mkdir()
    (folder / "nodes.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": small.nodes("a", 2)}))
    bare = [{k: v for k, v in n.items() if k not in ("kind", "apiVersion")} for n in small.nodes("a")[2:]]
    (folder / "more.yml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "NodeList", "items": bare}))
    (folder / "notes.txt").write_text("not a manifest")
    (tmp_path / "profile.yaml").write_text("---\n# nothing here\n---\n" + small.text(small.profile()))
    requests = small.text(small.group(members=4)).encode()
    for paths in (
        ["--fleet", folder, "--fleet", tmp_path / "profile.yaml"],
        ["--fleet", folder, tmp_path / "profile.yaml"],
    ):
        assert run("plan", "-f", "-", *paths, stdin=requests).code == 0


@pytest.mark.parametrize("between", ["\n", "", "\n\n  ", "\n---\n"])
def test_json_documents_may_follow_each_other(run: Run, tmp_path: Path, between: str) -> None:
    (tmp_path / "fleet.json").write_text(between.join(map(json.dumps, FLEET)))
    requests = between.join(json.dumps(small.group(name)) for name in "abc").encode()
    ran = run("plan", "-f", "-", "--fleet", tmp_path / "fleet.json", "-o", "json", stdin=requests)
    assert [result["name"] for result in json.loads(ran.out)["results"]] == ["default/a", "default/b", "default/c"]


def test_the_json_document_that_is_broken_is_named(run: Run) -> None:
    text = json.dumps(small.group())
    ran = run("plan", "-f", "-", stdin=f"{text}\n{text}\n{text[:-9]}".encode())
    assert ran.code == 1
    assert ran.err.startswith("error: standard input, document 3: is not readable as JSON: ")


def test_slices_of_an_earlier_api_are_told(run: Run, tmp_path: Path) -> None:
    old = [small.published(node) | {"apiVersion": "resource.k8s.io/v1beta1"} for node in ("a-n0", "a-n1")]
    fleet = [small.profile(**small.BY_CLAIMS), *small.nodes("a", 2)]
    (tmp_path / "f.yaml").write_text(small.text(*fleet, *old))
    ran = run("map", "--fleet", tmp_path / "f.yaml")
    says = "passed over, 2 ResourceSlice of resource.k8s.io/v1beta1: capture them as resourceslices.v1.resource.k8s.io"
    assert (ran.code, ran.err.splitlines()) == (0, [says])


def test_what_is_no_part_of_it_is_passed_over_in_one_line(run: Run, tmp_path: Path) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    other = {"apiVersion": "kubeflow.org/v1", "kind": "TrainingJob", "metadata": {"name": "other"}}
    root = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}}
    (tmp_path / "r.yaml").write_text(small.text(service, small.group(), other))
    (tmp_path / "f.yaml").write_text(small.text(*FLEET, service, service, root, small.job()))
    ran = run("plan", "-f", tmp_path / "r.yaml", "--fleet", tmp_path / "f.yaml", "-o", "json")
    assert ran.code == 0
    assert len(json.loads(ran.out)["results"]) == 1
    assert ran.err.splitlines() == [
        "passed over, no request: 1 Service, 1 TrainingJob",
        "passed over, no part of a fleet: 1 ConfigMap, 2 Service, 1 TrainingJob",
    ]


# How the answer looks.


def _example(run: Run, *options: str) -> Ran:
    fleet = ("--fleet", ROOT / "examples" / "plan" / "fleet.yaml")
    profile = ("--fleet", ROOT / "examples" / "profiles" / "ascend-a3-384.yaml")
    return run("plan", "-f", ROOT / "examples" / "plan" / "requests.yaml", *fleet, *profile, *options)


def test_the_table_of_the_documentation(run: Run) -> None:
    ran = _example(run)
    assert ran.code == 3
    lines = [line.rstrip() for line in ran.out.splitlines()]
    page = (ROOT / "docs" / "cli.md").read_text()
    assert "\n".join(lines) in page
    assert "\x1b" not in ran.out, "no colour where no person looks"


def test_the_ranks_of_each_domain_with_blocks_are_told(run: Run, tmp_path: Path) -> None:
    fleet, request = tmp_path / "fleet.json", tmp_path / "request.yaml"
    fleet.write_text(small.text(small.profile(), *small.nodes("a"), *small.nodes("b")))
    blocks = [{"level": "node", "members": 2}, {"level": "supernode", "members": 4}]
    request.write_text(small.text(small.group("g", 12, 2, topology={"blocks": blocks})))
    ran = run("plan", "-f", request, "--fleet", fleet)
    assert ran.code == 0, ran.err
    lines = [line.strip() for line in ran.out.splitlines() if "each in one" in line]
    assert lines[0].startswith("6 blocks of 2 members, each in one node: ranks 0-1 in a-n0, 2-3 in a-n1, ")
    assert lines[1].startswith("3 blocks of 4 members, each in one supernode: ranks 0-3 in a, 4-11 in b")


def torus_fleet() -> list[Json]:
    """A torus of 2x4 nodes of 4 cards (2x2), one of them taken."""
    levels = [
        {"name": "node", "fanOut": 4, "fabric": "torus", "dims": [2, 2]},
        {"name": "supernode", "fanOut": 8, "fabric": "torus", "dims": [2, 4], "nodeLabel": "example.com/supernode"},
    ]
    levels[1]["positionLabel"] = "example.com/xy"
    nodes = [small.node(f"t{place}") for place in range(8)]
    for place, obj in enumerate(nodes):
        obj["metadata"]["labels"]["example.com/xy"] = f"{place // 4}-{place % 4}"
    nodes[0]["spec"] = {"unschedulable": True}
    return [small.profile("torus", levels=levels), *nodes]


def test_shapes_are_told(run: Run, tmp_path: Path) -> None:
    boxed = small.group(members=4, cards=4) | {"metadata": {"name": "boxed"}}
    boxed["spec"]["topology"] = {"shape": [4, 4]}
    illegal = small.group(members=5, cards=4) | {"metadata": {"name": "illegal"}}
    (tmp_path / "requests.yaml").write_text(small.text(boxed, illegal))
    (tmp_path / "fleet.yaml").write_text(small.text(*torus_fleet()))
    ran = run("plan", "-f", tmp_path / "requests.yaml", "--fleet", tmp_path / "fleet.yaml")
    assert ran.code == 3
    assert "touches 1 supernode, 4 nodes; no placement touches fewer" in ran.out
    assert "takes a box of 4x4 cards of supernode a, from position 0-1" in ran.out
    assert "default/illegal: does not fit: IllegalShape" in ran.out
    assert "4x4 (16 cards)" in " ".join(ran.out.split())


def test_nodes_with_one_position_stand_outside(plan: Plan) -> None:
    fleet = torus_fleet()
    fleet[2]["metadata"]["labels"]["example.com/xy"] = "0-2"
    code, [result] = plan([small.group(members=8, cards=4)], fleet)
    assert (code, result["reason"]) == (3, "NeverFits")
    code, [result] = plan([small.group(members=4, cards=4)], fleet)
    assert {member["node"] for member in result["members"]} == {"t4", "t5", "t6", "t7"}


def test_yaml_and_json_say_the_same(run: Run) -> None:
    as_json = json.loads(_example(run, "-o", "json").out)
    as_yaml = yaml.safe_load(_example(run, "-o", "yaml").out)
    for result in (*as_json["results"], *as_yaml["results"]):
        del result["decisionSeconds"]
    assert as_yaml == as_json


def test_a_table_keeps_to_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, _example(run).out.splitlines())) <= 60


# What is refused.


def _broken(obj: Json, path: str, value: Any) -> Json:
    copy: Json = json.loads(json.dumps(obj))
    *parents, last = path.split("/")
    at: Any = copy
    for part in parents:
        at = at[int(part) if part.isdigit() else part]
    at[last] = value
    return copy


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["the files describe no fleet"]),
        ("just text", ["document 1", "is text", "apiVersion"]),
        ("- a\n- b\n", ["document 1", "is a list"]),
        ("a: [1, 2", ["document 1", "not readable as YAML"]),
        ("a: !!python/object:os.system {}", ["not readable"]),
        ("---\n---\nkind: Node\nmetadata: {name: !!int x}", ["document 2", "not readable"]),
        ("metadata: {name: x}", ["document 1", "kind: is required"]),
        ("kind: 3", ["kind: is required and must be text"]),
        ("kind: Node\napiVersion: 1", ["apiVersion", "must be text"]),
        ("kind: List\nitems: {a: b}", ["items: must be a list"]),
        ("kind: List\nitems: [{kind: Node, metadata: {name: a}}, 7]", ["document 1, items[1]", "a number"]),
        ("[" * 100_000, ["nested more than"]),
        ("- " * 100_000, ["nested more than"]),
        ("a: &a [*a]", ["aliases"]),
        ("kind: Node\nmetadata: {name: 0x1_, labels: {a: 1e999}}", ["Node", "metadata.name"]),
        ("kind: Node\nmetadata: {name: a, annotations: !!binary aGVsbG8=}", ["document 1"]),
        (small.text(_broken(small.node("a"), "metadata/labels", ["x"])), ["Node a", "metadata.labels"]),
        (small.text(_broken(small.node("a"), "metadata/name", "A b")), ["metadata.name"]),
        (small.text(_broken(small.node("a"), "status/capacity/example.com~card", "²")), ["status.capacity"]),
        *(
            (
                small.text(small.node("a") | {"status": {field: {small.RESOURCE: amount}}}),
                ["no whole number of devices", field],
            )
            for field in ("capacity", "allocatable")
            for amount in ("-16", 16.5, "0.5", "16m")
        ),
        (small.text(_broken(small.node("a"), "status/conditions/0/type", 3)), ["status.conditions[0].type"]),
        (small.text(_broken(small.pod("p", "a", 1), "spec/containers/0/resources", 3)), ["Pod p", "resources"]),
        (small.text(_broken(small.profile(), "spec/levels/0/fanOut", "2")), ["SuperNodeProfile box", "fanOut"]),
        (small.text(_broken(small.profile(), "metadata/name", None)), ["metadata.name"]),
        (small.text(small.profile(), small.profile()), ["document 2", "is also in", "document 1"]),
        (small.text(_broken(small.supernode(), "metadata/creationTimestamp", "soon")), ["creationTimestamp"]),
        (small.text(small.supernode(ledger=[small.held("g/x", "a[9-1]", "0")])), ["status.ledger", "backwards"]),
        (small.text(small.supernode(ledger=[small.held("g/x", "a", "0-99999999")])), ["status.ledger"]),
        (small.text({"kind": "ConfigMap", "metadata": {"name": "mindx-dl-deviceinfo-a"}}), ["data.DeviceInfoCfg"]),
    ],
)
def test_bad_fleets_are_told_with_place_field_and_reason(
    run: Run, tmp_path: Path, content: str, parts: list[str]
) -> None:
    (tmp_path / "fleet.yaml").write_text(content)
    (tmp_path / "r.yaml").write_text(small.text(small.group()))
    ran = run("plan", "-f", tmp_path / "r.yaml", "--fleet", tmp_path / "fleet.yaml")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: ")
    assert content == "" or "fleet.yaml" in ran.err
    for part in parts:
        assert part in ran.err


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["the files hold no request"]),
        (b"\x00\xff\xfe\x01", ["document 1", "not readable"]),
        (b"\xff\xfe\xfa", ["not readable"]),
        (b'{"kind": "CardGroup", "spec": {', ["document 1", "not readable"]),
        (small.text(small.group(), small.group(members="2")).encode(), ["document 2", "spec.members", "got '2'"]),
        (small.text(_broken(small.group(), "kind", "CardGrop")).encode(), ["CardGrop is unknown", "CardGroup"]),
        (small.text(_broken(small.group(), "apiVersion", "supernode.io/v1")).encode(), ["apiVersion"]),
        (small.text(_broken(small.group(), "metadata", {})).encode(), ["metadata.name: is required"]),
        (
            small.text(_broken(small.group(), "metadata", {"generateName": "A b"})).encode(),
            ["CardGroup A bxxxxx: metadata.name: 'A bxxxxx' is no name"],
        ),
        (small.text(_broken(small.group(), "metadata", {"generateName": 3})).encode(), ["metadata.name: is required"]),
        (small.text(small.group("A b")).encode(), ["CardGroup A b: metadata.name: 'A b' is no name"]),
        (small.text(_broken(small.group(), "metadata/namespace", "../x")).encode(), ["metadata.namespace: '../x'"]),
        (small.text(small.job()).encode(), ["research/j", "spec.workers", "exactly one of cards"]),
    ],
)
def test_bad_requests_are_told_with_place_field_and_reason(
    run: Run, tmp_path: Path, content: bytes, parts: list[str]
) -> None:
    (tmp_path / "fleet.yaml").write_text(small.text(*FLEET))
    ran = run("plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", stdin=content)
    assert (ran.code, ran.out) == (1, "")
    for part in parts:
        assert part in ran.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["plan"], "--filename"),
        (["plan", "-f", "/nonexistent"], "No such file"),
        (["plan", "-f", "x\0y"], "null"),
        (["plan", "-f", ""], "an empty path"),
        (["plan", "-f", "-", "--fleet", ""], "an empty path"),
        (["map", "--fleet", ""], "an empty path"),
        (["plan", "-f", "-", "--fleet", "-"], "can be read once"),
        (["plan", "more.yaml"], "more.yaml"),
        (["plan", "-f", "-", "--independent", "more.yaml"], "more.yaml"),
        (["plan", "--nope"], "--nope"),
        (["plan", "-f", "-", "-o", "xml"], "xml"),
        (["grow"], "grow"),
        (["why", ""], "as NAMESPACE/NAME"),
        (["why", "research/"], "as NAMESPACE/NAME"),
        (["why", "/x"], "as NAMESPACE/NAME"),
        (["why", "../../nodes"], "as NAMESPACE/NAME"),
        (["why", "x", "-n", ".."], "as NAMESPACE/NAME"),
    ],
)
def test_command_lines_that_make_no_sense_end_with_1(run: Run, arguments: list[str], part: str) -> None:
    ran = run(*arguments)
    assert ran.code == 1
    assert part in ran.err


def test_an_empty_folder_is_told(run: Run, tmp_path: Path) -> None:
    ran = run("plan", "-f", tmp_path)
    assert (ran.code, "has no .json" in ran.err) == (1, True)


def test_aliases_that_stand_for_too_much_are_refused(run: Run) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    ran = run("plan", "-f", "-", stdin="\n".join(lines).encode())
    assert (ran.code, "aliases" in ran.err) == (1, True)


def test_nothing_in_a_file_steers_the_terminal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(small.text(*FLEET))
    named = run(
        "plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", stdin=small.text(small.group("\x1b[2J")).encode()
    )
    assert (named.code, "CardGroup \\x1b[2J: metadata.name" in named.err) == (1, True)
    refused = run("plan", "-f", "-", stdin=small.text(_broken(small.group(), "kind", "Card\x1bGroup\n")).encode())
    assert "Card\\x1bGroup\\n" in refused.err


def test_an_estimate_is_told_where_the_profile_has_the_numbers(run: Run) -> None:
    ran = json.loads(_example(run, "-o", "json").out)["results"]
    assert [sorted(result["estimate"] or {}) for result in ran] == [
        ["allReduceMicroseconds", "allToAllMicroseconds"],
        ["allReduceMicroseconds", "allToAllMicroseconds"],
        [],
    ]
    assert ran[0]["estimate"]["allToAllMicroseconds"] == 449
    assert "all-to-all of 64 MiB a card in 0.449 ms" in _example(run).out
