"""Which boxes of a ring or torus a request may take, and which legal ones are near when it may not.

A ring is a torus of one axis, and a box of it a run of neighbours that may wrap. Boxes consist of whole children.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, product
from math import prod

from supernode.api.errors import SupernodeError
from supernode.placement.boxes import Extents, Rules, Turned, all_boxes, surface, turnings
from supernode.placement.request import Request
from supernode.topology.profile import Level, Profile

_NEAR = 4
"""Legal shapes that a refusal lists."""

_MOST_TORI = 4096
"""Whole tori up to which shapes of several are listed."""


class IllegalShapeError(SupernodeError, ValueError):
    """A request that no legal box fulfils; the message names the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Need:
    """A box of one domain of a ring or torus level. choices: boxes alike in surface, the most cube-like first."""

    level: int
    rules: Rules
    choices: tuple[tuple[Turned, ...], ...]


def box_rules(profile: Profile, index: int) -> Rules:
    """What may be taken of a domain of this level."""
    level = profile.levels[index]
    unit, listed = profile.child_extents(index), _listed(profile, level)
    if not listed or not unit:
        return Rules(level.grid)
    return Rules(level.grid, frozenset(box.extents for shape in listed for box in turnings(shape, unit, level.grid)))


def box_need(request: Request, profile: Profile, index: int) -> Need:
    """The boxes for a request of at least one whole child, at most a whole domain. Raises IllegalShapeError."""
    level, child = profile.levels[index], profile.levels[index - 1]
    rules = box_rules(profile, index)
    unit = profile.child_extents(index) or (1,) * len(rules.dims)
    if request.shape:
        _check_axes(request, profile, index)
        boxes = turnings(request.shape, unit, rules.dims)
    else:
        cells, odd = divmod(request.cards, child.cards)
        boxes = [] if odd else all_boxes(cells, rules.dims)
    if rules.shapes is not None:
        boxes = [box for box in boxes if box.extents in rules.shapes or box.extents == rules.dims]
    if not boxes:
        what = f"topology.shape is {_text(request.shape)}" if request.shape else f"{request.cards} cards are asked for"
        raise IllegalShapeError(
            f"{what}, which is no legal part of a {level.name} of profile {profile.name} ({_kind(level)}); "
            f"near it are {_near(request.cards, profile, index)}: use one of them"
        )
    boxes.sort(key=lambda box: surface(box.extents, unit))
    groups = groupby(boxes, key=lambda box: surface(box.extents, unit))
    return Need(index, rules, tuple(tuple(group) for _, group in groups))


def check_several(request: Request, profile: Profile, index: int) -> None:
    """Several whole domains of a ring or torus level. Raises IllegalShapeError."""
    level = profile.levels[index]
    if request.cards % level.cards or level.cards % request.cards_per_member:
        raise IllegalShapeError(
            f"{request.cards} cards are more than one {level.name} of profile {profile.name} ({_kind(level)}) and no "
            f"whole number of them; near it are {_near(request.cards, profile, index)}: use one of them"
        )


def check_joined(request: Request, profile: Profile, index: int) -> None:
    """A shape of several whole tori, which the level above `index` must join. Raises IllegalShapeError."""
    _check_axes(request, profile, index)
    level, whole = profile.levels[index], _whole(profile, index)
    if index + 1 == len(profile.levels) or profile.levels[index + 1].fabric == "none":
        raise IllegalShapeError(
            f"topology.shape is {_text(request.shape)}, but nothing joins several {level.name} domains of profile "
            f"{profile.name} to one torus; ask for at most {_text(whole)}, or leave shape out"
        )
    if not turnings(request.shape, whole, tuple(request.cards for _ in whole)):
        raise IllegalShapeError(
            f"topology.shape is {_text(request.shape)}, which cannot be put together from whole {level.name} domains "
            f"of {_text(whole)} cards; near it are {_near(request.cards, profile, index)}: use one of them"
        )


def no_torus(request: Request, profile: Profile) -> IllegalShapeError:
    """For a shape where there is nothing it could be a part of."""
    return IllegalShapeError(
        f"topology.shape is {_text(request.shape)}, but {request.cards} cards are no part of a torus of profile "
        f"{profile.name}; leave shape out, or name a profile with a torus of whole nodes"
    )


def _check_axes(request: Request, profile: Profile, index: int) -> None:
    level, unit = profile.levels[index], profile.child_extents(index)
    if level.fabric != "torus" or len(unit) != len(request.shape):
        raise IllegalShapeError(
            f"topology.shape has {len(request.shape)} axes; a {level.name} of profile {profile.name} "
            + (f"has {len(unit)}: give one number per axis" if unit else "is no torus of cards: leave shape out")
        )


def _whole(profile: Profile, index: int) -> Extents:
    """Cards along each axis of a whole torus."""
    unit, dims = profile.child_extents(index), profile.levels[index].dims
    return tuple(one * dim for one, dim in zip(unit, dims, strict=True)) if unit else ()


def _listed(profile: Profile, level: Level) -> list[Extents]:
    return [shape for shape in profile.shapes if level.fabric == "torus" and len(shape) == len(level.dims)]


def _near(cards: int, profile: Profile, index: int) -> str:
    """The legal shapes whose sizes are nearest."""
    sizes = _legal(profile, index, cards)
    nearest = sorted(sizes, key=lambda size: (abs(size - cards), size))[:_NEAR]
    return ", ".join(sizes[size] for size in sorted(nearest))


def _legal(profile: Profile, index: int, cards: int) -> dict[int, str]:
    """Legal numbers of cards, each with its most cube-like shape."""
    level, child = profile.levels[index], profile.levels[index - 1]
    unit, whole = profile.child_extents(index), _whole(profile, index)
    if box_rules(profile, index).shapes is not None:
        named = {prod(shape): f"{_text(shape)} ({prod(shape)} cards)" for shape in _listed(profile, level)}
    else:
        named = _any_boxes(level, child, unit)
    several = min(_MOST_TORI, cards // level.cards + 1)
    for number in range(max(1, several - _NEAR), several + 1):
        text = f"{number * level.cards} cards ({number} x {level.name})"
        if whole:
            cubes = min(all_boxes(number, (number,) * len(whole)), key=lambda box: surface(box.extents, whole))
            text = _text(sorted(a * b for a, b in zip(cubes.extents, whole, strict=True)))
            text += f" ({number * level.cards} cards)"
        named[number * level.cards] = text
    return named


def _any_boxes(level: Level, child: Level, unit: Extents) -> dict[int, str]:
    """The same where any box is legal, below the whole torus."""
    sides = unit or (1,) * len(level.grid)
    best: dict[int, Extents] = {}
    for extents in product(*(range(1, dim + 1) for dim in level.grid)):
        size = prod(extents) * child.cards
        if size < level.cards and (size not in best or surface(extents, sides) < surface(best[size], sides)):
            best[size] = extents
    if not unit:
        return {size: f"{size} cards ({size // child.cards} x {child.name})" for size in best}
    shapes = {size: sorted(e * one for e, one in zip(extents, unit, strict=True)) for size, extents in best.items()}
    return {size: f"{_text(shape)} ({size} cards)" for size, shape in shapes.items()}


def _kind(level: Level) -> str:
    return f"a ring of {level.fan_out}" if level.fabric == "ring" else f"a torus of {_text(level.dims)}"


def _text(extents: Iterable[int]) -> str:
    return "x".join(map(str, extents))
