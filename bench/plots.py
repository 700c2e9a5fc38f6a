"""Plots, written to a folder of built files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pygal  # type: ignore[import-untyped]

from bench.figures import Figure
from bench.placement import GROWTH_CARDS, GROWTH_SIZES

_POINT = re.compile(r"growth: (\d+) cards of (\d+): p50")


def draw_growth(figures: Iterable[Figure], folder: Path) -> Path:
    """Median decision time over the size of the fleet, a line for each size of group; both axes logarithmic."""
    points = {(int(m[1]), int(m[2])): figure.value for figure in figures if (m := _POINT.match(figure.name))}
    chart = pygal.Line(logarithmic=True, title="Decision time", x_title="cards of the fleet", y_title="ms, median")
    chart.x_labels = [f"{cards:,}" for cards in GROWTH_CARDS]
    for size in GROWTH_SIZES:
        chart.add(f"{size} cards", [points.get((size, cards)) for cards in GROWTH_CARDS])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "growth.svg"
    chart.render_to_file(str(path))
    return path
