"""Fleets that contradict themselves: what is refused, and what `map` says of the rest while the others are planned."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_fleet as small
from cli_command import Run
from small_fleet import Json

Levels = list[Json]


def levels(change: Callable[[Levels], Any]) -> list[Json]:
    """A fleet whose profile has other levels."""
    profile = small.profile()
    change(profile["spec"]["levels"])
    return [profile, *small.nodes("a")]


def labelled(**labels: str | None) -> list[Json]:
    """A fleet in which the labels of a-n3 differ; None removes one."""
    nodes = copy.deepcopy(small.nodes("a"))
    for name, value in labels.items():
        if value is None:
            del nodes[3]["metadata"]["labels"][f"example.com/{name}"]
        else:
            nodes[3]["metadata"]["labels"][f"example.com/{name}"] = value
    return [small.profile(), *nodes]


REFUSED: dict[str, tuple[list[Json], str]] = {
    "zero fan-out": (
        levels(lambda of: of[2].update(fanOut=0)),
        "spec.levels[2].fanOut: should be greater than or equal to 1, got 0",
    ),
    "negative fan-out": (
        levels(lambda of: of[0].update(fanOut=-2)),
        "spec.levels[0].fanOut: should be greater than or equal to 1, got -2",
    ),
    "a level twice": (levels(lambda of: of[2].update(name="pair")), "spec.levels: name pair is there twice; keep one"),
    "a cycle of levels": (levels(lambda of: of.append(dict(of[1]))), "spec.levels: name node is there twice; keep one"),
    "no level node": (levels(lambda of: of[1].update(name="board")), "exactly one level called node"),
    "no levels": (levels(lambda of: of.clear()), "spec.levels: must have at least 1 item; add what is missing"),
    "an outer level without label": (
        levels(lambda of: of[2].pop("nodeLabel")),
        "every level outside node needs a nodeLabel",
    ),
    "a label inside the node": (
        levels(lambda of: of[0].update(nodeLabel="example.com/pair")),
        "inside it must not have a nodeLabel",
    ),
    "one label for two levels": (
        levels(lambda of: of[2].update(nodeLabel="example.com/supernode")),
        "two levels have the same nodeLabel",
    ),
    "dims that are not the fan-out": (
        levels(lambda of: of[2].update(fabric="torus", dims=[3])),
        "spec.levels[2].fanOut: fanOut must be the product of dims",
    ),
    "a profile twice": (
        [small.profile(), small.profile(), *small.nodes("a")],
        "document 2: SuperNodeProfile box: metadata.name: is also in",
    ),
    "a node twice": ([small.profile(), *small.nodes("a"), small.node("a-n0", "b")], "Node a-n0"),
    "a supernode twice": ([small.profile(), small.supernode(), small.supernode()], "SuperNode a"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_contradiction_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    fleet, part = REFUSED[name]
    (tmp_path / "fleet.yaml").write_text(small.text(*fleet))
    ran = run("plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", stdin=small.text(small.group()).encode())
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: ")
    assert "fleet.yaml, document" in ran.err
    assert part in ran.err


BOTH = {"nodeSelector": {"example.com/rack": "0"}}
TOLD: dict[str, tuple[list[Json], int, str]] = {
    "a node in two supernodes": (
        [small.profile(), *small.nodes("a"), small.supernode("a"), small.supernode("b", **BOTH)],
        4,
        "b: nodes a-n[0-1] are selected by supernode b but belong to a; narrow one nodeSelector",
    ),
    "a node of two profiles": (
        [small.profile(), small.profile("crate"), *small.nodes("a")],
        4,
        "match the profiles box, crate; box is used",
    ),
    "a node without its rack": (labelled(rack=None), 4, "rack 8, supernode 16"),
    "a node without its supernode": (
        labelled(supernode=None),
        3,
        "nodes a-n3 of profile box belong to no supernode: label example.com/supernode",
    ),
    "an empty label": (
        labelled(supernode=""),
        3,
        "nodes a-n3 of profile box belong to no supernode: label example.com/supernode",
    ),
    "a selector that nobody matches": (
        [*labelled(), small.supernode("ghost", nodeSelector={"example.com/supernode": "ghost"})],
        4,
        "ghost: no node matches its profile and nodeSelector; check their labels",
    ),
    "a profile that is gone": (
        [*labelled(), small.supernode("c", profile="gone")],
        4,
        "gone does not exist or is invalid; create it",
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_a_cluster_lives_with_is_told_and_the_rest_planned(run: Run, tmp_path: Path, name: str) -> None:
    """The most members of a whole node that find a place, and what `map` says."""
    fleet, most, part = TOLD[name]
    (tmp_path / "fleet.yaml").write_text(small.text(*fleet))
    requests = small.text(*(small.group(f"g{members}", members) for members in range(1, 6))).encode()
    planned = run("plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", "--independent", "-o", "json", stdin=requests)
    assert planned.code == 3
    fitting = [result["feasible"] for result in json.loads(planned.out)["results"]]
    assert fitting == [True] * most + [False] * (5 - most)
    shown = run("map", "--fleet", tmp_path / "fleet.yaml")
    assert shown.code == 0
    assert part in shown.out
