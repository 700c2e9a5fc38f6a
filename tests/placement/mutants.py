"""Plant small faults in the allocator, one at a time, and see that its own tests notice every one.

    python -m tests.placement.mutants [--only TEXT] [--jobs N]

Each fault replaces one piece of text in a copy of the package; the placement tests then run on the copy until the first
failure. The exit status is 1 when a fault survives. Takes a few minutes; `test_mutants_apply.py` only checks, in the
ordinary suite, that every fault still names text that is there once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator" / "supernode"

TESTS = ("plan", "cases", "cover", "racks", "split", "refusal", "state", "fronts", "kept", "budget")
"""Quick ones first: a fault is most often seen at once."""


@dataclass(frozen=True, slots=True)
class Fault:
    """In a module of the placement package, `old` becomes `new`."""

    module: str
    old: str
    new: str

    @property
    def path(self) -> Path:
        return PACKAGE / "placement" / f"{self.module}.py"

    def applied(self, text: str) -> str:
        """Raises ValueError unless the text holds `old` once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.module}: {self.old!r} is there {text.count(self.old)} times, not once")
        return text.replace(self.old, self.new)


FAULTS = (
    Fault("blocks", "min(usable, int(counts.max()))", "int(counts.max())"),
    Fault("board", "kept[plot.index] = rows(plot)", "rows(plot)"),
    Fault("board", "inner[plot.where[1]] = self._inner_of(plot, whole)", "self._inner_of(plot, whole)"),
    Fault("board", "self._unsummed[plot.index] = True", "self._unsummed[plot.index[:1]] = True"),
    Fault("board", "self._sums[supernodes, ::ratio]", "self._sums[supernodes, ::1]"),
    Fault("board", "[kind.ill for kind in new]", "[False for kind in new]"),
    Fault("board", "np.minimum.reduceat(prices, starts)", "prices[starts]"),
    Fault("board", "(self.reach(level) < members)", "(self.reach(level) <= members)"),
    Fault("board", "caps[where] = part", "caps[where] = np.maximum(caps[where], part)"),
    Fault("capacity", "sums - sums % step if step > 1 else sums", "sums"),
    Fault("capacity", "0 < view.reserve >= view.wholly_free", "0 < view.reserve > view.wholly_free"),
    Fault("capacity", "[view.cordoned for view in plot.views]", "[False for view in plot.views]"),
    Fault("capacity", "sums[held != ", "sums[held < "),
    Fault("capacity", "np.lexsort((-nodes, owners))", "np.lexsort((nodes, owners))"),
    Fault("coding", "widths.append(width if", "widths.append(width - 1 if"),
    Fault("cover", "fewest = -(-value // q)", "fewest = -(-value // q) + 1"),
    Fault("cover", "need = self.total - lines * self.parts", "need = self.total - (lines + 2) * self.parts"),
    Fault("cover", "least < first - loss", "least < first + loss"),
    Fault("cover", "rows[left[fits], 0]))[:1]", "-rows[left[fits], 0]))[:1]"),
    Fault("cover", "- before, 0, equal)", ", 0, equal)"),
    Fault("fronts", "states[used, axis] += 1", "states[used, axis] += 0"),
    Fault("fronts", "inside[level] = end - start", "inside[level] = end - start - 1"),
    Fault("fronts", "nodes = taken + np.searchsorted(", "nodes = np.searchsorted("),
    Fault("fronts", "min(caps[index], left // open_)", "min(caps[index], left)"),
    Fault("ground", "self.changed[changed] = self.tick", "self.changed[changed[:1]] = self.tick"),
    Fault("ground", "first[changed] - _before(size) for", "first[changed] for"),
    Fault("kept", "- self.shape.spares * np.arange", "- 0 * np.arange"),
    Fault("kept", "-self.caps[0][nodes]))][:count]", "self.caps[0][nodes]))][:count]"),
    Fault("kept", "rooms - rooms % self.shape.steps[index]", "rooms"),
    Fault("kept", "range(1, min(rooms.shape[1], more.shape[1]))", "range(1, min(rooms.shape[1], more.shape[1]) - 1)"),
    Fault("lone", "board.whole[homes[nodes]]", "board.whole[nodes]"),
    Fault("lone", "level_out(caps, members // step)", "level_out(caps[::-1], members // step)"),
    Fault(
        "lone",
        "pools = [_roomiest(board, part, count) for part in (nodes[is_whole], nodes[~is_whole])]",
        "pools = [_roomiest(board, nodes, count), nodes[:0]]",
    ),
    Fault("plan", "placements if tuple(placement.spans.values()) == least]", "placements]"),
    Fault("plan", '("refusal", request.members, task.spans,', '("refusal", task.spans,'),
    Fault("pool", "-(-missing[inside] // each[inside])", "1 - (-missing[inside] // each[inside])"),
    Fault("pool", "total * p - q * nodes - a * racks)", "total * p - q * nodes - a * racks + 1)"),
    Fault("pool", "if covers.parts == counts[0] else", "if covers.parts >= counts[0] else"),
    Fault("pool", "self._last - slack)", "self._last - slack + 1)"),
    Fault("pool", "(racks, nodes + 1) if len(bare)", "(racks, nodes + 2) if len(bare)"),
    Fault("pool", "- q[first, None] * count", "- 2 * q[first, None] * count"),
    Fault("prune", "int(least[taken].sum())", "int(least[taken].max())"),
    Fault("prune", "bounds <= known.price - options.grain", "bounds <= known.price - 8 * options.grain"),
    Fault("prune", "(drop <= spare)", "(drop <= spare + 1)"),
    Fault("rows", "count * unit + asked // inner * children[0].slope", "count * unit"),
    Fault("shortfall", "self.starts[domains] - before, counts", "self.starts[domains], counts"),
    Fault("shortfall", "before[at] + self.ranks[chosen]", "before[at]"),
    Fault("shortfall", "costs[homes, ranks + size] - costs[homes, ranks]", "costs[homes, ranks + size]"),
    Fault("shortfall", "closed[kinds[inside]]", "by_kind[kinds[inside]]"),
    Fault("shortfall", "max(sum(whole), sum(room for _, room in each))", "sum(whole)"),
    Fault("shortfall", "[: max(0, len(each) - view.reserve)]", "[: len(each)]"),
    Fault("ground", "found[plot.where[level]] = rows(plot)", "rows(plot)"),
    Fault("racks", "(self.reach[racks] < asked)", "(self.reach[racks] <= asked)"),
    Fault("racks", "(whole + others >= members)", "(whole + others > members)"),
    Fault("racks", "reach // step + 1, asked", "reach // step, asked"),
    Fault("racks", "held(taken) < members)", "held(taken) <= members)"),
    Fault("racks", "        if price == least:", "        if price >= least:"),
    Fault("racks", "np.lexsort((self.caps[racks], prices))", "np.lexsort((-self.caps[racks], prices))"),
    Fault("search", "1 + int(np.count_nonzero(np.diff(domains)))", "int(np.count_nonzero(np.diff(domains)))"),
    Fault("single", "known[at].ailing, at)", "at)"),
    Fault("spread", "nodes[at].ailing, at)", "at)"),
    Fault("spread", "amount == caps[1][rack]", "amount >= caps[1][rack] - 1"),
    Fault("search", "count > task.most_supernodes else count", "count > task.most_supernodes + 1 else count"),
    Fault("search", "if table.usable is None and (true :=", "if False and (true :="),
    Fault("racks", "-(-(asked + best[racks - 1]) // v)", "-(-(asked + best[racks - 1]) // v) + 1"),
    Fault("search", "if _keeps(counts, task, task.spans)", "if True"),
    Fault("search", "board.exact or _keeps(found.touched, task, task.spans)", "True"),
    Fault("search", "_keeps(solution.counts, self._task, spans)", "_keeps(solution.counts, self._task, some)"),
    Fault("search", "best <= (floor, int(preference[index]), index)", "best[0] <= floor + (1 << 40)"),
    Fault("single", "partly if len(partly) else nodes, side", "nodes, side"),
    Fault("single", "board.preference[owners].argmin()", "board.preference[owners].argmax()"),
    Fault("single", "board.caps[level][domains].argmin()", "board.caps[level][domains].argmax()"),
    Fault("split", "bisect_right(room, -rest, key=neg) - 1", "len(room) - 1"),
    Fault("split", "first + int(before[first:].argmin())", "first"),
    Fault("split", "max(0, size - left), min", "max(0, size - left + 1), min"),
    Fault("split", "if known.price <= bound or not windows:", "if known.price <= 2 * bound or not windows:"),
    Fault("sums", "offers[:, :, 0] = 0", "offers[:, :, 0] = offers[:, :, 0]"),
    Fault("sums", "prices[asked > caps[:, None]] = FAR32", "prices[asked > caps[:, None] + step] = FAR32"),
    Fault("tables", "opened > self.usable", "opened > self.usable + 1"),
    Fault("whole", "floors == floors.min()", "floors < FAR"),
    Fault("whole", "board.preference[least].argmin()", "board.preference[least].argmax()"),
    Fault("whole", "place < amounts[domains]", "place <= amounts[domains]"),
    Fault("whole", "in even_split(racks[start:end]", "in full_split(racks[start:end]"),
)


def survives(fault: Fault) -> tuple[Fault, str]:
    """The fault and the test that noticed it, or nothing where none did."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "supernode"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        path = copy / fault.path.relative_to(PACKAGE)
        path.write_text(fault.applied(path.read_text()))
        tests = [f"tests/placement/test_{name}.py" for name in TESTS]
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-q",
                "-n0",
                "-p",
                "no:cacheprovider",
                "--hypothesis-seed=1",
                *tests,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert run.returncode in (0, 1, 2), run.stdout + run.stderr
    return fault, lines[0].partition("::")[2].partition(" - ")[0] if lines else ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.placement.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="only faults whose module and text contain this")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (%(default)s)")
    arguments = parser.parse_args()
    chosen = [fault for fault in FAULTS if arguments.only in f"{fault.module}: {fault.old}"]
    survived = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for fault, test in pool.map(survives, chosen):
            survived += not test
            print(f"{'noticed' if test else 'SURVIVED':8} {fault.module}: {fault.old}  {test}", flush=True)
    print(f"{len(chosen)} faults, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    raise SystemExit(main())
