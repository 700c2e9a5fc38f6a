"""The engine: caches that are always kept, and what acts on them while this operator leads. No kopf, no HTTP probes."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control import heap
from supernode.control.caches import Caches
from supernode.control.leader import Leader
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.control.pulse import watch_loop
from supernode.control.takeover import Deposed, take_over

_log = logging.getLogger(__name__)

STALE_AFTER = 60.0
"""Seconds without a finished allocator pass after which the process is not healthy; idle it passes every 5 s."""

Elect = Callable[[Callable[[], Coroutine[Any, Any, None]]], Awaitable[None]]
"""Runs what it is given whenever this operator shall lead, and cancels it when it shall not."""


class Engine:
    """Follows the cluster and, while elected, drives groups and jobs; until it is cancelled. ``leader`` is who does.

    Raises what a task of it raises: the process then ends, is started anew and rebuilds everything from the API server.
    """

    def __init__(
        self, session: Session, observer: Observer, *, identity: str, patience: Patience | None = None
    ) -> None:
        self.caches = Caches(session, observer)
        self.leader: Leader | None = None
        self._session = session
        self._observer = observer
        self._identity = identity
        self._patience = patience or Patience()

    async def run(self, elect: Elect) -> None:
        """Keep the caches; once they are filled, stand for election."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in self.caches.always():
                tasks.create_task(reflector.run(), name=f"reflector-{reflector.resource.plural}")
            tasks.create_task(self.caches.follow_devices(), name="devices")
            tasks.create_task(self.caches.follow_reports(), name="reports")
            tasks.create_task(watch_loop(self._observer), name="pulse")
            await self.caches.synced()
            _log.info(
                "caches are filled: %s", ", ".join(f"{len(r.store)} {r.resource.plural}" for r in self.caches.filled())
            )
            with heap.settled():
                await elect(self._lead)

    async def _lead(self) -> None:
        """Lead until cancelled, or until another operator is found to lead."""
        began = time.monotonic()
        writer = Writer(self._session)
        taken = await take_over(writer, self.caches)
        leader = Leader(
            self._session,
            writer,
            self.caches,
            self._observer,
            identity=self._identity,
            term=taken.term,
            patience=self._patience,
        )
        leader.state.leave_out(taken.refused)
        self.caches.listener = self.leader = leader
        _log.info("term %d begins, %.2f s after being elected", taken.term, time.monotonic() - began)
        try:
            await leader.run()
        except* Deposed as deposed:
            _log.error("%s; are there two releases in this cluster, or two Leases?", deposed.exceptions[0])
        finally:
            self.caches.listener = self.leader = None
            heap.term_ended()

    # For probes.

    @property
    def ready(self) -> bool:
        """Whether every cache is filled: it can lead at once."""
        return not self.caches.unsynced()

    def health(self) -> str | None:
        """What is wrong with the engine, ``None`` when it lives: a leader's heartbeat is the allocator's last pass."""
        if self.leader is None:
            return None  # waiting for the API server is not an illness that a restart could heal
        silence = time.monotonic() - self.leader.allocator.last_pass
        return f"the allocator has not finished a pass for {silence:.0f} s" if silence > STALE_AFTER else None
