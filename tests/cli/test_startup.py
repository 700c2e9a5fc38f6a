"""The command line answers help and mistakes at once, because it loads nothing that these do not need."""

import json
import subprocess
import sys
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
def test_help_and_mistakes_load_nothing_heavy(arguments: list[str]) -> None:
    program = Path(sys.executable).with_name("kubectl-supernode")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", program, *arguments], capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "typer" in imported
    assert not imported & set(HEAVY)
