"""The cards a container is given by a real kubelet's device manager are those that placement chose."""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from cluster_view import Json
from real_cluster import RACK_PROFILE, RealCluster, real_job

pytestmark = [pytest.mark.cluster, pytest.mark.realnodes]

# Says which cards' device files are there, and holds the cards long enough for another job to come beside it.
TELL = r"""
files=$(ls /dev | sed -n 's/^davinci//p; s/^nvidia//p' | sort -n | tr '\n' ,)
echo "files $files"
sleep 8
"""


def indices(text: str) -> frozenset[int]:
    """Of a list such as ``0-3,8``."""
    found: set[int] = set()
    for part in filter(None, text.strip(",").split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


@dataclass(frozen=True)
class Seat:
    """A worker's node, the cards it was placed on, and those whose device files it found."""

    node: str
    placed: frozenset[int]
    held: frozenset[int]


NODE = frozenset(range(16))


def told(log: str) -> frozenset[int]:
    """The cards whose device files a worker found."""
    [files] = re.findall(r"^files (.*)$", log, re.MULTILINE)
    return indices(files)


def telling(name: str, namespace: str, *, replicas: int, cards: int, **spec: Any) -> Json:
    return real_job(name, namespace, ["sh", "-ec", TELL], replicas=replicas, cards=cards, **spec)


def check(cluster: RealCluster, namespace: str, jobs: list[Json]) -> dict[str, list[Seat]]:
    """Run jobs side by side: what each worker was placed on and what it held, by rank."""
    cluster.apply(*jobs)
    seats = {}
    for job in jobs:
        name = job["metadata"]["name"]
        logs = cluster.succeeded(name, namespace)
        seats[name] = [
            Seat(pod["spec"]["nodeName"], indices(pod["metadata"]["annotations"]["supernode.io/cards"]), told(log))
            for pod, log in zip(cluster.pods(name, namespace), logs, strict=True)
        ]
    return seats


@pytest.mark.parametrize("profile", ["ascend-a3-384", "rack"])
def test_whole_nodes(cluster: RealCluster, namespace: str, profile: str) -> None:
    seats = check(cluster, namespace, [telling("whole", namespace, replicas=2, cards=16, profile=profile)])["whole"]
    assert [(seat.placed, seat.held) for seat in seats] == [(NODE, NODE)] * 2
    assert len({seat.node for seat in seats}) == 2


@pytest.mark.parametrize("profile", ["ascend-a3-384", "rack"])
def test_a_pair(cluster: RealCluster, namespace: str, profile: str) -> None:
    [seat] = check(cluster, namespace, [telling("pair", namespace, replicas=1, cards=2, profile=profile)])["pair"]
    assert seat.held == seat.placed
    assert len(seat.held) == 2
    if profile == "ascend-a3-384":
        assert seat.held == {min(seat.held), min(seat.held) ^ 1}, "two dies of one package"


@pytest.mark.parametrize("profile", ["ascend-a3-384", "rack"])
def test_pairs_of_one_node(cluster: RealCluster, namespace: str, profile: str) -> None:
    """The kubelet does not tell the plugin which pod it asks for; by annotation, equals have to come one by one."""
    names = ("first", "second")
    found = check(cluster, namespace, [telling(n, namespace, replicas=3, cards=2, profile=profile) for n in names])
    seats = [seat for name in names for seat in found[name]]
    assert [seat.held for seat in seats] == [seat.placed for seat in seats]
    assert len({(seat.node, card) for seat in seats for card in seat.held}) == 12


@pytest.mark.parametrize("profile", ["ascend-a3-384", "rack"])
def test_two_and_fourteen_of_one_node(cluster: RealCluster, namespace: str, profile: str) -> None:
    jobs = [
        telling("two", namespace, replicas=1, cards=2, profile=profile),
        telling("fourteen", namespace, replicas=1, cards=14, profile=profile),
    ]
    seats = check(cluster, namespace, jobs)
    [two], [fourteen] = seats["two"], seats["fourteen"]
    assert (two.held, fourteen.held) == (two.placed, fourteen.placed)
    assert two.node == fourteen.node
    assert two.held | fourteen.held == NODE
    assert len(two.held) == 2


def test_whole_nodes_need_no_pinning(cluster: RealCluster, namespace: str) -> None:
    unpinned = {**RACK_PROFILE, "spec": {**RACK_PROFILE["spec"], "pinning": {"mode": "none"}}}
    cluster.apply(unpinned)
    try:
        seats = check(cluster, namespace, [telling("whole", namespace, replicas=2, cards=16)])["whole"]
    finally:
        cluster.apply(RACK_PROFILE)
    assert [(seat.placed, seat.held) for seat in seats] == [(NODE, NODE)] * 2
