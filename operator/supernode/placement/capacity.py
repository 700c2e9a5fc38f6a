"""How many members every domain can take: counted per node, summed upwards, floored to blocks.

Because block sizes divide each other, the flooring is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from supernode.placement.ground import Plot, plot_of
from supernode.placement.rows import Ints
from supernode.placement.shape import Shape
from supernode.topology.census import Kind
from supernode.topology.fleet import SuperNodeView


def domain_caps(plot: Plot, shape: Shape, nodes: Ints, loose: Ints | None = None) -> list[Ints]:
    """Members that each node and each domain above takes, by level, node first, in the order of the plot. nodes: what
    each node takes. loose: the same of single members, where spares are held."""
    if loose is not None and shape.within == shape.profile.node_index:
        nodes = _beside_spares(shape, nodes, loose, shape.within)
    found = [nodes if shape.above else _of_one_each(plot, nodes)]
    held = np.ones(len(nodes), np.int64)
    for starts, index in zip(plot.starts, shape.above, strict=True):
        sums = np.add.reduceat(found[-1], starts) if len(starts) else np.zeros(0, np.int64)
        if shape.whole:
            held = np.add.reduceat(held, starts) if len(starts) else held
        if index in shape.whole:
            sums[held != shape.profile.levels[index].cards // shape.profile.cards_per_node] = 0
        if loose is not None:
            loose = np.add.reduceat(loose, starts) if len(starts) else loose
            if index == shape.within:
                sums = _beside_spares(shape, sums, loose, index)
        step = shape.steps[index]
        found.append(sums - sums % step if step > 1 else sums)
    return found


def _of_one_each(plot: Plot, nodes: Ints) -> Ints:
    """A supernode that is one node gives the cards of one. Should it have others, as one that is gone while groups hold
    its cards, it is the roomiest, of equals the first."""
    if (plot.sizes[0] <= 1).all():
        return nodes
    owners = plot.owners(0)
    order = np.lexsort((-nodes, owners))
    chosen = order[np.flatnonzero(np.diff(owners, prepend=-1))]
    found = np.zeros_like(nodes)
    found[chosen] = nodes[chosen]
    return found


def _beside_spares(shape: Shape, room: Ints, loose: Ints, level: int) -> Ints:
    """What domains take beside their spares, which may lie wherever ranks do not."""
    left = np.minimum(room, np.maximum(loose - shape.spares, 0))
    return np.asarray(left - left % shape.steps[level])


def open_nodes(plot: Plot, room: Ints, whole: NDArray[np.bool_]) -> Ints:
    """What each node takes: nothing where its supernode is cordoned, or it is wholly free and the reserve needs all
    such. room, whole: by kind of node, what it takes, and whether it is wholly free.

    The reserve's finer effect, that only some wholly free nodes may be taken, is left to the caller.
    """
    nodes = room[plot.kinds]
    for shut, among in (
        ([view.cordoned for view in plot.views], None),
        ([0 < view.reserve >= view.wholly_free for view in plot.views], whole),
    ):
        if any(shut):
            closed = np.repeat(np.array(shut), plot.sizes[0])
            nodes[closed if among is None else closed & among[plot.kinds]] = 0
    return nodes


def caps_of(views: Sequence[SuperNodeView], shape: Shape, blocked: NDArray[np.intp]) -> list[list[Ints]]:
    """By view and level, node first, the members each domain takes. blocked: nodes of each view that may not be used;
    cordons and reserves beside."""
    if not views:
        return []
    kinds: dict[Kind, int] = {}
    plot = plot_of(views, kinds)
    each = plot.kinds
    rooms = [shape.packing, shape.loose] if shape.spares else [shape.packing]
    nodes = [np.array([room.capacity(kind.free) for kind in kinds], np.int64)[each] for room in rooms]
    if len(blocked):
        first = np.cumsum(plot.sizes[0]) - plot.sizes[0]
        for room in nodes:
            room[(first[:, None] + blocked).ravel()] = 0
    levels = domain_caps(plot, shape, *nodes)
    ends = [np.cumsum(size)[:-1] for size in plot.sizes]
    split = [np.split(caps, end) for caps, end in zip(levels, ends, strict=True)]
    return [list(of_view) for of_view in zip(*split, strict=True)]
