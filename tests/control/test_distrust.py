"""A device plugin that restarts loses no cards; one that stays away does."""

from dataclasses import replace

import pytest

from supernode.control.distrust import REFUSAL_SECONDS, Distrust
from supernode.topology.discovery import NodeFacts

CARD = "example.com/card"
NODE = NodeFacts("n0", capacity={CARD: 8}, allocatable={CARD: 8})
GONE = replace(NODE, allocatable={CARD: 0})


def test_cards_that_come_back_in_time_were_never_lost() -> None:
    nodes = Distrust(45.0)
    assert nodes.facts(NODE, CARD, 0.0) == NODE
    assert nodes.facts(GONE, CARD, 10.0) == replace(NODE, unschedulable=True), "there, but for nobody new"
    assert nodes.next_time() == 55.0
    assert nodes.facts(NODE, CARD, 20.0) == NODE
    assert nodes.next_time() is None


def test_cards_that_stay_away_are_lost() -> None:
    nodes = Distrust(45.0)
    nodes.facts(NODE, CARD, 0.0)
    nodes.facts(GONE, CARD, 10.0)
    assert nodes.facts(replace(NODE, allocatable={CARD: 5}), CARD, 30.0).allocatable == {CARD: 8}, (
        "one restart, one grace"
    )
    assert nodes.over(54.0) == []
    assert nodes.over(55.0) == ["n0"]
    assert nodes.facts(GONE, CARD, 55.0) == GONE
    assert nodes.next_time() is None
    assert nodes.facts(replace(GONE, labels={"a": "b"}), CARD, 56.0).allocatable == {CARD: 0}


def test_capacity_that_goes_is_waited_for_too() -> None:
    nodes = Distrust(45.0)
    nodes.facts(NODE, CARD, 0.0)
    assert nodes.facts(NodeFacts("n0"), CARD, 1.0).capacity == {CARD: 8}


@pytest.mark.parametrize("other", ["kubernetes.io/batch-cpu", "rdma/hca"])
def test_only_the_cards_count(other: str) -> None:
    """What shares the node, such as a share of its processors that a colocation agent writes each minute."""
    nodes = Distrust(45.0)
    for moment, amount in enumerate((50_000, 48_211, 0, 49_000)):
        seen = replace(NODE, capacity={CARD: 8, other: amount}, allocatable={CARD: 8, other: amount})
        assert nodes.facts(seen, CARD, float(moment)) == seen
    assert nodes.next_time() is None


def test_a_node_is_due_once_though_nobody_looks_at_it() -> None:
    """One that belongs to no supernode any more."""
    nodes = Distrust(45.0)
    nodes.facts(NODE, CARD, 0.0)
    nodes.facts(GONE, CARD, 10.0)
    assert nodes.over(55.0) == ["n0"]
    assert (nodes.next_time(), nodes.over(56.0)) == (None, [])
    assert nodes.facts(GONE, CARD, 60.0) == GONE, "its time is over when it comes back"


def test_what_was_never_seen_is_taken_as_it_is() -> None:
    assert Distrust(45.0).facts(GONE, CARD, 0.0) == GONE


def test_a_kubelet_that_refuses_gets_nothing_new_for_a_while() -> None:
    nodes = Distrust(45.0)
    nodes.refused("n0", 0.0)
    assert nodes.facts(NODE, CARD, 1.0) == replace(NODE, unschedulable=True)
    assert nodes.over(REFUSAL_SECONDS) == ["n0"]
    assert nodes.facts(NODE, CARD, REFUSAL_SECONDS) == NODE
    nodes.refused("n0", 0.0)
    nodes.forget("n0")
    assert nodes.facts(NODE, CARD, 1.0) == NODE
