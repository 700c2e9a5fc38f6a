"""The bad objects that the API server refuses (`tests/cluster/test_bad_objects.py`) are refused by `parse` as well."""

from typing import Any

import pytest
from object_tables import TABLES, merged, rows

from supernode.api.errors import InvalidObject
from supernode.api.reading import parse


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table["base"]["kind"])
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
