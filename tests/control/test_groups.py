"""What groups need next, decided on real caches and a real snapshot; nothing here talks to a server."""

from test_fleet import Cluster

from supernode.control.groups import Draft, Groups
from supernode.control.observer import Observer
from supernode.control.patience import Patience


class Allocation:
    """A cluster, and the groups of it."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.groups = Groups(
            self.cluster.caches, self.cluster.state, Observer(), lambda _key: None, Patience(hold_after=60.0)
        )

    async def decide(self) -> Draft:
        """What one pass decides of all groups."""
        await self.cluster.state.refresh()
        self.groups.touch_all()
        draft = self.groups.draft()
        await self.groups.place_waiting(draft)
        return draft

    async def placed(self) -> list[str]:
        """Who gets cards in one pass."""
        return sorted(name for _, name in (await self.decide()).placed)


async def test_who_asks_for_the_same_with_a_higher_priority_is_decided_anew() -> None:
    """The last refusal was given to one from whom nodes were held back."""
    allocation = Allocation()
    allocation.cluster.pod("foreign", "sn-0-n0", 4)
    allocation.cluster.ask("large", 8, age=100)
    assert await allocation.placed() == []
    allocation.cluster.ask("small", 1, age=10)
    assert await allocation.placed() == [], "all nodes are held"
    allocation.cluster.ask("urgent", 1, priority=5)
    assert await allocation.placed() == ["urgent"]


async def test_who_is_given_a_higher_priority_is_decided_anew() -> None:
    allocation = Allocation()
    allocation.cluster.pod("foreign", "sn-0-n0", 4)
    allocation.cluster.ask("large", 8, age=100)
    await allocation.decide()
    for name in ("small", "other"):
        allocation.cluster.ask(name, 1, age=10)
    assert await allocation.placed() == []
    allocation.cluster.ask("other", 1, age=10, priority=5, metadata={"generation": 2})
    assert await allocation.placed() == ["other"]
