"""Standard streams that are closed, full or of another encoding: an answer or one line, and never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_fleet as small

PROGRAM = Path(sys.executable).with_name("kubectl-supernode")


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(small.text(small.profile(), *small.nodes("a")))
    (tmp_path / "r.yaml").write_text(small.text(small.group()))
    return path


def run(line: str, fleet: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What comes of a line of shell, in the folder of the fleet."""
    return subprocess.run(
        ["sh", "-c", line.replace("SUPERNODE", str(PROGRAM))],
        cwd=fleet.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("SUPERNODE map --fleet fleet.yaml >&-", "standard output is closed"),
        ("SUPERNODE plan -f r.yaml --fleet fleet.yaml -o json >&-", "standard output is closed"),
        ("SUPERNODE plan -f - --fleet fleet.yaml <&-", "standard input is closed"),
        ("SUPERNODE plan -f - --fleet fleet.yaml </proc/self/mem", "cannot be read: Input/output error"),
        ("SUPERNODE map --fleet fleet.yaml >/dev/full", "cannot be written: No space left on device"),
        ("SUPERNODE plan -f r.yaml --fleet fleet.yaml >/dev/full", "cannot be written: No space left on device"),
        ("SUPERNODE plan -f r.yaml --fleet fleet.yaml -o json >/dev/full", "cannot be written: No space left"),
        ("SUPERNODE plan -f r.yaml --fleet fleet.yaml -o yaml >/dev/full", "cannot be written: No space left"),
        ("SUPERNODE --help >/dev/full", "cannot be written: No space left on device"),
    ],
)
def test_a_stream_that_does_not_work_is_told_in_one_line(fleet: Path, line: str, says: str) -> None:
    done = run(line, fleet)
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard ")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_is_said_where_errors_have_no_place(fleet: Path) -> None:
    fleet.write_text(fleet.read_text() + "---\n" + small.text({"kind": "Service"}))
    done = run("SUPERNODE plan -f r.yaml --fleet fleet.yaml -o json 2>&-", fleet)
    assert (done.returncode, done.stdout[:1], done.stderr) == (0, "{", "")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
@pytest.mark.parametrize("columns", [{}, {"COLUMNS": "80"}])
def test_any_encoding_will_do(fleet: Path, encoding: str, columns: dict[str, str]) -> None:
    nodes = small.nodes("a")
    nodes[0]["spec"] = small.taints("机架=7:NoSchedule")
    fleet.write_text(small.text(small.profile(), *nodes))
    done = run("SUPERNODE map --fleet fleet.yaml", fleet, PYTHONIOENCODING=encoding, **columns)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("机架" if encoding == "utf-8" else r"\u673a\u67b6") in done.stdout


def test_a_reader_that_leaves_early_is_no_mistake(fleet: Path) -> None:
    nodes = [node for name in range(2000) for node in small.nodes(f"s{name}", 1)]
    fleet.write_text(json.dumps({"kind": "List", "items": [small.profile(), *nodes]}))
    done = run("SUPERNODE map --fleet fleet.yaml | head -1", fleet)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("SUPERNODE")
