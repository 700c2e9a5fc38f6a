"""Groups over several nodes that are supernodes of their own: which nodes, and how much of each.

So a supernode and its node are spoken of as one; only at the end it matters which of all nodes that is."""

from __future__ import annotations

import numpy as np

from supernode.placement.board import Board
from supernode.placement.fronts import level_out
from supernode.placement.racks import fewest_whole
from supernode.placement.rows import Ints
from supernode.placement.split import best_fit


def columns(board: Board, count: int, members: int) -> tuple[Ints, Ints]:
    """`count` nodes, the fewest that hold all, and the members on each: the fewest wholly free ones, evenly used, those
    with the least room first; of equals none ailing, then the lowest index."""
    step, nodes, homes = board.shape.steps[-1], np.flatnonzero(board.room), _homes(board)
    is_whole = board.whole[homes[nodes]]
    pools = [_roomiest(board, part, count) for part in (nodes[is_whole], nodes[~is_whole])]
    reaches = [np.concatenate(([0], np.cumsum(board.room[pool]))) for pool in pools]
    width = max(map(len, reaches))
    whole, partly = (np.pad(reach, (0, width - len(reach)), mode="edge")[None] for reach in reaches)
    taken = int(fewest_whole(whole, partly, members, np.array([count]))[0])
    sizes = taken, count - taken
    caps = [int(cap) // step for pool, size in zip(pools, sizes, strict=True) for cap in board.room[pool[:size]]]
    amounts = [amount * step for amount in level_out(caps, members // step)]
    room: list[int] = board.room.tolist()
    parts = zip((nodes[is_whole], nodes[~is_whole]), (amounts[:taken], amounts[taken:]), strict=True)
    spots = sorted(spot for part, of in parts for spot in best_fit(_tightest(board, part, count), room, of))
    chosen, given = np.array(spots, np.int64).T
    return homes[chosen], given


def _homes(board: Board) -> Ints:
    """By supernode, the node that gives its cards, numbered over all; 0 where none does."""
    giving, homes = np.flatnonzero(board.caps[0]), np.zeros(len(board.room), np.int64)
    homes[np.searchsorted(board.ground.first[0], giving, side="right") - 1] = giving
    return homes


def _roomiest(board: Board, nodes: Ints, count: int) -> Ints:
    found: Ints = nodes[np.argsort(-board.room[nodes], kind="stable")[:count]]
    return found


def _tightest(board: Board, nodes: Ints, count: int) -> list[int]:
    """In the order of preference, as many of each capacity as could be used."""
    nodes = nodes[np.argsort(board.preference[nodes], kind="stable")]
    room = board.room[nodes]
    found: list[int] = nodes[np.arange(len(nodes)) - np.searchsorted(room, room) < count].tolist()
    return found
