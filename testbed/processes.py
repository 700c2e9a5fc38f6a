"""Programs that outlive the command which started them, found again by pid and start time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
"""Where Linux shows its processes; without it none can be told apart from one that took over its pid."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process: its pid and the clock tick after boot at which it started, so that a reused pid is told apart."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has this pid now; raises ProcessLookupError when there is none."""
        return cls(pid, _state(pid)[1])

    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        try:
            state, started = _state(self.pid)
        except ProcessLookupError:
            return False
        return started == self.started and state not in "ZX"


def _state(pid: int) -> tuple[str, int]:
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    # The command name stands in parentheses and may hold anything; the state is the first field after it.
    fields = stat[stat.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])


def spawn(argv: Sequence[str], log: Path, cwd: Path, env: Mapping[str, str]) -> ProcessId:
    """Start a program in a session of its own, its output appended to ``log``."""
    with log.open("ab") as output:
        child = subprocess.Popen(  # it is ended by pid, maybe from another process
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
        )
    try:
        process = ProcessId.of(child.pid)
    except BaseException:
        child.kill()
        child.wait()
        raise
    _children[child.pid] = child
    return process


def heed_signals() -> None:
    """Let SIGTERM end this program as Ctrl-C does, also where a shell had it ignore that, as in the background.

    Both are then the interrupt that asyncio ends its task by. An exception raised in the midst of whatever runs
    would be lost: aiohttp turns any that meets it while it reads an answer into an answer that was cut.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


_children: dict[int, subprocess.Popen[bytes]] = {}


def reap(process: ProcessId) -> int | None:
    """The exit code if the process is an ended child of ours, which it then stops being; else None."""
    child = _children.get(process.pid)
    if child is None or process.alive():
        return None
    # Of a program with threads the first may be dead while others still end; only then is there an exit code.
    code = child.wait(timeout=30)
    del _children[process.pid]
    return code


def end(processes: Iterable[ProcessId], grace: float = 5.0) -> None:
    """End these processes and return when they are gone: SIGTERM, then SIGKILL after ``grace`` seconds."""
    remaining = [process for process in processes if process.alive()]
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 30.0)):
        for process in remaining:
            _send(process, number)
        deadline = time.monotonic() + patience
        while remaining and time.monotonic() < deadline:
            for process in remaining:
                reap(process)
            remaining = [process for process in remaining if process.alive()]
            time.sleep(0.02)
        if not remaining:
            return


def _send(process: ProcessId, number: signal.Signals) -> None:
    if process.alive():
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return
