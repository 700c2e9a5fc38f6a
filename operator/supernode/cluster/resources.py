"""The resources the operator touches and how each is addressed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from supernode.cluster.errors import NotAName

JsonObject = dict[str, Any]
"""A Kubernetes object, or a part of one, as decoded from JSON."""

Key = tuple[str, str]
"""(namespace, name); the namespace of a cluster-scoped object is ""."""


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def key_of(obj: JsonObject) -> Key:
    """The key of an object that has at least ``metadata.name``."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


@dataclass(frozen=True, slots=True)
class Resource:
    """One REST resource. `plural` is the name in URLs and RBAC rules; the core group is ""."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """What objects carry as ``apiVersion``: ``v1``, ``supernode.io/v1alpha1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, of one object, or of its subresource.

        Without a namespace the collection spans all namespaces. Raises ValueError where the path cannot exist, and
        NotAName for what is no name by Kubernetes' rules (RFC 1123): other text could lead to another object.
        """
        for part in (namespace or None, name):
            if part is not None and not _NAME.fullmatch(part):
                raise NotAName(f"no object of {self} was asked for: {part!r} is no name")
        if namespace and not self.namespaced:
            raise ValueError(f"{self.plural} are cluster-scoped: no namespace, got {namespace!r}")
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self.plural} are namespaced: {name!r} needs a namespace")
        if subresource and not name:
            raise ValueError(f"{self.plural}/{subresource} needs a name")
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod", namespaced=True)
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)
SERVICES = Resource("", "v1", "services", "Service", namespaced=True)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event", namespaced=True)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
RESOURCESLICES = Resource("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", namespaced=False)
RESOURCECLAIMS = Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", namespaced=True)
DEVICETAINTRULES = Resource("resource.k8s.io", "v1", "devicetaintrules", "DeviceTaintRule", namespaced=False)

TRAININGJOBS = Resource("supernode.io", "v1alpha1", "trainingjobs", "TrainingJob", namespaced=True)
CARDGROUPS = Resource("supernode.io", "v1alpha1", "cardgroups", "CardGroup", namespaced=True)
SUPERNODES = Resource("supernode.io", "v1alpha1", "supernodes", "SuperNode", namespaced=False)
SUPERNODEPROFILES = Resource("supernode.io", "v1alpha1", "supernodeprofiles", "SuperNodeProfile", namespaced=False)
