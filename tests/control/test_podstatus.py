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


PULL = "rpc error: code = NotFound desc = failed to pull and unpack image"
EXIT = {"terminated": {"exitCode": 1, "reason": "Error"}}
OOM = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


def waits(reason: str, message: str = "", *, name: str = "main", **rest: Any) -> Json:
    return container(name, waiting={"reason": reason, "message": message}, **rest)


@pytest.mark.parametrize(
    ("there", "reason", "message"),
    [
        (pod(waits("ContainerCreating")), "", ""),
        (pod(waits("PodInitializing"), init=(container("prepare", running={}),)), "", ""),
        (pod(container()), "", ""),
        (pod(waits("ErrImagePull", PULL)), "ImagePullBackOff", f"container main: {PULL}"),
        (pod(waits("ImagePullBackOff", "Back-off")), "ImagePullBackOff", "container main: Back-off"),
        (pod(waits("InvalidImageName")), "InvalidImageName", "container main: "),
        (
            pod(container("side", running={}), waits("CreateContainerConfigError", 'secret "s" not found')),
            "CreateContainerConfigError",
            'container main: secret "s" not found',
        ),
        (
            pod(waits("PodInitializing"), init=(waits("ErrImageNeverPull", "not there", name="prepare"),)),
            "ErrImageNeverPull",
            "container prepare: not there",
        ),
        (pod(container(**EXIT)), "Error", "container main ended with exit code 1"),
        (
            pod(waits("PodInitializing"), init=(container(**OOM),)),
            "OOMKilled",
            "container main ended with exit code 137",
        ),
        (pod(container(terminated={"exitCode": 0}, restarts=1, last=EXIT)), "", ""),
        (
            pod(waits("CreateContainerError", "a\n b " + "c" * 500)),
            "CreateContainerError",
            f"container main: a b {'c' * 396}...",
        ),
        (pod(container(**EXIT), reason="Evicted", message="low on memory"), "Evicted", "low on memory"),
        (pod(waits("ErrImagePull", PULL), labels={}), "", ""),
    ],
    ids=[
        "is created",
        "its init containers run",
        "nothing is known",
        "an image that cannot be pulled",
        "the same, before the next attempt",
        "without a message",
        "one container of two",
        "an init container",
        "ended",
        "an init container that ended",
        "failed once and ended well",
        "a long message",
        "the pod has a reason of its own",
        "a pod of others",
    ],
)
def test_why_a_pod_does_not_run(there: PodRecord, reason: str, message: str) -> None:
    assert (there.reason, there.message) == (reason, message)


@pytest.mark.parametrize(
    ("told", "labels", "phase", "reason"),
    [
        ("True", None, "Failed", "Terminated"),
        ("False", None, "Succeeded", ""),
        ("True", {}, "Succeeded", ""),
    ],
    ids=["told to end", "not any more", "a pod of others"],
)
def test_who_was_told_to_end_did_not_end_well(told: str, labels: Json | None, phase: str, reason: str) -> None:
    """As a kubelet tells its pods when its node shuts down, and calls those succeeded that exit with 0."""
    condition = {"type": "DisruptionTarget", "status": told, "reason": "TerminationByKubelet", "message": "shutdown"}
    ended = container(terminated={"exitCode": 0, "reason": "Completed"})
    there = pod(ended, phase="Succeeded", conditions=[condition], labels=labels)
    assert (there.phase, there.reason, there.finished) == (phase, reason, True)


@pytest.mark.parametrize(
    "state",
    [
        {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}, "last": OOM},
        {"running": {}, "last": OOM},
        OOM,
    ],
    ids=["waits", "runs again", "has ended again"],
)
def test_a_container_that_crashes_again_and_again_has_one_reason(state: Json) -> None:
    there = pod(waits("PodInitializing"), init=(container("prepare", restarts=3, **state),))
    assert there.reason == "CrashLoopBackOff"
    assert there.message == "container prepare ended with exit code 137 (OOMKilled)"


def test_only_a_pod_that_cannot_be_scheduled_is_blocked() -> None:
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/9 nodes"}
    there = pod(conditions=[said])
    assert (there.reason, there.message) == ("Unschedulable", "0/9 nodes")
    assert not pod(waits("ErrImagePull", PULL)).blocked
