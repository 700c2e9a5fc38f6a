"""The kopf shell around the engine: start-up, login and clean-up of the process.

It handles no resource, so kopf watches none and adds neither annotations nor finalizers; see docs/adr/0001 and 0005.
"""

import asyncio
import itertools
import logging
from collections.abc import Iterator
from typing import Any

import kopf

from supernode.app.metrics import Metrics
from supernode.app.settings import Settings
from supernode.app.web import Web
from supernode.cluster.elector import Elector
from supernode.cluster.session import Session
from supernode.control.engine import Engine

_LOGIN_AGAIN_SECONDS = 2.0

_log = logging.getLogger(__name__)


class _Backoffs:
    """Delays between retries of kopf's own requests, without end: no list outlasts every outage of an API server."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1.0, 2.0, 4.0, 8.0), itertools.repeat(15.0))


class Shell:
    """One operator process from start to end. Raises what ended the engine, if it did not end by request."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._failure: BaseException | None = None
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM, SIGINT or a failure of the engine."""
        settings = self._settings
        session = Session.connect(settings.kubeconfig, on_response=self._metrics.requested)
        async with session:
            lease = (settings.lease_namespace or session.namespace, settings.lease_name)
            elector = Elector(session, lease, settings.identity, settings.timing)
            engine = Engine(
                session.guarded(elector.guard),
                self._metrics,
                identity=settings.identity,
                patience=settings.patience,
            )
            self._metrics.watch(engine, elector)
            web = Web(engine, elector, self._metrics)
            await web.open(settings.host, settings.port)
            try:
                await kopf.operator(
                    registry=self._registry(session, engine, elector),
                    settings=_kopf_settings(),
                    clusterwide=True,
                    standalone=True,
                    stop_flag=self._stop,
                )
            finally:
                await web.close()
        if self._failure is not None:
            raise self._failure

    def _registry(self, session: Session, engine: Engine, elector: Elector) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        tasks: list[asyncio.Task[None]] = []
        logins = itertools.count()

        @kopf.on.startup(registry=registry)
        async def start(**_: Any) -> None:
            task = asyncio.create_task(engine.run(elector.run), name="engine")
            task.add_done_callback(self._ended)
            tasks.append(task)

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            if next(logins):  # a 401 makes it log in again at once
                await asyncio.sleep(_LOGIN_AGAIN_SECONDS)
            return kopf.AiohttpSession(server=session.server, aiohttp_session=await session.lend())

        @kopf.on.cleanup(registry=registry)
        async def stop(**_: Any) -> None:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        return registry

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("the engine ended; the process ends too, to be started anew", exc_info=error)
            self._failure = error
        self._stop.set()


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # the engine posts Events itself, aggregated
    settings.networking.error_backoffs = _Backoffs()
    settings.scanning.disabled = True  # nothing needs its watch of definitions, an error in which ends the process
    settings.process.ultimate_exiting_timeout = 20
    return settings
