"""Groups that fit one node: the least vector there is, so only the choice of the node is left."""

from __future__ import annotations

import numpy as np

from supernode.placement.board import Board

Spot = tuple[int, int]
"""(index of a node in its view, members on it)."""


def choose(board: Board, members: int) -> tuple[int, int] | None:
    """(price, supernode) of the node to take, or None where no node holds all.

    One that is not wholly free comes first, then the supernode with the least room, the fewest ailing nodes, the lowest
    index.
    """
    if board.shape.whole:
        return None
    nodes = np.flatnonzero(board.caps[0] >= members)
    if not len(nodes):
        return None
    partly = nodes[~board.whole[nodes]]
    owners = np.searchsorted(board.ground.first[0], partly if len(partly) else nodes, side="right") - 1
    unit = sum(board.coding.unit(level) for level in range(len(board.caps)))
    return unit + (0 if len(partly) else board.coding.whole), int(owners[board.preference[owners].argmin()])


def spot(board: Board, supernode: int, members: int) -> Spot:
    """The node of a supernode to take: one that is not wholly free, the least room level by level, fewest free cards,
    none ailing, the lowest index."""
    first, end = board.ground.first[0][supernode : supernode + 2].tolist()
    nodes = first + np.flatnonzero(board.caps[0][first:end] >= members)
    partly = nodes[~board.whole[nodes]]
    nodes = partly if len(partly) else nodes
    for level in range(len(board.caps) - 2, 0, -1):
        domains = nodes
        for parents in board.ground.parents[:level]:
            domains = parents[domains]
        nodes = nodes[domains == domains[board.caps[level][domains].argmin()]]
    nodes = nodes[board.caps[0][nodes] == board.caps[0][nodes].min()]
    known = board.views[supernode].nodes
    best = min((nodes - first).tolist(), key=lambda at: (known[at].free.bit_count(), known[at].ailing, at))
    return best, members
