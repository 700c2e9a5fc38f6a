"""What a supernode could still give: the largest block per level, and how much of what is free lies outside it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from supernode.placement.shapes import box_rules
from supernode.topology.cards import legal_sizes, packing
from supernode.topology.fleet import SuperNodeView
from supernode.topology.grid import free_cells
from supernode.topology.profile import NODE


def largest_block(view: SuperNodeView) -> Mapping[str, int]:
    """Level (inner to outer) to the cards of the largest whole block that one of its domains can give now.

    Inside the node a block is one legal, aligned member. Above it, it is whole nodes, the reserve kept: in a ring or
    torus a box, above that whole rings or tori. Where no node is wholly free, it is what one node can give.
    """
    return view.memo("largest block", lambda: MappingProxyType(_largest_block(view)))


def _largest_block(view: SuperNodeView) -> dict[str, int]:
    profile = view.profile
    make = profile.node_make
    usable = 0 if view.cordoned else view.usable
    open_ = [] if view.cordoned else [node for node in view.nodes if usable or not node.wholly_free]
    masks = {node.free for node in open_}
    legal = legal_sizes(profile)
    largest = {}
    for index, level in enumerate(profile.levels[: profile.node_index + 1]):
        fitting = (
            cards
            for cards in reversed(legal)
            if cards <= level.cards
            and any(packing(make.upto(index), cards).capacity(part) for part in _parts(masks, level.cards))
        )
        largest[level.name] = next(fitting, 0)
    best = largest[NODE]
    whole = np.array([node.wholly_free and node.cards == profile.cards_per_node for node in view.nodes], np.int64)
    step = 1
    for depth, level in enumerate(profile.above):
        bounds = np.asarray(view.layout.node_bounds[depth])
        counts = np.add.reduceat(whole, bounds[:-1]) if len(whole) else np.zeros(1, np.int64)
        most = min(usable, int(counts.max()))
        if not level.tree_like:
            index, child = profile.node_index + 1 + depth, profile.levels[profile.node_index + depth]
            nodes = child.cards // profile.cards_per_node
            boxes = box_rules(profile, index).largest(free_cells(view, index), usable // nodes)
            best = max(best, int(boxes.max(initial=0)) * child.cards)
            step = level.cards // profile.cards_per_node
            whole = np.repeat((counts == step) & (np.diff(bounds) == step), np.diff(bounds)).astype(np.int64)
            most = 0
        best = max(best, most // step * step * profile.cards_per_node)
        largest[level.name] = best
    return largest


def fragmentation(view: SuperNodeView) -> int:
    """Share of the healthy free cards outside the largest block of the outermost level, in percent, 0 to 100. The
    reserve is no part of either: what it keeps together is not scattered."""
    if not view.unreserved_cards:
        return 0
    largest = largest_block(view)[view.profile.outermost.name]
    return max(0, 100 - 100 * largest // view.unreserved_cards)


def _parts(masks: set[int], size: int) -> set[int]:
    """The distinct free masks of the domains of `size` cards inside nodes."""
    full = (1 << size) - 1
    return {mask >> start & full for mask in masks for start in range(0, mask.bit_length(), size)}
