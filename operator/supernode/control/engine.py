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
from supernode.control.figures import CacheFigures, Figures
from supernode.control.leader import Leader
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.control.pulse import watch_loop
from supernode.control.takeover import Deposed, take_over

_log = logging.getLogger(__name__)

STALE_AFTER = 60.0
"""Seconds without progress of the allocator, or of a term that is to begin, after which the process is not healthy.
Idle the allocator passes every 5 s."""

Elect = Callable[[Callable[[], Coroutine[Any, Any, None]]], Awaitable[None]]
"""Runs what it is given whenever this operator shall lead, and cancels it when it shall not."""


class Engine:
    """Follows the cluster and, while elected, drives groups and jobs; until it is cancelled. ``leader`` is who does.

    Raises what a task of it raises: the process then ends, is started anew and rebuilds everything from the API server.
    """

    def __init__(
        self, session: Session, observer: Observer, *, identity: str, patience: Patience | None = None
    ) -> None:
        self.caches = Caches(session)
        self.leader: Leader | None = None
        self._taking_over: float | None = None
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
        self._beat()
        try:
            taken = await take_over(writer, self.caches, self._beat)
        finally:
            self._taking_over = None
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
            self._observer.deposed()
            _log.error("%s; are there two releases in this cluster, or two Leases?", deposed.exceptions[0])
        finally:
            self.caches.listener = self.leader = None
            heap.term_ended()

    def _beat(self) -> None:
        """A take-over goes on: where each of thousands of servers is a supernode it may take minutes."""
        self._taking_over = time.monotonic()

    # For probes and metrics.

    def figures(self) -> Figures:
        """What it knows now."""
        caches = tuple(map(CacheFigures.of, self.caches.followed()))
        return Figures(self.ready, caches, self.leader.figures() if self.leader is not None else None)

    @property
    def ready(self) -> bool:
        """Whether every cache is filled: it can lead at once."""
        return not self.caches.unsynced()

    def health(self) -> str | None:
        """What is wrong with the engine, ``None`` when it lives: a leader's heartbeat is the allocator's last step.

        Waiting for the API server is no illness that a restart could heal, but who was elected reaches it: a term that
        does not begin all the same keeps another replica from leading.
        """
        now = time.monotonic()
        if self._taking_over is not None and (silence := now - self._taking_over) > STALE_AFTER:
            return f"elected, but the term cannot begin and has made no progress for {silence:.0f} s: see the log"
        if self.leader is None:
            return None
        silence = now - self.leader.allocator.last_pass
        return f"the allocator has made no progress for {silence:.0f} s" if silence > STALE_AFTER else None
