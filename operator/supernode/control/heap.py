"""Keeps the garbage collector from walking the caches, which stops the event loop for longer the more there is.

What survives a long collection is taken to live on, and is not looked at again until a term ends.
"""

import contextlib
import gc
import time
from collections.abc import Iterator, Mapping

YOUNG_OBJECTS = 20_000
"""New objects until the garbage collector looks at them. Requests under way are thousands that go without its help;
with its own 700 it looks at them again and again: a quarter of the operator's processor time in a storm of jobs."""

LONG_SECONDS = 0.02
"""A full collection that takes longer found much that lives: a fleet was read, or has grown."""

_OLDEST = 2


class _Watch:
    """Told of every collection."""

    def __init__(self) -> None:
        self._began = 0.0

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        elif info["generation"] == _OLDEST and time.perf_counter() - self._began >= LONG_SECONDS:
            gc.freeze()


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Collect now; while this lasts, spare whatever a full collection found alive."""
    before, watch = gc.get_threshold(), _Watch()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *before[1:])
    gc.callbacks.append(watch)
    try:
        yield
    finally:
        gc.callbacks.remove(watch)
        gc.set_threshold(*before)
        gc.unfreeze()


def term_ended() -> None:
    """What a leader knew is garbage now, wherever its parts refer to each other."""
    gc.unfreeze()
