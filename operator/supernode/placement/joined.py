"""One refusal where a request was tried on several profiles: the nearest to a place, with the profile it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from supernode.api.conditions import Reason
from supernode.placement.result import Refusal

SHOWN = 3
"""Other profiles that a message names before it only counts them."""


def joined(refusals: Mapping[str, Refusal]) -> Refusal:
    """Of refusals by profile, the one whose known change takes the fewest cards; one that waiting cannot help comes
    last. Its numbers are those of its profile. Its change is the least only if that of no other may be smaller."""
    name = min(refusals, key=lambda name: _distance(refusals[name]))
    nearest = refusals[name]
    others = [other for other in refusals if other != name]
    if not others or nearest.reason == Reason.NO_NODES:
        return nearest
    least = nearest.least and all(_no_less(refusals[other], nearest.cards) for other in others)
    return replace(nearest, message=f"on profile {name}: {nearest.message}; {_none_of(others)}", least=least)


def _distance(refused: Refusal) -> tuple[bool, bool, int, bool, int]:
    return refused.stalled, not refused.change, refused.cards, refused.best == 0, refused.needed - refused.best


def _no_less(refused: Refusal, cards: int) -> bool:
    return refused.stalled or (refused.least and refused.cards >= cards)


def _none_of(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"profile {names[0]} does not fit either"
    listed = f"profiles {', '.join(names)}" if len(names) <= SHOWN else f"the other {len(names)} profiles"
    return f"{listed} do not fit either"
