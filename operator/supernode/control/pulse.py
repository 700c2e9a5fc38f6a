"""How late the event loop is: what it owes to watches, probes and lease renewals while it does something else."""

import asyncio
import time
from pathlib import Path
from typing import Never

from supernode.control.observer import Observer

BEAT_SECONDS = 0.05
"""Often enough to catch every stall worth knowing, at less than a thousandth of a core."""

_SCHEDSTAT = Path("/proc/thread-self/schedstat")


async def watch_loop(observer: Observer) -> Never:
    """Measure the lag of the running loop until cancelled, and how much of it the loop was busy for.

    That is what its thread ran since the last beat, or what its waits for a core do not explain, whichever is more.
    """
    loop = asyncio.get_running_loop()
    due, waited, ran = loop.time() + BEAT_SECONDS, _waited(), time.thread_time()
    while True:
        await asyncio.sleep(due - loop.time())
        lag = max(0.0, loop.time() - due)
        waited_before, waited = waited, _waited()
        ran_before, ran = ran, time.thread_time()
        observer.loop_lag(lag, max(min(lag, ran - ran_before), lag - (waited - waited_before)))
        due = loop.time() + BEAT_SECONDS


def _waited() -> float:
    """Seconds so far that this thread could have run and had no core (proc(5)); 0 where the kernel does not tell."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
