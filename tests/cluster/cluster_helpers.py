"""What the tests of the API-server layer say often."""

import asyncio
from collections.abc import Callable

from supernode.cluster.resources import JsonObject


def lease(namespace: str, name: str, **labels: str) -> JsonObject:
    """A small object that no controller touches."""
    return {"metadata": {"namespace": namespace, "name": name, "labels": labels}, "spec": {}}


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that nobody announces; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event to set)
            await asyncio.sleep(0.01)
