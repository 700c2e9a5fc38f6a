"""What a pod's status says of its containers: why they do not run, and how often they were restarted in their place."""

from typing import Any

Json = dict[str, Any]


_ON_ITS_WAY = ("", "PodInitializing", "ContainerCreating")

_PULLING = ("ErrImagePull", "RegistryUnavailable", "SignatureValidationFailed", "ImagePullBackOff")
"""What a kubelet says in turns of an image that it cannot pull: when it has tried, and while it waits."""

_LONGEST = 400
"""Characters of what a kubelet says."""

SHUT_DOWN = "Terminated"
"""The reason that a kubelet gives of a pod that it ended because its node shuts down."""

TAKEN = frozenset({SHUT_DOWN, "Preempting"})
"""The reasons that kubelets give of pods that they ended for the node's sake, without any fault of the pod: for its
shutdown, and to make room for a pod that the node cannot do without."""


def why(status: Json) -> tuple[str, str]:
    """Why a pod failed, does not start or cannot be scheduled, as (reason, message); empty where nothing is wrong.

    It is the pod's own reason, else that of the container that waits for something or ended badly, in whatever state
    its next attempt is, else the scheduler's.
    """
    if status.get("reason"):
        return status["reason"], status.get("message", "")
    containers = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    for told in (_waits, _failed):
        for container in containers:
            if (found := told(container)) is not None:
                return found
    waits = not_scheduled(status)
    return waits.get("reason", ""), waits.get("message", "")


def _waits(container: Json) -> tuple[str, str] | None:
    waiting = container.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason", ""), " ".join(waiting.get("message", "").split())
    if reason in _ON_ITS_WAY:
        return None
    if reason == "CrashLoopBackOff" and (found := _failed(container)) is not None:
        return found
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]}..."
    return "ImagePullBackOff" if reason in _PULLING else reason, f"container {container['name']}: {message}"


def _failed(container: Json) -> tuple[str, str] | None:
    ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
    if not ended or not ended.get("exitCode"):
        return None
    reason, text = (
        ended.get("reason", "Error"),
        f"container {container['name']} ended with exit code {ended['exitCode']}",
    )
    return ("CrashLoopBackOff", f"{text} ({reason})") if container.get("restartCount") else (reason, text)


def not_scheduled(status: Json) -> Json:
    """The condition by which the scheduler says that it cannot bind the pod; empty where it does not."""
    return _condition(status, "PodScheduled", "False")


def told_to_end(status: Json) -> Json:
    """The condition that says of a pod that it was not to run on, whatever its containers then exited with; empty
    where none does. A kubelet calls one that exits with 0 when its node shuts down succeeded, and gives no reason."""
    return _condition(status, "DisruptionTarget", "True")


def _condition(status: Json, kind: str, value: str) -> Json:
    return next((c for c in status.get("conditions", ()) if c["type"] == kind and c["status"] == value), {})


def restarts(spec: Json, status: Json) -> int:
    """How often containers of a pod were restarted in their place, as its restartPolicy or their own lets them.

    Sidecars, which are to be restarted always, are left out: whether they fail or end is no failure of the job.
    """
    sidecars = {each["name"] for each in spec.get("initContainers", ()) if each.get("restartPolicy") == "Always"}
    every = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return sum(each.get("restartCount", 0) for each in every if each["name"] not in sidecars)
