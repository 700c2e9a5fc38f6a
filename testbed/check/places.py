"""Where nodes lie in rings and tori, by the labels that give positions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.check.facts import Host

Cell = tuple[int, ...]


def cell(text: str, grid: Cell) -> Cell | None:
    """The cell that a position such as ``1-0-3`` names; None when there is no such cell."""
    if not re.fullmatch(r"\d{1,5}([-._x]\d{1,5})*", text):
        return None
    found = tuple(int(part) for part in re.split(r"\D", text))
    return found if len(found) == len(grid) and all(map(int.__lt__, found, grid)) else None


def placed(hosts: Iterable[Host]) -> list[Host]:
    """Without the hosts that stand outside: their position is unknown, or they contradict others about it."""
    found = list(hosts)
    outside: set[str] = set()
    seen: dict[object, set[object]] = {}
    claims: list[tuple[str, object, object]] = []
    for host in found:
        for at, level in enumerate(host.profile.outer):
            if level.position is None:
                continue
            child, place = host.domains[host.profile.below(at)], host.cells[level.name]
            if place is None:
                outside.add(host.name)
                continue
            spot = (host.domains[level.name], level.name, place)
            claims.append((host.name, (level.name, child), spot))
            seen.setdefault((level.name, child), set()).add(place)
            seen.setdefault(spot, set()).add(child)
    outside |= {name for name, child, spot in claims if len(seen[child]) > 1 or len(seen[spot]) > 1}
    return [host for host in found if host.name not in outside]
