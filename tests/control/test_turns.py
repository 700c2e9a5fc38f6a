"""Pods that a device plugin could confuse are created one after the other."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from known_cluster import Cluster
from looks import NOW, pod

from supernode.control.records import PodRecord
from supernode.control.turns import DOUBT_SECONDS, LONG_SECONDS, UNBOUND_SECONDS, Turns, long_awaited
from supernode.topology.node import Member


def member(rank: int, node: str, cards: int) -> Member:
    return Member(rank, "sn", node, cards)


def arriving(age: float = 0.0, **fields: str | None) -> PodRecord:
    """A pod made ``age`` seconds ago that is to have two cards of node a, and that no kubelet has taken."""
    made = NOW - timedelta(seconds=age)
    fields = {"node": None, **fields}
    return replace(pod(0, "Pending"), cards=0b11, pinned="a", admitted=False, created=made, **fields)


def test_of_one_node_and_number_one_is_on_its_way_at_a_time() -> None:
    turns = Turns(lambda _: ())
    members = [member(0, "a", 0b0011), member(1, "a", 0b1100), member(2, "b", 0b0011), member(3, "a", 0b10000)]
    assert turns.later(members, NOW) == {1: None}


def test_pods_that_no_kubelet_has_taken_are_waited_for_whosever_they_are() -> None:
    first = arriving()
    there = {"a": [first]}
    turns = Turns(lambda node: there.get(node, ()))
    members = [member(1, "a", 0b1100), member(2, "b", 0b0011), member(3, "a", 0b10000)]
    assert turns.later(members, NOW) == {1: first}
    there.clear()
    assert turns.later(members, NOW) == {}


def test_a_pod_whose_creation_got_no_answer_may_have_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    turns, first, second = Turns(lambda _: ()), member(0, "a", 0b0011), member(1, "a", 0b1100)
    turns.doubt([first])
    assert turns.later([first], NOW) == {}, "to repeat it is harmless"
    assert turns.later([second], NOW) == {1: None}
    clock += DOUBT_SECONDS / 2
    turns.doubt([first])
    clock += DOUBT_SECONDS / 2
    assert turns.later([second], NOW) == {1: None}, "it was repeated, and got no answer again"
    clock += DOUBT_SECONDS / 2
    assert turns.later([second], NOW) == {}


def test_thousands_whose_creation_got_no_answer_hold_up_nobody() -> None:
    """As when a webhook that sees all pods is down: they are tried again and again."""
    turns, members = Turns(lambda _: ()), [member(rank, f"node-{rank}", 0xFF) for rank in range(4000)]
    began = time.process_time()
    for _ in range(4):
        assert turns.later(members, NOW) == {}
        turns.doubt(members)
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    ("age", "node", "waits"),
    [(UNBOUND_SECONDS - 1, None, True), (UNBOUND_SECONDS + 1, None, False), (UNBOUND_SECONDS + 1, "a", True)],
    ids=["a scheduler may look at it yet", "none does", "it is bound, and its kubelet has yet to take it"],
)
def test_a_pod_that_no_scheduler_looks_at_is_not_on_its_way(age: float, node: str | None, waits: bool) -> None:
    """As one for a scheduler that is gone, or one that a gate holds: it is never called unschedulable."""
    turns = Turns(lambda _: [arriving(age, node=node)])
    assert bool(turns.later([member(1, "a", 0b1100)], NOW)) == waits


def test_a_pod_whose_group_has_no_cards_of_the_node_is_not_on_its_way_there() -> None:
    """Anybody may make a pod with a group's label, the affinity and the annotation."""
    cluster = Cluster()
    cluster.book("sn-0", "ml/g0 uid-0 0@sn-0-n0:0-1")
    for name, group in (("member", "g0"), ("other", "g1")):
        cluster.pod(name, "sn-0-n0", 2, group=group, named="0-1", phase="Pending", pinned=True)
        cluster.pod(f"{name}-elsewhere", "sn-0-n1", 2, group=group, named="0-1", phase="Pending", pinned=True)
    asyncio.run(cluster.state.refresh())
    pods = cluster.caches.pods.store
    turns = Turns(
        lambda node: [replace(each, created=NOW) for each in pods.by_index("arriving", node)], cluster.state.seated
    )
    later = turns.later([member(0, "sn-0-n0", 0b1100), member(1, "sn-0-n1", 0b1100)], NOW)
    assert {rank: awaited.key for rank, awaited in later.items() if awaited} == {0: ("ml", "member")}


def test_who_has_been_waited_for_for_long_is_told() -> None:
    young, old = arriving(LONG_SECONDS - 1), replace(arriving(LONG_SECONDS + 1), key=("x", "old"))
    assert long_awaited({0: young, 1: None}, NOW) is None
    assert long_awaited({0: young, 1: None, 2: old}, NOW) is old


def test_a_pod_that_is_being_created_is_on_its_way_too() -> None:
    turns, mine, theirs = Turns(lambda _: ()), [member(0, "a", 0b11)], [member(0, "a", 0b1100)]
    with turns.taken(mine):
        assert turns.later(theirs, NOW) == {0: None}
        with turns.taken(theirs):
            pass
        assert turns.later(theirs, NOW) == {0: None}, "what another one took stays taken"
    assert turns.later(theirs, NOW) == {}
