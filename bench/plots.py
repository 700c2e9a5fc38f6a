"""Plots, written to a folder of built files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pygal  # type: ignore[import-untyped]

from bench.figures import Figure
from bench.placement import GROWTH_CARDS, GROWTH_SIZES

_POINT = re.compile(r"growth: (\d+) cards of (\d+): p50")
_STEP = re.compile(r"load: growth: (\d+) nodes: (.+)")


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


def draw_load(figures: Iterable[Figure], folder: Path) -> list[Path]:
    """Each figure of the growing fleet over its nodes, a plot of its own; none where growth was not measured."""
    series: dict[str, dict[int, float]] = {}
    for figure in figures:
        if m := _STEP.match(figure.name):
            series.setdefault(m[2], {})[int(m[1])] = figure.value
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for what, points in series.items():
        chart = pygal.Line(
            title=what, x_title="nodes, each with a pod", range=(0, max(points.values())), show_legend=False
        )
        chart.x_labels = [f"{nodes:,}" for nodes in points]
        chart.add(what, list(points.values()))
        paths.append(folder / f"load-{re.sub('[^a-z0-9]+', '-', what.lower())}.svg")
        chart.render_to_file(str(paths[-1]))
    return paths
