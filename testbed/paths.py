"""Where the test bed keeps things: all of it under one cache folder that may be deleted at any time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Progress = Callable[[str], None]

SOURCE = Path(__file__).resolve().parent
"""The folder of this package, with the Go modules beside the Python files."""

PROJECT = SOURCE.parent
"""The root of the project, where examples/ is."""


def cache_root() -> Path:
    """The cache folder: ``$XDG_CACHE_HOME/supernode-operator``, by default under ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "supernode-operator"


def beds_root() -> Path:
    """The folder with one sub-folder per running bed."""
    return cache_root() / "beds"


@contextmanager
def locked(path: Path, waiting: Callable[[float], None], every: float = 5.0) -> Iterator[None]:
    """Hold an exclusive lock on a file; ``waiting(seconds)`` is called every so often while another process has it.

    The lock ends with its process, however that ends, so a crash never blocks the next one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    began = reported = time.monotonic()
    with path.open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                now = time.monotonic()
                if now - reported >= every:
                    reported = now
                    waiting(now - began)
                time.sleep(0.1)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)
