"""How late the event loop is: what it owes to watches, probes and lease renewals while it does something else."""

import asyncio
from typing import Never

from supernode.control.observer import Observer

BEAT_SECONDS = 0.05
"""Often enough to catch every stall worth knowing, at less than a thousandth of a core."""


async def watch_loop(observer: Observer) -> Never:
    """Measure the lag of the running loop until cancelled."""
    loop = asyncio.get_running_loop()
    due = loop.time() + BEAT_SECONDS
    while True:
        await asyncio.sleep(due - loop.time())
        observer.loop_lag(max(0.0, loop.time() - due))
        due = loop.time() + BEAT_SECONDS
