"""Whether cards that a group holds still work, from what a node says of itself."""

from __future__ import annotations

from supernode.api.tolerations import TaintEffect
from supernode.topology.discovery import NodeFacts
from supernode.topology.profile import Profile
from supernode.topology.ranges import format_cards
from supernode.topology.taints import barring
from supernode.topology.views import named_unhealthy


def ailment(facts: NodeFacts | None, profile: Profile, cards: int) -> str | None:
    """Why pods cannot use these cards (bitmask) of a node, in words; None when nothing is known against it.

    A cordoned node works on. Cards that are missing from allocatable count only where some of these must be among them,
    and not while none is allocatable: then the device plugin is away, as during its update, and says nothing of cards.
    """
    if facts is None:
        return "the node is gone"
    if not facts.ready:
        return "the node is not ready"
    evicting = [taint for taint in barring(facts.taints, profile.tolerated) if taint.effect == TaintEffect.NO_EXECUTE]
    if evicting:
        return f"the node is tainted {evicting[0]}"
    named = named_unhealthy(facts, profile) or 0
    if ill := named & cards:
        return f"unhealthy cards: {format_cards(ill)}"
    capacity, usable = facts.capacity.get(profile.counted, 0), facts.allocatable.get(profile.counted, 0)
    others = capacity - cards.bit_count()
    if usable > 0 and capacity - usable > others:
        return f"only {usable} of {capacity} cards are allocatable"
    return None
