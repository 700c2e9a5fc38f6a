"""The shapes of the engine's writes: each names the version it was decided on, so a stale decision changes nothing."""

from typing import Any

from supernode.cluster.resources import JsonObject, Key, Resource
from supernode.cluster.writer import Call


def status_patch(resource: Resource, key: Key, patch: dict[str, Any], resource_version: str) -> Call[JsonObject]:
    """Merge ``patch`` into the status of an object that is still at ``resource_version``."""
    body = {"metadata": {"resourceVersion": resource_version}, "status": patch}
    return lambda session: session.merge_patch(resource, key, body, subresource="status")


def finalizers_patch(resource: Resource, key: Key, finalizers: list[str], uid: str, version: str) -> Call[JsonObject]:
    """Set the finalizers of an object that is still this one at ``version``."""
    body = {"metadata": {"finalizers": finalizers, "uid": uid, "resourceVersion": version}}
    return lambda session: session.merge_patch(resource, key, body)


def creation(resource: Resource, obj: JsonObject) -> Call[JsonObject]:
    """Create an object."""
    return lambda session: session.create(resource, obj)


def deletion(resource: Resource, key: Key, uid: str, version: str) -> Call[JsonObject]:
    """Delete an object that is still this one at ``version``."""
    return lambda session: session.delete(resource, key, uid=uid, resource_version=version)
