"""What counts as failed under a member, and what does not."""

from dataclasses import replace

import pytest

from supernode.topology.discovery import NodeFacts
from supernode.topology.health import ailment
from supernode.topology.taints import Taint, Toleration
from tests.placement.fleets import profile_of

PROFILE = profile_of("p", ("node", 8), ("supernode", 2), tolerations=(Toleration("team", "a"),))
CARD = PROFILE.resource


def node(usable: int = 8, annotation: str = "", capacity: int = 8, **fields: object) -> NodeFacts:
    annotations = {"supernode.io/unhealthy-cards": annotation} if annotation else {}
    return NodeFacts("n", {}, {CARD: capacity}, {CARD: usable}, annotations=annotations, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "cards", "says"),
    [
        (node(), 0xFF, None),
        (None, 0xFF, "gone"),
        (node(ready=False), 0xFF, "not ready"),
        (node(unschedulable=True), 0xFF, None),
        (node(taints=(Taint("maintenance", effect="NoSchedule"),)), 0xFF, None),
        (node(taints=(Taint("maintenance", effect="NoExecute"),)), 0xFF, "NoExecute"),
        (node(taints=(Taint("team", "a", "NoExecute"),)), 0xFF, None),
        (node(taints=(Taint("team", "b", "NoExecute"),)), 0xFF, "tainted team=b:NoExecute"),
        (node(taints=(Taint("node.kubernetes.io/out-of-service", effect="NoExecute"),)), 0xFF, "out-of-service"),
        (node(annotation="3,7"), 0b1000, "unhealthy cards: 3"),
        (node(annotation="3,7"), 0b0111, None),
        (node(annotation="what?"), 0xFF, None),
        (node(unhealthy={CARD: 0b10}), 0b11, "unhealthy cards: 1"),
        (node(annotation="what?", unhealthy={CARD: 0b10}), 0b11, "unhealthy cards: 1"),
        (node(usable=7), 0xFF, "7 of 8"),
        (node(usable=7), 0x0F, None),
        (node(usable=3), 0x0F, "3 of 8"),
        (node(usable=0), 0xFF, None),
        (node(usable=3, capacity=3), 0x0F, "3 of 8"),
        (node(usable=4, capacity=4), 0x0F, None),
        (node(usable=0, capacity=0), 0xFF, None),
    ],
)
def test_ailments(facts: NodeFacts | None, cards: int, says: str | None) -> None:
    found = ailment(facts, PROFILE, cards)
    assert (found is None) == (says is None)
    assert says is None or says in (found or "")


def test_a_member_beside_a_failed_card_of_its_package_works_on() -> None:
    assert ailment(node(annotation="3"), replace(PROFILE, per_package=2), 0b0100) is None
