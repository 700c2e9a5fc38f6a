"""One operator inside the test's process: its engine, its session, and a proxy of its own in front of the API server.

In the process, because a crash is then cheap and exact: the proxy lets the k-th call be the last, and everything the
engine knew is thrown away. The server cannot tell it from a SIGKILL.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from supernode.cluster.session import Session
from supernode.control.engine import Engine
from supernode.control.observer import Observer
from testbed.proxy import Proxy

REQUEST_SECONDS = 5.0
"""What a request may take: silence of the server must not make a test wait for the half minute of production."""


async def _always(lead: Callable[[], Awaitable[None]]) -> None:
    """Lead without an election: whoever comes later takes over."""
    await lead()


class Replica:
    """``open`` gives it a proxy, where faults can be injected before it starts; ``start`` runs the engine."""

    def __init__(self, server: str, token: str, folder: Path, name: str) -> None:
        self.name = name
        self.proxy = Proxy(server, token)
        self._kubeconfig = folder / f"{name}.kubeconfig"
        self._running: asyncio.Task[None] | None = None

    async def open(self) -> "Replica":
        """Listen; nothing runs yet."""
        await self.proxy.__aenter__()
        return self

    def start(self) -> None:
        """Run the engine; its first lists go through the proxy too."""
        kubeconfig = self.proxy.kubeconfig(self._kubeconfig)
        self._session = Session.connect(kubeconfig, timeout=REQUEST_SECONDS)
        self.engine = Engine(self._session, Observer(), identity=self.name)
        self._running = asyncio.create_task(self.engine.run(_always), name=self.name)

    async def ready(self, seconds: float = 30.0) -> None:
        """Wait until it leads."""
        async with asyncio.timeout(seconds):
            while self.engine.leader is None and self.failure is None:  # noqa: ASYNC110 (it has no event to set)
                await asyncio.sleep(0.01)

    @property
    def failure(self) -> BaseException | None:
        """What ended the engine; ``None`` while it runs, as it should for ever."""
        return self._running.exception() if self._running is not None and self._running.done() else None

    @property
    def writes(self) -> int:
        """How many requests it has made that can change something."""
        return sum(call.writes for call in self.proxy.calls)

    async def crash_at(self, nth: int, *, applied: bool) -> None:
        """End at the `nth` write from now on: before the server gets it, or after it has `applied` it."""
        await self.proxy.stop_at(nth, applied=applied)
        await self.crash()

    async def crash(self) -> None:
        """End at once: no further request reaches the server, all memory is lost."""
        self.proxy.unreachable = True
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await self._session.close()
        await self.proxy.__aexit__(None, None, None)
        gc.unfreeze()  # an engine takes its caches out of the collector's sight; here they must not pile up
