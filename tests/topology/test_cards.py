"""Card sets inside a node: counted without search, chosen so that large holes stay whole."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supernode.topology.cards import packing
from supernode.topology.ranges import card_indices
from tests.placement.oracle import is_aligned, node_counts


@st.composite
def packings(draw: st.DrawFn) -> tuple[tuple[int, ...], int, int]:
    fan_outs = draw(st.sampled_from([(6,), (2, 3), (3, 2), (2, 2, 2), (4, 2), (2, 4), (2, 2)]))
    sizes = tuple(prod(fan_outs[: i + 1]) for i in range(len(fan_outs)))
    return sizes, draw(st.integers(1, sizes[-1])), draw(st.integers(0, (1 << sizes[-1]) - 1))


@settings(max_examples=300)
@given(packings())
def test_capacity_equals_brute_force_and_can_be_placed(case: tuple[tuple[int, ...], int, int]) -> None:
    sizes, cards, free = case
    shape = packing(sizes, cards)
    assert shape.capacity(free) == max(node_counts(free, cards, sizes, ()))
    for members in range(shape.capacity(free) + 1):
        sets = shape.place(free, members)
        assert len(sets) == members
        assert sum(sets).bit_count() == members * cards
        assert sum(sets) & ~free == 0
        assert all(is_aligned(list(card_indices(chosen)), sizes[:-1]) for chosen in sets)


@settings(max_examples=200)
@given(packings(), st.sampled_from([1, 2]), st.sampled_from([1, 2]))
def test_blocks_inside_the_node(case: tuple[tuple[int, ...], int, int], inner: int, outer: int) -> None:
    sizes, cards, free = case
    if len(sizes) < 2 or cards > sizes[-2]:
        return
    steps = (*(1 for _ in sizes[:-2]), inner, inner * outer)
    blocks = ((sizes[-2], inner), (sizes[-1], inner * outer))
    shape = packing(sizes, cards, steps)
    assert shape.capacity(free) == max(node_counts(free, cards, sizes, blocks))
    sets = shape.place(free, shape.capacity(free))
    for start in range(0, len(sets), inner):
        assert len({card // sizes[-2] for chosen in sets[start : start + inner] for card in card_indices(chosen)}) == 1


@pytest.mark.parametrize(
    ("free", "cards", "chosen"),
    [
        (0b1111_1111, 1, 0b1),
        (0b1111_1110, 1, 0b10),
        (0b0100_1111, 1, 0b0100_0000),
        (0b0011_1101, 2, 0b0011_0000),
        (0b1111_1101, 2, 0b1100),
        (0b1101_1111, 1, 0b0001_0000),
        (0b1111_0111, 3, 0b0111),
    ],
)
def test_the_best_fit_breaks_no_larger_hole_than_it_must(free: int, cards: int, chosen: int) -> None:
    assert packing((2, 4, 8), cards).place(free, 1) == (chosen,)


def test_whole_nodes_of_many_cards() -> None:
    shape = packing((2, 16), 16)
    assert shape.capacity(0xFFFF) == 1
    assert shape.capacity(0xFFFE) == 0
    assert shape.capacity(0x1FFFF) == 1
