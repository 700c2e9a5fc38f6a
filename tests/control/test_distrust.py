"""A device plugin that restarts loses no cards; one that stays away does."""

from dataclasses import replace

import pytest

from supernode.control.distrust import REFUSAL_SECONDS, Distrust
from supernode.topology.deviceinfo import CardReport
from supernode.topology.discovery import NodeFacts
from supernode.topology.profile import Health
from tests.placement.fleets import profile_of

PROFILE = profile_of("p", ("node", 8), health=Health("mindcluster"))
CARD = PROFILE.resource
NODE = NodeFacts("n0", capacity={CARD: 8}, allocatable={CARD: 8})
GONE = replace(NODE, allocatable={CARD: 0})


def test_cards_that_come_back_in_time_were_never_lost() -> None:
    nodes = Distrust(45.0)
    assert nodes.facts(NODE, PROFILE, 0.0) == NODE
    waited_for = nodes.facts(GONE, PROFILE, 10.0)
    assert replace(waited_for, withheld="") == NODE
    assert not waited_for.open, "there, but for nobody new"
    assert nodes.next_time() == 55.0
    assert nodes.facts(NODE, PROFILE, 20.0) == NODE
    assert nodes.next_time() is None


def test_cards_that_stay_away_are_lost() -> None:
    nodes = Distrust(45.0)
    nodes.facts(NODE, PROFILE, 0.0)
    nodes.facts(GONE, PROFILE, 10.0)
    assert nodes.facts(replace(NODE, allocatable={CARD: 5}), PROFILE, 30.0).allocatable == {CARD: 8}, (
        "one restart, one grace"
    )
    assert nodes.over(54.0) == []
    assert nodes.over(55.0) == ["n0"]
    assert nodes.facts(GONE, PROFILE, 55.0) == GONE
    assert nodes.next_time() is None
    assert nodes.facts(replace(GONE, labels={"a": "b"}), PROFILE, 56.0).allocatable == {CARD: 0}


def test_capacity_that_goes_is_waited_for_too() -> None:
    nodes = Distrust(45.0)
    nodes.facts(NODE, PROFILE, 0.0)
    assert nodes.facts(NodeFacts("n0"), PROFILE, 1.0).capacity == {CARD: 8}


def seen(offered: int, named: str = "", *, reported: int = 0, tainted: int = 0, listed: int = 8) -> NodeFacts:
    """named: by the annotation. reported, tainted: bitmasks."""
    return replace(
        NODE,
        capacity={CARD: listed},
        allocatable={CARD: offered},
        annotations={"supernode.io/unhealthy-cards": named},
        reported=CardReport({CARD: reported}),
        unhealthy={CARD: tainted},
    )


@pytest.mark.parametrize(
    ("before", "after", "waits"),
    [
        (seen(8), seen(7), True),
        (seen(8), seen(7, reported=0b1000), False),
        (seen(8, reported=0b1000), seen(7, reported=0b1000), False),
        (seen(8), seen(7, tainted=0b1000), False),
        (seen(8), seen(6, tainted=0b1000, reported=0b0001), False),
        (seen(8), seen(7, "3"), False),
        (seen(8), seen(7, reported=0b1000, listed=7), False),
        (seen(8), seen(6, reported=0b1000), True),
        (seen(7, reported=0b1000), seen(6, reported=0b1000), True),
        (seen(7, reported=0b1000), seen(0, reported=0b1000), True),
        (seen(7), seen(6, reported=0b1000), False),
        (seen(7, reported=0b1000), seen(7), False),
    ],
    ids=[
        "one that nobody names",
        "it is reported at once",
        "it was reported before",
        "it is tainted",
        "two, each by another",
        "the annotation names it",
        "it is not even listed",
        "another one than that",
        "another one later",
        "the device plugin restarts",
        "the second is named",
        "it is named no longer and yet to be offered",
    ],
)
def test_cards_that_went_by_name_are_not_waited_for(before: NodeFacts, after: NodeFacts, waits: bool) -> None:
    nodes = Distrust(45.0)
    nodes.facts(before, PROFILE, 0.0)
    assert (nodes.facts(after, PROFILE, 1.0) != after) == nodes.waits_for("n0") == waits


def test_cards_that_are_named_after_they_went_are_waited_for_no_longer() -> None:
    nodes = Distrust(45.0)
    nodes.facts(NODE, PROFILE, 0.0)
    assert not nodes.facts(seen(7), PROFILE, 1.0).open
    assert nodes.facts(seen(7, reported=0b1000), PROFILE, 2.0) == seen(7, reported=0b1000)
    assert nodes.next_time() is None


@pytest.mark.parametrize("other", ["kubernetes.io/batch-cpu", "rdma/hca"])
def test_only_the_cards_count(other: str) -> None:
    """What shares the node, such as a share of its processors that a colocation agent writes each minute."""
    nodes = Distrust(45.0)
    for moment, amount in enumerate((50_000, 48_211, 0, 49_000)):
        facts = replace(NODE, capacity={CARD: 8, other: amount}, allocatable={CARD: 8, other: amount})
        assert nodes.facts(facts, PROFILE, float(moment)) == facts
    assert nodes.next_time() is None


def test_a_node_is_due_once_though_nobody_looks_at_it() -> None:
    """One that belongs to no supernode any more."""
    nodes = Distrust(45.0)
    nodes.facts(NODE, PROFILE, 0.0)
    nodes.facts(GONE, PROFILE, 10.0)
    assert nodes.over(55.0) == ["n0"]
    assert (nodes.next_time(), nodes.over(56.0)) == (None, [])
    assert nodes.facts(GONE, PROFILE, 60.0) == GONE, "its time is over when it comes back"


def test_what_was_never_seen_is_taken_as_it_is() -> None:
    assert Distrust(45.0).facts(GONE, PROFILE, 0.0) == GONE


def test_a_kubelet_that_refuses_gets_nothing_new_for_a_while() -> None:
    nodes = Distrust(45.0)
    nodes.refused("n0", 0.0)
    refusing = nodes.facts(NODE, PROFILE, 1.0)
    assert replace(refusing, withheld="") == NODE
    assert not refusing.open
    assert nodes.over(REFUSAL_SECONDS) == ["n0"]
    assert nodes.facts(NODE, PROFILE, REFUSAL_SECONDS) == NODE
    nodes.refused("n0", 0.0)
    nodes.forget("n0")
    assert nodes.facts(NODE, PROFILE, 1.0) == NODE
