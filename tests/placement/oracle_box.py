"""Boxes in rings and tori by enumeration: sets of cells, straight from the definition of what is legal.

Shares nothing with the solver. Usable up to about a hundred cells.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations, product
from math import prod

Cell = tuple[int, ...]
Extents = tuple[int, ...]
Placed = tuple[Extents, frozenset[Cell]]
"""A box where it lies: its extents along the axes, and its cells."""


def placements(extents: Extents, dims: Extents, *, aligned: bool) -> set[Placed]:
    """Every place of a box: anywhere on the torus, or only on the tiling by itself that starts at the origin."""
    if aligned and extents != dims:
        anchors = product(*(range(0, dim - extent + 1, extent) for extent, dim in zip(extents, dims, strict=True)))
    else:
        anchors = product(*map(range, dims))
    return {(extents, _cells(anchor, extents, dims)) for anchor in anchors}


def _cells(anchor: Cell, extents: Extents, dims: Extents) -> frozenset[Cell]:
    spread = [
        [(start + i) % dim for i in range(extent)] for start, extent, dim in zip(anchor, extents, dims, strict=True)
    ]
    return frozenset(product(*spread))


def legal(dims: Extents, listed: Iterable[Extents] | None) -> set[Placed]:
    """Every legal box of a torus, everywhere it may lie. listed: shapes in cells that may be turned; None: any box."""
    if listed is None:
        return {box for extents in product(*(range(1, dim + 1) for dim in dims)) for box in _all(extents, dims, False)}
    shapes = {turned for shape in listed for turned in permutations(shape)} | {dims}
    return {box for extents in shapes for box in _all(extents, dims, True)}


def legal_in_cards(dims: Extents, unit: Extents, listed: Iterable[Extents] | None) -> set[Placed]:
    """The same with listed shapes in cards, of which only those count that whole cells of `unit` cards make up."""
    if listed is None:
        return legal(dims, None)
    turned = {t for shape in listed for t in permutations(shape)}
    cells = {
        tuple(side // one for side, one in zip(shape, unit, strict=True))
        for shape in turned
        if all(side % one == 0 for side, one in zip(shape, unit, strict=True))
    }
    return {box for extents in cells | {dims} for box in _all(extents, dims, True)}


def _all(extents: Extents, dims: Extents, aligned: bool) -> set[Placed]:
    if any(extent > dim for extent, dim in zip(extents, dims, strict=True)):
        return set()
    return placements(extents, dims, aligned=aligned)


def free_boxes(boxes: Iterable[Placed], free: frozenset[Cell]) -> list[Placed]:
    return [box for box in boxes if box[1] <= free]


def damage(box: Placed, boxes: Iterable[Placed], free: frozenset[Cell], dims: Extents, *, listed: bool) -> int:
    """Free places of larger boxes that this box takes a cell of: of larger listed shapes, or of boxes that are one
    longer on one side; and of the whole torus."""
    extents, cells = box
    grown = {tuple(e + (at == axis) for at, e in enumerate(extents)) for axis in range(len(dims))}

    def matters(other: Extents) -> bool:
        if other == dims:
            return extents != dims
        return prod(other) > prod(extents) if listed else other in grown

    return sum(matters(other) and taken <= free and bool(taken & cells) for other, taken in boxes)


def surface(extents: Sequence[int], unit: Sequence[int]) -> int:
    """Half the surface in cards."""
    sides = [a * b for a, b in zip(extents, unit, strict=True)]
    return sum(prod(sides[:i] + sides[i + 1 :]) for i in range(len(sides)))


def each_cell(dims: Extents) -> Iterator[Cell]:
    yield from product(*map(range, dims))
