"""The floor under every time to bound: what a raw client needs for the same pods, without any operator.

The same clock serves both, and the benches: it starts when the request is made and stops when a watch has seen every
pod bound.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from testbed.bed import Bed
from testbed.client import run
from testbed.errors import ApiError, TestbedError
from testbed.podwatch import first, watch_pods

CONNECTIONS = 64
BOUND_WITHIN = 120.0
"""Seconds until a measurement is given up."""

Json = dict[str, Any]


def pinned_pod(name: str, namespace: str, node: str, resource: str, cards: int) -> Json:
    """A pod pinned as the operator pins them: by the node's name in a field selector, on the stock scheduler."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    amount = {resource: str(cards)}
    container = {
        "name": "train",
        "image": "example.com/train:1",
        "resources": {"requests": amount, "limits": amount},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"floor": namespace}},
        "spec": {
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
            "containers": [container],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
        },
    }


def raw_client(bed: Bed, pods: list[Json]) -> float:
    """Create these pods (all in one namespace) with 64 connections; seconds until all are bound. They are then gone."""
    namespace, selector = pods[0]["metadata"]["namespace"], f"floor={pods[0]['metadata']['namespace']}"

    async def measure() -> float:
        async with _connect(bed) as http:

            async def create(pod: Json) -> None:
                await _request(http, "POST", f"/api/v1/namespaces/{namespace}/pods", pod)

            async def create_all() -> None:
                await asyncio.gather(*map(create, pods))

            try:
                return await _until_bound(http, namespace, selector, len(pods), create_all)
            finally:
                await _delete(http, namespace, selector)

    return run(measure())


def until_bound(bed: Bed, namespace: str, selector: str, pods: int, act: Callable[[], object]) -> float:
    """Seconds from the start of ``act`` until that many pods of the selector are bound."""

    async def measure() -> float:
        async with _connect(bed) as http:
            return await _until_bound(http, namespace, selector, pods, lambda: asyncio.to_thread(act))

    return run(measure())


@asynccontextmanager
async def _connect(bed: Bed) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context(cafile=str(bed.certificate))
    async with aiohttp.ClientSession(
        bed.url,
        headers={"Authorization": f"Bearer {bed.admin_token}"},
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=context),
        timeout=aiohttp.ClientTimeout(total=BOUND_WITHIN),
    ) as http:
        yield http


async def _request(http: aiohttp.ClientSession, method: str, path: str, body: Json | None = None) -> Json:
    data = None if body is None else orjson.dumps(body)
    async with http.request(method, path, data=data, headers={"Content-Type": "application/json"}) as response:
        answer: Json = orjson.loads(await response.read())
    if response.status >= 400:
        raise ApiError(response.status, f"{method} {path}: {response.status} {answer.get('message')}")
    return answer


async def _until_bound(
    http: aiohttp.ClientSession, namespace: str, selector: str, pods: int, act: Callable[[], Awaitable[object]]
) -> float:
    async with watch_pods(http, f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector}") as watch:
        if watch.pods:
            raise TestbedError(f"{watch.pods} pods with {selector} are in {namespace} already; delete them first")
        began = time.monotonic()
        acting = asyncio.ensure_future(act())
        return await first(watch.until(pods, seconds=BOUND_WITHIN), acting) - began


async def _delete(http: aiohttp.ClientSession, namespace: str, selector: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector}"
    await _request(http, "DELETE", f"{path}&gracePeriodSeconds=0")
    for _ in range(200):
        if not (await _request(http, "GET", path))["items"]:
            return
        await asyncio.sleep(0.1)
    raise TestbedError(f"the pods with {selector} in {namespace} are still there 20 s after they were deleted")
