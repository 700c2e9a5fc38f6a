"""Waiting longer after each failure, with jitter so that many clients do not come back together."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Delays of `first` seconds doubling up to `longest`, each scaled by a random factor from 0.5 to 1.

    `rng` returns numbers from 0 to 1.
    """

    def __init__(self, first: float, longest: float, rng: Callable[[], float]) -> None:
        self._first = first
        self._longest = longest
        self._rng = rng
        self._next = first

    def reset(self) -> None:
        """The last attempt went well: start from `first` again."""
        self._next = self._first

    def delay(self, at_least: float = 0.0) -> float:
        """Seconds to wait before the next attempt; never under `at_least`, which a server may ask for."""
        delay = self._next * (0.5 + 0.5 * self._rng())
        self._next = min(self._next * 2, self._longest)
        return max(delay, at_least)
