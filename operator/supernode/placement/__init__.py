"""Placement: a snapshot of the fleet and a request in, a placement or a refusal out. No I/O, clock or randomness."""

from supernode.placement.blocks import fragmentation, largest_block
from supernode.placement.cost import Estimate, estimate
from supernode.placement.holding import Hold, hold
from supernode.placement.offers import Measure, Need, needs, offers, reach
from supernode.placement.plan import plan
from supernode.placement.request import Block, Request, Spares
from supernode.placement.result import Box, Placement, Refusal

__all__ = [
    "Block",
    "Box",
    "Estimate",
    "Hold",
    "Measure",
    "Need",
    "Placement",
    "Refusal",
    "Request",
    "Spares",
    "estimate",
    "fragmentation",
    "hold",
    "largest_block",
    "needs",
    "offers",
    "plan",
    "reach",
]
