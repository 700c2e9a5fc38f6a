"""The cards that must come free in a node, against every choice of cards."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from supernode.topology.cards import packing
from supernode.topology.missing import missing
from supernode.topology.profile import NodeMake
from supernode.topology.ranges import card_indices

SIZES = st.sampled_from([(8,), (4,), (2, 8), (4, 8), (2, 4, 8), (3, 6), (2, 6), (1, 2, 8), (3, 9)])
Case = tuple[NodeMake, int, tuple[int, ...], int, int]


@st.composite
def nodes(draw: st.DrawFn) -> Case:
    """(make, cards per member, steps, free, cards of the node)."""
    sizes = draw(SIZES)
    rings = draw(st.frozensets(st.integers(0, len(sizes) - 2))) if len(sizes) > 1 else frozenset()
    step, steps = 1, []
    for _ in sizes:
        step *= draw(st.sampled_from([1, 1, 1, 2]))
        steps.append(step)
    cards = sizes[-1] - draw(st.sampled_from([0, 0, 0, 1]))
    free = draw(st.integers(0, (1 << cards) - 1))
    return NodeMake(sizes, rings), draw(st.integers(1, sizes[-1])), tuple(steps), free, cards


@given(nodes())
def test_the_fewest_cards_open_the_way(node: Case) -> None:
    make, cards, steps, free, real = node
    shape = packing(make, cards, steps)
    found = missing(shape, free, real)
    assert found[0] == 0
    assert len(found) - 1 == shape.capacity((1 << real) - 1) // steps[-1]
    closed = card_indices(((1 << real) - 1) & ~free)
    for number, mask in enumerate(found):
        assert mask & free == 0
        assert shape.capacity(free | mask) >= number * steps[-1]
        fewer = mask.bit_count() - 1
        for chosen in combinations(closed, fewer) if fewer >= 0 else ():
            assert shape.capacity(free | sum(1 << card for card in chosen)) < number * steps[-1]
