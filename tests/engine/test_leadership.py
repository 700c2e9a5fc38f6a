"""Two replicas on 1152 nodes: one leads; whatever ends it, the other goes on. How long that took is printed."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster_view import Cluster, training_job

from testbed import bed as testbed
from testbed.check import Rule, check
from testbed.check.reading import read
from testbed.fleet import Fleet
from testbed.installation import NAMESPACE, Operator, install

pytestmark = pytest.mark.cluster

SUPERNODES = 24
LEASE_SECONDS = 6.0
"""As in testbed.installation.SHORT_LEASE."""


class Pair:
    """The cluster and its two replicas."""

    def __init__(self, cluster: Cluster, replicas: list[Operator]) -> None:
        self.cluster = cluster
        self.replicas = replicas

    def leader(self) -> tuple[Operator, Operator]:
        """The leader and the standby, once one leads; the standby may have ended."""
        found = self.cluster.wait("one leads", lambda: [r for r in self.replicas if r.running and r.leads], 60)
        assert len(found) == 1
        [standby] = [replica for replica in self.replicas if replica is not found[0]]
        return found[0], standby

    def place(self, name: str, **spec: Any) -> None:
        """Submit a job and wait until it runs."""
        self.cluster.apply(training_job(name, "default", **spec))
        self.cluster.wait_phase(name, "default", "Running", 60)

    def took_over(self, standby: Operator, since: float) -> float:
        """Seconds since then until the standby leads."""
        self.cluster.wait("the standby leads", lambda: standby.leads, 60)
        return time.monotonic() - since

    def holder(self) -> str:
        """Who has the Lease, empty for nobody."""
        lease = self.cluster.get("lease", "supernode-operator", NAMESPACE)
        assert lease is not None
        return str(lease["spec"].get("holderIdentity") or "")

    def settle(self) -> None:
        """Wait until ledgers, pods and placements agree by the test bed's own check; counts follow within seconds."""

        def broken() -> list[str]:
            found = check(read(self.cluster.bed.kubeconfig)).violations
            return [f"{v.rule}: {v.subject}: {v.message}" for v in found if v.rule is not Rule.MINIMUM]

        until = time.monotonic() + 15
        while told := broken():
            assert time.monotonic() < until, "\n".join(told)
            time.sleep(0.5)


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    """A bed with two running replicas."""
    pool = {"name": "a3", "profile": "ascend-a3-384", "supernodes": SUPERNODES}
    with testbed.start(fleet=Fleet.parse({"description": "24 SuperPoDs", "pools": [pool]})) as bed:
        kubeconfig = install(bed)
        replicas = [Operator(bed, kubeconfig, name=name) for name in ("replica-a", "replica-b")]
        for replica in replicas:
            replica.start(ready_within=120)
        cluster = Cluster(bed, replicas[0])
        cluster.wait("its supernodes are discovered", lambda: len(cluster.every("supernodes")) == SUPERNODES, 60)
        yield Pair(cluster, replicas)
        for replica in replicas:
            replica.stop()


@pytest.fixture
def pair(shared: Pair) -> Iterator[Pair]:
    """Both replicas run, one of them leads; afterwards no job is left."""
    for replica in shared.replicas:
        if not replica.running:
            replica.start(ready_within=120)
    shared.leader()
    yield shared
    for replica in shared.replicas:
        if not replica.running:
            replica.start(ready_within=120)
    shared.cluster.kubectl("delete", "tj,cg,pods", "--all", "-n", "default", "--timeout=120s")
    shared.cluster.wait("no card is held", lambda: not shared.cluster.holders(), 120)


def _writes(replica: Operator) -> int:
    """Requests that could change something other than the Lease and that went out."""
    sent = 0
    for line in replica.get("/metrics")[1].splitlines():
        if line.startswith("supernode_api_requests_total{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            read_only = labels["verb"] in ("get", "list", "watch")
            if not read_only and labels["code"] != "0" and labels["resource"] != "leases":
                sent += int(float(line.split()[-1]))
    return sent


def test_one_leads_and_both_are_ready(pair: Pair) -> None:
    leader, standby = pair.leader()
    pair.place("first")
    assert leader.get("/readyz")[0] == standby.get("/readyz")[0] == 200
    assert leader.get("/readyz")[1].endswith(" leads")
    assert "stands by, replica-" in standby.get("/readyz")[1]
    assert _writes(leader) > 0
    assert _writes(standby) == 0
    told, quiet = leader.get("/metrics")[1], standby.get("/metrics")[1]
    assert "supernode_cards{" in told
    assert "supernode_cards{" not in quiet, "a sum over replicas would count every card twice"
    assert 'supernode_cache_objects{resource="nodes"} 1152.0' in quiet
    assert "supernode_lease_transitions_total" in quiet


def test_a_clean_stop_hands_over_at_once(pair: Pair) -> None:
    leader, standby = pair.leader()
    pair.place("before", replicas=48)
    held_by, stopped = pair.holder(), time.monotonic()
    leader.terminate()
    pair.cluster.wait("it has ended", lambda: not leader.running)
    assert pair.holder() != held_by, "it gave the Lease up"
    print(f"\nclean stop: the standby led after {pair.took_over(standby, stopped):.2f} s")
    pair.place("after", replicas=48)
    pair.settle()


def test_a_crash_amid_pods_is_taken_over_when_the_lease_expires(pair: Pair) -> None:
    leader, standby = pair.leader()
    pair.cluster.apply(training_job("amid", "default", replicas=192))
    pair.cluster.wait("the first pods are there", lambda: len(pair.cluster.every("pods", "default")) > 10)
    killed = time.monotonic()
    leader.kill()
    pair.cluster.apply(training_job("meanwhile", "default", replicas=48))
    seconds = pair.took_over(standby, killed)
    print(f"\ncrash: the standby led after {seconds:.2f} s, {seconds - LEASE_SECONDS:+.2f} s beside the lease")
    pair.cluster.wait_phase("amid", "default", "Running", 60)
    pair.cluster.wait_phase("meanwhile", "default", "Running", 60)
    print(f"all 240 pods ran {time.monotonic() - killed:.2f} s after the crash")
    pair.settle()


def test_a_leader_frozen_for_longer_than_its_lease_writes_nothing_when_it_wakes(pair: Pair) -> None:
    leader, standby = pair.leader()
    pair.place("quiet")
    time.sleep(2)  # counts and Events are written after what they tell of
    before = _writes(leader)
    leader.freeze()
    frozen = time.monotonic()
    print(f"\nfreeze: the standby led after {pair.took_over(standby, frozen):.2f} s")
    for number in range(8):
        pair.place(f"other-{number}", replicas=8)
    pair.cluster.kubectl("delete", "tj", "quiet", "--wait=false")
    leader.thaw()
    pair.cluster.wait("it knows that it does not lead", lambda: "stands by" in leader.get("/readyz")[1])
    time.sleep(2)
    assert _writes(leader) == before
    assert standby.leads
    pair.settle()


def test_a_leader_frozen_amid_pods_harms_nothing_when_it_wakes(pair: Pair) -> None:
    leader, standby = pair.leader()
    pair.cluster.apply(training_job("amid", "default", replicas=192))
    pair.cluster.wait("the first pods are there", lambda: len(pair.cluster.every("pods", "default")) > 10)
    leader.freeze()
    pair.took_over(standby, time.monotonic())
    leader.thaw()
    pair.cluster.wait_phase("amid", "default", "Running", 60)
    pods = {p["metadata"]["uid"] for p in pair.cluster.pods("amid", "default")}
    time.sleep(3)
    assert {p["metadata"]["uid"] for p in pair.cluster.pods("amid", "default")} == pods
    assert len(pods) == 192
    assert not leader.leads
    pair.settle()


def test_both_sit_out_an_api_server_that_is_away_for_longer_than_the_lease(pair: Pair) -> None:
    pair.cluster.bed.stop_apiserver()
    _until(lambda: not any(replica.leads for replica in pair.replicas), 2 * LEASE_SECONDS)
    time.sleep(LEASE_SECONDS)
    pair.cluster.bed.start_apiserver()
    back = time.monotonic()
    pair.leader()
    print(f"\noutage: one led {time.monotonic() - back:.2f} s after it")
    pair.place("afterwards")
    assert all(replica.running for replica in pair.replicas), "no restart, so caches stay warm"
    pair.settle()


def _until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait without asking the API server."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
