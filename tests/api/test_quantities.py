"""Durations, and numbers of devices."""

import pytest

from supernode.api.errors import InvalidDuration
from supernode.api.quantities import parse_duration, whole_number


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


@pytest.mark.parametrize(
    ("amount", "devices"),
    [
        ("8", 8), (8, 8), ("08", 8), ("8.0", 8), (8.0, 8), ("8.", 8), ("1k", 1000), ("1Ki", 1024), ("1.5k", 1500),
        ("8000m", 8), ("8e0", 8), ("80E-1", 8), (".8e1", 8), ("1M", 10**6), ("1E", 10**18), ("1Ei", 1024**6),
    ],
)  # fmt: skip
def test_devices_are_counted_as_kubernetes_does(amount: object, devices: int) -> None:
    assert whole_number(amount) == devices


@pytest.mark.parametrize(
    "amount", ["", "1.5", "500m", "-1", "+1", "k", "1kk", "1 ", "1e", "²", "1\n", True, None, [], "1e999"]
)
def test_what_is_no_number_of_devices(amount: object) -> None:
    assert whole_number(amount) is None
