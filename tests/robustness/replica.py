"""One operator inside the test's process: its engine, its session, and a proxy of its own in front of the API server.

In the process, because a crash is then cheap and exact: the proxy lets the k-th call be the last, and everything the
engine knew is thrown away. The server cannot tell it from a SIGKILL.
"""

import asyncio
import gc
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from supernode.cluster.elector import Elector
from supernode.cluster.lease import Timing
from supernode.cluster.session import Session
from supernode.control.engine import Elect, Engine
from supernode.control.leader import Leader
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from testbed.installation import NAMESPACE
from testbed.proxy import Proxy

REQUEST_SECONDS = 5.0
"""What a request may take: silence of the server must not make a test wait for the half minute of production."""

END_SECONDS = 10.0
"""Within this an engine that is told to end has ended."""


LEASE = (NAMESPACE, "supernode-operator")
QUICK = Timing(duration=4, renew_deadline=3.0, retry=0.5)

TURN_SECONDS = 1.0


Lead = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
"""Leads by what it is given, when it sees fit."""


async def in_turns(lead: Callable[[], Awaitable[None]]) -> None:
    """Lead without an election: whoever comes later takes over, and whoever was deposed comes back a moment later."""
    while True:
        await lead()
        await asyncio.sleep(TURN_SECONDS)


async def once(lead: Callable[[], Awaitable[None]]) -> None:
    """Lead without an election until another one takes over."""
    await lead()


class Depositions(Observer):
    """Counts how often another operator took the ledgers."""

    def __init__(self) -> None:
        self.count = 0

    def deposed(self) -> None:
        self.count += 1


class Replica:
    """``open`` gives it a proxy, where faults can be injected before it starts; ``start`` runs the engine."""

    def __init__(self, server: str, token: str, folder: Path, name: str) -> None:
        self.name = name
        self.proxy = Proxy(server, token)
        self.observer = Depositions()
        self._kubeconfig = folder / f"{name}.kubeconfig"
        self._running: asyncio.Task[None] | None = None

    async def open(self) -> "Replica":
        """Listen; nothing runs yet."""
        await self.proxy.__aenter__()
        return self

    def start(
        self,
        *,
        elected: bool = False,
        elect: Lead = in_turns,
        within: float = REQUEST_SECONDS,
        patience: Patience | None = None,
    ) -> None:
        """Run the engine; its first lists go through the proxy too.

        Only ``elected`` ones ask for a Lease; ``elect`` says when others lead. A request may take ``within`` seconds.
        """
        kubeconfig = self.proxy.kubeconfig(self._kubeconfig)
        self._session = Session.connect(kubeconfig, timeout=within)
        session, when = self._session, cast(Elect, elect)
        if elected:
            elector = Elector(self._session, LEASE, self.name, QUICK)
            session, when = self._session.guarded(elector.guard), elector.run
        self.engine = Engine(session, self.observer, identity=self.name, patience=patience)
        self._running = asyncio.create_task(self.engine.run(when), name=self.name)

    @property
    def leader(self) -> Leader:
        """What acts while it leads; it must."""
        assert self.engine.leader is not None, f"{self.name} does not lead"
        return self.engine.leader

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
        """How many requests it has made that can change something but who leads."""
        return sum(call.writes and call.resource != "leases" for call in self.proxy.calls)

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
            await asyncio.wait({running}, timeout=END_SECONDS)
            assert running.done(), f"{self.name} was told to end and did not: {_stacks()}"
            await self._session.close()
        async with asyncio.timeout(END_SECONDS):
            await self.proxy.__aexit__(None, None, None)
        gc.unfreeze()  # an engine takes its caches out of the collector's sight; here they must not pile up


def _stacks() -> str:
    """Where every task of the process stands."""
    told = io.StringIO()
    for task in asyncio.all_tasks():
        task.print_stack(limit=8, file=told)
    return told.getvalue()
