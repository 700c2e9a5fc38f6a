"""docs/robustness.md names the tests that show what it says; those must be there, in the files it names."""

import re

import pytest

from testbed.paths import PROJECT

RECORD = (PROJECT / "docs" / "robustness.md").read_text()
# `tests/x/test_y.py`: `test_a`, `test_b` and `test_c`   or   `tests/x/test_y.py::test_a`
NAMED = re.compile(
    r"`(?P<file>[\w/]*test_\w+\.py)(?:`: (?P<several>`test_\w+`(?:(?:, | and )`test_\w+`)*)|::(?P<one>test_\w+))"
)


def named() -> set[tuple[str, str]]:
    """(file, test) as the record has them; a file without a folder is one of this folder."""
    pairs = set()
    for found in NAMED.finditer(RECORD):
        file = found["file"] if "/" in found["file"] else f"tests/robustness/{found['file']}"
        pairs |= {(file, test) for test in re.findall(r"test_\w+", found["one"] or found["several"])}
    return pairs


@pytest.mark.parametrize(("file", "test"), sorted(named()))
def test_a_test_that_is_named_is_there(file: str, test: str) -> None:
    assert f"def {test}(" in (PROJECT / file).read_text()


def test_the_record_names_tests() -> None:
    assert len(named()) > 100
