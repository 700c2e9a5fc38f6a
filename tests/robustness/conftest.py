"""One real cluster for all tests of robustness; each has a world of its own in it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from grounds import add_pinned, prepared, remove_pinned
from world import INTERVALS, World
from world import world as new_world

from testbed.bed import Bed


@pytest.fixture(scope="session")
def site() -> Iterator[Bed]:
    """One cluster for all tests."""
    with prepared() as bed:
        yield bed


@pytest.fixture(scope="module")
def pinned(site: Bed) -> Iterator[None]:
    """It has a third supernode for the tests of one file."""
    add_pinned(site)
    yield
    remove_pinned(site)


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
