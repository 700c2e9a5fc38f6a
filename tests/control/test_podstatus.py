"""What is read from the status of a member's pod."""

from typing import Any

import pytest

from supernode.control.records import PodRecord, convert_pod

Json = dict[str, Any]


def container(name: str = "main", restarts: int = 0, **state: Any) -> Json:
    """The status of a container; state: waiting, running or terminated, and lastState."""
    last = state.pop("last", {})
    return {"name": name, "restartCount": restarts, "state": state, "lastState": last, "ready": "running" in state}


def pod(*containers: Json, init: tuple[Json, ...] = (), labels: Json | None = None, **parts: Any) -> PodRecord:
    """A pod on its node with these containers; init containers called sidecar are sidecars."""
    labels = {"supernode.io/group": "j", "supernode.io/job": "j"} if labels is None else labels
    policies = {"sidecar": "Always"}
    inits = [{"name": c["name"]} | ({"restartPolicy": p} if (p := policies.get(c["name"])) else {}) for c in init]
    spec = {"nodeName": "n0", "containers": [{"name": c["name"]} for c in containers], "initContainers": inits}
    status = {"phase": "Pending", "containerStatuses": list(containers), "initContainerStatuses": list(init), **parts}
    return convert_pod(
        {"metadata": {"name": "j-0", "namespace": "d", "uid": "u", "labels": labels}, "spec": spec, "status": status}
    )


@pytest.mark.parametrize(
    ("there", "restarts"),
    [
        (pod(container()), 0),
        (pod(container(restarts=2), container("second", restarts=1)), 3),
        (pod(container(restarts=2), init=(container("prepare", restarts=4),)), 6),
        (pod(container(restarts=2), init=(container("sidecar", restarts=4),)), 2),
        (pod(container(restarts=2), labels={}), 0),
    ],
    ids=["none", "of each container", "of init containers", "not of sidecars", "not of pods of others"],
)
def test_how_often_containers_were_restarted(there: PodRecord, restarts: int) -> None:
    assert there.restarts == restarts
