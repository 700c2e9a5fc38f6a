"""Figures and what is expected of them: `expectations.yaml` beside this module.

Each expectation has a `limit` (at most or at least) that a run must keep, what was `seen` when it was written (absent
when it was not measured), and where the project has set itself a bar, that `aim`. Processor times depend on the
machine, so they are held against their limits after scaling by a yardstick, a fixed piece of work of the same kind
timed in the same run; an aim is a time that a user sees, and is compared as it is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

EXPECTATIONS = Path(__file__).with_name("expectations.yaml")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. unit: `ms` is processor time, scaled by the yardstick when held against its limit."""

    name: str
    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Expectation:
    """kind: `most` or `least`; limit, aim and seen in the figure's unit, times on the machine the file names."""

    name: str
    kind: str
    limit: float
    seen: float | None
    aim: float | None

    def keeps(self, value: float, bound: float) -> bool:
        return value <= bound if self.kind == "most" else value >= bound


class Expectations:
    """The file of expectations."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.yardstick_ms = float(document["machine"]["yardstickMs"])
        self._known = {name: _read(name, entry) for name, entry in document["figures"].items()}

    @classmethod
    def load(cls, path: Path = EXPECTATIONS) -> Expectations:
        return cls(yaml.safe_load(path.read_text()))

    def of(self, name: str) -> Expectation | None:
        return self._known.get(name)


def _read(name: str, entry: dict[str, float]) -> Expectation:
    kind = "most" if "most" in entry else "least"
    return Expectation(name, kind, entry[kind], entry.get("seen"), entry.get("aim"))


def yardstick() -> float:
    """Milliseconds of processor time of a fixed mix of interpreted steps and operations on small arrays.

    It is the median of half a second, since a core that rested begins at less than half its speed. None of these
    operations is one like sorting, for which numpy has code for some processors only: such a machine sorts several
    times as fast as its like, and decides no faster.
    """
    values = np.arange(256)
    spent = []
    for _ in range(201):
        start = time.process_time()
        total = 0
        for step in range(20_000):
            total += step & 7
        for _ in range(400):
            np.flatnonzero(np.cumsum(values) > total)
        spent.append(time.process_time() - start)
    return statistics.median(spent) * 1000


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(figures: Iterable[Figure], known: Expectations, yardstick_ms: float) -> bool:
    """Print every figure beside its expectation; whether all limits were kept."""
    scale = known.yardstick_ms / yardstick_ms
    table = Table("figure", "value", "scaled", "limit", "seen", "aim", "verdict", box=None, pad_edge=False)
    for column in table.columns[1:6]:
        column.justify = "right"
    kept = True
    for figure in figures:
        value = figure.value * scale if figure.unit == "ms" else figure.value
        expected = known.of(figure.name)
        row = [figure.name, _text(figure.value, figure.unit), _text(value) if figure.unit == "ms" else ""]
        if expected is None:
            table.add_row(*row, "", "", "", "")
            continue
        good = expected.keeps(value, expected.limit)
        kept = kept and good
        reached = expected.aim is None or expected.keeps(figure.value, expected.aim)
        sign = "<=" if expected.kind == "most" else ">="
        aim = "" if expected.aim is None else f"{sign} {_text(expected.aim)}"
        verdict = "MISSED" if not good else "kept" if reached else "kept, aim not reached"
        table.add_row(
            *row, f"{sign} {_text(expected.limit)}", "" if expected.seen is None else _text(expected.seen), aim, verdict
        )
    console = Console(width=140)
    console.print(table)
    console.print(f"yardstick {yardstick_ms:.2f} ms here, {known.yardstick_ms:.2f} ms where the limits come from")
    return kept


def _text(value: float, unit: str = "") -> str:
    digits = f"{value:.4f}" if unit != "ms" and value < 10 else f"{value:.2f}"
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits}{' ' if unit else ''}{unit}"
