"""Metrics and probes over HTTP.

``/healthz`` fails when the engine has stopped working, which a restart may heal. ``/readyz`` fails while caches are
being filled; a standby is ready, or a rollout would wait for it for ever, and its text says who leads. Neither fails
because the API server is away: restarting the operator would not bring it back.
"""

import asyncio
import math
import time

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from supernode.app.metrics import Metrics
from supernode.cluster.elector import Elector
from supernode.control.engine import Engine

_SHARED_SECONDS = 1.0
"""Up to this age a text of metrics is served again, to those who ask in the same format."""


class Web:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz`` until closed."""

    def __init__(self, engine: Engine, elector: Elector, metrics: Metrics) -> None:
        self._engine = engine
        self._elector = elector
        self._metrics = metrics
        self._encoding = asyncio.Lock()
        self._encoded = ("", b"")
        self._encoded_at = -math.inf
        application = web.Application()
        application.add_routes(
            [
                web.get("/metrics", self._serve_metrics),
                web.get("/healthz", self._serve_health),
                web.get("/readyz", self._serve_readiness),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)

    async def open(self, host: str | None, port: int) -> None:
        """Listen, at every address where `host` is None; raises OSError when the port is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        async with self._encoding:
            if self._encoded[0] != content_type or time.monotonic() - self._encoded_at >= _SHARED_SECONDS:
                # One at a time: it takes a thread, and who renews the credentials needs one too.
                self._encoded = (content_type, await self._metrics.text(encode))
                self._encoded_at = time.monotonic()
            body = self._encoded[1]
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _serve_health(self, _request: web.Request) -> web.Response:
        problem = self._engine.health()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def _serve_readiness(self, _request: web.Request) -> web.Response:
        missing = self._engine.caches.unsynced()
        text = f"waiting for {', '.join(missing)}" if missing else f"ok, {self._role()}"
        return web.Response(text=text, status=503 if missing else 200)

    def _role(self) -> str:
        if self._engine.leader is not None:
            return f"{self._elector.identity} leads"
        lease = self._elector.lease
        return f"{self._elector.identity} stands by, {(lease and lease.holder) or 'nobody'} leads"
