"""Prices of whole supernodes of racks, many at once: one step of numpy adds a rack to each of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from supernode.placement.coding import FAR
from supernode.placement.racks import node_counts
from supernode.placement.rows import Ints, cumulated

MANY = 1_000_000
"""Table cells of one supernode beyond which it is better priced when it is asked for."""

TOGETHER = 64
"""Supernodes added up at once: as many as stay in the cache of a processor."""


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
    prices = node_counts(cumulated(nodes, sizes), asked) * units[0] + units[1]
    prices[asked > caps[:, None]] = FAR
    offers = np.full((int(racks.max()), len(racks), widest + 1), FAR, np.int64)
    owner = np.repeat(np.arange(len(racks)), racks)
    offers[np.arange(len(caps)) - (np.cumsum(racks) - racks)[owner], owner] = prices
    offers[:, :, 0] = 0
    parts = range(0, len(racks), TOGETHER)
    return np.concatenate([_added(offers[:, part : part + TOGETHER], most) for part in parts])


def _added(offers: Ints, most: int) -> Ints:
    """offers[r, s, j]: the price of j steps in rack r of supernode s."""
    _, supernodes, width = offers.shape
    best = np.full((supernodes, most + width), FAR, np.int64)
    best[:, width - 1] = 0
    windows = np.lib.stride_tricks.sliding_window_view(best, most + 1, axis=1).transpose(1, 0, 2)
    for offer in offers:
        best[:, width - 1 :] = (windows + offer.T[::-1, :, None]).min(axis=0)
    return best[:, width - 1 :].copy()
