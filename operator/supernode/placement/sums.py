"""Prices of whole supernodes of racks, many at once: one step of numpy adds a rack to each of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from supernode.placement.coding import FAR
from supernode.placement.racks import node_counts
from supernode.placement.rows import Ints, cumulated

MANY = 1_000_000
"""Table cells of one supernode beyond which it is better priced on its own, when it is asked for."""

TOGETHER = 64
"""Supernodes added up at once: as many as stay in the cache of a processor."""


FAR32 = 1 << 29
"""As FAR, in 32 bits, which processors add and compare several times as fast."""


def affordable(racks: int, nodes: int, in_rack: int, in_all: int) -> bool:
    """Whether supernodes are better added up together. racks, nodes: of the largest; in_rack, in_all: the most steps
    that are asked of a rack and of a supernode."""
    return racks * (in_rack + 1) * (in_all + 1) <= MANY and racks << nodes.bit_length() < FAR32


def added_up(
    nodes: Ints,
    caps: Ints,
    sizes: NDArray[np.intp],
    racks: NDArray[np.intp],
    step: int,
    most: int,
    units: tuple[int, int],
) -> Ints:
    """prices[s, j] of j * step members in supernode s, for j up to `most`; FAR beyond what it takes.

    nodes, caps: what each node and each rack takes, supernode by supernode; sizes: nodes of each rack; racks: of each
    supernode; units: the price of touching a node and a rack. Wholly free nodes are not counted.
    """
    widest = int(caps.max(initial=0)) // step
    asked = np.arange(widest + 1) * step
    nodes_before = np.concatenate(([0], np.cumsum(sizes)))[np.concatenate(([0], np.cumsum(racks)))]
    bits = int(np.diff(nodes_before).max()).bit_length()
    prices = (node_counts(cumulated(nodes, sizes), step, len(asked)) + (1 << bits)).astype(np.int32)
    prices[asked > caps[:, None]] = FAR32
    offers = np.full((int(racks.max()), len(racks), widest + 1), FAR32, np.int32)
    owner = np.repeat(np.arange(len(racks)), racks)
    offers[np.arange(len(caps)) - (np.cumsum(racks) - racks)[owner], owner] = prices
    offers[:, :, 0] = 0
    parts = range(0, len(racks), TOGETHER)
    found = np.concatenate([_added(offers[:, part : part + TOGETHER], most) for part in parts]).astype(np.int64)
    return np.where(found < FAR32, (found >> bits) * units[1] + (found & ((1 << bits) - 1)) * units[0], FAR)


def _added(offers: NDArray[np.int32], most: int) -> NDArray[np.int32]:
    """offers[r, s, j]: the price of j steps in rack r of supernode s."""
    _, supernodes, width = offers.shape
    best = np.full((supernodes, most + width), FAR32, np.int32)
    best[:, width - 1] = 0
    windows = np.lib.stride_tricks.sliding_window_view(best, most + 1, axis=1).transpose(1, 0, 2)
    for offer in offers:
        best[:, width - 1 :] = (windows + offer.T[::-1, :, None]).min(axis=0)
    return best[:, width - 1 :]
