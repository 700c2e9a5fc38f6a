"""A minimal API client of the test bed's own, so that tests do not set their stage with the code under test."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import orjson
from kubernetes import config as kubernetes_config

from testbed.errors import ApiError, TestbedError

T = TypeVar("T")
R = TypeVar("R")

CONNECTIONS = 48
"""Requests in flight; on two cores more make the server slower, not faster."""


class ApiClient:
    """JSON requests to one API server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def request(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """The parsed answer. Raises ApiError on an error answer and when the server cannot be reached."""
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content_type}
        try:
            async with self._session.request(method, self._url + path, data=data, headers=headers) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, f"{method} {path}: {self._url} cannot be reached: {error!r}") from error
        answer: dict[str, Any] = orjson.loads(content) if content[:1] == b"{" else {"message": content.decode()}
        if response.status >= 400:
            raise ApiError(response.status, f"{method} {path}: {response.status} {answer.get('message')}")
        return answer

    async def watch(self, path: str, revision: str) -> AsyncIterator[dict[str, Any]]:
        """The events of a collection after ``revision``, bookmarks too, until the watch ends; raises ApiError."""
        params = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": revision}
        endless = aiohttp.ClientTimeout(total=None)
        try:
            async with self._session.get(self._url + path, params=params, timeout=endless) as response:
                if response.status >= 400:
                    raise ApiError(response.status, f"watch {path}: {response.status} {await response.text()}")
                rest = b""
                async for part in response.content.iter_any():
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        event = orjson.loads(line)
                        if event["type"] == "ERROR":
                            raise ApiError(event["object"].get("code", 0), f"watch {path}: {event['object']}")
                        yield event
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, f"watch {path}: {self._url} cannot be reached: {error!r}") from error


@asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[ApiClient]:
    """A client for the current context of a kubeconfig, with whatever credentials that names."""
    try:
        configuration = kubernetes_config.new_client_from_config(config_file=str(kubeconfig)).configuration
    except kubernetes_config.ConfigException as error:
        raise TestbedError(f"{kubeconfig} is no usable kubeconfig: {error}") from error
    headers = {setting["key"]: setting["value"] for setting in configuration.auth_settings().values()}
    timeout = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=_tls(configuration))
    async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as session:
        yield ApiClient(session, configuration.host)


def _tls(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[object]], workers: int = CONNECTIONS) -> None:
    """Run ``work`` on every item, at most ``workers`` at a time. The first error ends the rest and is raised."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    tasks = [asyncio.create_task(worker()) for _ in range(workers)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def run(coroutine: Coroutine[Any, Any, R]) -> R:
    """The result of a coroutine, also when the caller's thread already runs an event loop (a test's fixture)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
