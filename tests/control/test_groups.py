"""What groups need next, decided on real caches and a real snapshot; nothing here talks to a server."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_cluster import NODES, SUPERNODES, Cluster, Json

from supernode.control import groups as control_groups
from supernode.control import planner, seating, slices
from supernode.control.draft import Draft
from supernode.control.groups import TOLD_AT_ONCE, Groups
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.placement import Placement, Refusal
from supernode.topology.fleet import Fleet

SPANS = {"node": 3, "rack": 2, "supernode": 1}
"""Of three whole nodes."""


class Allocation:
    """A cluster, and the groups of it."""

    def __init__(self, *, claimed: bool = False) -> None:
        self.cluster = Cluster(claimed=claimed)
        self.groups = Groups(
            self.cluster.caches, self.cluster.state, Observer(), lambda _key: None, Patience(hold_after=60.0)
        )

    async def decide(self) -> Draft:
        """What one pass decides of all groups."""
        await self.cluster.state.refresh()
        self.groups.touch_all()
        draft = await self.groups.draft()
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


def _dear(monkeypatch: pytest.MonkeyPatch, *members: int) -> None:
    """A decision about groups of so many members takes longer than a pass has."""
    decide = planner.decide

    def slow(fleet: Fleet, ask: planner.Ask) -> Placement | Refusal:
        if ask.request.members in members:
            time.sleep(2 * control_groups.PASS_SECONDS)
        return decide(fleet, ask)

    monkeypatch.setattr(planner, "decide", slow)


async def _passes(allocation: Allocation, count: int) -> AsyncIterator[Draft]:
    """Before each of them some card comes free, and all who wait are to be decided anew."""
    cluster = allocation.cluster
    for number in range(count):
        cluster.pod("f-0-1", "sn-0-n1", 1 + number % 2)
        cluster.pod("f-0-3", "sn-0-n3", 2 - number % 2)
        allocation.groups.look_again()
        await cluster.state.refresh()
        draft = await allocation.groups.draft()
        await allocation.groups.place_waiting(draft)
        yield draft


def _some_taken() -> Allocation:
    """Of each supernode two nodes are free, in racks of their own."""
    allocation = Allocation()
    for supernode in ("sn-0", "sn-1"):
        for number in (1, 3):
            allocation.cluster.pod(f"f-{supernode[-1]}-{number}", f"{supernode}-n{number}", 2)
    return allocation


@pytest.mark.parametrize("dear", [(5,), (5, 6, 7)])
async def test_dear_decisions_at_the_head_keep_no_one_from_a_place(
    monkeypatch: pytest.MonkeyPatch, dear: tuple[int, ...]
) -> None:
    """Each takes longer than a pass has, is refused, and is asked for again by any card that comes free."""
    _dear(monkeypatch, *dear)
    allocation = _some_taken()
    for number, members in enumerate(dear):
        allocation.cluster.ask(f"dear-{members}", members, age=10 - number)
    await allocation.decide()
    allocation.cluster.ask("fits", 1, age=1)
    allocation.groups.touch(("ml", "fits"))
    placed = [[name for _, name in draft.placed] async for draft in _passes(allocation, 5)]
    assert ["fits"] in placed


async def test_holds_are_looked_at_and_kept_although_no_pass_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in passes that do not come to the group they are for."""
    monkeypatch.setattr(control_groups, "HOLD_REVIEW_PAUSE", 0.0)
    _dear(monkeypatch, 5, 6, 7)
    allocation = _some_taken()
    for members in (5, 6):
        allocation.cluster.ask(f"dear-{members}", members, age=10, priority=5)
    allocation.cluster.ask("held", 7, age=100)
    allocation.groups.touch_all()
    held = []
    async for draft in _passes(allocation, 7):
        assert draft.unfinished
        held.append([one.group for one in allocation.groups._holds._held])
    assert held[3:] == [["ml/held"]] * 4


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


@pytest.mark.parametrize("ill", [(), ("sn-0-n3", "sn-1-n3")], ids=["first", "behind one who fits nowhere"])
async def test_a_new_leader_holds_nodes_before_it_gives_them_to_those_behind(ill: Sequence[str]) -> None:
    """Holds are not written down: it knows of none that were in force before."""
    allocation = Allocation()
    allocation.cluster.pod("foreign", "sn-0-n0", 4)
    for node in ill:
        allocation.cluster.node(node, ill="0")
        allocation.cluster.ask("hopeless", 4, age=200, topology={"required": "supernode"})
    allocation.cluster.ask("large", 8 - len(ill), age=100)
    allocation.cluster.ask("small", 1, age=10)
    allocation.cluster.ask("urgent", 1, age=10, priority=5)
    assert await allocation.placed() == ["urgent"]


@pytest.mark.parametrize(("owner", "first"), [("TrainingJob-old", "old"), ("TrainingJob-other", "young")])
async def test_a_job_that_is_placed_again_keeps_its_turn(owner: str, first: str) -> None:
    """Its group is new. What a group says of its owner counts only where that job is there."""
    allocation = Allocation()
    cluster = allocation.cluster
    cluster.write("sn-1", cordoned=True)
    for name, age, since, uid in (("old", 50, 1, owner), ("young", 20, 20, "TrainingJob-young")):
        cluster.work(name, age=age)
        cluster.ask(name, 3, age=since, metadata={"ownerReferences": [{"uid": uid, "controller": True}]})
    assert await allocation.placed() == [first]


SEATED = {
    "the late one names all": (("sn-0", "0-3@sn-0-n[0-3]"), ("sn-1", "0-3@sn-1-n[0-3]")),
    "the late one names some": (("sn-0", "0-3@sn-0-n[0-3]"), ("sn-1", "2-3@sn-1-n[2-3]")),
    "the late one comes first by name": (("sn-1", "0-3@sn-1-n[0-3]"), ("sn-0", "0-1@sn-0-n[0-1]")),
}
"""Where a group is and where a swap given up for lost books it too, as (supernode, run)."""


def _allocated(supernode: str) -> Json:
    """The status of a group of four members, on the nodes of this supernode in order."""
    place = {"supernode": supernode, "ranks": "0-3", "nodes": f"{supernode}-n[0-3]", "cards": ["0-3"]}
    conditions = [{"type": kind, "status": "True", "reason": "Allocated"} for kind in ("Ready", "Allocated")]
    return {"conditions": conditions, "observedGeneration": 1, "placement": [place]}


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
    after = draft.after(other)
    assert after is not None
    assert after.free_cards == 16, "what is written with the ledger says so"
    cluster.carry_out(draft)
    rest = await allocation.decide()
    assert (groups.members_of(key, "CardGroup-g"), rest.repairs, sorted(rest.changed)) == (before, [], [])
    assert {name: len(ledger.entries) for name, ledger in cluster.state.ledgers.items()} == {home: 1, other: 0}


async def test_a_card_that_two_groups_have_is_nobody_elses_when_one_gives_it_back() -> None:
    """Somebody edited a ledger, or restored it; a new leader, to whom all is new, decides of all groups at once."""
    allocation = Allocation()
    cluster, groups = allocation.cluster, allocation.groups
    for name, nodes in (("one", (0, 1)), ("two", (1, 2))):
        place = {"supernode": "sn-0", "ranks": "0-1", "nodes": f"sn-0-n[{nodes[0]}-{nodes[1]}]", "cards": ["0-3"]}
        cluster.ask(name, 2, age=10, status={**_allocated("sn-0"), "placement": [place]})
        for rank, node in enumerate(nodes):
            cluster.pod(f"{name}-{rank}", f"sn-0-n{node}", 4, group=name, named="0-3", rank=rank)
    cluster.write("sn-1", cordoned=True)
    ledger = ["ml/one CardGroup-one 0-1@sn-0-n[0-1]:0-3", "ml/two CardGroup-two 0-1@sn-0-n[1-2]:0-3"]
    cluster.write("sn-0", *ledger)
    cluster.ask("next", 2)
    draft = await allocation.decide()
    assert (sorted(draft.changed), draft.placed) == ([], {}), "what runs keeps what it has"
    [told] = [new for group, new in draft.confirmed if group.key == ("ml", "two")]
    assert {c["type"]: c["status"] for c in told["conditions"]}["Allocated"] == "False", "so that its job ends its pods"
    assert groups.members_of(("ml", "two"), "CardGroup-two") is None, "and nothing is created for it"
    assert groups.members_of(("ml", "one"), "CardGroup-one") is not None

    for rank in range(2):
        cluster.pod_goes(f"two-{rank}")
    draft = await allocation.decide()
    assert ([(repair.kind, repair.supernode) for repair in draft.repairs], draft.placed) == ([("doubled", "sn-0")], {})
    cluster.carry_out(draft)
    cluster.carry_out(draft := await allocation.decide())
    assert [name for _, name in draft.placed] == ["two"], "it has waited for longer"
    await cluster.state.refresh()
    assert [entry.text for entry in cluster.state.ledgers["sn-0"].entries] == [
        "ml/one CardGroup-one 0-1@sn-0-n[0-1]:0-3",
        "ml/two CardGroup-two 0-1@sn-0-n[2-3]:0-3",
    ]


async def test_cards_that_others_took_are_nobody_elses_when_their_group_gives_them_back() -> None:
    """No ledger tells of a foreign pod: the next pass sees what it has once the group's entry is gone."""
    allocation = Allocation()
    cluster = allocation.cluster
    cluster.write("sn-1", cordoned=True)
    cluster.write("sn-0", "ml/a CardGroup-a 0@sn-0-n0:0-3")
    for node in (1, 2):
        cluster.node(f"sn-0-n{node}", unschedulable=True)
    cluster.ask("a", 1, metadata={"deletionTimestamp": "2026-01-01T00:00:01Z"})
    cluster.pod("foreign", "sn-0-n0", 4)
    for name in ("b", "c"):
        cluster.ask(name, 1)
    seen = []
    for _ in range(3):
        draft = await allocation.decide()
        seen.append([member.node for _, placement in draft.placed.values() for member in placement.members])
        cluster.carry_out(draft)
    assert seen == [["sn-0-n3"], [], []]


async def test_what_is_given_back_is_given_anew_in_the_next_pass() -> None:
    allocation = Allocation()
    cluster = allocation.cluster
    cluster.write("sn-1", cordoned=True)
    cluster.ask("old", 4, metadata={"deletionTimestamp": "2026-01-01T00:00:01Z"})
    cluster.write("sn-0", "ml/old CardGroup-old 0-3@sn-0-n[0-3]:0-3")
    cluster.ask("new", 4)
    cluster.carry_out(draft := await allocation.decide())
    assert (list(draft.placed), sorted(draft.changed)) == ([], ["sn-0"])
    assert await allocation.placed() == ["new"], "the swap woke it"


async def test_of_a_large_group_that_is_gone_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seating, "LARGE", 4)
    allocation = Allocation()
    allocation.cluster.ask("g", 4)
    allocation.cluster.write("sn-0", "ml/g CardGroup-g 0-3@sn-0-n[0-3]:0-3")
    await allocation.decide()
    assert len(allocation.groups._seating._known) == 1
    allocation.cluster.group_goes("g")
    allocation.cluster.write("sn-0")
    await allocation.decide()
    assert len(allocation.groups._seating._known) == 0


def _conditions(status: Json) -> dict[str, tuple[str, str]]:
    return {condition["type"]: (condition["status"], condition["reason"]) for condition in status["conditions"]}


async def test_a_group_whose_spec_cannot_be_read_any_more_keeps_its_cards() -> None:
    """As of an older operator, or once a rule is stricter. It says so, and is as before when it can be read again."""
    allocation = Allocation()
    cluster, groups = allocation.cluster, allocation.groups
    cluster.ask("g", 4, age=10, status=_allocated("sn-0"))
    cluster.write("sn-0", "ml/g CardGroup-g 0-3@sn-0-n[0-3]:0-3")
    await allocation.decide()
    members = groups.members_of(("ml", "g"), "CardGroup-g")
    assert members is not None

    cluster.ask("g", 4, age=10, status=_allocated("sn-0"), objective="one of tomorrow")
    draft = await allocation.decide()
    [(_, told)] = draft.confirmed
    assert (sorted(draft.changed), groups.members_of(("ml", "g"), "CardGroup-g")) == ([], members)
    assert told["placement"] == _allocated("sn-0")["placement"]
    conditions = _conditions(told)
    assert (conditions["Stalled"], conditions["Allocated"]) == (("True", "InvalidSpec"), ("True", "Allocated"))
    cluster.ask("g", 4, age=10, status=told, objective="one of tomorrow")
    [(_, again)] = (await allocation.decide()).confirmed
    assert again == told, "it is told once"

    cluster.ask("g", 4, age=10, status=told)
    [(_, told)] = (await allocation.decide()).confirmed
    assert (told["phase"], told["placement"]) == ("Allocated", _allocated("sn-0")["placement"])
    assert set(_conditions(told).values()) == {("True", "Allocated"), ("False", "Allocated")}
    cluster.ask("g", 4, age=10, status=told)
    assert (await allocation.decide()).confirmed == []


async def test_a_group_whose_spec_cannot_be_read_waits_for_nothing() -> None:
    allocation = Allocation()
    allocation.cluster.ask("g", 4, objective="one of tomorrow")
    draft = await allocation.decide()
    [(_, told)] = draft.confirmed
    assert (draft.placed, _conditions(told)["Allocated"]) == ({}, ("False", "InvalidSpec"))


async def test_a_lost_ledger_of_a_group_whose_spec_cannot_be_read_ends_none_of_its_pods() -> None:
    """Its job leaves them alone as long as the group's status says that it has its cards."""
    allocation = Allocation()
    cluster = allocation.cluster
    cluster.ask("g", 4, status=_allocated("sn-0"), objective="one of tomorrow")
    for rank in range(4):
        cluster.pod(f"g-{rank}", f"sn-0-n{rank}", 4, group="g", named="0-3", rank=rank)
    cluster.ask("next", 4)
    draft = await allocation.decide()
    [told] = [new for group, new in draft.confirmed if group.key == ("ml", "g")]
    assert _conditions(told)["Allocated"][0] == "True"
    [(_, placed)] = draft.placed.values()
    assert {member.supernode for member in placed.members} == {"sn-1"}


@pytest.mark.parametrize("said", ["elsewhere", "spares elsewhere", "nothing of spares", "that it has nothing"])
async def test_a_status_names_the_places_that_the_ledger_has(said: str) -> None:
    """Its ledger was rebuilt in a supernode of another name, or somebody wiped or edited the status."""
    allocation = Allocation()
    cluster = allocation.cluster
    status = _allocated("sn-0" if said == "elsewhere" else "sn-1")
    status["placement"][0] |= {"ranks": "0-2", "nodes": status["placement"][0]["nodes"].replace("3]", "2]")}
    status["spares"] = [{"supernode": "sn-1", "ranks": "0", "nodes": "sn-1-n3", "cards": ["0-3"]}]
    if said == "spares elsewhere":
        status["spares"][0]["nodes"] = "sn-1-n2"
    elif said == "nothing of spares":
        del status["spares"]
    elif said == "that it has nothing":
        status = {}
    topology = {"spares": {"members": 1, "within": "supernode"}}
    cluster.ask("g", 3, age=10, status=status, topology=topology)
    cluster.write("sn-1", "ml/g CardGroup-g 0-2@sn-1-n[0-2]:0-3 +0@sn-1-n3:0-3")
    [(_, told)] = (await allocation.decide()).confirmed
    assert told["placement"] == [{"supernode": "sn-1", "ranks": "0-2", "nodes": "sn-1-n[0-2]", "cards": ["0-3"]}]
    assert told["spares"] == [{"supernode": "sn-1", "ranks": "0", "nodes": "sn-1-n3", "cards": ["0-3"]}]
    assert (told["spans"], told["minimal"], told["proven"]) == (SPANS, SPANS, True)
    assert _conditions(told)["Allocated"] == ("True", "Allocated")
    cluster.ask("g", 3, age=10, status=told, topology=topology)
    assert (await allocation.decide()).confirmed == [], "nothing is written any more"


@pytest.mark.parametrize(
    "runs",
    [
        {"sn-0": "0-3@sn-0-n[0-3]:0-3", "sn-1": "4-5@sn-1-n[0-1]:0-3"},
        {"sn-0": "0@sn-0-n0:0-3 2@sn-0-n1:0-3 4@sn-0-n2:0-3", "sn-1": "1@sn-1-n0:0-3 3@sn-1-n1:0-3 5@sn-1-n2:0-3"},
        {"sn-0": "0@sn-0-n0:0-3 1-3@sn-0-n[1-3]:0-3", "sn-1": "4@sn-1-n0:0-3 5@sn-1-n1:0-3"},
    ],
    ids=["one after the other", "by turns", "in more runs than need be"],
)
async def test_a_status_that_names_them_is_not_written_again(runs: dict[str, str]) -> None:
    """However the runs of the ledgers are written."""
    allocation = Allocation()
    allocation.cluster.ask("g", 6)
    for supernode, run in runs.items():
        allocation.cluster.write(supernode, f"ml/g CardGroup-g {run}")
    [(_, told)] = (await allocation.decide()).confirmed
    allocation.cluster.ask("g", 6, status=told)
    assert (await allocation.decide()).confirmed == []


async def test_statuses_lost_together_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a restore: a planner is asked about each, and others get their turn between any two."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    allocation = Allocation()
    cluster, turns = allocation.cluster, 0
    for number, node in enumerate(NODES):
        cluster.ask(f"g{number}", 1)
        cluster.book(node[:4], f"ml/g{number} CardGroup-g{number} 0@{node}:0-3")

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    await cluster.state.refresh()
    turns = 0
    draft = await allocation.groups.draft()
    task.cancel()
    assert len(draft.confirmed) == len(NODES)
    assert turns >= 2 * len(NODES), "after each look and each question"


async def test_statuses_lost_together_take_as_many_passes_as_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for cards is decided in between."""
    monkeypatch.setattr(control_groups, "PASS_SECONDS", 0.0)
    allocation = Allocation()
    for number in range(4):
        allocation.cluster.ask(f"g{number}", 1)
        allocation.cluster.book("sn-0", f"ml/g{number} CardGroup-g{number} 0@sn-0-n{number}:0-3")
    await allocation.cluster.state.refresh()
    told: list[str] = []
    passes = 0
    unfinished = True
    while unfinished:
        draft = await allocation.groups.draft()
        told += [group.key[1] for group, _ in draft.confirmed]
        unfinished = draft.unfinished
        passes += 1
        assert passes < 10
    assert (sorted(told), passes > 1) == (["g0", "g1", "g2", "g3"], True)


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
    assert (await allocation.decide()).changed == {}, "its pods are on their way: they will tell"
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


async def _supernode_goes(*, pods: bool, with_profile: bool) -> tuple[Allocation, Draft]:
    """The nodes of sn-0 tell of none after it was deleted; what is decided then of the group that had all of it."""
    allocation, key = Allocation(), {"row": "7"}
    cluster = allocation.cluster
    for number in range(4):
        cluster.node(f"sn-0-n{number}", labels={**key, **({} if with_profile else {"supernode": ""})})
    cluster.ask("g", 4, age=10, status=_allocated("sn-0"))
    for rank in range(4 if pods else 0):
        cluster.pod(f"g-{rank}", f"sn-0-n{rank}", 4, group="g", named="0-3", rank=rank)
    cluster.write("sn-0", "ml/g CardGroup-g 0-3@sn-0-n[0-3]:0-3", nodeSelector=key)
    await allocation.decide()
    if with_profile:
        cluster.profile_goes()
        await allocation.decide()
    cluster.supernode_goes("sn-0")
    return allocation, await allocation.decide()


@pytest.mark.parametrize("with_profile", [False, True])
async def test_what_runs_is_left_alone_while_its_nodes_belong_to_no_supernode(with_profile: bool) -> None:
    """A SuperNode written by hand is deleted, or one and before it its profile; both come again."""
    allocation, draft = await _supernode_goes(pods=True, with_profile=with_profile)
    cluster = allocation.cluster
    [(_, told)] = draft.confirmed
    assert _conditions(told)["Allocated"] == ("True", "Allocated"), "or its job would end its pods"
    assert _conditions(told)["Ready"] == ("False", "SuperNodeMissing")
    assert (told["placement"], draft.placed, draft.retry) == (_allocated("sn-0")["placement"], {}, False)

    cluster.ask("g", 4, age=10, status=told)
    cluster.write("sn-0", nodeSelector={"row": "7"})
    cluster.edit()
    draft = await allocation.decide()
    assert [(repair.kind, repair.supernode) for repair in draft.repairs] == [("rebuilt", "sn-0")]
    cluster.carry_out(draft)
    [(_, told)] = (await allocation.decide()).confirmed
    assert _conditions(told)["Ready"] == ("True", "Allocated")


async def test_a_group_without_pods_whose_nodes_belong_to_no_supernode_is_placed_elsewhere() -> None:
    _, draft = await _supernode_goes(pods=False, with_profile=False)
    [(_, placed)] = draft.placed.values()
    assert {member.supernode for member in placed.members} == {"sn-1"}


STARTED: Json = {"phase": "Running"}
GATED: Json = {"phase": "Pending", "pinned": True}


def _waits(reason: str = "NoPlace") -> Json:
    """The status of a group that was told that it waits."""
    return {"conditions": [{"type": "Allocated", "status": "False", "reason": reason}], "observedGeneration": 1}


@pytest.mark.parametrize(
    ("status", "pods", "booked"),
    [
        ({}, STARTED, True),
        ({}, GATED, False),
        ({}, {**STARTED, "named": "100-103"}, False),
        ({}, {**STARTED, "cards": 1}, False),
        (_waits(), STARTED, False),
        (_waits(), GATED, False),
    ],
    ids=[
        "a restore left no status, and they run",
        "they never ran",
        "they name cards that are not there",
        "they name more cards than they have",
        "it was told that it waits",
        "it was told so, and they never ran",
    ],
)
async def test_what_pods_say_books_only_what_they_surely_have(status: Json, pods: Json, booked: bool) -> None:
    """Anybody may make pods that say anything, past a cordon, a reserve, and those who wait for longer."""
    allocation = Allocation()
    cluster = allocation.cluster
    cluster.write("sn-0", cordoned=True)
    cluster.write("sn-1", reserve=4)
    cluster.ask("first", 4, age=1000, priority=1000)
    assert await allocation.placed() == []
    cluster.ask("second", 2, priority=-5, status=status)
    for rank, node in enumerate(("sn-0-n0", "sn-1-n0")):
        cluster.pod(f"second-{rank}", node, group="second", rank=rank, **{"cards": 4, "named": "0-3", **pods})
    draft = await allocation.decide()
    assert (sorted(draft.changed), draft.placed) == (["sn-0", "sn-1"] if booked else [], {})


async def test_claims_tell_what_a_pod_has_where_it_asks_for_no_resource() -> None:
    allocation = Allocation(claimed=True)
    cluster = allocation.cluster
    cluster.ask("g", 1)
    cluster.write("sn-1", cordoned=True)
    cluster.pod("g-0", "sn-1-n0", 0, group="g", named="0-3")
    cluster.claim("g-0", "sn-1-n0", 0, group="g")
    draft = await allocation.decide()
    assert ([repair.kind for repair in draft.repairs], sorted(draft.changed)) == ([], ["sn-0"]), "it has one of four"
    cluster.slice_goes("sn-1-n0")
    draft = await allocation.decide()
    assert sorted(draft.changed) == ["sn-1"], "nobody knows of any device: it may have them"
    cluster.slice("sn-1-n0")
    cluster.claim("g-0", "sn-1-n0", *range(4), group="g")
    draft = await allocation.decide()
    assert ([repair.kind for repair in draft.repairs], sorted(draft.changed)) == (["rebuilt"], ["sn-1"])


async def test_pods_on_their_way_tell_which_of_two_booked_places_is_meant() -> None:
    """Before the group's status does: they were made by what the ledger said, and it was told last that it waits."""
    allocation = Allocation()
    cluster = allocation.cluster
    cluster.ask("g", 4, status=_waits())
    for supernode in SUPERNODES:
        cluster.write(supernode, f"ml/g CardGroup-g 0-3@{supernode}-n[0-3]:0-3")
    for rank in range(2):
        cluster.pod(f"g-{rank}", f"sn-0-n{rank}", 4, group="g", named="0-3", rank=rank, **GATED)
    draft = await allocation.decide()
    assert [(repair.kind, repair.supernode) for repair in draft.repairs] == [("surplus", "sn-1")]


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
        while (draft := await allocation.decide()).changed:
            cluster.carry_out(draft)
            passes += 1
            assert passes < 5
        assert allocation.groups.members_of(("ml", "g"), "CardGroup-g") is not None
        assert not any(ledger.doubled for ledger in cluster.state.ledgers.values())

    asyncio.run(come_to_rest())
