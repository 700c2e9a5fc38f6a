"""Boxes in rings and tori against enumeration: which are free, which does least damage, how ranks run in it."""

from itertools import pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from supernode.placement.boxes import Rules, Turned, all_boxes, sums, surface, turnings
from tests.placement import oracle_box

DIMS = st.sampled_from([(5,), (8,), (3, 4), (4, 4), (2, 2, 4), (3, 2, 3), (4, 1, 3), (2, 2, 2, 2)])


@st.composite
def tori(draw: st.DrawFn) -> tuple[tuple[int, ...], np.ndarray, list[tuple[int, ...]] | None]:
    """Dims, free cells of one to three tori, and perhaps listed shapes."""
    dims = draw(DIMS)
    count = draw(st.integers(1, 3))
    cells = count * prod(dims)
    busy = draw(st.sets(st.integers(0, cells - 1), max_size=cells))
    free = np.array([cell not in busy for cell in range(cells)]).reshape(count, *dims)
    shape = st.tuples(*(st.integers(1, dim) for dim in dims))
    listed = draw(st.none() | st.lists(shape, min_size=1, max_size=3))
    return dims, free, listed


def rules_of(dims: tuple[int, ...], listed: list[tuple[int, ...]] | None) -> Rules:
    if listed is None:
        return Rules(dims)
    one = (1,) * len(dims)
    return Rules(dims, frozenset(box.extents for shape in listed for box in turnings(shape, one, dims)))


@settings(max_examples=250, deadline=None)
@given(tori(), st.data())
def test_the_best_box_is_that_of_enumeration(
    case: tuple[tuple[int, ...], np.ndarray, list[tuple[int, ...]] | None], data: st.DataObject
) -> None:
    dims, free, listed = case
    rules, legal = rules_of(dims, listed), oracle_box.legal(dims, listed)
    size = data.draw(st.sampled_from(sorted({len(cells) for _, cells in legal})))
    boxes = [box for box in all_boxes(size, dims) if box.extents in {extents for extents, _ in legal}]
    found = rules.best(free, boxes)
    sets = [frozenset(cell for cell in oracle_box.each_cell(dims) if torus[cell]) for torus in free]
    options = [
        (oracle_box.damage(box, legal, cells, dims, listed=listed is not None), torus)
        for torus, cells in enumerate(sets)
        for box in oracle_box.free_boxes(legal, cells)
        if len(box[1]) == size
    ]
    event("free" if options else "none free")
    assert (found is None) == (not options)
    if found is not None:
        taken = (found.box.extents, frozenset(found.cells(dims)))
        assert taken in legal
        assert taken[1] <= sets[found.torus]
        damage = oracle_box.damage(taken, legal, sets[found.torus], dims, listed=listed is not None)
        assert (damage, found.torus) == min(options)


@settings(max_examples=150, deadline=None)
@given(tori(), st.integers(1, 20))
def test_the_largest_box_is_that_of_enumeration(
    case: tuple[tuple[int, ...], np.ndarray, list[tuple[int, ...]] | None], most: int
) -> None:
    dims, free, listed = case
    legal = oracle_box.legal(dims, listed)
    for torus, largest, bounded in zip(
        free, rules_of(dims, listed).largest(free), rules_of(dims, listed).largest(free, most), strict=True
    ):
        cells = frozenset(cell for cell in oracle_box.each_cell(dims) if torus[cell])
        sizes = [len(box) for _, box in oracle_box.free_boxes(legal, cells)]
        assert largest == max(sizes, default=0)
        assert bounded == max((size for size in sizes if size <= most), default=0)


@pytest.mark.parametrize(
    ("shape", "unit", "dims", "extents"),
    [
        ((2, 4, 4), (2, 2, 1), (2, 2, 4), [(1, 2, 4), (2, 1, 4), (2, 2, 2)]),
        ((2, 2, 1), (2, 2, 1), (2, 2, 4), [(1, 1, 1)]),
        ((2, 2, 2), (2, 2, 1), (2, 2, 4), [(1, 1, 2)]),
        ((2, 1, 2), (2, 2, 1), (2, 2, 4), [(1, 1, 1)]),
        ((3, 2, 2), (2, 2, 1), (2, 2, 4), [(1, 1, 3)]),
        ((3, 3, 3), (2, 2, 1), (2, 2, 4), []),
        ((2, 2, 8), (2, 2, 1), (2, 2, 4), []),
    ],
)
def test_a_shape_is_turned_as_hosts_allow(
    shape: tuple[int, ...], unit: tuple[int, ...], dims: tuple[int, ...], extents: list[tuple[int, ...]]
) -> None:
    assert [box.extents for box in turnings(shape, unit, dims)] == extents


@given(st.permutations([0, 1, 2]), st.tuples(*[st.integers(1, 3)] * 3))
def test_ranks_run_row_by_row_along_the_box_as_it_was_asked_for(order: list[int], extents: tuple[int, ...]) -> None:
    offsets = list(Turned(extents, tuple(order)).offsets())
    assert len(set(offsets)) == len(offsets) == prod(extents)
    rows = [tuple(offset[axis] for axis in order) for offset in offsets]
    assert rows == sorted(rows)
    last = order[-1]
    for before, after in pairwise(offsets):
        if after[last]:
            assert after[last] == before[last] + 1
            assert all(a == b for axis, (a, b) in enumerate(zip(after, before, strict=True)) if axis != last)


@pytest.mark.parametrize(
    ("cells", "extents"), [(8, (2, 2, 2)), (12, (2, 2, 3)), (64, (4, 4, 4)), (5, (1, 1, 5)), (32, (2, 4, 4))]
)
def test_the_most_cube_like_box_has_the_least_surface(cells: int, extents: tuple[int, ...]) -> None:
    best = min(all_boxes(cells, (8, 8, 8)), key=lambda box: surface(box.extents, (1, 1, 1)))
    assert tuple(sorted(best.extents)) == extents


@given(st.lists(st.booleans(), min_size=6, max_size=6), st.integers(1, 3), st.integers(1, 2))
def test_sums_wrap_round_every_axis(values: list[bool], width: int, height: int) -> None:
    torus = np.array(values).reshape(1, 3, 2)
    found = sums(torus, (width, height))
    for x in range(3):
        for y in range(2):
            total = sum(int(torus[0, (x + i) % 3, (y + j) % 2]) for i in range(width) for j in range(height))
            assert found[0, x, y] == total
