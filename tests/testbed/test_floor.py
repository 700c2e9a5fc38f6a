"""The clock of the time to bound, on a real control plane."""

import time
from collections.abc import Iterator

import pytest

from testbed import bed as beds
from testbed.bed import Bed
from testbed.errors import TestbedError
from testbed.fleet import Fleet
from testbed.floor import pinned_pod, raw_client, until_bound
from testbed.installation import apply, kubectl

pytestmark = pytest.mark.cluster

PROFILE = {"card": {"resource": "example.com/card"}, "levels": [{"name": "node", "fanOut": 8}]}
PODS = [pinned_pod(f"p{i}", "default", f"plain-{i}", "example.com/card", 8) for i in range(4)]


@pytest.fixture(scope="module")
def plain() -> Iterator[Bed]:
    fleet = Fleet.parse({"pools": [{"name": "plain", "profile": PROFILE, "supernodes": 4}]})
    with beds.start(fleet=fleet) as running:
        yield running


def pods(bed: Bed) -> list[str]:
    return kubectl(bed, "get", "pods", "-o", "name").split()


def test_a_raw_client_is_timed_and_leaves_nothing(plain: Bed) -> None:
    assert 0 < raw_client(plain, PODS) < 60
    assert pods(plain) == []


def test_whoever_makes_the_pods_is_timed(plain: Bed) -> None:
    seconds = until_bound(plain, "default", "floor=default", len(PODS), lambda: apply(plain, PODS))
    assert 0 < seconds < 60
    assert len(pods(plain)) == len(PODS)
    with pytest.raises(TestbedError, match="delete them first"):
        raw_client(plain, PODS)


def test_a_refused_request_is_told_at_once(plain: Bed) -> None:
    began = time.monotonic()
    with pytest.raises(TestbedError, match="kubectl apply -f nowhere"):
        until_bound(plain, "default", "job=refused", 4, lambda: kubectl(plain, "apply", "-f", "nowhere.yaml"))
    assert time.monotonic() - began < 30
