"""Durations and quantities."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernode.api.errors import InvalidQuantity
from supernode.api.quantities import format_duration, parse_duration, parse_quantity


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200), ("1h0m1s", 3601), ("0s", 0)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@given(st.integers(min_value=0, max_value=999_999 * 3600))
def test_durations_round_trip(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "10", "1d", "m", "30m1h", "-1s", "1.5h", "1h ", "10m\n", "9999999s", "１m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidQuantity, match="such as 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16", 16),
        (16, 16),
        ("64Gi", 64 * 2**30),
        ("96G", 96 * 10**9),
        ("500m", Decimal("0.5")),
        ("1.5Ki", 1536),
        ("12e3", 12000),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("100n", Decimal("1e-7")),
        (".5", Decimal("0.5")),
        ("-1", -1),
    ],
)
def test_quantities(text: str | int, number: int | Decimal) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "G", "1 G", "1KB", "0x10", "1e", "1ee3", "--1", "1e99999", "1" * 40, "٣"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(InvalidQuantity, match="such as 16 or 64Gi"):
        parse_quantity(text)
