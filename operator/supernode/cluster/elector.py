"""Takes a Lease, leads while it is surely held, and gives it up. What follows from what is decided in ``lease``."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Never

from supernode.cluster.errors import AlreadyExists, ApiError, Conflict, NotFound, NotLeading
from supernode.cluster.lease import Lease, Standing, Timing
from supernode.cluster.reflector import Reflector
from supernode.cluster.resources import LEASES, Key
from supernode.cluster.session import Session

Lead = Callable[[], Coroutine[Any, Any, None]]
"""What to do while leading. It is cancelled when leadership ends, and may end it by returning or raising."""

RELEASE_SECONDS = 2.0
"""What giving the Lease up may take; when it fails the others wait for its expiry."""

log = logging.getLogger(__name__)


def clock() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Elector:
    """Contends for the Lease `key` as `identity`, which no other process may use.

    `rng` returns numbers from 0 to 1.
    """

    def __init__(
        self,
        session: Session,
        key: Key,
        identity: str,
        timing: Timing,
        *,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.key = key
        self.identity = identity
        self._timing = timing
        self._session = session.unretried.within(timing.renew_deadline / 2)
        self._rng = rng
        self._standing = Standing(identity, timing)
        self._news = asyncio.Event()
        namespace, name = key
        self._reflector: Reflector[Lease] = Reflector(
            session,
            LEASES,
            convert=Lease.of,
            on_change=lambda _key, _old, new: self._saw(new),
            namespace=namespace,
            field_selector=f"metadata.name={name}",
        )

    @property
    def leads(self) -> bool:
        """Whether writes may be sent now."""
        return self._standing.leads_for(clock()) > 0

    @property
    def lease(self) -> Lease | None:
        """The Lease as last seen."""
        return self._standing.lease

    def guard(self) -> float:
        """See ``transport.Guard``: asked of the clock at that moment, also by a process that was frozen until now."""
        seconds = self._standing.write_seconds(clock())
        if not seconds:
            raise NotLeading(f"not sent: {self.identity} does not surely hold the Lease {'/'.join(self.key)}")
        return seconds

    async def run(self, lead: Lead) -> Never:
        """Follow the Lease; while holding it, run `lead`. Raises what `lead` raises, after giving the Lease up."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reflector.run(), name="reflector-leases")
            await self._reflector.synced.wait()
            while True:
                await self._take()
                if await self._govern(lead):
                    await asyncio.sleep(self._timing.duration)  # it did not want to lead: others first
        raise AssertionError("unreachable")

    # Taking.

    async def _take(self) -> None:
        """Until the Lease is ours."""
        while not self.leads:
            wait = self._standing.free_in(clock())
            if wait or not await self._claim():
                await self._news_within(wait or self._timing.retry)

    async def _claim(self) -> bool:
        """Try to become the holder. Who is stopped meanwhile gives up what the request under way may have taken."""
        claiming = asyncio.create_task(self._write(self.identity))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await asyncio.wait([claiming], timeout=RELEASE_SECONDS / 2)
                    await self._look()
                    if self.lease is not None and self.lease.holder == self.identity:
                        await self._release()
            claiming.cancel()
            raise

    async def _write(self, holder: str) -> bool:
        """Make `holder` the holder if nobody else wrote the Lease meanwhile; whether that surely succeeded."""
        old, sent, moment = self._standing.lease, clock(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        session = self._session
        if left := self._standing.leads_for(sent):
            session = session.within(min(left, self._timing.renew_deadline / 2))
        duration = self._timing.duration
        spec: dict[str, Any] = {"holderIdentity": holder, "renewTime": moment, "leaseDurationSeconds": duration}
        if holder and (old is None or old.holder != holder):
            spec |= {"acquireTime": moment, "leaseTransitions": old.transitions + 1 if old is not None else 0}
        try:
            if old is None:
                metadata = {"namespace": self.key[0], "name": self.key[1]}
                answer = await session.create(LEASES, {"metadata": metadata, "spec": spec})
            else:
                patch = {"metadata": {"resourceVersion": old.version}, "spec": spec}
                answer = await session.merge_patch(LEASES, self.key, patch)
        except ApiError as problem:
            missing = old is None and isinstance(problem, NotFound)  # its namespace
            if isinstance(problem, AlreadyExists | Conflict | NotFound) and not missing:
                await self._look()
            else:
                log.warning("cannot write the Lease %s, tries again: %s", "/".join(self.key), problem)
            return False
        if holder:
            self._standing = self._standing.confirm(Lease.of(answer), sent, clock())
        self._reflector.put(answer)
        return True

    async def _look(self) -> None:
        """Read the Lease: it is not as we thought."""
        try:
            self._reflector.put(await self._session.get(LEASES, self.key))
        except NotFound:
            self._saw(None)
        except ApiError as problem:
            log.warning("cannot read the Lease %s: %s", "/".join(self.key), problem)

    # Leading.

    async def _govern(self, lead: Lead) -> bool:
        """Run `lead` and renew; back when it has ended and the Lease is no longer ours. Whether it ended by itself."""
        log.info("%s leads by the Lease %s", self.identity, "/".join(self.key))
        leading = asyncio.create_task(lead(), name="leading")
        leading.add_done_callback(lambda _: self._news.set())
        try:
            while self.leads and not leading.done():
                wait = self._standing.renewal_in(clock(), self._rng())
                if wait > 0:
                    await self._news_within(wait)
                elif not await self._write(self.identity):
                    await self._news_within(self._timing.retry / 2)
        finally:
            by_itself = leading.done()
            held = self.leads
            self._standing = self._standing.resign()  # no write is sent from here on
            leading.cancel()
            await asyncio.wait([leading])
            log.info(
                "%s does not lead any more%s", self.identity, "" if held else ": its renewals did not succeed in time"
            )
            if held:
                await self._release()
        if by_itself:
            leading.result()
        return by_itself

    async def _release(self) -> None:
        """Give the Lease up; once more if a renewal that was under way, and is not heard of, came first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                if not await self._write("") and self.lease is not None and self.lease.holder == self.identity:
                    await self._write("")

    # Waiting.

    def _saw(self, lease: Lease | None) -> None:
        self._standing = self._standing.observe(lease, clock())
        self._news.set()

    async def _news_within(self, seconds: float) -> None:
        """Wait until the Lease changed or `lead` ended, at most `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()
