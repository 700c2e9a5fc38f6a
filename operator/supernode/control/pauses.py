"""Leaving an object alone whose write failed: longer after each failure, so that none is written in a hot loop."""

import random
import time
from dataclasses import dataclass, field

from supernode.cluster.backoff import Backoff

FIRST, LONGEST = 0.2, 60.0
"""Seconds of the first pause and of the longest; an object that the API server refuses may stay so for days."""


@dataclass(slots=True)
class _Row:
    """Failures in a row, and when (monotonic clock) the pause after the last of them is over."""

    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST, LONGEST, random.random))
    failures: int = 0
    until: float = 0.0


class Pauses:
    """By whatever tells objects apart. A success ends its row of failures."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}

    def failed(self, name: str) -> float:
        """A write failed; the seconds until the next may be tried."""
        row = self._rows.setdefault(name, _Row())
        pause = row.backoff.delay()
        row.failures += 1
        row.until = time.monotonic() + pause
        return pause

    def succeeded(self, name: str) -> None:
        """A write succeeded, or the object is gone."""
        self._rows.pop(name, None)

    def failures(self, name: str) -> int:
        """How many writes failed in a row."""
        return self._rows[name].failures if name in self._rows else 0

    def left(self, name: str) -> float:
        """Seconds until a write may be tried; 0 where none failed."""
        return max(0.0, self._rows[name].until - time.monotonic()) if name in self._rows else 0.0
