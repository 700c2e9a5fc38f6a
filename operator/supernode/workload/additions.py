"""What is added to the user's pod: volumes with their mounts, and containers that prepare them before all others."""

from collections.abc import Iterable
from typing import Any

from supernode.workload.template import all_containers, amounts

Json = dict[str, Any]

_OF_EVERY_NODE = ("cpu", "memory", "ephemeral-storage")


def mount(spec: Json, volumes: Iterable[Json], mounts: Iterable[Json]) -> None:
    """Add volumes to a pod spec and mount them in every container, except where the user mounts something there."""
    spec["volumes"] = [*(spec.get("volumes") or ()), *volumes]
    for _, container in all_containers(spec):
        mount_in(container, mounts)


def mount_in(container: Json, mounts: Iterable[Json]) -> None:
    """Add mounts to a container, except where the user mounts something there."""
    own = container.get("volumeMounts") or ()
    taken = {each.get("mountPath") for each in own}
    container["volumeMounts"] = [*own, *(each for each in mounts if each["mountPath"] not in taken)]


def prepare(spec: Json, container: Json, name: str, script: str, mounts: Iterable[Json]) -> None:
    """Add a container that runs a shell script before all others, with the image and the rights of the given one.

    A namespace admits it wherever it admits the given one: Pod Security looks at every container's security context,
    and a quota wants limits of every container. Cards stay the other's, so only what every node has is asked for.
    """
    same: Json = {key: container[key] for key in ("image", "imagePullPolicy", "securityContext") if key in container}
    asked = {
        part: {key: amount for key, amount in given.items() if key in _OF_EVERY_NODE}
        for part, given in amounts(container).items()
    }
    first = {
        "name": name,
        **same,
        "resources": {part: given for part, given in asked.items() if given},
        "command": ["sh", "-ec", script],
        "volumeMounts": list(mounts),
    }
    spec["initContainers"] = [first, *(spec.get("initContainers") or ())]
