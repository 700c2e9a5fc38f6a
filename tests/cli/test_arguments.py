"""Several paths behind one option, as a shell writes `*.yaml`."""

import json
from pathlib import Path

import pytest
import small_fleet as small
from cli_command import Run

from supernode.cli.arguments import spread
from supernode.cli.inventory import _ADDERS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("plan -f a", "plan -f a"),
        ("plan -f a b c --fleet d e", "plan -f a -f b -f c --fleet d --fleet e"),
        ("plan --filename a b -o json", "plan --filename a --filename b -o json"),
        ("plan -f - b", "plan -f - -f b"),
        ("plan -f a --independent b", "plan -f a --independent b"),
        ("map sn-1 --fleet a b", "map sn-1 --fleet a --fleet b"),
        ("map --fleet=a sn-1", "map --fleet=a sn-1"),
        ("map --fleet a -- sn-1 sn-2", "map --fleet a -- sn-1 sn-2"),
        ("why x -n y", "why x -n y"),
    ],
)
def test_every_path_up_to_the_next_option_belongs_to_its_option(line: str, meant: str) -> None:
    assert " ".join(spread(line.split())) == meant


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with three requests and a fleet in two files."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(small.text(small.group(name, 2)))
    (tmp_path / "profile.json").write_text(json.dumps(small.profile()))
    (tmp_path / "nodes.json").write_text(json.dumps({"kind": "List", "items": small.nodes("a")}))
    return tmp_path


def test_all_requests_of_a_list_are_planned(run: Run, files: Path) -> None:
    requests, fleet = sorted(files.glob("*.yaml")), sorted(files.glob("*.json"))
    ran = run("plan", "-f", *requests, "--fleet", *fleet, "-o", "json")
    told = [(result["name"], result["feasible"]) for result in json.loads(ran.out)["results"]]
    assert told == [("default/a", True), ("default/b", True), ("default/c", False)]
    assert ran.code == 3


@pytest.mark.parametrize("name", [[], ["a"]])
def test_a_fleet_in_several_files_is_mapped(run: Run, files: Path, name: list[str]) -> None:
    ran = run("map", *name, "--fleet", *sorted(files.glob("*.json")))
    assert (ran.code, "Ready" in ran.out) == (0, True)


def test_help_and_page_name_every_kind_that_a_fleet_is_read_from(run: Run) -> None:
    told, page = run("plan", "--help").out, (ROOT / "docs" / "cli.md").read_text()
    assert [kind for kind in _ADDERS if kind not in told or kind not in page] == []
