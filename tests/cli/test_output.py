"""Tables and texts: the same words for a terminal and for a pipe, and nothing that steers either."""

import io
import time

import pytest
from rich.console import Console
from rich.text import Text

from supernode.cli import output
from supernode.cli.output import Cell, Grid, show, table

ROWS: list[list[Cell]] = [["a", "1", Text("Ready", style="green")], ["Knoten-ü", "12345", "机架 7"], ["", "0", ""]]
UNLIMITED = output._UNLIMITED


def shown(what: Cell | Grid, width: int = UNLIMITED, indent: int = 0, *, terminal: bool = False) -> str:
    out = io.StringIO()
    show(Console(file=out, width=width, force_terminal=terminal, markup=False), what, indent=indent)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


@pytest.mark.parametrize("indent", [0, 2])
def test_a_pipe_gets_what_a_wide_terminal_shows(indent: int) -> None:
    grid = table(["NAME", "CARDS", "STATE"], ROWS, numbers=["CARDS"])
    assert shown(grid, indent=indent) == shown(grid, width=200, indent=indent)
    text = "two words\n\nand a third line"
    assert shown(text, indent=indent) == shown(text, width=200, indent=indent)
    assert shown("x" * 20_000) == "x" * 20_000, "one line, however long"


def test_colours_are_for_terminals() -> None:
    grid = table(["STATE"], [[Text("Ready", style="green")]])
    assert "\x1b[" in shown(grid, width=200, terminal=True)
    assert shown(grid) == "STATE\nReady"


@pytest.mark.parametrize("width", [UNLIMITED, 200])
@pytest.mark.parametrize("what", ["a\x1b[2J\nb\x9b", Text("a\x1b[2J\nb\x9b", style="red")])
def test_nothing_steers_the_terminal_and_lines_stay_lines(width: int, what: Cell) -> None:
    assert shown(what, width) == "a\\x1b[2J\nb\\x9b"
    assert shown(table(["X"], [[what]]), width) == "X\na\\x1b[2J\\nb\\x9b"
    assert shown("a\rb", width) == "a\\rb"


def test_a_table_of_thousands_of_rows_is_written_at_once() -> None:
    rows = [[f"server-{i}", "plain", "1", "8", "8", "0", "0", "node 8", "0%", Text("Ready")] for i in range(12_500)]
    started = time.process_time()
    text = shown(table([f"H{i}" for i in range(10)], rows))
    assert text.count("\n") == 12_500
    assert time.process_time() - started < 2
