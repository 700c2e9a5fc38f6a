"""`map`: what each supernode has, what is free in it, and in which pieces."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.text import Text

from supernode.api.conditions import Reason
from supernode.cli.errors import NotThere
from supernode.cli.inventory import Snapshot
from supernode.cli.output import Cell, Grid, compact, show, table
from supernode.control.supernodes import Ledger, Standing, counts, standing
from supernode.topology.fleet import SuperNodeView
from supernode.topology.node import Node
from supernode.topology.ranges import natural_key

_HEADERS: Final = (
    "SUPERNODE",
    "PROFILE",
    "NODES",
    "CARDS",
    "FREE",
    "ALLOCATED",
    "UNHEALTHY",
    "LARGEST BLOCK",
    "FRAGMENTED",
    "STATE",
)
_NUMBERS: Final = ("NODES", "CARDS", "FREE", "ALLOCATED", "UNHEALTHY", "FRAGMENTED")

_LEGEND: Final = "one sign for each node:  . free  + partly held  # held  x has unhealthy cards  - gives no new cards"


def print_map(out: Console, snapshot: Snapshot) -> None:
    """One row for each supernode, then what is wrong."""
    names = sorted(snapshot.discovery.supernodes, key=natural_key)
    show(out, table(_HEADERS, [_row(snapshot, name) for name in names], numbers=_NUMBERS))
    standings = {name: _standing(snapshot, name) for name in names}
    told = {name: state for name, state in standings.items() if not state.ready or state.tainted or state.remarkable}
    remarks = [f"{name}: {state.message}" for name, state in told.items()]
    remarks += [problem.message for problem in snapshot.discovery.problems if problem.of_profile]
    if remarks:
        show(out)
    for remark in remarks:
        show(out, remark)


def print_supernode(out: Console, snapshot: Snapshot, name: str) -> None:
    """One supernode: its row, its nodes as signs under their domains, and who holds cards. Raises NotThere."""
    if name not in snapshot.discovery.supernodes:
        known = compact(sorted(snapshot.discovery.supernodes, key=natural_key)) or "none"
        raise NotThere(f"there is no supernode {name}; known are: {known}")
    show(out, table(_HEADERS, [_row(snapshot, name)], numbers=_NUMBERS))
    state = _standing(snapshot, name)
    show(out, state.message)
    view = snapshot.fleet.supernodes.get(name)
    if view is not None and view.nodes:
        show(out)
        show(out, _nodes_table(view))
        show(out, _LEGEND)
    holders = _holders(snapshot, name)
    if holders:
        show(out)
        show(
            out,
            table(["GROUP", "MEMBERS", "SPARES", "CARDS", "NODES"], holders, numbers=["MEMBERS", "SPARES", "CARDS"]),
        )


def _row(snapshot: Snapshot, name: str) -> list[Cell]:
    found, view = snapshot.discovery.supernodes[name], snapshot.fleet.supernodes.get(name)
    state = _standing(snapshot, name)
    sound = state.reason == Reason.DISCOVERED and not state.tainted and not state.remarkable
    sign = Text(_state_word(state), style="green" if sound else "yellow")
    if view is None:
        return [name, found.profile, str(len(found.nodes)), *["-"] * 6, sign]
    figures = counts(view)
    cards = figures["cards"]
    blocks = ", ".join(f"{block['level']} {block['cards']}" for block in figures["largestBlock"])
    return [
        name,
        found.profile,
        str(figures["nodes"]),
        str(cards["total"]),
        str(cards["free"]),
        str(cards["allocated"]),
        str(cards["total"] - cards["healthy"]),
        blocks,
        f"{figures['fragmentation']}%",
        sign,
    ]


def _standing(snapshot: Snapshot, name: str) -> Standing:
    return standing(
        snapshot.fleet.supernodes.get(name),
        snapshot.troubles.get(name),
        snapshot.conflicts.get(name),
        cordoned=snapshot.discovery.supernodes[name].cordoned,
    )


def _state_word(state: Standing) -> str:
    word = "Ready" if state.reason == Reason.DISCOVERED else str(state.reason)
    counted = ((state.tainted, "tainted"), (state.remarkable, "to look at"))
    return "".join((word, *(f", {count} {what}" for count, what in counted if count)))


def _nodes_table(view: SuperNodeView) -> Grid:
    """A row for each innermost domain above the node."""
    rows: list[Sequence[Cell]] = []
    for path, nodes in groupby(view.nodes, key=lambda node: node.path):
        here = list(nodes)
        domain = path[-1].removeprefix(f"{view.name}/") if path else view.name
        free = sum(node.free.bit_count() for node in here)
        signs = "".join(map(_sign, here))
        rows.append([domain, signs, f"{free}/{sum(node.cards for node in here)}", compact([n.name for n in here])])
    level = view.profile.above[0].name if view.profile.above else "node"
    return table([level.upper(), "MAP", "FREE", "NODES"], rows, numbers=["FREE"])


def _sign(node: Node) -> str:
    if not node.schedulable:
        return "-"
    if node.healthy & node.all_cards != node.all_cards:
        return "x"
    held = node.taken & node.all_cards
    if not held:
        return "."
    return "#" if held == node.all_cards else "+"


def _holders(snapshot: Snapshot, name: str) -> list[list[str]]:
    record = snapshot.supernodes.get(name)
    rows = []
    for entry in Ledger.of(record).entries if record is not None else ():
        seats = [*entry.seats(), *entry.spare_seats()]
        cards = sum(seat.cards.bit_count() for seat in seats)
        nodes = compact(list(dict.fromkeys(seat.node for seat in seats)))
        rows.append([entry.group, str(len(entry.seats())), str(len(entry.spare_seats())), str(cards), nodes])
    return rows
