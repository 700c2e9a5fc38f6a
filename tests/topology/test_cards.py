"""Card sets inside a node: counted without search, chosen so that large holes stay whole."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supernode.topology.cards import legal_sizes, packing
from supernode.topology.profile import NodeMake
from supernode.topology.ranges import card_indices
from tests.placement.fleets import profile_of
from tests.placement.oracle import is_aligned, node_counts

MAKES = [
    NodeMake(tuple(prod(fan_outs[: i + 1]) for i in range(len(fan_outs))), frozenset(rings))
    for fan_outs, *rings in [
        ((6,),),
        ((2, 3),),
        ((3, 2),),
        ((2, 2, 2),),
        ((4, 2),),
        ((2, 4),),
        ((2, 2),),
        ((4, 2), 0),
        ((3, 2), 0),
        ((2, 3), 0),
        ((2, 2, 2), 0),
        ((2, 2, 2), 1),
        ((2, 2, 2), 0, 1),
    ]
]


@st.composite
def packings(draw: st.DrawFn) -> tuple[NodeMake, int, int]:
    make = draw(st.sampled_from(MAKES))
    cards = make.sizes[-1]
    return make, draw(st.integers(1, cards)), draw(st.integers(0, (1 << cards) - 1))


@settings(max_examples=300)
@given(packings())
def test_capacity_equals_brute_force_and_can_be_placed(case: tuple[NodeMake, int, int]) -> None:
    make, cards, free = case
    shape = packing(make, cards)
    assert shape.capacity(free) == max(node_counts(free, cards, make, ()))
    for members in range(shape.capacity(free) + 1):
        sets = shape.place(free, members)
        assert len(sets) == members
        assert sum(sets).bit_count() == members * cards
        assert sum(sets) & ~free == 0
        assert all(is_aligned(list(card_indices(chosen)), make) for chosen in sets)


@settings(max_examples=200)
@given(packings(), st.sampled_from([1, 2]), st.sampled_from([1, 2]))
def test_blocks_inside_the_node(case: tuple[NodeMake, int, int], inner: int, outer: int) -> None:
    make, cards, free = case
    sizes = make.sizes
    if len(sizes) < 2 or cards > sizes[-2]:
        return
    steps = (*(1 for _ in sizes[:-2]), inner, inner * outer)
    blocks = ((sizes[-2], inner), (sizes[-1], inner * outer))
    shape = packing(make, cards, steps)
    assert shape.capacity(free) == max(node_counts(free, cards, make, blocks))
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
    assert packing(NodeMake((2, 4, 8)), cards).place(free, 1) == (chosen,)


def test_whole_nodes_of_many_cards() -> None:
    shape = packing(NodeMake((2, 16)), 16)
    assert shape.capacity(0xFFFF) == 1
    assert shape.capacity(0xFFFE) == 0
    assert shape.capacity(0x1FFFF) == 1


@pytest.mark.parametrize(
    ("cards", "order"),
    [(1, [0b0001, 0b0111, 0b0011, 0b1111]), (2, [0b0011, 0b1111, 0b0111]), (4, [0b1111])],
)
def test_rings_of_four_are_taken_in_the_vendors_order(cards: int, order: list[int]) -> None:
    shape = packing(NodeMake((4, 8), frozenset({0})), cards)
    for better, worse in [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]:
        for free in (better << 4 | worse, worse << 4 | better):
            ring = shape.place(free, 1)[0]
            assert ring.bit_count() == cards
            assert (ring & 0b1111_0000 != 0) == (free >> 4 == better)


@pytest.mark.parametrize(
    ("free", "cards", "chosen"),
    [
        (0b1111_1111_1111_1111, 10, 0b0001_1111_0001_1111),
        (0b1111_1011_1111_1110, 10, 0b0111_1010_0111_1010),
        (0b1111_1110_1111_1110, 14, 0b1111_1110_1111_1110),
        (0b1111_1111_1111_1111, 16, 0b1111_1111_1111_1111),
        (0b1111_1111_0111_1111, 8, 0b1111_1111_0000_0000),
        (0b0000_0111_0111_1111, 6, 0b0111_1110 >> 1),
    ],
)
def test_two_rings_of_eight_are_used_at_the_same_positions(free: int, cards: int, chosen: int) -> None:
    assert packing(NodeMake((8, 16), frozenset({0})), cards).place(free, 1) == (chosen,)


@pytest.mark.parametrize(("free", "cards"), [(0b1111_0000_0000_1111, 8), (0x7F7F, 16), (0x0F3F, 10), (0xFEFE, 15)])
def test_two_rings_of_eight_hold_no_uneven_split(free: int, cards: int) -> None:
    assert packing(NodeMake((8, 16), frozenset({0})), cards).capacity(free) == 0


def test_a_member_over_rings_is_a_multiple_of_them() -> None:
    box = profile_of("p", ("ring", 8), ("node", 2), fabrics={"ring": "ring"})
    assert legal_sizes(box) == (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
    pairs = profile_of("p", ("package", 2), ("ring", 2), ("node", 2), fabrics={"ring": "ring"})
    assert legal_sizes(pairs) == (1, 2, 3, 4, 8)
