"""What a pod's status says of its containers: why they do not run, and how often they were restarted in their place."""

from typing import Any

Json = dict[str, Any]


def why(status: Json) -> tuple[str, str]:
    """Why a pod failed or cannot be scheduled: the pod's own reason, else that of the container that ended badly."""
    if status.get("reason"):
        return status["reason"], status.get("message", "")
    for container in status.get("containerStatuses", ()):
        ended = container.get("state", {}).get("terminated")
        if ended and ended.get("exitCode"):
            return ended.get(
                "reason", "Error"
            ), f"container {container['name']} ended with exit code {ended['exitCode']}"
    waits = not_scheduled(status)
    return waits.get("reason", ""), waits.get("message", "")


def not_scheduled(status: Json) -> Json:
    """The condition by which the scheduler says that it cannot bind the pod; empty where it does not."""
    said = (c for c in status.get("conditions", ()) if c["type"] == "PodScheduled" and c["status"] == "False")
    return next(said, {})


def restarts(spec: Json, status: Json) -> int:
    """How often containers of a pod were restarted in their place, as its restartPolicy or their own lets them.

    Sidecars, which are to be restarted always, are left out: whether they fail or end is no failure of the job.
    """
    sidecars = {each["name"] for each in spec.get("initContainers", ()) if each.get("restartPolicy") == "Always"}
    every = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return sum(each.get("restartCount", 0) for each in every if each["name"] not in sidecars)
