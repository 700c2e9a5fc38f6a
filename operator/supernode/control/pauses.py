"""Leaving an object alone whose write failed: longer after each failure, so that none is written in a hot loop."""

import random
import time

from supernode.cluster.backoff import Backoff

FIRST, LONGEST = 0.2, 60.0
"""Seconds of the first pause and of the longest; an object that the API server refuses may stay so for days."""


class Pauses:
    """By whatever tells objects apart. A success ends its row of failures."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Backoff, float]] = {}

    def failed(self, name: str) -> float:
        """A write failed; the seconds until the next may be tried."""
        row, _ = self._rows.get(name) or (Backoff(FIRST, LONGEST, random.random), 0.0)
        pause = row.delay()
        self._rows[name] = row, time.monotonic() + pause
        return pause

    def succeeded(self, name: str) -> None:
        """A write succeeded, or the object is gone."""
        self._rows.pop(name, None)

    def left(self, name: str) -> float:
        """Seconds until a write may be tried; 0 where none failed."""
        _, until = self._rows.get(name, (None, 0.0))
        return max(0.0, until - time.monotonic())
