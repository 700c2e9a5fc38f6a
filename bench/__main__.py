"""python -m bench [study [name...]] [--number N] [--plots FOLDER]: measure, and compare with what is expected.

Without a study all of them run in their quick form. The exit status is 1 when a limit of `expectations.yaml` is missed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import day, loads, placement, render, spans
from bench.figures import Expectations, Figure, report, yardstick
from bench.plots import draw_growth, draw_load

STUDIES: dict[str, tuple[Callable[..., list[Figure]], str]] = {
    "placement": (placement.run, "decision times at 100 000 cards; N decisions per size"),
    "growth": (placement.run_growth, "decision times from 10 000 to 1 000 000 cards; N decisions per size"),
    "spans": (spans.run, "share of answers at the exact minimum, beside a best-fit greedy; N draws per setting"),
    "day": (day.run, "a day of mixed load beside best fit and first fit; N hours"),
    "render": (render.run, "time and size of what a placed group is told, up to 15 488 cards; N rounds"),
    "load": (loads.run, f"the engine on a real control plane: {', '.join(loads.LOADS)}"),
}


def arguments_of(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says; ends the process where it says what there is not."""
    studies = "\n".join(f"  {name:10} {text}" for name, (_, text) in STUDIES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=studies, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", nargs="?", choices=STUDIES, help="run this one in full; all in quick form by default")
    parser.add_argument("names", nargs="*", metavar="name", help="of load: only these")
    parser.add_argument("--quick", action="store_true", help="the quick form, also of one study")
    parser.add_argument("--number", type=int, help="N: how much to measure")
    parser.add_argument("--plots", type=Path, default=Path(".cache/bench"), help="folder for plots (%(default)s)")
    arguments = parser.parse_args(words)
    if arguments.names and arguments.study != "load":
        parser.error(f"{arguments.study} takes no names; leave out {' '.join(arguments.names)}")
    if unknown := [name for name in arguments.names if name not in loads.LOADS]:
        parser.error(f"there is no load {', '.join(unknown)}; choose from {', '.join(loads.LOADS)}")
    return arguments


def main() -> int:
    arguments = arguments_of()
    known = Expectations.load()
    kept = True
    for name in [arguments.study] if arguments.study else STUDIES:
        start = time.monotonic()
        measure, _ = STUDIES[name]
        before = yardstick()
        options = {"names": arguments.names} if arguments.names else {}
        figures = measure(quick=arguments.quick or arguments.study is None, number=arguments.number, **options)
        print(f"\n{name}, {time.monotonic() - start:.0f} s")
        kept = report(figures, known, (before + yardstick()) / 2) and kept
        if name == "growth":
            print(f"plot: {draw_growth(figures, arguments.plots)}")
        if name == "load":
            print("".join(f"plot: {path}\n" for path in draw_load(figures, arguments.plots)), end="")
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
