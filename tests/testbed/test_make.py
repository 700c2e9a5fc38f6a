"""How `make` comes to its virtual environment; Python is played by a script that tells what it was asked."""

import subprocess
import sys
from pathlib import Path

import pytest

from testbed.paths import PROJECT

PYTHON = """#!/bin/sh
echo "$*" >> asked
case "$*" in
-c*) {ensurepip} ;;
"-m venv --clear .venv") rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
esac
"""
MAKES = "-m venv --clear .venv"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile and what its first rule depends on, in a folder with a space in its name."""
    root = tmp_path / "a checkout"
    (root / "requirements").mkdir(parents=True)
    for file in ("Makefile", "pyproject.toml", "requirements/dev.txt"):
        (root / file).write_bytes((PROJECT / file).read_bytes())
    return root


def python(path: Path, ensurepip: str = "true") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PYTHON.format(ensurepip=ensurepip))
    path.chmod(0o755)
    return path


def make(checkout: Path, with_python: Path) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """`make install`, and what Python was asked to do."""
    argv = ["make", "install", f"PYTHON={with_python}"]
    done = subprocess.run(argv, cwd=checkout, capture_output=True, text=True, timeout=60, check=False)
    return done, (checkout / "asked").read_text().splitlines()


def test_an_environment_is_made_once(checkout: Path, tmp_path: Path) -> None:
    done, asked = make(checkout, python(tmp_path / "python"))
    assert done.returncode == 0, done.stderr
    assert asked.count(MAKES) == 1
    assert any("-m pip install" in line and "--require-hashes" in line for line in asked)
    done, again = make(checkout, python(tmp_path / "python"))
    assert done.returncode == 0
    assert again == asked, "what is installed is left alone"


def test_what_an_interrupt_left_is_made_anew(checkout: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    done, asked = make(checkout, python(tmp_path / "python"))
    assert done.returncode == 0, done.stderr
    assert MAKES in asked


def test_an_environment_with_pip_is_kept(checkout: Path, tmp_path: Path) -> None:
    python(checkout / ".venv/bin/python")
    done, asked = make(checkout, tmp_path / "no-python")
    assert done.returncode == 0, done.stderr
    assert MAKES not in asked


def test_a_python_without_venv_is_told_what_to_install(checkout: Path, tmp_path: Path) -> None:
    done, asked = make(checkout, python(tmp_path / "python", ensurepip="exit 1"))
    assert done.returncode != 0
    assert "install python3-venv" in done.stderr
    assert MAKES not in asked
