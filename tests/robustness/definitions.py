"""Definitions that are others for a while: that is how objects of other versions come to be stored."""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from history import Json
from world import World

from testbed.errors import ApiError

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_MERGE = "application/merge-patch+json"
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@asynccontextmanager
async def loosened(world: World) -> AsyncIterator[None]:
    """While this lasts the API server checks nothing of this project's kinds: no schema, no rule."""
    async with _changed(world, lambda _: _ANYTHING):
        yield


@asynccontextmanager
async def newer(world: World, field: str) -> AsyncIterator[None]:
    """While this lasts the definitions are those of a later version, whose specs have one more field with a default."""

    def extended(schema: Json) -> Json:
        schema["properties"]["spec"]["properties"][field] = {"type": "string", "default": "of tomorrow"}
        return schema

    async with _changed(world, extended):
        yield


@asynccontextmanager
async def _changed(world: World, change: Callable[[Json], Json]) -> AsyncIterator[None]:
    """The server forgets the history of kinds whose definition changes: what happened to them then may be missed."""
    world.history.may_miss = True
    names = [f"{plural}.supernode.io" for plural in ("trainingjobs", "cardgroups", "supernodes", "supernodeprofiles")]
    before = {name: (await world.api.request("GET", f"{_CRDS}/{name}"))["spec"]["versions"] for name in names}
    for name, versions in before.items():
        other = copy.deepcopy(versions)
        other[0]["schema"] = {"openAPIV3Schema": change(other[0]["schema"]["openAPIV3Schema"])}
        await world.api.request("PATCH", f"{_CRDS}/{name}", {"spec": {"versions": other}}, content_type=_MERGE)
    try:
        yield
    finally:
        for name, versions in before.items():
            await world.api.request("PATCH", f"{_CRDS}/{name}", {"spec": {"versions": versions}}, content_type=_MERGE)


async def until_taken(write: Callable[[], Awaitable[object]]) -> None:
    """Repeat a write until it is taken: the API server takes up a changed definition a moment later."""
    async with asyncio.timeout(30):
        while True:
            try:
                await write()
            except ApiError:
                await asyncio.sleep(0.2)
            else:
                return
