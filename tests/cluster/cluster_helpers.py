"""What the tests of the API-server layer say often."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import yaml

from supernode.cluster.errors import ApiError
from supernode.cluster.resources import CRDS, JsonObject, Resource
from supernode.cluster.session import Session

_CRD_FILES = Path(__file__).parents[2] / "crds"


def lease(namespace: str, name: str, **labels: str) -> JsonObject:
    """A small object that no controller touches."""
    return {"metadata": {"namespace": namespace, "name": name, "labels": labels}, "spec": {}}


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that nobody announces; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event to set)
            await asyncio.sleep(0.01)


async def install_crds(session: Session, *resources: Resource) -> None:
    """Apply the project's CRDs and wait until the API server serves `resources`."""
    for path in sorted(_CRD_FILES.glob("*.yaml")):
        await session.apply(CRDS, yaml.safe_load(path.read_text()))
    async with asyncio.timeout(30):
        for resource in resources:
            while not await _served(session, resource):  # noqa: ASYNC110 (nobody announces it)
                await asyncio.sleep(0.1)


async def _served(session: Session, resource: Resource) -> bool:
    try:
        await session.list(resource, limit=1)
    except ApiError:
        return False
    return True
