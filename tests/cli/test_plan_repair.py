"""`plan --repair`: what it reads, what it answers, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import small_fleet as small
import yaml
from cli_command import Run
from small_fleet import Json

Repairs = Callable[..., tuple[int, list[Json], str]]


@pytest.fixture
def repairs(run: Run, tmp_path: Path) -> Repairs:
    """The exit status, the results and standard error of planning the repairs of a fleet."""

    def repairs(fleet: list[Json], *requests: Json, form: str = "json") -> tuple[int, list[Json], str]:
        (tmp_path / "fleet.yaml").write_text(small.text(*fleet))
        (tmp_path / "requests.yaml").write_text(small.text(*requests))
        given = ["-f", tmp_path / "requests.yaml"] if requests else []
        ran = run("plan", "--repair", *given, "--fleet", tmp_path / "fleet.yaml", "-o", form)
        read = json.loads if form == "json" else yaml.safe_load
        return ran.code, read(ran.out)["results"] if form != "table" else [ran.out], ran.err

    return repairs


def fleet(*entries: Json, without: str = "", ill: str = "") -> list[Json]:
    """Four nodes of four cards in two racks; one of them gone, or one with an unhealthy card."""
    nodes = [node for node in small.nodes("a") if node["metadata"]["name"] != without]
    for node in nodes:
        if node["metadata"]["name"] == ill:
            node["metadata"]["annotations"] = {"supernode.io/unhealthy-cards": "2"}
    return [small.profile(), *nodes, small.supernode(ledger=list(entries))]


def claim(members: int, **topology: object) -> Json:
    body = small.group("x", members, topology=topology)
    body["metadata"]["namespace"] = "research"
    return body


def test_a_lost_node_is_replaced_from_the_spare_in_its_rack(repairs: Repairs) -> None:
    entry = small.held("research/x", "a-n0", "0-3") + " +0@a-n1:0-3"
    code, [result], _ = repairs([*fleet(entry, without="a-n0"), claim(1, spares={"members": 1, "within": "rack"})])
    assert (code, result["step"], result["feasible"]) == (0, "Spare", True)
    [move] = result["moved"]
    assert (move["rank"], move["from"]["node"], move["to"]) == (0, "a-n0", move["to"])
    domains = {"node": "a-n1", "rack": "a/0", "supernode": "a"}
    assert move["to"] == {"node": "a-n1", "cards": [0, 1, 2, 3], "domains": domains}
    assert result["failed"] == ["rank 0 on a-n0: the node is gone"]
    assert (result["spares"], result["missingSpares"]) == ([], 1), "its rack has no other node"
    assert result["spans"] == {"supernode": 1, "rack": 1, "node": 1}


def test_an_unhealthy_card_moves_its_member_only(repairs: Repairs) -> None:
    entry = small.held("research/x", "a-n[0-1]", "0-1", "2-3", ranks="0-3")
    body = small.group("x", 4, 2)
    body["metadata"]["namespace"] = "research"
    code, [result], _ = repairs([*fleet(entry, ill="a-n0"), body], form="yaml")
    assert (code, result["step"]) == (0, "Free")
    assert [(move["rank"], move["from"]["cards"]) for move in result["moved"]] == [(1, [2, 3])]
    assert [member["rank"] for member in result["members"]] == [0, 1, 2, 3]


def test_a_block_without_room_moves_whole(repairs: Repairs) -> None:
    entry = small.held("research/x", "a-n[0-1]", "0-3", ranks="0-1")
    code, [result], _ = repairs(fleet(entry, without="a-n1"), claim(2, blocks=[{"level": "rack", "members": 2}]))
    assert (code, result["step"]) == (0, "Group")
    assert [move["to"]["node"] for move in result["moved"]] == ["a-n2", "a-n3"]
    assert result["minimal"] == {"supernode": 1, "rack": 1, "node": 2}


@pytest.mark.parametrize(
    ("entries", "claimed", "says"),
    [
        (["2-3@a-n[0-1]:0-3"], claim(4), "its ledgers name ranks 2-3 of 4"),
        (["2-3@a-n[0-1]:0-3"], None, "its ledgers name ranks 2-3 of 4"),
        (["0-1@a-n[0-1]:0-3"], claim(3), "its ledgers name ranks 0-1 of 3"),
        (["0-1@a-n[0-1]:0-3"], claim(1), "its ledgers name ranks 0-1 of 1"),
        (["0@a-n0:0-3 0@a-n1:0-3"], claim(2), "its ledgers name ranks 0,0 of 2"),
        (["0-1@a-n[0-1]:0-3"], small.group("x", 2, 2), "its ledgers give 4 cards to a member, it claims 2"),
        (["0@a-n0:0-3 999999999@a-n1:0-3"], None, "its ledgers name ranks 0,999999999 of 1000000000"),
    ],
)
def test_a_group_part_of_whose_ledger_is_lost_holds_up_no_other(
    repairs: Repairs, entries: list[str], claimed: Json | None, says: str
) -> None:
    ledger = [*(f"research/x research/x {entry}" for entry in entries), small.held("research/y", "a-n1", "0")]
    claims = [] if claimed is None else [claimed | {"metadata": {"name": "x", "namespace": "research"}}]
    code, results, _ = repairs([*fleet(*ledger, without="a-n1"), *claims])
    assert code == 3
    assert [(result["name"], result["feasible"]) for result in results] == [("research/x", False), ("research/y", True)]
    assert results[0]["step"] == "Queue"
    assert says in results[0]["message"]


def test_results_have_the_names_of_any_plan_and_some_besides(run: Run, repairs: Repairs, tmp_path: Path) -> None:
    timed = [level | {"bandwidth": 100, "latency": 1} for level in small.profile()["spec"]["levels"]]
    given = [small.profile(levels=timed), *fleet(small.held("research/x", "a-n1", "0-3"), without="a-n1")[1:]]
    _, [repaired], _ = repairs(given)
    ran = run("plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", "-o", "json", stdin=small.text(claim(1)).encode())
    [planned] = json.loads(ran.out)["results"]
    assert repaired.keys() - planned.keys() == {"step", "failed", "moved", "missingSpares"}
    assert list(planned) == list(repaired)[: len(planned)]
    assert repaired["estimate"] == planned["estimate"] is not None
    assert repaired["moved"][0]["from"] == {"node": "a-n1", "cards": [0, 1, 2, 3], "domains": {}}


def test_what_would_have_to_come_free_is_told_of_a_group_that_waits(repairs: Repairs) -> None:
    held = [small.held("research/x", "a-n[0-2]", "0-3", ranks="0-2"), small.held("research/y", "a-n3", "0-3")]
    wanted = claim(3, required="supernode")
    _, [result], _ = repairs([*fleet(*held, without="a-n1"), small.node("a-n5"), small.pod("p", "a-n5", 4), wanted])
    assert (result["step"], result["members"]) == ("Queue", [])
    assert [list(opening["nodes"]) for opening in result["change"]] == [["a-n5"]]


def test_no_room_is_told_with_the_reason(repairs: Repairs) -> None:
    entry = small.held("research/x", "a-n[0-3]", "0-3", ranks="0-3")
    code, [result], error = repairs(fleet(entry, without="a-n2"))
    assert (code, result["step"], result["feasible"], result["moved"]) == (3, "Queue", False, [])
    assert result["reason"]
    assert "research/x: its CardGroup is not given" in error


def test_groups_are_repaired_one_after_the_other(repairs: Repairs) -> None:
    entries = [small.held(f"research/{name}", node, "0-3") for name, node in (("x", "a-n0"), ("y", "a-n1"))]
    nodes = [node for node in small.nodes("a", 3) if node["metadata"]["name"] == "a-n2"]
    code, results, _ = repairs([small.profile(), *nodes, small.supernode(ledger=entries)])
    assert (code, [result["feasible"] for result in results]) == (3, [True, False])


def test_a_sound_fleet_needs_no_repair(repairs: Repairs) -> None:
    entry = small.held("research/x", "a-n0", "0-3")
    assert repairs(fleet(entry))[:2] == (0, [])
    assert "no group" in repairs(fleet(entry), form="table")[1][0]


def test_people_see_who_moves_from_where_to_where(repairs: Repairs) -> None:
    entry = small.held("research/x", "a-n[0-1]", "0-3", ranks="0-1")
    code, [text], _ = repairs(fleet(entry, without="a-n1"), claim(2), form="table")
    assert code == 0
    assert "research/x: Free: free cards take over" in text
    assert ["1", "a-n1", "0-3", "a-n2", "0-3"] in [line.split() for line in text.splitlines()]


def test_requests_are_needed_for_anything_else(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(small.text(*fleet()))
    ran = run("plan", "--fleet", tmp_path / "fleet.yaml")
    assert ran.code == 1
    assert "--repair" in ran.err
