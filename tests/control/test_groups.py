"""What groups need next, decided on real caches and a real snapshot; nothing here talks to a server."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fleet import SUPERNODES, Cluster, Json

from supernode.control.groups import TOLD_AT_ONCE, Draft, Groups
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


async def test_many_that_learn_why_they_wait_hold_up_nobody_who_fits() -> None:
    """Each answer is a write, and what one pass writes the next one waits for."""
    allocation = Allocation()
    for number in range(3 * TOLD_AT_ONCE):
        allocation.cluster.ask(f"large-{number}", 9)
    first = await allocation.decide()
    assert TOLD_AT_ONCE <= len(first.confirmed) <= TOLD_AT_ONCE + 1, "one message is looked at again"
    assert first.unfinished
    allocation.cluster.ask("small", 1)
    assert await allocation.placed() == ["small"]


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


SEATED = {
    "the late one names all": (("sn-0", "0-3@sn-0-n[0-3]"), ("sn-1", "0-3@sn-1-n[0-3]")),
    "the late one names some": (("sn-0", "0-3@sn-0-n[0-3]"), ("sn-1", "2-3@sn-1-n[2-3]")),
    "the late one comes first by name": (("sn-1", "0-3@sn-1-n[0-3]"), ("sn-0", "0-1@sn-0-n[0-1]")),
}
"""Where a group is and where a swap given up for lost books it too, as (supernode, run)."""


def _allocated(supernode: str) -> Json:
    """The status of a group of four members, on the nodes of this supernode in order."""
    place = {"supernode": supernode, "ranks": "0-3", "nodes": f"{supernode}-n[0-3]", "cards": ["0-3"]}
    return {"conditions": [{"type": "Allocated", "status": "True"}], "observedGeneration": 1, "placement": [place]}


@pytest.mark.parametrize("told_by", ["pods", "status", "half of its pods"])
@pytest.mark.parametrize("late", SEATED)
async def test_what_is_booked_beside_a_groups_own_cards_is_given_back(late: str, told_by: str) -> None:
    (home, own), (other, more) = SEATED[late]
    allocation, key = Allocation(), ("ml", "g")
    cluster, groups = allocation.cluster, allocation.groups
    cluster.ask("g", 4, status=_allocated(home) if told_by == "status" else {})
    for rank in {"pods": range(4), "half of its pods": range(2)}.get(told_by, ()):
        cluster.pod(f"g-{rank}", f"{home}-n{rank}", 4, group="g", named="0-3", rank=rank)
    cluster.write(home, f"ml/g CardGroup-g {own}:0-3")
    await allocation.decide()
    before = groups.members_of(key, "CardGroup-g")
    cluster.write(other, f"ml/g CardGroup-g {more}:0-3")
    draft = await allocation.decide()
    assert groups.members_of(key, "CardGroup-g") is None, "nothing is created while it is not clear where"
    assert [(repair.kind, repair.supernode) for repair in draft.repairs] == [("surplus", other)]
    assert draft.fleet.supernodes[other].free_cards == 16, "somebody else may have them at once"
    cluster.carry_out(draft)
    rest = await allocation.decide()
    assert (groups.members_of(key, "CardGroup-g"), rest.repairs, rest.touched) == (before, [], [])
    assert {name: len(ledger.entries) for name, ledger in cluster.state.ledgers.items()} == {home: 1, other: 0}


@pytest.mark.parametrize(
    ("runs", "ill", "proven"),
    [
        ({"sn-0": "0-1@sn-0-n[0-1]:0-3"}, (), True),
        ({"sn-0": "0@sn-0-n0:0-3", "sn-1": "1@sn-1-n0:0-3"}, (), False),
        ({"sn-0": "0-1@sn-0-n[0-1]:0-3"}, ("sn-0-n1", "sn-0-n2", "sn-1-n0", "sn-1-n2"), False),
    ],
    ids=["as close as can be", "cards came free since", "cards broke since"],
)
async def test_what_a_status_lost_is_called_proven_only_where_it_is_the_minimum_still(
    runs: Mapping[str, str], ill: Sequence[str], proven: bool
) -> None:
    """As after a crash between the swap of the ledgers and the status."""
    allocation = Allocation()
    allocation.cluster.ask("g", 2)
    for supernode, run in runs.items():
        allocation.cluster.write(supernode, f"ml/g CardGroup-g {run}")
    for node in ill:
        allocation.cluster.node(node, ill="1")
    [(_, status)] = (await allocation.decide()).confirmed
    assert status["minimal"] == {"supernode": 1, "rack": 1, "node": 2}
    assert status["proven"] == proven


async def test_what_is_booked_twice_and_used_by_nobody_is_taken_back_and_given_anew() -> None:
    allocation = Allocation()
    cluster, groups = allocation.cluster, allocation.groups
    cluster.ask("g", 4)
    for supernode in SUPERNODES:
        cluster.write(supernode, f"ml/g CardGroup-g 2-3@{supernode}-n[2-3]:0-3")
    await cluster.state.refresh()
    assert groups.members_of(("ml", "g"), "CardGroup-g") is None, "of four members it has two twice"
    groups.arriving.add("CardGroup-g")
    assert (await allocation.decide()).touched == [], "its pods are on their way: they will tell"
    groups.arriving.clear()
    draft = await allocation.decide()
    assert [(repair.kind, repair.supernode) for repair in draft.repairs] == [("incomplete", n) for n in SUPERNODES]
    cluster.carry_out(draft)
    assert await allocation.placed() == ["g"]


async def test_a_lost_rank_is_booked_where_its_pod_is_and_a_late_one_given_back() -> None:
    """Both at once: half of a ledger is gone, and the half that is left is named elsewhere, too."""
    allocation = Allocation()
    cluster, groups = allocation.cluster, allocation.groups
    cluster.ask("g", 4)
    for rank in range(4):
        cluster.pod(f"g-{rank}", f"sn-1-n{rank}", 4, group="g", named="0-3", rank=rank)
    cluster.write("sn-1", "ml/g CardGroup-g 0-1@sn-1-n[0-1]:0-3")
    cluster.write("sn-0", "ml/g CardGroup-g 0-1@sn-0-n[0-1]:0-3")
    draft = await allocation.decide()
    assert {(repair.kind, repair.supernode) for repair in draft.repairs} == {("rebuilt", "sn-1"), ("surplus", "sn-0")}
    cluster.carry_out(draft)
    assert (await allocation.decide()).repairs == []
    members = groups.members_of(("ml", "g"), "CardGroup-g")
    assert members is not None
    assert [member.node for member in members] == [f"sn-1-n{rank}" for rank in range(4)]


_PLACES = st.lists(st.sampled_from((None, 0, 1, 2, 3)), min_size=4, max_size=4)
"""For each of four ranks, the number of a node."""


def _ranks(places: Sequence[int | None]) -> dict[int, int]:
    """Of the ranks that are somewhere, one for each node."""
    return {node: rank for rank, node in enumerate(places) if node is not None}


@given(st.fixed_dictionaries(dict.fromkeys(SUPERNODES, _PLACES)), _PLACES, st.sampled_from((None, *SUPERNODES)))
@settings(max_examples=100)
def test_whatever_ledgers_pods_and_status_say_it_comes_to_rest_whole(
    ledgers: Mapping[str, Sequence[int | None]], pods: Sequence[int | None], told: str | None
) -> None:
    async def come_to_rest() -> None:
        allocation = Allocation()
        cluster = allocation.cluster
        cluster.ask("g", 4, status=_allocated(told) if told else {})
        for supernode, places in ledgers.items():
            runs = [f"{rank}@{supernode}-n{node}:0-3" for node, rank in _ranks(places).items()]
            cluster.write(supernode, *([f"ml/g CardGroup-g {' '.join(runs)}"] if runs else []))
        for node, rank in _ranks(pods).items():
            cluster.pod(f"g-{rank}", f"sn-0-n{node}", 4, group="g", named="0-3", rank=rank)
        passes = 0
        while (draft := await allocation.decide()).touched:
            cluster.carry_out(draft)
            passes += 1
            assert passes < 5
        assert allocation.groups.members_of(("ml", "g"), "CardGroup-g") is not None
        assert not any(ledger.doubled for ledger in cluster.state.ledgers.values())

    asyncio.run(come_to_rest())
