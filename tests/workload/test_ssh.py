"""The key of MPI workers: whoever runs ssh owns the copy, and nobody else sees it."""

import pytest

from supernode.workload import render_files, render_pod

CONTEXT = {"runAsUser": 1000, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
LIMITS = {"cpu": "8", "memory": "64Gi"}


@pytest.fixture
def worker(job, profile, placed):
    """The spec of rank 1, whose second container holds the cards."""
    containers = [
        {"name": "beside", "image": "logs"},
        {
            "name": "main",
            "image": "solver",
            "securityContext": CONTEXT,
            "resources": {"limits": {**LIMITS, "nvidia.com/gpu": "8"}},
        },
    ]
    template = {"containers": containers, "initContainers": [{"name": "fetch", "image": "data"}]}
    group = placed(job(template, cards=32, runtime="mpi"), profile("nvidia-hgx8"))
    return render_pod(group, 1, render_files(group), predicate_time_ns=1)["spec"]


def mounts(container):
    return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}


def test_it_is_copied_first_by_the_user_who_needs_it(worker):
    first, theirs = worker["initContainers"]
    assert theirs["name"] == "fetch"
    assert (first["image"], first["securityContext"], first["resources"]) == ("solver", CONTEXT, {"limits": LIMITS})
    assert mounts(first) == {
        "/etc/supernode/ssh": "supernode-ssh",
        "/etc/supernode/ssh-secret": "supernode-ssh-secret",
    }
    assert first["command"][2].startswith("umask 077\n")


def test_only_the_container_that_needs_it_has_it(worker):
    beside, main = worker["containers"]
    assert mounts(main)["/etc/supernode/ssh"] == "supernode-ssh"
    for other in (beside, worker["initContainers"][1]):
        assert mounts(other) == {"/etc/supernode/group": "supernode-group"}


def test_the_secret_can_be_read_whoever_the_user_is_and_the_copy_stays_in_memory(worker):
    volumes = {volume["name"]: volume for volume in worker["volumes"]}
    assert volumes["supernode-ssh-secret"]["secret"]["defaultMode"] == 0o444
    assert volumes["supernode-ssh"]["emptyDir"] == {"medium": "Memory"}
