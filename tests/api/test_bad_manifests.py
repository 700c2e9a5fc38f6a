"""The bad objects that the API server refuses (`tests/cluster/test_bad_objects.py`) are refused by `parse` as well."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from supernode.api.errors import InvalidObject
from supernode.api.reading import parse

TABLES = [
    yaml.safe_load(path.read_text())
    for path in sorted((Path(__file__).parents[1] / "cluster/bad_objects").glob("*.yaml"))
]


def merged(base: Any, patch: Any) -> Any:
    """RFC 7386: `patch` on `base`, null removes."""
    if not isinstance(base, dict) or not isinstance(patch, dict):
        return patch
    result = dict(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key, {}), value)
    return result


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table["base"]["kind"])
def test_the_base_is_good(table: dict[str, Any]) -> None:
    """A row fails for its patch only."""
    parse(table["base"]["kind"], table["base"])


@pytest.mark.parametrize(
    ("base", "row"),
    [
        pytest.param(table["base"], row, id=f"{table['base']['kind']}: {row['name']}")
        for table in TABLES
        for row in table["cases"]
    ],
)
def test_parse_refuses(base: dict[str, Any], row: dict[str, Any]) -> None:
    """The same field, the same words where the API server's own words allow."""
    with pytest.raises(InvalidObject) as caught:
        parse(base["kind"], merged(base, row["patch"]))
    for text in (*row["expect"], *row.get("parse", ())):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("base", "row"),
    [(table["base"], row) for table in TABLES for row in (*table.get("changes", ()), *table.get("allowed", ()))],
    ids=lambda value: value.get("name"),
)
def test_changed_objects_are_good_objects(base: dict[str, Any], row: dict[str, Any]) -> None:
    """What a change breaks is the rule against the change and nothing else."""
    parse(base["kind"], merged(base, row["patch"]))
