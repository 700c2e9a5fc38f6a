"""A device plugin that restarts loses no cards; one that stays away does."""

from dataclasses import replace

from supernode.control.distrust import REFUSAL_SECONDS, Distrust
from supernode.topology.discovery import NodeFacts

CARD = "example.com/card"
NODE = NodeFacts("n0", capacity={CARD: 8}, allocatable={CARD: 8})
GONE = replace(NODE, allocatable={CARD: 0})


def test_cards_that_come_back_in_time_were_never_lost() -> None:
    nodes = Distrust(45.0)
    assert nodes.facts(NODE, 0.0) == NODE
    assert nodes.facts(GONE, 10.0) == replace(NODE, unschedulable=True), "there, but for nobody new"
    assert nodes.next_time() == 55.0
    assert nodes.facts(NODE, 20.0) == NODE
    assert nodes.next_time() is None


def test_cards_that_stay_away_are_lost() -> None:
    nodes = Distrust(45.0)
    nodes.facts(NODE, 0.0)
    nodes.facts(GONE, 10.0)
    assert nodes.facts(replace(NODE, allocatable={CARD: 5}), 30.0).allocatable == {CARD: 8}, "one restart, one grace"
    assert nodes.over(54.0) == []
    assert nodes.over(55.0) == ["n0"]
    assert nodes.facts(GONE, 55.0) == GONE
    assert nodes.next_time() is None
    assert nodes.facts(replace(GONE, labels={"a": "b"}), 56.0).allocatable == {CARD: 0}


def test_capacity_that_goes_is_waited_for_too() -> None:
    nodes = Distrust(45.0)
    nodes.facts(NODE, 0.0)
    assert nodes.facts(NodeFacts("n0"), 1.0).capacity == {CARD: 8}


def test_what_was_never_seen_is_taken_as_it_is() -> None:
    assert Distrust(45.0).facts(GONE, 0.0) == GONE


def test_a_kubelet_that_refuses_gets_nothing_new_for_a_while() -> None:
    nodes = Distrust(45.0)
    nodes.refused("n0", 0.0)
    assert nodes.facts(NODE, 1.0) == replace(NODE, unschedulable=True)
    assert nodes.over(REFUSAL_SECONDS) == ["n0"]
    assert nodes.facts(NODE, REFUSAL_SECONDS) == NODE
    nodes.refused("n0", 0.0)
    nodes.forget("n0")
    assert nodes.facts(NODE, 1.0) == NODE
