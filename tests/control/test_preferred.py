"""What a group that prefers a level gets: at once, or after it has waited."""

import pytest
from fleets import profile_of

from supernode.api.conditions import Reason
from supernode.control.planner import Ask, decide
from supernode.placement import Placement, Refusal, Request, Spares
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node

PROFILE = profile_of("p", ("node", 4), ("rack", 4), ("supernode", 4))


def fleet(*free: int) -> Fleet:
    """One supernode; of each rack of four nodes so many are free."""
    nodes = [
        Node(f"r{rack}n{node}", 4, 0b1111, 0 if node < count else 0b1111, path=("sn", f"sn/r{rack}"))
        for rack, count in enumerate(free)
        for node in range(4)
    ]
    return Fleet([SuperNodeView("sn", PROFILE, nodes)])


def told(answer: Placement | Refusal) -> tuple[list[str], list[str]] | str:
    """The racks of members and of spares, or the reason."""
    if isinstance(answer, Refusal):
        return str(answer.reason)
    parts = (answer.members, answer.spares)
    members, spares = (sorted({member.domains["rack"] for member in part}) for part in parts)
    return members, spares


WAITS = str(Reason.PREFERRED_LEVEL_WAIT)


@pytest.mark.parametrize(
    ("members", "spares", "free", "answer"),
    [
        (4, None, (3, 3, 1, 0), WAITS),
        (4, Spares(1), (3, 3, 1, 0), WAITS),
        (4, Spares(1, "supernode"), (3, 3, 1, 0), WAITS),
        (4, Spares(1), (4, 3, 1, 0), (["sn/r0"], ["sn/r1"])),
        (4, Spares(1, "supernode"), (4, 3, 1, 0), (["sn/r0"], ["sn/r1"])),
        (3, Spares(1), (3, 1, 0, 0), (["sn/r0"], ["sn/r1"])),
        (3, Spares(1, "rack"), (3, 1, 0, 0), str(Reason.NO_DOMAIN_FITS)),
        (3, Spares(1, "rack"), (3, 4, 0, 0), (["sn/r1"], ["sn/r1"])),
    ],
)
def test_a_preferred_level_does_not_say_where_spares_lie(
    members: int, spares: Spares | None, free: tuple[int, ...], answer: object
) -> None:
    """That the required level does, or the spec."""
    assert told(decide(fleet(*free), Ask(Request("", members, 4, spares=spares), ("rack", "10m")))) == answer


@pytest.mark.parametrize(
    ("required", "preferred", "answer"),
    [("rack", "supernode", (["sn/r2"], ["sn/r2"])), ("supernode", "rack", (["sn/r1"], ["sn/r0"]))],
)
def test_a_preferred_level_takes_nothing_from_the_required_one(required: str, preferred: str, answer: object) -> None:
    ask = Ask(Request("", 2, 4, required=required, spares=Spares(1)), (preferred, "10m"))
    assert told(decide(fleet(1, 2, 3, 0), ask)) == answer


@pytest.mark.parametrize(
    ("members", "free", "reason"),
    [(4, (4, 0, 0, 0), Reason.UNKNOWN_LEVEL), (4, (1, 0, 0, 0), Reason.UNKNOWN_LEVEL), (99, (4,), Reason.NEVER_FITS)],
)
def test_a_level_that_no_profile_has_is_told_whether_or_not_there_is_room(
    members: int, free: tuple[int, ...], reason: Reason
) -> None:
    ask = Ask(Request("", members, 4, required="supernode"), ("rak", "24h"))
    answer = decide(fleet(*free), ask)
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.stalled) == (reason, True)
    if reason == Reason.UNKNOWN_LEVEL:
        assert "topology.preferred" in answer.message
        assert "node, rack, supernode" in answer.message


def test_a_level_that_only_some_profiles_have_is_preferred_there() -> None:
    other = profile_of("a", ("node", 4), ("row", 2), ("supernode", 2))
    nodes = [Node(f"x{n}", 4, 0b1111, 0b1111, path=("x", f"x/{n}")) for n in range(2)]
    both = Fleet([*fleet(3, 3, 0, 0).supernodes.values(), SuperNodeView("x", other, nodes)])
    assert told(decide(both, Ask(Request("", 4, 4), ("rack", "10m")))) == WAITS
    assert isinstance(decide(both, Ask(Request("", 5, 4), ("rack", "10m"))), Placement), "no rack is so large"
