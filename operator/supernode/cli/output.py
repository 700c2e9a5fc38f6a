"""Writing to the terminal: tables as kubectl prints them, in colour only where a person looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from supernode.cli.errors import printable
from supernode.topology.node import Member
from supernode.topology.ranges import RangeError, format_cards, format_ints, format_nodes

Cell = str | Text

_UNLIMITED = 10_000
"""Width where no terminal limits it: a pipe gets each row on one line."""

_SHOWN_SETS = 4


def say(text: str) -> None:
    """A line beside the answer, on standard error."""
    if sys.stderr is not None:
        print(printable(text), file=sys.stderr)


def console() -> Console:
    """Standard output as it is now."""
    limited = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if limited else _UNLIMITED, markup=False, emoji=False, highlight=False)


@dataclass(frozen=True, slots=True)
class Grid:
    """A table without lines. numbers: columns that are set to the right."""

    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: frozenset[str]


def table(headers: Sequence[str], rows: Iterable[Sequence[Cell]], *, numbers: Iterable[str] = ()) -> Grid:
    """A table of cells that cannot steer a terminal."""
    return Grid(headers, [[_safe(cell) for cell in row] for row in rows], frozenset(numbers))


def show(out: Console, what: Cell | Grid = "", *, indent: int = 0) -> None:
    """Print a text, line by line without what could steer a terminal, or a table; folded where a terminal is narrow."""
    if isinstance(what, Grid):
        if out.width == _UNLIMITED:
            _write(out, _lines(what), indent)
        else:
            out.print(Padding(_folding(what), (0, 0, 0, indent), expand=False))
        return
    if isinstance(what, str):
        what = Text("\n".join(map(printable, what.split("\n"))))
    lines = [_safe_text(line) for line in what.split("\n", allow_blank=True)]
    if out.width == _UNLIMITED:
        _write(out, map(str, lines), indent)
    else:
        out.print(Padding(Text("\n").join(lines), (0, 0, 0, indent), expand=False))


def _safe(cell: Cell) -> Cell:
    """The cell on one line, with nothing that could steer a terminal."""
    return printable(cell) if isinstance(cell, str) else _safe_text(cell)


def _safe_text(text: Text) -> Text:
    return text if text.plain.isprintable() else Text(printable(text.plain), style=text.style)


def _write(out: Console, lines: Iterable[str], indent: int) -> None:
    """Where nothing folds: rich takes a second for a thousand rows of ten cells."""
    margin = " " * indent
    out.file.writelines(f"{margin}{line}".rstrip() + "\n" for line in lines)


def _lines(grid: Grid) -> Iterator[str]:
    rows = [grid.headers, *([str(cell) for cell in row] for row in grid.rows)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    right = [header in grid.numbers for header in grid.headers]
    for row in rows:
        gaps = (" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(
            gap + cell if to_right else cell + gap for cell, gap, to_right in zip(row, gaps, right, strict=True)
        )


def _folding(grid: Grid) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for header in grid.headers:
        made.add_column(header, justify="right" if header in grid.numbers else "left", overflow="fold")
    for row in grid.rows:
        made.add_row(*row)
    return made


def compact(names: Sequence[str], *, most: int = 200) -> str:
    """Names of nodes or domains as ranges, such as `a-n[000-047]` or `row1/r[0-7]`, cut when longer than `most`."""
    text = ",".join(_run(parent, [name.rpartition("/")[2] for name in part]) for parent, part in _by_parent(names))
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _by_parent(names: Sequence[str]) -> Iterator[tuple[str, Iterator[str]]]:
    return groupby(names, key=lambda name: "".join(name.rpartition("/")[:2]))


def _run(parent: str, names: Sequence[str]) -> str:
    try:
        return f"{parent}{format_nodes(names)}"
    except RangeError:  # a domain is called by a label's value, which may be what no node's name can be
        return ",".join(f"{parent}{name}" for name in names)


def members_table(members: Iterable[Member], numbers: str = "RANKS") -> Grid:
    """Where members lie, one row for each supernode; one in all where every node is its own. numbers: what they are
    numbered as."""
    ordered = list(members)
    between = list(dict.fromkeys(level for member in ordered for level in list(member.domains)[1:-1]))[::-1]
    known = [len(member.domains) for member in ordered if member.domains]
    lone = max(known, default=0) == 1
    rows = []
    for supernode in [None] if lone else dict.fromkeys(member.supernode for member in ordered):
        here = [member for member in ordered if supernode in (None, member.supernode)]
        domains = [
            compact(list(dict.fromkeys(_below(member.domains.get(level, "?"), supernode) for member in here)))
            for level in between
        ]
        nodes = compact(list(dict.fromkeys(member.node for member in here)))
        ranks = format_ints(member.rank for member in here)
        rows.append([*([] if supernode is None else [supernode]), *domains, nodes, ranks, _cards(here)])
    headers = [*([] if lone else ["SUPERNODE"]), *(level.upper() for level in between), "NODES", numbers, "CARDS"]
    return table(headers, rows)


def _below(domain: str, supernode: str | None) -> str:
    return domain.removeprefix(f"{supernode}/")


def _cards(members: Sequence[Member]) -> str:
    """The card sets of members, or their size where there are many."""
    sets = list(dict.fromkeys(member.cards for member in members))
    if len(sets) <= _SHOWN_SETS:
        return " ".join(map(format_cards, sets))
    return f"{sets[0].bit_count()} of each node"
