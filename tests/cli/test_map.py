"""`map` on manifests: counts, states and nodes."""

from pathlib import Path

import pytest
import small_fleet as small
from cli_command import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Supernode a with a group, a foreign pod and a cordoned node; b cordoned; c without a profile."""
    path = tmp_path / "fleet.yaml"
    nodes = small.nodes("a")
    nodes[3]["spec"] = {"unschedulable": True}
    sick = small.nodes("b")
    sick[0]["metadata"]["annotations"] = {"supernode.io/unhealthy-cards": "0"}
    path.write_text(
        small.text(
            small.profile(),
            *nodes,
            *sick,
            small.supernode("a", ledger=[small.held("research/x", "a-n0", "0-1", "2-3", ranks="0-1")]),
            small.supernode("b", cordoned=True),
            small.supernode("c", profile="gone"),
            small.pod("foreign", "a-n1", 1),
        )
    )
    return path


def _row(out: str, name: str) -> list[str]:
    return next(line.split("  ") for line in out.splitlines() if line.startswith(f"{name} "))


def test_each_supernode_has_a_row(run: Run, fleet: Path) -> None:
    ran = run("map", "--fleet", fleet)
    assert (ran.code, ran.err) == (0, "")
    a, b, c = ([cell.strip() for cell in _row(ran.out, name) if cell.strip()] for name in "abc")
    assert a[:7] == ["a", "box", "4", "16", "7", "5", "0"]
    assert a[-1] == "Ready"
    assert (b[6], b[-1]) == ("1", "Cordoned")
    assert (c[1], c[-1]) == ("gone", "ProfileMissing")
    assert "c: SuperNodeProfile gone does not exist or is invalid; create it" in ran.out


def test_one_supernode_is_shown_node_by_node(run: Run, fleet: Path) -> None:
    ran = run("map", "a", "--fleet", fleet)
    assert ran.code == 0
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["0", "#+", "3/8", "a-n[0-1]"] in lines
    assert ["1", ".-", "4/8", "a-n[2-3]"] in lines
    assert ["research/x", "2", "0", "4", "a-n0"] in lines
    assert ["0", "x.", "7/8", "b-n[0-1]"] in [
        line.split() for line in run("map", "b", "--fleet", fleet).out.splitlines()
    ]


def test_tainted_nodes_are_told_with_what_to_do(run: Run, tmp_path: Path) -> None:
    a, b = small.nodes("a"), small.nodes("b")
    for node in a[1:3]:
        node["spec"] = small.taints("gpu=team-a:NoSchedule")
    b[0]["spec"] = small.taints("example.com/card=present:NoSchedule", "mine=x:NoSchedule")
    path = tmp_path / "fleet.yaml"
    tolerations = [{"key": "mine", "operator": "Exists"}]
    path.write_text(small.text(small.profile(tolerations=tolerations), *a, *b))
    ran = run("map", "--fleet", path)
    rows = {name: [cell.strip() for cell in _row(ran.out, name) if cell.strip()] for name in "ab"}
    assert (rows["a"][4], rows["a"][-1]) == ("8", "Ready, 2 tainted")
    assert (rows["b"][4], rows["b"][-1]) == ("16", "Ready")
    says = (
        "4 nodes of profile box, 2 tainted gpu=team-a:NoSchedule; "
        "to use tainted nodes, add gpu=team-a:NoSchedule to tolerations of profile box"
    )
    assert f"a: {says}" in ran.out.replace("\n", " ")
    assert says in run("map", "a", "--fleet", path).out.replace("\n", " ")


def test_nodes_with_something_wrong_are_told(run: Run, tmp_path: Path) -> None:
    nodes = small.nodes("a")
    nodes[0]["metadata"]["annotations"] = {"supernode.io/unhealthy-cards": "1;2"}
    for amounts in ("capacity", "allocatable"):
        nodes[1]["status"][amounts] = dict.fromkeys(nodes[1]["status"][amounts], "3")
    path = tmp_path / "fleet.yaml"
    path.write_text(small.text(small.profile(), *nodes))
    says = (
        "4 nodes of profile box; a-n0: gives nothing new until annotation supernode.io/unhealthy-cards is right: '1;2' "
        "is not a range: write a number such as 7 or a run such as 0-7; a-n1: capacity is 3 of 4 cards"
    )
    ran = run("map", "--fleet", path)
    row = [cell.strip() for cell in _row(ran.out, "a") if cell.strip()]
    assert (row[3:7], row[-1]) == (["16", "11", "0", "1"], "Ready, 2 to look at")
    assert f"a: {says}" in ran.out.replace("\n", " ")
    one = run("map", "a", "--fleet", path).out
    assert says in one.replace("\n", " ")
    assert ["0", "-x", "3/8", "a-n[0-1]"] in [line.split() for line in one.splitlines()]


def test_every_conflict_of_a_supernode_is_told(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    both = small.supernode("zz", nodeSelector={"example.com/rack": "0"})
    path.write_text(
        small.text(small.profile(), *small.nodes("a"), *small.nodes("b"), *map(small.supernode, "ab"), both)
    )
    told = run("map", "--fleet", path).out.replace("\n", " ")
    for name in "ab":
        assert f"nodes {name}-n[0-1] are selected by supernode zz but belong to {name}" in told


def test_what_is_wrong_with_a_profile_is_told_beside_a_supernode_of_its_name(run: Run, tmp_path: Path) -> None:
    stray = small.node("stray")
    del stray["metadata"]["labels"]["example.com/supernode"]
    path = tmp_path / "fleet.yaml"
    path.write_text(small.text(small.profile(), stray, small.supernode("box")))
    assert "nodes stray of profile box belong to no supernode" in run("map", "--fleet", path).out.replace("\n", " ")


def test_nothing_in_a_fleet_steers_the_terminal(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = small.nodes("a")
    nodes[0]["spec"] = small.taints("\x1b[2Jgpu=x:NoSchedule")
    nodes[1]["metadata"]["labels"]["example.com/rack"] = "\x9b7"
    nodes[2]["metadata"]["annotations"] = {"supernode.io/unhealthy-cards": "\x1b[2J\n\x9b1"}
    path = tmp_path / "fleet.yaml"
    path.write_text(small.text(small.profile(), *nodes))
    for arguments in (["map"], ["map", "a"]):
        for columns in (None, "200"):
            monkeypatch.setenv("COLUMNS", columns) if columns else monkeypatch.delenv("COLUMNS", raising=False)
            ran = run(*arguments, "--fleet", path)
            assert (ran.code, "\\x1b[2Jgpu" in ran.out) == (0, True)
            assert ran.out.replace("\n", "").isprintable()


def test_an_unknown_supernode_is_told(run: Run, fleet: Path) -> None:
    ran = run("map", "z", "--fleet", fleet)
    assert (ran.code, ran.err) == (1, "error: there is no supernode z; known are: a,b,c\n")


def test_the_map_of_the_documentation(run: Run) -> None:
    profile = ROOT / "examples" / "profiles" / "ascend-a3-384.yaml"
    ran = run("map", "sn-1", "--fleet", ROOT / "examples" / "plan" / "fleet.yaml", "--fleet", profile)
    lines = [line.rstrip() for line in ran.out.splitlines()]
    assert "\n".join(lines) in (ROOT / "docs" / "cli.md").read_text()
