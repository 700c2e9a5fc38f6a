"""What the tests of the API-server layer say often."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import yaml

from supernode.cluster.errors import AlreadyExists, ApiError
from supernode.cluster.resources import JsonObject, Resource
from supernode.cluster.session import Session

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)

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
    """Create the project's CRDs and wait until the API server serves `resources`."""
    for path in sorted(_CRD_FILES.glob("*.yaml")):
        with contextlib.suppress(AlreadyExists):
            await session.create(CRDS, yaml.safe_load(path.read_text()))
    for resource in resources:
        await until_served(session, resource)


async def until_served(session: Session, resource: Resource) -> None:
    """Wait until the API server knows a resource that was just defined."""
    async with asyncio.timeout(30):
        while not await _served(session, resource):  # noqa: ASYNC110 (nobody announces it)
            await asyncio.sleep(0.1)


async def _served(session: Session, resource: Resource) -> bool:
    try:
        await session.list(resource, limit=1)
    except ApiError:
        return False
    return True
