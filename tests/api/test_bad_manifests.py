"""The bad objects that the API server refuses (`tests/cluster/test_bad_objects.py`) are refused by `parse` as well."""

from typing import Any

import pytest
from object_tables import TABLES, merged, rows

from supernode.api.errors import InvalidObject
from supernode.api.reading import parse


def _kind(table: dict[str, Any]) -> str:
    kind: str = table["base"]["kind"]
    return kind


@pytest.mark.parametrize("table", TABLES, ids=_kind)
def test_the_base_is_good(table: dict[str, Any]) -> None:
    """A row fails for its patch only."""
    parse(table["base"]["kind"], table["base"])


@pytest.mark.parametrize(("base", "row"), rows("cases"))
def test_parse_refuses(base: dict[str, Any], row: dict[str, Any]) -> None:
    """The same field, the same words where the API server's own words allow."""
    with pytest.raises(InvalidObject) as caught:
        parse(base["kind"], merged(base, row["patch"]))
    for text in (*row["expect"], *row.get("parse", ())):
        assert text in str(caught.value)


@pytest.mark.parametrize(("base", "row"), rows("changes", "allowed"))
def test_changed_objects_are_good_objects(base: dict[str, Any], row: dict[str, Any]) -> None:
    """What a change breaks is the rule against the change and nothing else."""
    parse(base["kind"], merged(base, row["patch"]))


ITEMS = {
    "SuperNodeProfile": ("levels", [{"name": "node", "fanOut": "8"}], "spec.levels[0].fanOut"),
    "CardGroup": ("topology", {"shape": ["4", 2]}, "spec.topology.shape[0]"),
    "TrainingJob": (
        "workers",
        {"replicas": 1, "template": {"spec": {"containers": [{"name": "c", "image": "i", "env": [{"name": 1}]}]}}},
        "spec.workers.template.spec.containers[0].env[0].name",
    ),
}


@pytest.mark.parametrize("table", [table for table in TABLES if table["base"]["kind"] in ITEMS], ids=_kind)
def test_one_mistake_inside_a_list_is_one_problem(table: dict[str, Any]) -> None:
    """The list is not called too short for want of the item that is wrong."""
    kind = table["base"]["kind"]
    field, value, path = ITEMS[kind]
    body = {**table["base"], "spec": {**table["base"]["spec"], field: value}}
    with pytest.raises(InvalidObject) as caught:
        parse(kind, body)
    assert [problem.path for problem in caught.value.problems] == [path]


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], "must have at least 1 item; add what is missing"),
        ([{"name": f"l{n}", "fanOut": 2} for n in range(9)], "must have at most 8 items, has 9; remove some"),
    ],
)
def test_a_list_of_a_wrong_length_is_told_in_plain_words(levels: list[Any], message: str) -> None:
    body = {"metadata": {"name": "p"}, "spec": {"card": {"resource": "a.com/x"}, "levels": levels}}
    with pytest.raises(InvalidObject) as caught:
        parse("SuperNodeProfile", body)
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [("spec.levels", message)]
