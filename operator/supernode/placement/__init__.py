"""Placement: a snapshot of the fleet and a request in, a placement or a refusal out. No I/O, clock or randomness."""

from supernode.placement.blocks import fragmentation, largest_block
from supernode.placement.cost import Estimate, estimate
from supernode.placement.plan import plan
from supernode.placement.request import Block, Request, Spares
from supernode.placement.result import Box, Placement, Refusal

__all__ = [
    "Block",
    "Box",
    "Estimate",
    "Placement",
    "Refusal",
    "Request",
    "Spares",
    "estimate",
    "fragmentation",
    "largest_block",
    "plan",
]
