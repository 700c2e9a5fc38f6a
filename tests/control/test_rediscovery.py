"""What changes where nodes belong, and what profiles and supernodes that come or change bring with them."""

import asyncio
import contextlib
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from known_cluster import CARD, Cluster
from kubernetes.client import Configuration
from test_figures import Replica

from supernode.api.conditions import Reason
from supernode.api.errors import SupernodeError
from supernode.cluster.credentials import Credentials
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control.leader import Leader
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.control.records import Custom
from supernode.control.supernodes import Ledger, shape_of, standing, trouble_of
from supernode.topology.devices import TaintRule
from supernode.topology.ledger import LedgerEntry
from supernode.topology.profile import Level, Pinning, Profile

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def settled() -> Cluster:
    cluster = Cluster()
    await cluster.state.refresh()
    return cluster


@pytest.mark.parametrize(
    ("label", "sorts"),
    [("nvidia.com/gfd.timestamp", False), ("kind", True), ("rack", True), ("kubernetes.io/hostname", True)],
)
async def test_only_labels_that_something_selects_by_have_nodes_sorted_anew(label: str, sorts: bool) -> None:
    cluster = await settled()
    before = cluster.state.discovery
    cluster.node("sn-0-n1", labels={label: "new"})
    await cluster.state.refresh()
    assert (cluster.state.discovery is not before) == sorts


@pytest.mark.parametrize("labelled", [True, False], ids=["by label", "by its cards"])
@pytest.mark.parametrize("resource", [CARD, "rdma/hca"])
async def test_what_a_node_has_sorts_it_only_where_a_profile_goes_by_that(labelled: bool, resource: str) -> None:
    """Device plugins and kubelets that start anew say for a moment that there is none."""
    cluster = Cluster(labelled=labelled)
    await cluster.state.refresh()
    before, facts = cluster.state.discovery, cluster.caches.nodes.store.get(("", "sn-0-n1"))
    assert facts is not None
    cluster.state.node_changed(
        facts, replace(facts, capacity={**facts.capacity, resource: 2 if resource != CARD else 0})
    )
    await cluster.state.refresh()
    assert (cluster.state.discovery is not before) == (not labelled and resource == CARD)


async def test_a_node_whose_cards_are_away_for_a_moment_stays_where_it_is() -> None:
    """Where a profile takes all nodes that have its cards, and a kubelet starts anew."""
    cluster = Cluster(labelled=False, grace=0.1)
    await cluster.state.refresh()
    cluster.node("sn-0-n1", capacity=0)
    await cluster.state.refresh()
    assert cluster.state.discovery.assigned["sn-0-n1"] == "sn-0"
    assert cluster.state.fleet.supernodes["sn-0"].free_cards == 12
    await asyncio.sleep(0.2)
    await cluster.state.refresh()
    assert "sn-0-n1" not in cluster.state.discovery.assigned, "it has none any more"
    assert cluster.state.next_time() is None


async def test_a_write_of_a_profiles_status_sorts_no_node() -> None:
    """The operator's own, most of the time; whoever wrote it, it is to be true again."""
    cluster = await settled()
    before, cluster.state.discovered = cluster.state.discovery, False
    cluster.edit()
    await cluster.state.refresh()
    assert cluster.state.discovery is before
    assert cluster.state.discovered


async def test_a_label_that_a_new_supernode_selects_by_counts_from_then_on() -> None:
    cluster = await settled()
    spec = {"profile": "p", "nodeSelector": {"row": "7"}}
    cluster.caches.supernodes.put(cluster._object("by-row", "SuperNode", spec=spec))
    await cluster.state.refresh()
    cluster.node("sn-0-n1", labels={"row": "7"})
    await cluster.state.refresh()
    assert cluster.state.discovery.assigned["sn-0-n1"] == "by-row"


async def test_a_supernode_whose_profile_comes_later_has_no_trouble_then() -> None:
    cluster = await settled()
    spec = {"profile": "late", "nodeSelector": {"supernode": "sn-9"}}
    cluster.caches.supernodes.put(cluster._object("sn-9", "SuperNode", spec=spec))
    await cluster.state.refresh()
    assert cluster.state.troubles["sn-9"].reason == Reason.PROFILE_MISSING
    cluster.state.changed.clear()
    profile = {**cluster._profile, "nodeSelector": {"kind": "late"}}
    cluster.caches.profiles.put(cluster._object("late", "SuperNodeProfile", spec=profile))
    await cluster.state.refresh()
    assert cluster.state.troubles == {}
    assert "sn-9" in cluster.state.changed, "its status is to say so"


async def test_every_conflict_is_told_and_told_anew_when_it_changes() -> None:
    cluster = await settled()
    spec = {"profile": "p", "nodeSelector": {"rack": "0"}}
    cluster.caches.supernodes.put(cluster._object("zz", "SuperNode", spec=spec))
    await cluster.state.refresh()
    assert all(name in cluster.state.conflicts["zz"] for name in ("sn-0", "sn-1"))
    cluster.state.changed.clear()
    cluster.node("sn-1-n0", rack=7)
    await cluster.state.refresh()
    assert "sn-1-n0" not in cluster.state.conflicts["zz"]
    assert "zz" in cluster.state.changed


async def test_nothing_new_comes_to_nodes_whose_reports_are_yet_to_be_read() -> None:
    cluster = Cluster()
    cluster.caches.reports.settled.clear()
    await cluster.state.refresh()
    assert [view.free_cards for view in cluster.state.fleet.supernodes.values()] == [0, 0]
    cluster.report("sn-0-n1", "2")
    cluster.caches.reports.settled.set()
    cluster.state.reports_read()
    await cluster.state.refresh()
    assert [view.free_cards for view in cluster.state.fleet.supernodes.values()] == [15, 16]


@pytest.mark.parametrize(
    ("before", "after", "troubled"),
    [
        ("none", "annotation", True),
        ("none", "none", False),
        ("annotation", "env", False),
        ("annotation", "none", False),
    ],
)
def test_a_ledger_of_cards_that_the_kubelet_chose_is_none_to_pin_by(before: str, after: str, troubled: bool) -> None:
    """New pods could be given the cards that those which run really have."""
    levels = (Level("node", 4, 4), Level("supernode", 2, 8))
    profiles = {mode: Profile("p", CARD, levels, pinning=Pinning(mode)) for mode in (before, after)}
    ledger = Ledger("1", 1, (LedgerEntry.from_text("ml/g uid 0@n0:0-1"),))
    status = {"shape": shape_of(profiles[before])}
    record = Custom(("", "sn"), "u", "1", 1, NOW, False, (), {}, None, None, None, status)
    trouble = trouble_of(record, profiles[after], ledger)
    assert (trouble is not None and trouble.reason == Reason.PROFILE_CHANGED_IN_USE) == troubled


TEMPLATE = {"spec": {"containers": [{"name": "main", "image": "i"}]}}


async def test_jobs_are_woken_by_what_they_ask_for_once_the_fleet_knows_it() -> None:
    """All of them are gone through, so not for each of hundreds of supernodes that come together."""
    replica = Replica()
    for number in range(3):
        spec = {"workers": {"replicas": 1, "cardsPerWorker": 4, "template": TEMPLATE}}
        job = replica.cluster._object(f"j{number}", "TrainingJob", namespace="ml", spec=spec)
        replica.cluster.caches.jobs.put(job)
    ended = {"conditions": [{"type": "Succeeded", "status": "True"}]}
    job = replica.cluster._object("ended", "TrainingJob", namespace="ml", spec={}, status=ended)
    replica.cluster.caches.jobs.put(job)
    queue, allocator = replica.leader._queue, replica.leader.allocator
    while len(queue):
        queue.done(await queue.get())
    for _ in range(32):
        replica.leader.supernode_changed(("", "sn-0"), None, None)
        replica.leader.profile_changed(("", "p"), None, None)
    assert len(queue) == 0
    with contextlib.suppress(SupernodeError):  # no server takes what the pass would write
        await allocator._one_pass()
    assert len(queue) == 3


async def test_of_what_is_gone_nothing_is_remembered() -> None:
    """The next one of its name may be another."""
    cluster = Cluster(claimed=True)
    cluster.slice_goes("sn-0-n1")
    await cluster.state.refresh()
    cluster.node_goes("sn-0-n1")
    await cluster.state.refresh()
    assert "sn-0-n1" not in {node for node, _ in cluster.state.devices._known}

    replica = Replica()
    allocator, record = replica.leader.allocator, replica.cluster.caches.supernodes.store.get(("", "sn-0"))
    for name in ("sn-0", "SuperNode-sn-0"):
        allocator._outbox._pauses.failed(name)
    allocator._swaps.failed("sn-0")
    allocator._upkeep._due["sn-0"] = 1.0
    replica.leader.supernode_changed(("", "sn-0"), record, None)
    assert (allocator._outbox._pauses._rows, allocator._swaps._rows, allocator._upkeep._due) == ({}, {}, {})


async def test_a_rule_about_one_pool_concerns_the_nodes_of_that_pool_only() -> None:
    cluster = Cluster(claimed=True)
    session = Session(Credentials(lambda: Configuration(host="http://127.0.0.1:1")))
    leader = Leader(session, Writer(session), cluster.caches, Observer(), identity="me", term=1, patience=Patience())
    await leader.state.refresh()
    before = leader.state.discovery
    barred = {("", "rule"): TaintRule(None, "sn-0-n1", None)}
    cluster.caches.taint_rules.store._records |= barred
    leader.taint_rule_changed(("", "rule"), None, *barred.values())
    await leader.state.refresh()
    assert leader.state.discovery is before
    assert [
        node.name for view in leader.state.fleet.supernodes.values() for node in view.nodes if node.healthy != 15
    ] == ["sn-0-n1"]


async def test_a_supernode_says_which_nodes_give_nothing_new_until_when() -> None:
    cluster = await settled()
    cluster.state.node_refuses("sn-0-n1")
    await cluster.state.refresh()
    view = cluster.state.fleet.supernodes["sn-0"]
    assert view.free_cards == 12
    told = standing(view, None, None, cordoned=False)
    assert re.search(r"sn-0-n1: gives nothing new until \d\d:\d\d UTC: members could not be bound to it", told.message)
