"""The tables of bad objects in `tests/cluster/bad_objects`, put before `parse` and before the real API server alike."""

from pathlib import Path
from typing import Any

import pytest
import yaml

TABLES = [
    yaml.safe_load(path.read_text()) for path in sorted((Path(__file__).parent / "cluster/bad_objects").glob("*.yaml"))
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


def rows(*parts: str) -> list[Any]:
    """A test case of (base, row) for every row of these parts in every table."""
    return [
        pytest.param(table["base"], row, id=f"{table['base']['kind']}: {row['name']}")
        for table in TABLES
        for part in parts
        for row in table.get(part, ())
    ]
