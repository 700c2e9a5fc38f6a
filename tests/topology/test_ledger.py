"""Ledgers are compact and lose nothing."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from supernode.topology.ledger import (
    LedgerEntry,
    Run,
    Seat,
    by_supernode,
    decode,
    decode_placement,
    encode,
    encode_placement,
    entries_for,
)
from supernode.topology.node import Member
from supernode.topology.ranges import RangeError
from supernode.topology.views import held_cards

SEATS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from([0b1, 0b10, 0b11, 0b1100])), max_size=24
).map(lambda draws: _seats(draws))


def _seats(draws: list[tuple[int, int, int]]) -> list[Seat]:
    rank, seats = -1, []
    for gap, node, cards in draws:
        rank += 1 + gap // 3
        seats.append(Seat(rank, f"n{node}", cards))
    return seats


def test_8192_cards_in_whole_nodes_are_one_run() -> None:
    seats = [Seat(rank, f"sn0-n{rank:04d}", 0xFF) for rank in range(1024)]
    assert encode(seats) == [Run("0-1023", "sn0-n[0000-1023]", ("0-7",))]


def test_members_sharing_nodes_are_one_run() -> None:
    seats = [Seat(rank, f"n{rank // 2}", 0b1111 << 4 * (rank % 2)) for rank in range(8)]
    assert encode(seats) == [Run("0-7", "n[0-3]", ("0-3", "4-7"))]


@given(SEATS)
def test_round_trip(seats: list[Seat]) -> None:
    assert decode(encode(reversed(seats))) == seats


@given(SEATS)
def test_lines_round_trip(seats: list[Seat]) -> None:
    assume(seats)
    entry = LedgerEntry("default/job", "u-1", tuple(encode(seats)))
    assert LedgerEntry.from_text(entry.text) == entry
    assert list(entry.seats()) == seats


def test_a_line_is_what_people_read() -> None:
    runs = (Run("0-47", "sn0-n[000-047]", ("0-15",)), Run("48-49", "sn0-n048", ("0-7", "8-15")))
    entry = LedgerEntry("ml/llama", "5f0c", runs, spares=(Run("0", "sn0-n049", ("0-15",)),))
    assert entry.text == "ml/llama 5f0c 0-47@sn0-n[000-047]:0-15 48-49@sn0-n048:0-7/8-15 +0@sn0-n049:0-15"
    assert LedgerEntry.from_text(entry.text) == entry


@pytest.mark.parametrize(
    "text", ["", "ml/llama", "ml/llama 5f0c", "ml/llama  0@n:0", "ml/llama 5f0c n:0", "ml/llama 5f0c 0@n", {}, None]
)
def test_what_is_no_line_is_refused(text: object) -> None:
    with pytest.raises(RangeError, match="not"):
        LedgerEntry.from_text(text)


def test_spares_are_booked_beside_members_and_numbered_in_each_supernode() -> None:
    members = [Member(rank, f"sn-{rank // 2}", f"n{rank}", 0b11) for rank in range(4)]
    spares = [Member(rank, f"sn-{rank // 2}", f"s{rank}", 0b11) for rank in range(4)]
    entries = entries_for("default/job", "u-1", members, spares)
    assert [seat.node for seat in entries["sn-1"].seats()] == ["n2", "n3"]
    assert entries["sn-1"].spare_seats() == (Seat(0, "s2", 0b11), Seat(1, "s3", 0b11))
    assert LedgerEntry.from_text(entries["sn-1"].text) == entries["sn-1"]
    assert held_cards(entries.values()) == {f"{kind}{i}": 0b11 for kind in "ns" for i in range(4)}


def test_placement_and_ledgers_say_the_same() -> None:
    members = [Member(rank, f"sn-{rank // 3}", f"n{rank}", 0b11) for rank in range(7)]
    placement = encode_placement(members)
    assert placement[0] == {"supernode": "sn-0", "ranks": "0-2", "nodes": "n[0-2]", "cards": ["0-1"]}
    assert [(name, seat.rank, seat.node) for name, seat in decode_placement(placement)] == [
        (member.supernode, member.rank, member.node) for member in members
    ]
    ledgers = by_supernode(members)
    assert list(ledgers) == ["sn-0", "sn-1", "sn-2"]
    assert sorted(seat.rank for runs in ledgers.values() for seat in decode(runs)) == list(range(7))


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"ranks": "0", "nodes": "n0"},
        {"ranks": "0", "nodes": "n0", "cards": "0"},
        {"ranks": "0", "nodes": "n0", "cards": [0]},
        {"ranks": 0, "nodes": "n0", "cards": ["0"]},
    ],
)
def test_incomplete_runs_are_refused(data: dict[str, object]) -> None:
    with pytest.raises(RangeError):
        Run.from_dict(data)


@pytest.mark.parametrize(
    "run", [Run("0-1", "n0", ("0",)), Run("0", "n[0-1]", ("0",)), Run("0", "n0", ("x",)), Run("z", "n0", ("0",))]
)
def test_runs_that_do_not_count_up_are_refused(run: Run) -> None:
    with pytest.raises(RangeError):
        decode([run])
