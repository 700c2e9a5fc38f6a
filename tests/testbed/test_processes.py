"""Processes are told apart by what Linux shows of them; where it shows nothing, none is left behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import bed, processes
from testbed.errors import StartError
from testbed.paths import PROJECT

MARK = "31557.6"
"""Seconds that nobody else sleeps."""


def sleeping() -> list[str]:
    """The command lines of processes that sleep for so long."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in lines if line.startswith(f"sleep {MARK}")]


def test_a_program_that_cannot_be_told_apart_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path)
    with pytest.raises(ProcessLookupError):
        processes.spawn(["sleep", MARK], tmp_path / "log", tmp_path, {"PATH": "/usr/bin:/bin"})
    assert sleeping() == []


def test_another_system_is_told_so_before_anything_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(StartError, match="Linux only"):
        bed.start()
    assert not (tmp_path / "cache").exists()


SIGNALLED = """
import asyncio, os, sys
from testbed.processes import heed_signals
async def work():
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
    except BaseException as error:
        sys.exit(f"lost in the midst of {error!r}")
    await asyncio.sleep(60)
heed_signals()
asyncio.run(work())
"""


def _ignore_interrupts() -> None:
    """As in the background of a shell, which has programs ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_waits_and_not_what_runs(number: signal.Signals) -> None:
    argv = [sys.executable, "-c", SIGNALLED, str(int(number))]
    ended = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=30, preexec_fn=_ignore_interrupts)
    assert ended.stderr.endswith("KeyboardInterrupt\n")
    assert ended.returncode == -signal.SIGINT
