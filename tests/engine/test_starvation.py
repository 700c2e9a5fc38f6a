"""A large job that waits long enough gets its nodes held: small ones that never stop coming do not starve it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_view import Cluster, condition, operated, training_job

pytestmark = pytest.mark.cluster
FLEET = Path(__file__).parents[2] / "examples" / "fleets" / "small.yaml"
HOLD_AFTER = 8


@pytest.fixture(scope="module")
def impatient() -> Iterator[Cluster]:
    """Two supernodes of 8 nodes, and an operator that holds nodes after some seconds."""
    os.environ["SUPERNODE_HOLD_AFTER"] = str(HOLD_AFTER)
    try:
        with operated(FLEET, supernodes=2) as cluster:
            yield cluster
    finally:
        del os.environ["SUPERNODE_HOLD_AFTER"]


class Stream:
    """Small jobs of one node that run for some seconds; always more of them than there is room for."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._made = 0

    def refill(self) -> None:
        phases = [job.get("status", {}).get("phase") for job in self._cluster.every("trainingjobs", "default")]
        short = 24 - sum(phase not in ("Succeeded", "Failed") for phase in phases)
        jobs = [self._job(self._made + number) for number in range(short)]
        self._made += len(jobs)
        if jobs:
            self._cluster.apply(*jobs)

    @staticmethod
    def _job(number: int) -> dict[str, object]:
        run = {"testbed.supernode.io/run-seconds": str(4 + 3 * (number % 4))}
        return training_job(f"small-{number}", "default", replicas=1, annotations=run, ttlSecondsAfterFinished=0)


def _message(cluster: Cluster, name: str) -> str:
    group = cluster.get("cardgroup", name, "default")
    return str(condition(group or {}, "Allocated")["message"])


def test_a_large_job_is_not_starved(impatient: Cluster) -> None:
    stream = Stream(impatient)
    stream.refill()
    impatient.wait("small jobs fill the fleet", lambda: len(impatient.holders()) >= 15, 60)
    large = training_job("large", "default", replicas=8, topology={"required": "supernode"})
    impatient.apply(large)
    began, explained = time.monotonic(), set[str]()
    while impatient.job("large", "default").get("status", {}).get("phase") != "Running":
        assert time.monotonic() - began < 150, f"starved\n{impatient.state()}"
        stream.refill()
        if "8 nodes of" in (text := _message(impatient, "large")) and "held for it since" in text:
            explained.add("its own")
        for job in impatient.every("cardgroups", "default"):
            if "held for default/large since" in str(condition(job, "Allocated")["message"]):
                explained.add("others")
        time.sleep(0.3)
    assert explained == {"its own", "others"}
    smalls = [h for h in impatient.holders() if "small" in h]
    assert smalls, "the other supernode went on meanwhile"
