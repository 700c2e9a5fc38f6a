"""The command line answers help and mistakes at once, because it loads nothing that these do not need."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = ("kopf", "kubernetes", "numpy", "aiohttp")


def _loaded(code: str) -> list[str]:
    """Which of the heavy packages a fresh interpreter has loaded after running this code."""
    program = f"import json, sys\n{code}\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded: list[str] = json.loads(done.stdout)
    return loaded


def test_the_entry_point_loads_nothing_heavy() -> None:
    assert _loaded("import supernode.cli.main") == []


def test_planning_on_files_never_loads_what_only_a_cluster_needs() -> None:
    modules = "supernode.cli.inventory, supernode.cli.plan, supernode.cli.plan_output, supernode.cli.fleet_map"
    assert _loaded(f"import {modules}") == ["numpy"]


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "--help"], ["plan", "--nope"], ["plan", "-f", "/nowhere"]])
def test_help_and_mistakes_are_answered_within_a_second(arguments: list[str]) -> None:
    program = Path(sys.executable).with_name("kubectl-supernode")
    took = []
    for _ in range(3):  # the best of three: what else the machine does is not measured here
        started = time.perf_counter()
        subprocess.run([program, *arguments], capture_output=True, check=False)
        took.append(time.perf_counter() - started)
    assert min(took) < 1.0
