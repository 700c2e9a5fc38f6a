"""How late the event loop is: what it owes to watches, probes and lease renewals while it does something else."""

import asyncio
from pathlib import Path
from typing import Never

from supernode.control.observer import Observer

BEAT_SECONDS = 0.05
"""Often enough to catch every stall worth knowing, at less than a thousandth of a core."""

_SCHEDSTAT = Path("/proc/thread-self/schedstat")


async def watch_loop(observer: Observer) -> Never:
    """Measure the lag of the running loop until cancelled, and how much of it the loop was busy for."""
    loop = asyncio.get_running_loop()
    due, waited = loop.time() + BEAT_SECONDS, _waited()
    while True:
        await asyncio.sleep(due - loop.time())
        lag = max(0.0, loop.time() - due)
        before, waited = waited, _waited()
        observer.loop_lag(lag, max(0.0, lag - (waited - before)))
        due = loop.time() + BEAT_SECONDS


def _waited() -> float:
    """Seconds so far that this thread could have run and had no core (proc(5)); 0 where the kernel does not tell."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
