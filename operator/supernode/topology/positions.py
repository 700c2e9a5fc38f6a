"""Where a domain's children lie in its ring or torus, from the labels of their nodes.

Shared by discovery, which leaves out nodes that cannot be told apart, and by views, which place the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from supernode.api.errors import SupernodeError
from supernode.topology.profile import Level, Profile

_UNKNOWN = frozenset({"", "unknown", "none", "4294967295"})
_NEGATIVE = re.compile(r"-[0-9]+")
_COORDINATES = re.compile(r"[0-9]{1,5}([-._x][0-9]{1,5})*")


class Labelled(Protocol):
    """A node, as far as labels say where it lies."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


class PositionError(SupernodeError, ValueError):
    """The value of a position label is no position in its level's grid."""


def known_value(value: str | None) -> str | None:
    """A domain label's value, or None when it says "I do not know": empty, negative, 0xffffffff, unknown, none."""
    if value is None or value.strip().lower() in _UNKNOWN or _NEGATIVE.fullmatch(value.strip()):
        return None
    return value.strip()


def parse_position(text: str, grid: tuple[int, ...]) -> int:
    """The row-major index of a position such as `7`, or `1-0-3` with one number per axis. Raises PositionError."""
    value = text.strip()
    extents = "x".join(map(str, grid))
    if not _COORDINATES.fullmatch(value):
        raise PositionError(f"{text!r} is no position; write one number per axis of {extents}, such as 0-1-3")
    numbers = [int(part) for part in re.split(r"[-._x]", value)]
    if len(numbers) != len(grid):
        raise PositionError(f"{text!r} has {len(numbers)} numbers, but {extents} has {len(grid)} axes")
    index = 0
    for number, extent in zip(numbers, grid, strict=True):
        if number >= extent:
            raise PositionError(f"{text!r} lies outside {extents}; positions count from 0")
        index = index * extent + number
    return index


def domain_paths(profile: Profile, supernode: str, nodes: Iterable[Labelled]) -> dict[str, tuple[str, ...]]:
    """Node to the names of its domains above it, outer to inner: the supernode, then each level's value under its
    parent's name.

    A node whose label does not say its domain stands alone at that level, in a domain of its own name.
    """
    facts = list(nodes)
    if not profile.above:
        return {node.name: () for node in facts}
    paths: dict[str, tuple[str, ...]] = {node.name: (supernode,) for node in facts}
    for level in reversed(profile.above[:-1]):
        values = {node.name: known_value(node.labels.get(level.node_label or "")) for node in facts}
        real = {f"{paths[name][-1]}/{value}" for name, value in values.items() if value is not None}
        for name, value in values.items():
            own = f"{paths[name][-1]}/{value or name}"
            alone = value is None and own in real
            paths[name] = (*paths[name], f"{own}~" if alone else own)
    return paths


def positions(profile: Profile, node: Labelled) -> tuple[int, ...]:
    """Per level above the node, outer to inner, the position of the node's child in its domain of that level.

    -1 at levels without position labels, and where the label does not say.
    """
    found = []
    for level in reversed(profile.above):
        try:
            found.append(_position(level, node) if level.position_label else -1)
        except PositionError:
            found.append(-1)
    return tuple(found)


def _position(level: Level, node: Labelled) -> int:
    """Raises PositionError."""
    label = level.position_label or ""
    value = known_value(node.labels.get(label))
    if value is None:
        raise PositionError(f"label {label} is missing or says unknown")
    try:
        return parse_position(value, level.grid)
    except PositionError as error:
        raise PositionError(f"label {label}: {error}") from None


def misplaced(profile: Profile, supernode: str, nodes: Iterable[Labelled]) -> dict[str, str]:
    """Nodes that cannot be placed in the rings and tori of their supernode, each with the reason.

    These are nodes without a legible position, and all nodes of children that share one position or have several.
    """
    facts = list(nodes)
    if not any(level.position_label for level in profile.above):
        return {}
    found: dict[str, str] = {}
    paths = {name: (*path, name) for name, path in domain_paths(profile, supernode, facts).items()}
    for depth, level in enumerate(reversed(profile.above)):
        if level.position_label is None:
            continue
        at: dict[str, int] = {}
        for node in facts:
            try:
                at[node.name] = _position(level, node)
            except PositionError as error:
                found.setdefault(node.name, str(error))
        positions_of: dict[str, set[int]] = {}
        children_at: dict[tuple[str, int], set[str]] = {}
        for name, position in at.items():
            domain, child = paths[name][depth : depth + 2]
            positions_of.setdefault(child, set()).add(position)
            children_at.setdefault((domain, position), set()).add(child)
        for name, position in at.items():
            domain, child = paths[name][depth : depth + 2]
            if len(positions_of[child]) > 1:
                found.setdefault(name, f"label {level.position_label}: nodes of {child} name different positions")
            elif len(children_at[domain, position]) > 1:
                sharing = " and ".join(sorted(children_at[domain, position]))
                found.setdefault(name, f"label {level.position_label}: {sharing} name the same position")
    return found
