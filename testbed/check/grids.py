"""Rules about rings and tori: what a group takes of one is a box of neighbours, in one domain, of whole children."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from math import prod

from testbed.check.facts import Cards, Host, Level, Profile
from testbed.check.groups import Group
from testbed.check.report import Report, Rule

Cell = tuple[int, ...]
Domain = tuple[str, ...]


def check_grids(
    group: Group, profile: Profile, places: list[tuple[Host, Cards]], hosts: Iterable[Host], report: Report
) -> None:
    """What the group takes of every ring or torus around its nodes."""
    total = group.members * group.cards
    for at, level in enumerate(profile.outer):
        if not level.grid:
            continue
        child = profile.below(at)
        size = profile.node.cards if at == 0 else profile.outer[at - 1].cards
        domains = {host.domains[level.name] for host, _ in places}
        children = {host.domains[child] for host, _ in places}
        if total < size:
            told = f"takes {total} cards of a {level.name} from {len(children)} domains of {child}, not one"
            report.expect(Rule.SHAPE, group.title, len(children) == 1, told)
            return
        told = f"takes {total} cards in parts of {len(children)} domains of {child}"
        whole = report.expect(Rule.SHAPE, group.title, len(children) * size == total, told)
        if total > level.cards:
            told = f"takes {total} cards in parts of {len(domains)} domains of {level.name}"
            report.expect(Rule.SHAPE, group.title, len(domains) * level.cards == total, told)
        elif whole:
            near = [host for host in hosts if host.profile == profile and host.domains[level.name] in domains]
            fault = _fault(group, profile, at, children, near)
            report.expect(Rule.SHAPE, group.title, fault is None, fault or "")
            return


def _fault(group: Group, profile: Profile, at: int, children: set[Domain], hosts: list[Host]) -> str | None:
    """What is wrong with a box of these children; None when nothing is."""
    level, child = profile.outer[at], profile.below(at)
    if len({host.domains[level.name] for host in hosts}) > 1:
        return f"takes parts of several domains of {level.name}"
    if len(children) == 1:
        return None
    cells = {_cell(level, host, child, hosts) for host in hosts if host.domains[child] in children}
    if None in cells:
        return f"takes several domains of {child} whose positions are not known"
    runs = [sorted({place[axis] for place in cells if place}) for axis in range(len(level.grid))]
    if prod(map(len, runs)) != len(cells) or not all(map(_is_run, runs, level.grid)):
        return f"takes the cells {sorted(filter(None, cells))} of a {level.name}, which are no box"
    sides = [len(run) * one for run, one in zip(runs, profile.unit(at), strict=True)]
    listed = [shape for shape in profile.shapes if len(shape) == len(sides)]
    straight = all(run[0] % len(run) == 0 and run[-1] - run[0] < len(run) for run in runs)
    if listed and len(cells) < prod(level.grid) and (sorted(sides) not in map(sorted, listed) or not straight):
        return (
            f"takes {sides} cards from cell {[run[0] for run in runs]} of a {level.name}: no listed shape in its place"
        )
    asked = (group.spec.get("topology") or {}).get("shape")
    if asked and Counter(asked) != Counter(sides):
        return f"takes {sides} cards, asked for is {asked}"
    return None


def _cell(level: Level, host: Host, child: str, hosts: list[Host]) -> Cell | None:
    if level.position:
        return host.cells[level.name]
    order = sorted({other.domains[child] for other in hosts}, key=_natural)
    if len(order) != prod(level.grid):
        return None
    number, found = order.index(host.domains[child]), []
    for extent in reversed(level.grid):
        number, rest = divmod(number, extent)
        found.append(rest)
    return tuple(found[::-1])


def _natural(domain: Domain) -> list[object]:
    return [int(part) if part.isdigit() else part for name in domain for part in re.split(r"(\d+)", name)]


def _is_run(run: list[int], extent: int) -> bool:
    """Whether these are neighbours on a circle of so many places."""
    gaps = [(after - before) % extent for before, after in zip(run, run[1:] + run[:1], strict=True)]
    return len(run) == extent or sum(gap != 1 for gap in gaps) == 1 or len(run) == 1
