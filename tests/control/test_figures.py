"""What a leader tells of itself and of the fleet, at whatever moment it is asked."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from known_cluster import Cluster
from kubernetes.client import Configuration
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from supernode.app.metrics import Metrics
from supernode.cluster.credentials import Credentials
from supernode.cluster.elector import Elector
from supernode.cluster.lease import Timing
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control import fleet
from supernode.control.conditions import timestamp
from supernode.control.engine import Engine
from supernode.control.leader import Leader
from supernode.control.patience import Patience
from supernode.control.slices import Slices
from supernode.control.waiting import turn_of

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Replica:
    """A leader of two supernodes at a server that answers nothing, with its metrics."""

    def __init__(self) -> None:
        self.cluster, self.metrics = Cluster(), Metrics()
        session = Session(Credentials(lambda: Configuration(host="http://127.0.0.1:1")), timeout=0.1)
        self.engine = Engine(session, self.metrics, identity="me")
        self.engine.caches = self.cluster.caches
        self.leader = Leader(
            session, Writer(session), self.cluster.caches, self.metrics, identity="me", term=1, patience=Patience()
        )
        self.engine.leader = self.cluster.caches.listener = self.leader
        self.metrics.watch(self.engine, Elector(session, ("default", "lease"), "me", Timing()))

    async def scrape(self) -> Samples:
        """Every sample by its name and labels."""
        text = (await self.metrics.text(generate_latest)).decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


def of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def supernodes(samples: Samples, name: str) -> dict[str, float]:
    """A metric's values by supernode."""
    return {dict(labels)["supernode"]: value for (found, labels), value in samples.items() if found == name}


async def test_a_scrape_amid_the_going_of_a_supernode_tells_of_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    amid, on = asyncio.Event(), asyncio.Event()

    replica = Replica()

    class Halted(Slices):
        async def turn(self) -> None:
            if "sn-0" not in replica.leader.state.ledgers:
                amid.set()
                await on.wait()

    replica.cluster.write("sn-0", "ml/j g 0@sn-0-n0:0-3 +0@sn-0-n1:0-1")
    await replica.leader.state.refresh()
    monkeypatch.setattr(fleet, "Slices", Halted)
    replica.cluster.supernode_goes("sn-0")
    refreshing = asyncio.create_task(replica.leader.state.refresh())
    await asyncio.wait_for(amid.wait(), 10)
    assert "sn-0" in replica.leader.state.fleet.supernodes.keys() - replica.leader.state.ledgers.keys()
    assert supernodes(await replica.scrape(), "supernode_spare_cards") == {"sn-0": 2, "sn-1": 0}
    on.set()
    await refreshing
    assert supernodes(await replica.scrape(), "supernode_spare_cards") == {"sn-1": 0}


async def test_it_tells_of_jobs_by_phase() -> None:
    replica = Replica()
    for name, status in (("a", {"phase": "Running"}), ("b", {"phase": "Running"}), ("c", {})):
        job = replica.cluster._object(name, "TrainingJob", namespace="ml", status=status, spec={"cards": 8})
        replica.cluster.caches.jobs.put(job)
    samples = await replica.scrape()
    assert samples[of("supernode_jobs", phase="Running")] == 2
    assert samples[of("supernode_jobs", phase="Pending")] == 1
    assert samples[of("supernode_jobs", phase="Failed")] == 0


async def test_it_tells_how_long_the_first_of_those_who_wait_has_waited() -> None:
    replica = Replica()
    assert (await replica.scrape())[of("supernode_longest_wait_seconds")] == 0
    since = datetime.now(UTC)
    for name, minutes in (("young", 5), ("old", 90)):
        waits = timestamp(since - timedelta(minutes=minutes))
        parts = {"metadata": {"creationTimestamp": waits}, "spec": {"members": 3, "cardsPerMember": 4}}
        group = replica.cluster._object(name, "CardGroup", namespace="ml", **parts)
        replica.cluster.caches.groups.put(group)
        record = replica.cluster.caches.groups.store.get(("ml", name))
        assert record is not None
        replica.leader.allocator._groups._waiting.put(record, turn_of(record, None), since, 0.0)
    samples = await replica.scrape()
    assert samples[of("supernode_groups_waiting")] == 2
    assert samples[of("supernode_longest_wait_seconds")] == pytest.approx(90 * 60, abs=30)


async def test_it_tells_how_old_the_allocators_last_pass_is() -> None:
    replica = Replica()
    assert (await replica.scrape())[of("supernode_allocator_silence_seconds")] < 10
    replica.leader.allocator.last_pass -= 100
    assert (await replica.scrape())[of("supernode_allocator_silence_seconds")] == pytest.approx(100, abs=10)


async def test_a_standby_tells_of_its_caches_only() -> None:
    replica = Replica()
    replica.engine.leader = None
    replica.cluster.caches.nodes.last_activity -= 100
    samples = await replica.scrape()
    assert samples[of("supernode_leader")] == 0
    assert samples[of("supernode_cache_objects", resource="nodes")] == 8
    assert samples[of("supernode_cache_age_seconds", resource="nodes")] == pytest.approx(100, abs=10)
    assert samples[of("supernode_reflector_errors_total", resource="nodes")] == 0
    assert not {name for name, _ in samples} & {"supernode_cards", "supernode_jobs", "supernode_events_dropped_total"}


async def test_a_cache_that_nothing_needs_has_no_age() -> None:
    resources = {dict(labels).get("resource") for name, labels in await Replica().scrape() if "cache_age" in name}
    assert "nodes" in resources
    assert "resourceslices" not in resources


async def test_a_cache_of_what_the_cluster_does_not_serve_has_no_age() -> None:
    replica = Replica()
    replica.cluster.caches._by_claims.set()
    resources = {dict(labels).get("resource") for name, labels in await replica.scrape() if "cache_age" in name}
    assert {"resourceslices", "resourceclaims"} <= resources
    assert "devicetaintrules" not in resources
    replica.cluster.caches.taint_rules.synced.set()
    resources = {dict(labels).get("resource") for name, labels in await replica.scrape() if "cache_age" in name}
    assert "devicetaintrules" in resources
