"""Boxes in rings and tori: where one is free, and which of the free ones does least damage.

A torus is an array of cells, True where the cell is free; many tori of one size are stacked on axis 0. Whether a box is
free is asked for every anchor at once: sums over windows are differences of cumulative sums, axis by axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Extents = tuple[int, ...]
Cells = NDArray[np.bool_]
Counts = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Turned:
    """A box as it lies in the torus: cells along each axis. order: the axes, that of the slowest rank first."""

    extents: Extents
    order: tuple[int, ...]

    def offsets(self) -> Iterator[Extents]:
        """The cells relative to the anchor, in the order of ranks: row by row along the box as it was asked for."""
        for steps in product(*(range(self.extents[axis]) for axis in self.order)):
            by_axis = dict(zip(self.order, steps, strict=True))
            yield tuple(by_axis[axis] for axis in range(len(steps)))


@dataclass(frozen=True, slots=True)
class Found:
    """A free box. torus: index on axis 0; anchor: its lowest cell, from where it may wrap round."""

    torus: int
    anchor: Extents
    box: Turned

    def cells(self, dims: Extents) -> Iterator[Extents]:
        """Its cells in the order of ranks."""
        for offset in self.box.offsets():
            yield tuple((a + o) % dim for a, o, dim in zip(self.anchor, offset, dims, strict=True))


def turnings(shape: Extents, unit: Extents, dims: Extents) -> list[Turned]:
    """The ways a shape, in cards, fits a torus of `dims` cells of `unit` cards each; as written first."""
    found: dict[Extents, Turned] = {}
    for axes in permutations(range(len(shape))):
        turned = tuple(shape[axis] for axis in axes)
        extents = tuple(size // one for size, one in zip(turned, unit, strict=True))
        whole = all(size % one == 0 for size, one in zip(turned, unit, strict=True))
        if whole and all(extent <= dim for extent, dim in zip(extents, dims, strict=True)):
            order = tuple(sorted(range(len(axes)), key=lambda axis: axes[axis]))
            found.setdefault(extents, Turned(extents, order))
    return list(found.values())


def all_boxes(cells: int, dims: Extents) -> list[Turned]:
    """Every box of so many cells."""
    order = tuple(range(len(dims)))
    sides = [[side for side in range(1, dim + 1) if cells % side == 0] for dim in dims]
    return [Turned(extents, order) for extents in product(*sides) if prod(extents) == cells]


def surface(extents: Extents, unit: Extents) -> int:
    """Half the surface of a box in cards: of boxes of one size, the least is the most cube-like."""
    sides = [extent * one for extent, one in zip(extents, unit, strict=True)]
    return sum(prod(sides) // side for side in sides)


@dataclass(frozen=True, slots=True)
class Rules:
    """How boxes may lie in a torus of `dims` cells.

    shapes: in cells, the boxes that may be taken, already turned; None: any. Of listed shapes the anchors are multiples
    of their own extents, so that these never wrap; any others may.
    """

    dims: Extents
    shapes: frozenset[Extents] | None = None

    def anchors(self, free: Cells, extents: Extents) -> Cells:
        """Where a free box of these extents may be anchored; a box round a whole axis is anchored at 0 there."""
        fits: Cells = sums(free, extents) == prod(extents)
        for axis, (extent, dim) in enumerate(zip(extents, self.dims, strict=True)):
            allowed = np.zeros(dim, np.bool_)
            if extent == dim:
                allowed[0] = True
            elif self.shapes is None:
                allowed[:] = True
            else:
                allowed[: dim - extent + 1 : extent] = True
            fits &= allowed.reshape([-1 if at == axis else 1 for at in range(len(self.dims))])
        return fits

    def larger(self, extents: Extents) -> set[Extents]:
        """The boxes whose places are worth keeping: the larger shapes, or the box with one side longer by one; and the
        whole torus."""
        if self.shapes is not None:
            found = {shape for shape in self.shapes if prod(shape) > prod(extents)}
        else:
            grown = (tuple(e + (at == axis) for at, e in enumerate(extents)) for axis in range(len(extents)))
            found = {shape for shape in grown if all(e <= dim for e, dim in zip(shape, self.dims, strict=True))}
        return found | ({self.dims} if self.dims != extents else set())

    def damage(self, free: Cells, extents: Extents) -> Counts:
        """By anchor, how many free places of larger boxes a box of these extents would break.

        The cost of Slurm's torus3d topology (eval_nodes_torus3d.c).
        """
        broken = np.zeros(free.shape, np.int32)
        for shape in self.larger(extents):
            lengths = [min(dim, e + s - 1) for e, s, dim in zip(extents, shape, self.dims, strict=True)]
            first = np.roll(self.anchors(free, shape), [s - 1 for s in shape], axis=tuple(range(1, free.ndim)))
            broken += sums(first, lengths)
        return broken

    def best(self, free: Cells, boxes: Sequence[Turned]) -> Found | None:
        """The free box of least damage; of equals the one in the first torus, then the first box, then anchor."""
        best: tuple[int, int, int, int] | None = None
        for number, box in enumerate(boxes):
            fits = self.anchors(free, box.extents).reshape(-1)
            places = np.flatnonzero(fits)
            if not len(places):
                continue
            damage = self.damage(free, box.extents).reshape(-1)[places]
            at = int(places[damage.argmin()])
            torus, anchor = divmod(at, prod(self.dims))
            found = (int(damage.min()), torus, number, anchor)
            best = found if best is None else min(best, found)
        if best is None:
            return None
        _, torus, number, anchor = best
        return Found(torus, tuple(int(i) for i in np.unravel_index(anchor, self.dims)), boxes[number])

    def largest(self, free: Cells, most: int | None = None) -> Counts:
        """By torus, the cells of the largest free box, of those with at most so many."""
        axes = tuple(range(1, free.ndim))
        limit = prod(self.dims) if most is None else most
        found = np.zeros(len(free), np.int32)
        if self.shapes is not None:
            for shape in self.shapes | {self.dims}:
                if prod(shape) <= limit:
                    found = np.maximum(found, self.anchors(free, shape).any(axis=axes) * prod(shape))
            return found
        for face in product(*(range(1, dim + 1) for dim in self.dims[:-1])):
            runs = longest_runs(sums(free, (*face, 1)) == prod(face)).max(axis=axes[:-1], initial=0)
            found = np.maximum(found, np.minimum(runs, limit // prod(face)) * prod(face))
        return found


def sums(values: NDArray[Any], extents: Sequence[int]) -> Counts:
    """For each cell, the sum over the box of these extents that starts there and wraps round every axis."""
    found = values.astype(np.int32)
    for axis, extent in enumerate(extents, start=1):
        if extent > 1:
            skip, size = (slice(None),) * axis, found.shape[axis]
            found = np.concatenate((found, found[*skip, : extent - 1]), axis)
            np.cumsum(found, axis, out=found)
            before = found[*skip, : size - 1].copy()
            found = found[*skip, extent - 1 :]
            found[*skip, 1:] -= before
    return found


def longest_runs(cells: Cells) -> Counts:
    """The longest run of True along the last axis, which closes into a ring."""
    size = cells.shape[-1]
    twice = np.concatenate((cells, cells), -1)
    steps = np.arange(1, 2 * size + 1)
    gaps = np.maximum.accumulate(np.where(twice, 0, steps), -1)
    runs: Counts = np.minimum((steps - gaps).max(-1), size)
    return runs
