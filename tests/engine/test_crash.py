"""The operator may be killed at any time: what is there after its restart is what would have been there anyway."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_view import Cluster, operated, training_job

pytestmark = pytest.mark.cluster
FLEET = Path(__file__).parents[2] / "examples" / "fleets" / "a3-8.yaml"
PODS = 384


@pytest.fixture(scope="module")
def superpods() -> Iterator[Cluster]:
    """Eight SuperPoDs of 48 nodes with nothing in reserve: 384 nodes that one job can fill."""
    with operated(FLEET, supernodes=8) as cluster:
        yield cluster


def _end_state(cluster: Cluster, name: str) -> dict[str, Any]:
    """Everything that matters of a running job, without uids and times."""
    job = cluster.wait_phase(name, "default", "Running", seconds=120)
    pods = {
        pod["metadata"]["name"]: (pod["spec"]["nodeName"], pod["metadata"]["annotations"]["supernode.io/cards"])
        for pod in cluster.pods(name, "default")
    }
    ledger = {
        supernode: [entry["runs"] for entry in entries if entry["group"] == f"default/{name}"]
        for supernode, entries in cluster.ledger().items()
    }
    status = {
        key: job["status"][key] for key in ("spans", "minimal", "proven", "superNodes", "members", "cards", "restarts")
    }
    return {"pods": pods, "ledger": ledger, "status": status}


def _clear(cluster: Cluster, name: str) -> None:
    cluster.kubectl("delete", "tj", name, "--timeout=120s")
    cluster.wait("its cards are free", lambda: f"default/{name}" not in cluster.holders(), 120)
    cluster.wait("its pods are gone", lambda: not cluster.every("pods", "default"), 120)


def test_a_kill_between_the_first_and_the_last_pod_changes_nothing(superpods: Cluster) -> None:
    job = training_job("wide", "default", replicas=PODS)
    superpods.apply(job)
    expected = _end_state(superpods, "wide")
    assert len(expected["pods"]) == PODS
    assert expected["status"]["spans"] == {"supernode": 8, "rack": 96, "node": PODS}
    _clear(superpods, "wide")

    for _ in range(5):
        created = _apply_and_kill(superpods, job)
        superpods.operator.start()
        assert _end_state(superpods, "wide") == expected
        _clear(superpods, "wide")
        if created < PODS:
            return
    pytest.fail("five times every pod was there before the kill: it shows nothing")


def _apply_and_kill(cluster: Cluster, job: dict[str, Any]) -> int:
    """Apply a job and kill the operator when its first pods are there; how many pods there are then."""
    cluster.apply(job)
    cluster.wait("the first pods are there", lambda: len(cluster.every("pods", "default")) > 10)
    cluster.operator.kill()
    time.sleep(1)
    return len(cluster.every("pods", "default"))


def test_a_kill_at_any_moment_of_the_allocation_changes_nothing(superpods: Cluster) -> None:
    """Kills spread over the first second after the job is applied: before, amid and after the ledgers are swapped."""
    job = training_job("often", "default", replicas=96)
    superpods.apply(job)
    expected = _end_state(superpods, "often")
    _clear(superpods, "often")
    for delay in (0.02, 0.08, 0.15, 0.25, 0.4):
        superpods.apply(job)
        time.sleep(delay)
        superpods.operator.kill()
        superpods.operator.start()
        assert _end_state(superpods, "often") == expected
        _clear(superpods, "often")
