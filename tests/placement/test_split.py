"""Splitting a number between siblings is exact in price and prefers what its rule says; packed vectors add up."""

from collections.abc import Sequence
from itertools import accumulate, groupby
from operator import itemgetter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supernode.placement.coding import PACKED_BITS, Coding
from supernode.placement.fronts import level_out
from supernode.placement.rows import Row, make_row, stacked
from supernode.placement.split import Rule, cheapest_split, even_split, full_split

UNIT = 1 << 20


@st.composite
def siblings(draw: st.DrawFn) -> tuple[list[Row], list[int], int, int]:
    """Rows with prices that never fall, their capacities, a total they hold, and the step."""
    step = draw(st.sampled_from([1, 1, 2]))
    rows, caps = [], []
    for _ in range(draw(st.integers(2, 8))):
        rises = draw(st.lists(st.sampled_from([0, 0, 1, 1, 2, 3, 5, 256]), max_size=8))
        prices = [0, *accumulate(rises, initial=draw(st.sampled_from([1, 256])))][: len(rises) + 1]
        rows.append(make_row(np.array(prices, np.int64), step))
        caps.append((len(prices) - 1) * step)
    room = sum(caps) // step
    return rows, caps, draw(st.integers(1, max(1, room))) * step if room else 0, step


@settings(max_examples=400)
@given(siblings(), st.sampled_from([even_split, full_split]))
def test_splits_are_cheapest_and_preferred_ones_win_ties(
    case: tuple[list[Row], list[int], int, int], rule: Rule
) -> None:
    rows, caps, total, step = case
    if not total:
        return

    def price_of(parts: Sequence[int]) -> int:
        return sum(int(row.prices[part // step]) + UNIT for row, part in zip(rows, parts, strict=True) if part)

    reached = {0: 0}
    for row, cap in zip(rows, caps, strict=True):
        reached = {
            held: min(price for _, price in group)
            for held, group in groupby(
                sorted(
                    (before + part, price + (int(row.prices[part // step]) + UNIT if part else 0))
                    for before, price in reached.items()
                    for part in range(0, cap + 1, step)
                ),
                key=itemgetter(0),
            )
        }
    least = reached[total]
    price, found = cheapest_split(stacked([row.prices for row in rows]), step, caps, total, UNIT, None, rule=rule)
    shares = dict(found)
    assert price == least == price_of([shares.get(child, 0) for child in range(len(caps))])
    assert sum(shares.values()) == total
    assert list(shares) == sorted(shares)
    assert all(0 < share <= caps[child] for child, share in shares.items())
    preferred = rule(caps, total, step)
    if len(preferred) > 1 and price_of([dict(preferred).get(child, 0) for child in range(len(caps))]) == least:
        assert found == preferred


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.data())
def test_a_full_split_uses_the_roomiest_and_the_tightest_for_the_rest(caps: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(caps)))
    if not total:
        return
    found = dict(full_split(caps, total, 1))
    roomy = sorted(caps, reverse=True)
    count = next(n for n in range(1, len(caps) + 1) if sum(roomy[:n]) >= total)
    rest = total - sum(roomy[: count - 1])
    held = sorted((caps[child] for child in found), reverse=True)
    assert held == sorted([*roomy[: count - 1], min(cap for cap in roomy[count - 1 :] if cap >= rest)], reverse=True)
    assert sum(found.values()) == total
    below = [amount for child, amount in found.items() if amount < caps[child]]
    assert not below or max(found.values()) <= min(below) + 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_levelling_is_as_even_as_capacities_allow(caps: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(caps)))
    amounts = level_out(caps, total)
    assert sum(amounts) == total
    assert all(0 <= amount <= cap for amount, cap in zip(amounts, caps, strict=True))
    below = [amount for amount, cap in zip(amounts, caps, strict=True) if amount < cap]
    assert not below or max(amounts) <= min(below) + 1


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=5))
def test_packed_vectors_add_and_compare_as_vectors(pairs: list[tuple[int, int]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    coding = Coding.for_counts([100] * len(pairs))
    assert coding.complete
    total = coding.pack(first) + coding.pack(second)
    assert coding.unpack(total) == tuple(a + b for a, b in pairs)
    assert (coding.pack(first) < coding.pack(second)) == (first[::-1] < second[::-1])


@pytest.mark.parametrize(("counts", "complete"), [([12480, 3120, 260], True), ([100_000] * 4, False), ([1, 1], True)])
def test_levels_that_find_no_room_are_dropped_from_the_inside(counts: list[int], complete: bool) -> None:
    coding = Coding.for_counts(counts)
    assert coding.complete is complete
    assert sum(coding.widths) <= PACKED_BITS
    assert coding.widths[-1] == counts[-1].bit_length()
