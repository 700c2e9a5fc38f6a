"""Ledgers that were lost or spoilt are mended from what still runs, and nothing that runs notices."""

import json
import time
from collections.abc import Iterable
from typing import Any

import pytest
from cluster_view import Cluster, Json, training_job

from testbed.check.facts import ledger_line

pytestmark = pytest.mark.cluster

Kept = tuple[dict[str, list[Json]], dict[str, str]]


def _status(cluster: Cluster, kind: str, name: str, *scope: str, **fields: Any) -> None:
    """Set fields of a status; ``None`` removes one."""
    patch = json.dumps({"status": fields})
    cluster.kubectl("patch", kind, name, *scope, "--subresource=status", "--type=merge", "-p", patch)


def _write_ledger(cluster: Cluster, supernode: str, entries: Iterable[Json]) -> None:
    _status(cluster, "sn", supernode, ledger=[ledger_line(entry) for entry in entries])


def _start(cluster: Cluster, namespace: str) -> Kept:
    """Jobs of several kinds fill both supernodes; the ledgers and the pods' uids then."""
    cluster.lend_reserves()
    cluster.apply(training_job("wide", namespace, replicas=9))
    cluster.wait_phase("wide", namespace, "Running", 60)
    cluster.apply(training_job("rack", namespace, replicas=4, topology={"required": "rack"}))
    cluster.apply(training_job("part", namespace, replicas=1, cards=6))
    for name in ("rack", "part"):
        cluster.wait_phase(name, namespace, "Running", 60)
    return _kept(cluster, namespace)


def _kept(cluster: Cluster, namespace: str) -> Kept:
    ledgers = {name: sorted(entries, key=lambda e: e["group"]) for name, entries in cluster.ledger().items()}
    pods = {p["metadata"]["name"]: p["metadata"]["uid"] for p in cluster.every("pods", namespace)}
    return ledgers, pods


def _wipe(cluster: Cluster, namespace: str) -> None:
    """What a restored backup leaves: objects without any status."""
    empty = dict.fromkeys(("ledger", "shape", "cards", "conditions", "observedGeneration"))
    for supernode in cluster.every("supernodes"):
        _status(cluster, "sn", supernode["metadata"]["name"], **empty)
    empty = dict.fromkeys(("placement", "conditions", "observedGeneration", "phase", "allocatedAt", "waitingSince"))
    for group in cluster.every("cardgroups", namespace):
        _status(cluster, "cg", group["metadata"]["name"], "-n", namespace, **empty)


def _mended(cluster: Cluster, namespace: str, before: Kept) -> None:
    cluster.wait("ledgers and pods are as before", lambda: _kept(cluster, namespace) == before, 60)
    time.sleep(2)
    assert _kept(cluster, namespace) == before, "nothing is lost afterwards"
    for name in ("wide", "rack", "part"):
        job = cluster.wait_phase(name, namespace, "Running", 60)
        assert job["status"]["restarts"] == 0


def test_wiped_statuses_are_rebuilt_while_jobs_run(cluster: Cluster, namespace: str) -> None:
    before = _start(cluster, namespace)
    cluster.apply(training_job("thief", namespace, replicas=8, cards=16))
    cluster.wait_phase("thief", namespace, "Pending")
    for _ in range(3):
        _wipe(cluster, namespace)
        _mended(cluster, namespace, before)
    assert cluster.pods("thief", namespace) == []
    events = json.loads(cluster.kubectl("get", "events", "-A", "-o", "json"))["items"]
    assert any(event["reason"] == "LedgerRepaired" for event in events)
    assert 'supernode_ledger_repairs_total{kind="rebuilt"}' in cluster.operator.get("/metrics")[1]


def test_wiped_statuses_are_rebuilt_after_a_start(cluster: Cluster, namespace: str) -> None:
    before = _start(cluster, namespace)
    cluster.apply(training_job("thief", namespace, replicas=8, cards=16))
    cluster.wait_phase("thief", namespace, "Pending")
    cluster.operator.stop()
    _wipe(cluster, namespace)
    cluster.operator.start()
    _mended(cluster, namespace, before)
    assert cluster.pods("thief", namespace) == []


@pytest.mark.parametrize("down", [False, True])
def test_deleted_supernodes_come_back_with_their_ledgers(cluster: Cluster, namespace: str, down: bool) -> None:
    before = _start(cluster, namespace)
    names = [supernode["metadata"]["name"] for supernode in cluster.every("supernodes")]
    if down:
        cluster.operator.stop()
    cluster.delete("sn", *names)
    if down:
        cluster.operator.start()
    try:
        _mended(cluster, namespace, before)
    finally:
        for name in names:
            cluster.kubectl("patch", "supernode", name, "--type=merge", "-p", '{"spec":{"reserve":0}}')


def test_spoilt_ledgers_are_written_anew(cluster: Cluster, namespace: str) -> None:
    """Text that is no range, entries of groups that are gone, and half of a group's entry."""
    ledgers, pods = before = _start(cluster, namespace)
    [first, *_] = ledgers
    broken = [{**entry, "runs": [{**run, "nodes": "a3-[0-"} for run in entry["runs"]]} for entry in ledgers[first]]
    _write_ledger(cluster, first, broken)
    _mended(cluster, namespace, before)
    ghost = {"group": "nobody/ghost", "uid": "ghost", "runs": [{"ranks": "0", "nodes": "a3-1-n007", "cards": ["15"]}]}
    _write_ledger(cluster, first, [*ledgers[first], ghost])
    _mended(cluster, namespace, before)
    halved = [entry for entry in ledgers[first] if not entry["group"].endswith("/wide")]
    _write_ledger(cluster, first, halved)
    _mended(cluster, namespace, before)
    assert len(pods) == 14


def test_cards_given_twice_stay_with_the_first(cluster: Cluster, namespace: str) -> None:
    cluster.apply(training_job("first", namespace, replicas=2))
    [supernode] = cluster.wait_phase("first", namespace, "Running")["status"]["superNodes"]
    cluster.apply(training_job("second", namespace, replicas=2))
    cluster.wait_phase("second", namespace, "Running")
    mine, other = (
        next(e for e in cluster.ledger()[supernode] if e["group"] == f"{namespace}/{name}")
        for name in ("first", "second")
    )
    _write_ledger(cluster, supernode, [mine, {**other, "runs": mine["runs"]}])
    cluster.wait("each has its own", lambda: _disjoint(cluster, supernode) and _count(cluster, namespace) == 4, 60)
    uids = {p["metadata"]["uid"] for p in cluster.pods("first", namespace)}
    for name in ("first", "second"):
        cluster.wait_phase(name, namespace, "Running", 60)
    assert uids == {p["metadata"]["uid"] for p in cluster.pods("first", namespace)}


@pytest.mark.parametrize("ranks", ["0-3", "2-3"])
def test_a_swap_that_lands_late_takes_nothing_along(cluster: Cluster, namespace: str, ranks: str) -> None:
    """One that was given up for lost: it books a running group in a second supernode, too."""
    cluster.apply(training_job("job", namespace, replicas=4, topology={"required": "supernode"}))
    [home] = cluster.wait_phase("job", namespace, "Running")["status"]["superNodes"]
    before = ledgers, pods = _kept(cluster, namespace)
    [other] = set(ledgers) - {home}
    [mine] = (entry for entry in ledgers[home] if entry["group"] == f"{namespace}/job")
    late = {"ranks": ranks, "nodes": f"{other}-n[00{ranks[0]}-00{ranks[2]}]", "cards": ["0-15"]}
    _write_ledger(cluster, other, [*ledgers[other], {**mine, "runs": [late]}])
    cluster.wait("the ledgers are as before", lambda: _kept(cluster, namespace) == before)
    time.sleep(2)
    assert _kept(cluster, namespace) == before
    assert cluster.job("job", namespace)["status"]["restarts"] == 0
    assert len(pods) == 4
    assert 'supernode_ledger_repairs_total{kind="surplus"}' in cluster.operator.get("/metrics")[1]


def test_a_status_that_names_another_place_is_corrected(cluster: Cluster, namespace: str) -> None:
    """It is read by people and by what goes by the group: ledger, status and pods agree."""
    cluster.apply(training_job("job", namespace, replicas=3))
    cluster.wait_phase("job", namespace, "Running")

    def placement() -> list[Json]:
        [group] = cluster.every("cardgroups", namespace)
        found: list[Json] = group["status"]["placement"]
        return found

    before, pods = placement(), _kept(cluster, namespace)
    _status(cluster, "cg", "job", "-n", namespace, placement=[{**run, "supernode": "renamed"} for run in before])
    cluster.wait("the status is as before", lambda: placement() == before)
    assert _kept(cluster, namespace) == pods


def _count(cluster: Cluster, namespace: str) -> int:
    return sum(len(cluster.pods(name, namespace)) for name in ("first", "second"))


def _disjoint(cluster: Cluster, supernode: str) -> bool:
    nodes = [run["nodes"] for entry in cluster.ledger()[supernode] for run in entry["runs"]]
    return len(nodes) == len(set(nodes)) == 2
