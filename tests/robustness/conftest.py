"""One real cluster with two NVL72 racks for all tests of robustness; each has a world of its own in it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from world import INTERVALS, World, hold_nothing_back
from world import world as new_world

from testbed import bed as testbed
from testbed.bed import Bed
from testbed.client import run
from testbed.installation import install

HERE = Path(__file__).parent
FLEET = HERE / "fleet.yaml"


@pytest.fixture(scope="session")
def site() -> Iterator[Bed]:
    """The cluster, with the operator's charts applied and its supernodes discovered."""
    with testbed.start(fleet=FLEET, audit=False) as bed:
        install(bed)
        # The garbage collector looks for new kinds every half minute; a new one knows them at once.
        bed.stop_program("kube-controller-manager")
        bed.start_program("kube-controller-manager")
        run(hold_nothing_back(bed, supernodes=2))
        yield bed


@pytest.fixture(autouse=True)
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator does now and then it does so often that a test sees it."""
    for name, seconds in INTERVALS.items():
        monkeypatch.setattr(name, seconds)


@pytest.fixture
async def world(site: Bed) -> AsyncIterator[World]:
    """A namespace, its users and operators, and the history of the whole cluster; its promises are held at the end.

    The operators have had every right that they asked for, and every fault has met a request.
    """
    async with new_world(site) as found:
        yield found
        broken = await found.broken()
        assert broken == [], "\n".join(broken)
        assert found.forbidden() == []
        assert found.missed() == []
