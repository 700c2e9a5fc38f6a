"""Pods that a device plugin could confuse are created one after the other."""

from dataclasses import replace

from test_job import pod

from supernode.control.turns import Turns
from supernode.topology.fleet import Member


def member(rank: int, node: str, cards: int) -> Member:
    return Member(rank, "sn", node, cards)


def test_of_one_node_and_number_one_is_on_its_way_at_a_time() -> None:
    turns = Turns(lambda _: ())
    members = [member(0, "a", 0b0011), member(1, "a", 0b1100), member(2, "b", 0b0011), member(3, "a", 0b10000)]
    assert turns.later(members) == {1}


def test_pods_that_no_kubelet_has_taken_are_waited_for_whosever_they_are() -> None:
    arriving = {"a": [replace(pod(0), cards=0b11, pinned="a", admitted=False)]}
    turns = Turns(lambda node: arriving.get(node, ()))
    members = [member(1, "a", 0b1100), member(2, "b", 0b0011), member(3, "a", 0b10000)]
    assert turns.later(members) == {1}
    arriving.clear()
    assert turns.later(members) == set()


def test_a_pod_that_is_being_created_is_on_its_way_too() -> None:
    turns, mine, theirs = Turns(lambda _: ()), [member(0, "a", 0b11)], [member(0, "a", 0b1100)]
    with turns.taken(mine):
        assert turns.later(theirs) == {0}
        with turns.taken(theirs):
            pass
        assert turns.later(theirs) == {0}, "what another one took stays taken"
    assert turns.later(theirs) == set()
