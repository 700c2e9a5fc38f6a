"""Durations."""

import pytest

from supernode.api.errors import InvalidDuration
from supernode.api.quantities import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200), ("1h0m1s", 3601), ("0s", 0)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "1d", "m", "30m1h", "-1s", "1.5h", "1h ", "10m\n", "9999999s", "１m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidDuration, match="such as 1h30m"):
        parse_duration(text)
