"""How late the event loop is: what it owes to watches, probes and lease renewals while it does something else."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Never

from supernode.control.observer import Observer

BEAT_SECONDS = 0.05
"""Often enough to catch every stall worth knowing, at less than a thousandth of a core."""

BEATS_TOLD = 1200
"""As many beats of one stall are told at most, a minute of them: a machine that slept for hours would stall again."""

_SCHEDSTAT = "/proc/thread-self/schedstat"


async def watch_loop(observer: Observer) -> Never:
    """Measure the lag of the running loop until cancelled, and how much of it the loop was busy for.

    That is what its thread ran since the last beat, or what its waits for a core do not explain, whichever is more.
    Beats that fall into a stall are told with their own lags: a second's stall is then not one beat of twenty a second
    but all that it held up, and a quantile is that of whoever needs the loop at any moment.
    """
    loop = asyncio.get_running_loop()
    with _waits() as waits:
        due, waited, ran = loop.time() + BEAT_SECONDS, waits(), time.thread_time()
        while True:
            await asyncio.sleep(due - loop.time())
            lag = max(0.0, loop.time() - due)
            waited_before, waited = waited, waits()
            ran_before, ran = ran, time.thread_time()
            busy = max(min(lag, ran - ran_before), lag - (waited - waited_before))
            beats = 1 + int(lag / BEAT_SECONDS)
            for beat in range(min(beats, BEATS_TOLD)):
                left = lag - beat * BEAT_SECONDS
                observer.loop_lag(left, busy * left / lag if lag else 0.0)
            due += beats * BEAT_SECONDS


@contextmanager
def _waits() -> Iterator[Callable[[], float]]:
    """What tells the seconds so far that this thread could have run and had no core (proc(5)); 0 where nothing does."""
    try:
        file = os.open(_SCHEDSTAT, os.O_RDONLY)  # once: opening it costs four times what reading it does
    except OSError:
        yield lambda: 0.0
        return
    try:
        yield lambda: _waited(os.pread(file, 64, 0))
    finally:
        os.close(file)


def _waited(schedstat: bytes) -> float:
    fields = schedstat.split()  # nanoseconds that ran, nanoseconds that waited, time slices
    return int(fields[1]) / 1e9 if len(fields) > 1 else 0.0
