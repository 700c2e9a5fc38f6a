"""Ranges are written compactly, read back exactly, and refused when they are malformed or a bomb."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernode.topology.ranges import (
    MAX_CARDS,
    RangeError,
    format_cards,
    format_ints,
    format_nodes,
    natural_key,
    parse_cards,
    parse_ints,
    parse_nodes,
)

WORD = st.text(alphabet="abn09-.", min_size=1, max_size=8).filter(lambda s: s[0] not in "-." and s[-1] not in "-.")
NAME = st.one_of(
    WORD,
    st.builds(
        lambda prefix, number, width: f"{prefix}{number:0{width}d}", WORD, st.integers(0, 120), st.integers(1, 4)
    ),
)


@st.composite
def node_lists(draw: st.DrawFn) -> list[str]:
    """Names in runs, so that consecutive numbers really occur, mixed with loose ones."""
    names: list[str] = []
    for _ in range(draw(st.integers(0, 4))):
        prefix, suffix = draw(WORD), draw(st.sampled_from(["", "a", ".x", "-1b"]))
        start, count, width = draw(st.integers(0, 110)), draw(st.integers(1, 12)), draw(st.integers(1, 4))
        names.extend(f"{prefix}{i:0{width}d}{suffix}" for i in range(start, start + count))
        names.extend(draw(st.lists(NAME, max_size=2)))
    return names


@pytest.mark.parametrize(
    ("values", "text"),
    [([], ""), ([0, 1, 2, 7], "0-2,7"), ([5], "5"), ([7, 0, 1], "7,0-1"), ([3, 3], "3,3"), ([0, 1, 1, 2], "0-1,1-2")],
)
def test_ints_read_as_written(values: list[int], text: str) -> None:
    assert format_ints(values) == text
    assert parse_ints(text) == values


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([f"a-n{i:03d}" for i in range(48)], "a-n[000-047]"),
        (["r2", "r3", "r10"], "r2,r3,r10"),
        ([f"n{i}" for i in range(8, 12)], "n[8-11]"),
        (["n098", "n099", "n100"], "n[098-100]"),
        (["n09", "n10", "n11", "n1"], "n[09-11],n1"),
        (["n1.dc1", "n2.dc1", "n2.dc2"], "n[1-2].dc1,n2.dc2"),
        (["b", "a", "a"], "b,a,a"),
        (["ip-10-0-0-1", "ip-10-0-0-2"], "ip-10-0-0-[1-2]"),
    ],
)
def test_nodes_read_as_written(names: list[str], text: str) -> None:
    assert format_nodes(names) == text
    assert parse_nodes(text) == names


@given(st.lists(st.integers(0, 60), max_size=30))
def test_ints_round_trip(values: list[int]) -> None:
    assert parse_ints(format_ints(values)) == values


@given(st.integers(0, (1 << 70) - 1))
def test_cards_round_trip(mask: int) -> None:
    assert parse_cards(format_cards(mask)) == mask


@given(node_lists())
def test_nodes_round_trip(names: list[str]) -> None:
    text = format_nodes(names)
    assert parse_nodes(text) == names
    assert len(text) <= len(",".join(names))


@pytest.mark.parametrize(
    "text", ["0-99999999999", "0-2000000", "5-1", "a", "1,,2", "-1", "1-", " 1", "0x3", "1-2-3", ",", "٣", "0-9" * 9]
)
def test_malformed_ints_are_refused(text: str) -> None:
    with pytest.raises(RangeError):
        parse_ints(text)


@pytest.mark.parametrize("text", [str(MAX_CARDS), "1,1", "0-5,3", "0-4096"])
def test_impossible_card_sets_are_refused(text: str) -> None:
    with pytest.raises(RangeError):
        parse_cards(text)


@pytest.mark.parametrize(
    "text", ["n[0-99999999999]", "n[5-1]", "n[1]", "n[a-b]", "N1", "n1,,n2", "n[0-1]-", "n_1", "n[0-1][0-1]", "a" * 300]
)
def test_malformed_nodes_are_refused(text: str) -> None:
    with pytest.raises(RangeError):
        parse_nodes(text)


def test_several_runs_together_are_bounded_too() -> None:
    with pytest.raises(RangeError, match="at most"):
        parse_nodes("n[0-600000],m[0-600000]")


def test_names_that_are_no_node_names_cannot_be_written() -> None:
    with pytest.raises(RangeError, match="node name"):
        format_nodes(["n[1-2]"])


def test_natural_order_counts() -> None:
    assert sorted(["r10", "r2", "r1", "r02"], key=natural_key) == ["r1", "r02", "r2", "r10"]
