"""The snapshot that follows events node by node is the one that is made of the same caches at once."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_cluster import CARD, GROUPS, NODES, SUPERNODES, Cluster, Follower, Json

from supernode.control import fleet
from supernode.control.fleet import FleetState
from supernode.control.nodehealth import NodeHealth
from supernode.topology.fleet import SuperNodeView
from supernode.topology.views import build_view


def told(state: FleetState) -> Json:
    """Everything a snapshot says, without how it came about."""
    views = {name: _told_of(view) for name, view in state.fleet.supernodes.items()}
    return {
        "views": views,
        "ledgers": dict(state.ledgers),
        "troubles": state.troubles,
        "groups": state.ledgers.by_group,
    }


def _told_of(view: SuperNodeView) -> Json:
    return {
        "profile": view.profile,
        "nodes": view.nodes,
        "cordoned": view.cordoned,
        "reserve": view.reserve,
        "ledger": view.ledger,
        "census": sorted((kind, count) for kind, count in view.census.counts() if count),
        "names": view.layout.names,
        "bounds": view.layout.bounds,
        "index": view.layout.index,
        "empty": view.emptied().nodes,
    }


_NODE = st.sampled_from(NODES)
_TAINTS = st.lists(
    st.builds(
        lambda key, effect: {"key": key, "effect": effect},
        st.sampled_from((CARD, "a", "b")),
        st.sampled_from(("NoSchedule", "NoExecute")),
    ),
    max_size=2,
)
_SUPERNODE = st.sampled_from(SUPERNODES)
_CARDS = st.sampled_from(("0", "1", "0-1", "2-3", "0-3"))
_POD = st.sampled_from(("a", "b", "c", "d"))


def _action(name: str, *positional: st.SearchStrategy[Any], **named: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(name), st.tuples(*positional), st.fixed_dictionaries({}, optional=named))


_LINE = st.builds(
    "ml/{} {} {}@{}:{}".format,
    st.sampled_from(GROUPS),
    st.sampled_from(("uid-0", "uid-1", "uid-2", "uid-3")),
    st.sampled_from(("0", "0", "0", "0-1")),  # the last counts more ranks than there are: an unreadable ledger
    st.sampled_from((*NODES, "sn-0-n0", "sn-0-n0", "sn-0-n0", "nowhere")),  # so that cards are given twice
    _CARDS,
)
_ACTIONS = (
    _action(
        "pod",
        _POD,
        st.sampled_from((*NODES, "sn-0-n0", "sn-0-n0", "sn-0-n0")),  # so that some share a seat
        st.integers(1, 4),
        group=st.sampled_from(GROUPS),
        phase=st.sampled_from(("Pending", "Running", "Succeeded")),
        named=_CARDS,
        devices=st.sampled_from(("card-3", "card-0,card-2", "card")),
    ),
    _action("pod_goes", _POD),
    _action("book", _SUPERNODE, _LINE),
    _action("book", _SUPERNODE, _LINE, first=st.booleans()),
    _action("give_back", _SUPERNODE, st.integers(0, 3)),
    _action("write", _SUPERNODE, cordoned=st.booleans(), reserve=st.integers(0, 2)),
    _action(
        "node",
        _NODE,
        usable=st.integers(0, 4),
        capacity=st.integers(2, 4),
        ill=st.sampled_from(("1", "0-1", "x")),
        unschedulable=st.booleans(),
        taints=_TAINTS,
    ),
    _action("report", _NODE, st.sampled_from(("", "1", "0,3", "9", "x")), cut_off=st.sampled_from(("", "2"))),
    _action("report_goes", _NODE),
    _action("tolerate", st.lists(st.sampled_from(("a", "b")), max_size=2, unique=True)),
    _action("node", _NODE, home=_SUPERNODE, rack=st.integers(0, 1)),
    _action("node_goes", _NODE),
    _action("supernode_goes", _SUPERNODE),
    _action("refuse", _NODE),
)


_INDEX = st.integers(0, 3)
_OF_DEVICES = (
    _action(
        "slice",
        _NODE,
        devices=st.integers(0, 4),
        gone=_INDEX,
        tainted=_INDEX,
        generation=st.integers(1, 2),
        pool=_NODE,
        of=_NODE,
    ),
    _action("slice_goes", _NODE),
    _action("claim", _POD, _NODE, _INDEX, _INDEX, group=st.sampled_from(GROUPS), also=_NODE),
    _action("claim_goes", _POD),
    _action("taint", _NODE, _INDEX),
    _action("taint_goes"),
)

Rounds = list[list[tuple[str, tuple[Any, ...], Json]]]


def _rounds(*actions: st.SearchStrategy[Any]) -> st.SearchStrategy[Rounds]:
    return st.lists(st.lists(st.one_of(*actions), max_size=4), max_size=12)


@given(_rounds(*_ACTIONS))
@settings(max_examples=200)
def test_what_is_followed_is_what_is_there(rounds: Rounds) -> None:
    _follow(rounds, claimed=False)


@given(_rounds(*_ACTIONS, *_OF_DEVICES))
@settings(max_examples=200)
def test_what_is_claimed_is_followed_too(rounds: Rounds) -> None:
    _follow(rounds, claimed=True)


def _follow(rounds: Rounds, *, claimed: bool) -> None:
    async def follow() -> None:
        cluster = Cluster(claimed=claimed)
        await cluster.state.refresh()
        for actions in rounds:
            for name, positional, named in actions:
                getattr(cluster, name)(*positional, **named)
            await cluster.state.refresh()
            assert told(cluster.state) == told(await cluster.made_at_once())

    asyncio.run(follow())


CHANGES: dict[str, Callable[[Cluster], None]] = {
    "a foreign pod": lambda cluster: cluster.pod("a", "sn-0-n1", 2),
    "a ledger's line": lambda cluster: cluster.book("sn-0", "ml/g0 uid-0 0@sn-0-n1:0-3"),
    "a cordoned node": lambda cluster: cluster.node("sn-0-n1", unschedulable=True),
    "a broken card": lambda cluster: cluster.node("sn-0-n1", ill="2"),
    "a card reported as broken": lambda cluster: cluster.report("sn-0-n1", "2"),
    "a cordoned supernode": lambda cluster: cluster.write("sn-0", cordoned=True),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_did_not_change_is_kept(change: str) -> None:
    """Other supernodes as they are, and of this one how its nodes are grouped, unless its spec was edited."""
    cluster = Cluster()
    await cluster.state.refresh()
    before = cluster.state.fleet.supernodes
    CHANGES[change](cluster)
    await cluster.state.refresh()
    after = cluster.state.fleet.supernodes
    assert after["sn-1"] is before["sn-1"]
    assert after["sn-0"] is not before["sn-0"]
    assert (after["sn-0"].layout is before["sn-0"].layout) == (change != "a cordoned supernode")


@pytest.mark.parametrize("claimed", [False, True], ids=["pods", "claims"])
async def test_what_a_group_has_is_counted_by_the_ledger_where_that_gives_it(claimed: bool) -> None:
    cluster = Cluster(claimed=claimed)
    if claimed:
        cluster.claim("a", "sn-0-n1", 2, 3, group="g0")
    else:
        cluster.pod("a", "sn-0-n1", 2, group="g0")
    for line in ("0@sn-0-n1:2-3", "0@sn-0-n2:2-3"):
        await cluster.state.refresh()
        assert cluster.state.fleet.supernodes["sn-0"].free_cards == 14
        cluster.book("sn-0", f"ml/g0 uid-0 {line}")
        await cluster.state.refresh()
        assert cluster.state.fleet.supernodes["sn-0"].free_cards == (14 if "n1" in line else 12)
        cluster.give_back("sn-0", 0)


_SEAT = "ml/g0 uid-0 0@sn-0-n1:0-1"


@pytest.mark.parametrize(
    ("pods", "taken"),
    [
        ([("sn-0-n1", 2, {})], {"sn-0-n1": 0b0011}),
        ([("sn-0-n1", 2, {"named": "0-1"})], {"sn-0-n1": 0b0011}),
        ([("sn-0-n3", 4, {})], {"sn-0-n1": 0b0011, "sn-0-n3": 0b1111}),
        ([("sn-1-n1", 4, {})], {"sn-0-n1": 0b0011, "sn-1-n1": 0b1111}),
        ([("sn-0-n1", 3, {})], {"sn-0-n1": 0b0111}),
        ([("sn-0-n1", 3, {"named": "0-1,3"})], {"sn-0-n1": 0b1011}),
        ([("sn-0-n1", 2, {"named": "2-3"})], {"sn-0-n1": 0b1111}),
        ([("sn-0-n1", 2, {"named": "0-3"})], {"sn-0-n1": 0b0011}),
        ([("sn-0-n1", 1, {})] * 2, {"sn-0-n1": 0b0011}),
        ([("sn-0-n1", 1, {"named": "1"}), ("sn-0-n1", 1, {})], {"sn-0-n1": 0b0011}),
        ([("sn-0-n1", 2, {})] * 2, {"sn-0-n1": 0b1111}),
        ([("sn-0-n1", 2, {"named": "0-1"})] * 2, {"sn-0-n1": 0b1111}),
        ([("sn-0-n1", 2, {"phase": "Succeeded"}), ("sn-0-n1", 2, {})], {"sn-0-n1": 0b0011}),
    ],
    ids=[
        "on its seat",
        "on its seat by name",
        "on another node of the supernode",
        "in another supernode",
        "with more cards than its seat",
        "with more cards by name",
        "beside its seat",
        "that names more than it has",
        "two that share a seat",
        "two that share a seat, one by name",
        "two on a seat for one",
        "two that name the same seat",
        "one after another",
    ],
)
async def test_a_groups_label_hides_no_more_cards_than_its_seat_on_the_node_has(
    pods: list[tuple[str, int, Json]], taken: dict[str, int]
) -> None:
    """Whoever may create pods may write the label, and a Deployment without the affinity puts its pods anywhere."""
    cluster = Cluster()
    cluster.book("sn-0", _SEAT)
    await cluster.state.refresh()
    for number, (node, cards, more) in enumerate(pods):
        cluster.pod(f"pod-{number}", node, cards, group="g0", **more)
    await cluster.state.refresh()
    views = cluster.state.fleet.supernodes
    assert {node.name: node.taken for view in views.values() for node in view.nodes if node.taken} == taken
    for number in range(len(pods)):
        cluster.pod_goes(f"pod-{number}")
    await cluster.state.refresh()
    assert cluster.state.fleet.supernodes["sn-0"].free_cards == 14


async def test_of_two_pods_on_a_seat_for_one_the_other_has_it_once_the_first_is_gone() -> None:
    cluster = Cluster()
    cluster.book("sn-0", _SEAT)
    for name in ("first", "second"):
        cluster.pod(name, "sn-0-n1", 2, group="g0", named="0-1")
    await cluster.state.refresh()
    assert cluster.state.fleet.supernodes["sn-0"].free_cards == 12
    cluster.pod("first", "sn-0-n1", 2, group="g0", named="0-1", phase="Failed")
    await cluster.state.refresh()
    assert cluster.state.fleet.supernodes["sn-0"].free_cards == 14


@pytest.mark.parametrize(
    ("node", "devices", "taken"),
    [
        ("sn-0-n1", (0, 1), {"sn-0-n1": 0b0011}),
        ("sn-0-n1", (1, 2), {"sn-0-n1": 0b0111}),
        ("sn-0-n3", (0, 1), {"sn-0-n1": 0b0011, "sn-0-n3": 0b0011}),
    ],
    ids=["of its seat", "beside its seat", "of another node"],
)
async def test_the_label_on_a_claim_hides_no_more_either(
    node: str, devices: tuple[int, ...], taken: dict[str, int]
) -> None:
    cluster = Cluster(claimed=True)
    cluster.book("sn-0", _SEAT)
    await cluster.state.refresh()
    cluster.claim("a", node, *devices, group="g0")
    await cluster.state.refresh()
    view = cluster.state.fleet.supernodes["sn-0"]
    assert {each.name: each.taken for each in view.nodes if each.taken} == taken


async def test_pods_on_the_cards_of_their_groups_wake_nobody() -> None:
    """Of a hundred thousand cards every pod tells of itself several times."""
    cluster = Cluster()
    cluster.book("sn-0", _SEAT)
    await cluster.state.refresh()
    matters: list[bool] = []

    class Counting(Follower):
        def pod_changed(self, _key: Any, old: Any, new: Any) -> None:
            matters.append(self.state.pod_changed(old, new))

    cluster.caches.listener = Counting(cluster.state)
    for phase in ("Pending", "Running", "Succeeded"):
        cluster.pod("a", "sn-0-n1", 2, group="g0", named="0-1", phase=phase)
    cluster.pod_goes("a")
    assert matters == [False] * 4
    matters.clear()
    for phase in ("Pending", "Running", "Succeeded"):
        cluster.pod("b", "sn-0-n2", 2, group="g0", phase=phase)
    assert matters == [True, False, True], "that one began to run changes no account"


@pytest.mark.parametrize(
    ("pod", "taken"),
    [
        ({"devices": "card-2,card-3"}, 0b1100),
        ({"devices": "card-1,card-3", "group": "g0"}, 0b0011),
        ({"devices": "card-2"}, 0b0011),
        ({"devices": "card-x,card-y"}, 0b0011),
        ({"named": "2-3"}, 0b1100),
        ({"named": "2-3", "group": "g0"}, 0b1100),
        ({"named": "0-3"}, 0b0011),
        ({"named": "3"}, 0b0011),
        ({"named": "0-3", "devices": "card-2,card-3"}, 0b1100),
        ({"named": "100-101"}, 0b0011),
        ({}, 0b0011),
    ],
    ids=[
        "named",
        "of a group, which names its own",
        "fewer than it has",
        "malformed",
        "named as ours are",
        "one of ours whose ledger is lost",
        "more than it asks for",
        "fewer than it asks for",
        "as many as it asks for, and more as ours are",
        "not of this node",
        "unnamed: the lowest",
    ],
)
async def test_the_cards_that_another_scheduler_chose_are_taken(pod: Json, taken: int) -> None:
    cluster = Cluster()
    cluster.pod("a", "sn-0-n1", 2, **pod)
    await cluster.state.refresh()
    assert cluster.state.fleet.supernodes["sn-0"].node("sn-0-n1").taken == taken


async def test_what_a_group_of_two_supernodes_gives_back_is_no_new_form() -> None:
    cluster = Cluster()
    for supernode in SUPERNODES:
        cluster.book(supernode, f"ml/g0 uid-0 0@{supernode}-n1:0-3")
        cluster.pod(f"pod-of-{supernode}", f"{supernode}-n1", 4, group="g0", phase="Succeeded")
    await cluster.state.refresh()
    before = cluster.state.fleet.supernodes
    for supernode in SUPERNODES:
        cluster.give_back(supernode, 0)
    await cluster.state.refresh()
    after = cluster.state.fleet.supernodes
    assert [after[supernode].free_cards for supernode in SUPERNODES] == [16, 16]
    assert all(after[supernode].layout is before[supernode].layout for supernode in SUPERNODES)


async def test_a_card_given_twice_stays_given_when_one_gives_it_back() -> None:
    cluster = Cluster()
    cluster.book("sn-0", "ml/g0 uid-0 0@sn-0-n1:0-1")
    cluster.book("sn-0", "ml/g1 uid-1 0@sn-0-n1:1-2")
    await cluster.state.refresh()
    assert cluster.state.ledgers["sn-0"].doubled == {"uid-1"}
    cluster.give_back("sn-0", 1)
    await cluster.state.refresh()
    assert cluster.state.ledgers["sn-0"].booked == {"sn-0-n1": 0b11}
    assert cluster.state.fleet.supernodes["sn-0"].free_cards == 14


async def test_of_two_lines_that_book_a_card_the_later_is_doubled() -> None:
    """Also where the line that came is not the last."""
    cluster = Cluster()
    cluster.book("sn-0", "ml/g0 uid-0 0@sn-0-n1:0-1")
    await cluster.state.refresh()
    cluster.book("sn-0", "ml/g1 uid-1 0@sn-0-n1:1-2", first=True)
    await cluster.state.refresh()
    assert cluster.state.ledgers["sn-0"].doubled == {"uid-0"}


async def test_a_node_that_lost_cards_is_of_the_same_shape_and_one_that_went_is_not() -> None:
    """Who was refused by what an empty supernode could hold has to look again."""
    cluster = Cluster()
    cluster.book("sn-0", "ml/g0 uid-0 0@sn-0-n1:0-1")
    await cluster.state.refresh()
    cluster.state.reshaped = False
    for capacity, usable in ((4, 3), (3, 3), (0, 0)):
        cluster.node("sn-0-n1", capacity=capacity, usable=usable)
        await cluster.state.refresh()
        assert not cluster.state.reshaped
    cluster.node_goes("sn-0-n1")
    await cluster.state.refresh()
    assert cluster.state.reshaped


@pytest.mark.parametrize(("named", "free"), [(True, 0b0111), (False, 0)])
async def test_a_node_with_a_card_that_failed_by_name_gives_the_others_at_once(named: bool, free: int) -> None:
    """Of one that nobody names it may be that the device plugin has yet to bring it back."""
    for claimed in (False, True):
        cluster = Cluster(claimed=claimed, grace=60.0)
        await cluster.state.refresh()
        if claimed:
            cluster.slice("sn-0-n1", **({"tainted": 3} if named else {"gone": 3}))
        else:
            cluster.report("sn-0-n1", "3" if named else "")
            cluster.node("sn-0-n1", usable=3)
        await cluster.state.refresh()
        assert cluster.state.fleet.supernodes["sn-0"].node("sn-0-n1").free == free


async def test_what_says_the_same_again_changes_nothing() -> None:
    cluster = Cluster()
    cluster.book("sn-0", "ml/g0 uid-0 0@sn-0-n1:0-3")
    await cluster.state.refresh()
    fleet, version = cluster.state.fleet, cluster.state.version
    cluster.pod("a", "sn-0-n1", 4, group="g0")
    cluster.pod("b", "sn-0-n2", 2, phase="Succeeded")
    cluster.node("sn-0-n1", usable=4)
    cluster.write("sn-0", "ml/g0 uid-0 0@sn-0-n1:0-3")
    await cluster.state.refresh()
    assert (cluster.state.fleet, cluster.state.version) == (fleet, version)


def healthy(cluster: Cluster, node: str) -> int:
    return cluster.state.fleet.supernodes[node[:4]].node(node).healthy


@pytest.mark.parametrize(
    ("failed", "cut_off", "usable", "health", "cards"),
    [
        ("", "", 3, {}, 0b0111),
        ("1", "", 3, {}, 0b1101),
        ("1", "", 4, {}, 0b1101),
        ("1", "", 2, {}, 0b0101),
        ("9", "", 4, {}, 0b1111),
        ("", "1", 4, {}, 0b1101),
        ("", "1", 3, {}, 0b0101),
        ("0", "1", 3, {}, 0b1100),
        ("0", "1", 3, {"avoidNetworkFaults": False}, 0b1110),
        ("0", "1", 3, {"reports": None}, 0b0111),
        ("x", "", 3, {}, 0b0111),
    ],
    ids=[
        "one that nobody names is missing",
        "it is named",
        "it is named and offered still",
        "another is missing as well",
        "there is no such card",
        "without its network it is offered on",
        "and is not the one that is missing",
        "both",
        "where the network is not needed",
        "where the profile reads no reports",
        "a name that is no card",
    ],
)
async def test_cards_that_a_device_plugin_names_are_the_ones_that_do_not_work(
    failed: str, cut_off: str, usable: int, health: Json, cards: int
) -> None:
    cluster = Cluster()
    cluster.edit(health={"reports": "mindcluster", **health})
    cluster.node("sn-0-n1", usable=usable)
    await cluster.state.refresh()
    cluster.report("sn-0-n1", failed, cut_off=cut_off)
    await cluster.state.refresh()
    assert healthy(cluster, "sn-0-n1") == cards
    assert healthy(cluster, "sn-0-n0") == 0b1111
    cluster.report_goes("sn-0-n1")
    await cluster.state.refresh()
    assert healthy(cluster, "sn-0-n1") == (1 << usable) - 1, "as without a report"


async def test_a_report_that_names_the_same_cards_again_is_no_news() -> None:
    """Plugins write them anew all the time; nothing is kept of those that name none."""
    heard: list[str] = []

    class Counting(Follower):
        def report_changed(self, key: Any, _old: Any, _new: Any) -> None:
            heard.append(key[1].rpartition("-deviceinfo-")[2])

    cluster = Cluster()
    cluster.caches.listener = Counting(cluster.state)
    for cards in ("", "", "1", "1", "1,2", "1,2", "", ""):
        cluster.report("sn-0-n1", cards)
        cluster.report("sn-0-n2")
    assert heard == ["sn-0-n1"] * 3
    assert len(cluster.caches.reports.store) == 0


async def test_a_name_that_is_no_card_is_told_of_once_and_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    for cards in ("x", "x,2", "1", "1,x"):
        cluster.report("sn-0-n1", cards)
    assert [record.message.count("sn-0-n1 names what is no whole card") for record in caplog.records] == [1, 1]
    assert "example.com/card-Unhealthy names 'Card-x'" in caplog.text
    await cluster.state.refresh()
    assert healthy(cluster, "sn-0-n1") == 0b1101


async def test_a_report_without_a_list_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    for text in ("{}", "[]"):
        cluster.report("sn-0-n1", text=text)
    assert ["sn-0-n1 is not read" in record.message for record in caplog.records] == [True]


async def test_a_node_has_a_place_once_it_has_cards() -> None:
    """Where a profile takes every node with its cards, and a node says 0 until its device plugin is there."""
    cluster = Cluster(labelled=False)
    cluster.node("sn-0-n1", capacity=0)
    await cluster.state.refresh()
    assert "sn-0-n1" not in cluster.state.discovery.assigned
    cluster.node("sn-0-n1", capacity=4)
    await cluster.state.refresh()
    assert told(cluster.state) == told(await cluster.made_at_once())
    assert cluster.state.fleet.supernodes["sn-0"].free_cards == 16


async def test_a_node_that_left_its_supernode_while_its_cards_were_away_is_looked_at_no_more() -> None:
    cluster = Cluster(grace=0.01)
    await cluster.state.refresh()
    cluster.node("sn-0-n1", usable=0)
    await cluster.state.refresh()
    assert cluster.state.next_time() is not None
    cluster.node("sn-0-n1", home="none-such", usable=0)
    await cluster.state.refresh()
    await asyncio.sleep(0.02)
    await cluster.state.refresh()
    assert cluster.state.next_time() is None, "or the allocator would never rest"


@pytest.mark.parametrize("claimed", [False, True], ids=["pods", "claims"])
async def test_what_a_group_has_on_a_node_that_moved_is_not_others(claimed: bool) -> None:
    """Its ledger is that of the supernode which the node belonged to; others' pods are others' there, too."""
    cluster = Cluster(claimed=claimed)
    cluster.book("sn-0", "ml/g0 uid-0 0-1@sn-0-n0:0-1/2-3")
    if claimed:
        cluster.claim("a", "sn-0-n0", 0, 1, group="g0")
    else:
        cluster.pod("a", "sn-0-n0", 2, group="g0", named="0-1")
    cluster.node("sn-0-n0", home="sn-1")
    await cluster.state.refresh()
    health = NodeHealth(cluster.caches, cluster.state)
    assert not health.crowded("sn-0-n0")
    assert health.card_trouble("sn-0-n0", 0b1111, stuck=True) is None
    if claimed:
        cluster.claim("b", "sn-0-n0", 2)
    else:
        cluster.pod("b", "sn-0-n0", 1)
    await cluster.state.refresh()
    assert health.crowded("sn-0-n0")
    told = "others claimed card 2 of sn-0-n0" if claimed else None
    assert health.card_trouble("sn-0-n0", 0b1111, stuck=True) == told


async def test_a_supernode_that_comes_while_another_is_built_is_looked_at_next(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    await cluster.state.refresh()
    cluster.supernode_goes("sn-1")
    cluster.node("sn-0-n0", rack=2)
    loop, came = asyncio.get_running_loop(), threading.Event()

    def it_comes() -> None:
        cluster.write("sn-1")
        came.set()

    def build(*args: Any, **options: Any) -> SuperNodeView:
        if not came.is_set():
            loop.call_soon_threadsafe(it_comes)
            assert came.wait(10.0)
        return build_view(*args, **options)

    monkeypatch.setattr(fleet, "LARGE", 0)
    monkeypatch.setattr(fleet, "build_view", build)
    await cluster.state.refresh()
    assert came.is_set()
    await cluster.state.refresh()
    assert told(cluster.state) == told(await cluster.made_at_once())
