"""Groups that take whole nodes, in supernodes of racks: all there is to know is how many nodes are free in each rack.

The number of nodes is fixed, and the roomiest racks come first, so one supernode's price is read off; several are a
`cover`.
"""

from __future__ import annotations

import numpy as np

from supernode.placement.board import Board
from supernode.placement.coding import FAR
from supernode.placement.cover import cover
from supernode.placement.prune import Known, Options
from supernode.placement.rows import Ints
from supernode.placement.split import Shares, cheapest, even_split, levelled_steps


def applies(board: Board) -> bool:
    """Whether nodes are given whole and racks are the only level between node and supernode, if any."""
    return board.shape.per_node > 0 and len(board.shape.above) in (1, 2)


def choose(board: Board, count: int, members: int) -> tuple[int, Shares]:
    """The least price, and (supernode, members), over the fewest supernodes that hold all: `count`."""
    coding, steps = board.coding, board.shape.steps
    unit = coding.unit(len(board.shape.above))
    if count == 1:
        floors = board.floors(members)
        least = np.flatnonzero(floors == floors.min())
        best = int(least[board.preference[least].argmin()])
        return int(floors[best]) + unit, [(best, members)]
    racks = len(board.shape.above) == 2
    reach = _reach(board) if racks else np.stack((np.zeros_like(board.room), board.room), axis=1)
    nodes = members // board.shape.per_node * coding.unit(0)
    rack = coding.unit(1) if racks else 0
    if not racks or steps[-1] == steps[-2]:
        found = cover(reach, count, members, steps[-1])
        if found is not None:
            return nodes + found.parts * rack + count * unit, found.shares
    return _exactly(board, reach, count, members, rack, unit, nodes)


def _reach(board: Board) -> Ints:
    """By supernode and r, what its r roomiest racks hold, and no more than it may give."""
    step = board.shape.steps[-1]
    reach = np.minimum(board.reach(1), board.room[:, None])
    return reach - reach % step if step > 1 else reach


def _exactly(
    board: Board, reach: Ints, count: int, members: int, rack: int, unit: int, nodes: int
) -> tuple[int, Shares]:
    """The same by the exact knapsack. What r racks hold is one option; where one more holds no more, it is none."""
    step = board.shape.steps[-1]
    room = reach[:, -1]
    last = np.sort(room)[-count:]
    slack = int(last.sum()) - members
    useful = np.flatnonzero(room >= max(step, int(last[0]) - slack))
    steps = reach[useful] // step
    rising = np.diff(steps, axis=1) > 0
    inside = rising & (steps[:, 1:] * step >= (room[useful] - slack)[:, None])
    prices = np.where(inside, np.arange(1, reach.shape[1]) * rack + unit, FAR)[:, ::-1]
    options = Options(useful, room[useful], np.where(inside, steps[:, 1:], 0)[:, ::-1], prices, rack or unit)
    found = cheapest(options, count, members // step, Known())
    return found.price + nodes, levelled_steps(options, found, members, step)


def columns(board: Board, shares: Shares) -> tuple[Ints, Ints]:
    """The nodes taken, numbered over all supernodes, and the members on each: racks evenly used, the first free nodes
    of each."""
    per_node, firsts = board.shape.per_node, board.ground.first[0]
    low, high = int(firsts[shares[0][0]]), int(firsts[shares[-1][0] + 1])
    free = low + np.flatnonzero(board.caps[0][low:high])
    if len(board.shape.above) == 2:
        domains, amounts = board.ground.parents[0][free], _of_racks(board, shares) // per_node
    else:
        domains, amounts = np.searchsorted(firsts, free, side="right") - 1, np.zeros(len(firsts), np.int64)
        for index, members in shares:
            amounts[index] = members // per_node
    held = np.bincount(domains)
    place = np.arange(len(free)) - (np.cumsum(held) - held)[domains]
    taken = free[place < amounts[domains]]
    return taken, np.full(len(taken), per_node)


def _of_racks(board: Board, shares: Shares) -> Ints:
    """The members that each rack gets: all it takes where its supernode gives all, as most do of several."""
    racks = board.caps[1]
    first, domains = board.ground.first[1], board.ground.first[2]
    held = np.add.reduceat(racks, board.ground.starts[1])
    full = np.zeros(len(held), np.bool_)
    part = []
    for index, members in shares:
        if int(held[domains[index]]) == members:
            full[domains[index]] = True
        else:
            part.append((index, members))
    amounts = np.where(full[board.ground.parents[1]], racks, 0)
    for index, members in part:
        start, end = first[index : index + 2].tolist()
        for rack, amount in even_split(racks[start:end].tolist(), members, board.shape.steps[-2]):
            amounts[start + rack] = amount
    return amounts
