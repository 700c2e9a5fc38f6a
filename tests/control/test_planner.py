"""Which decisions run on the event loop itself."""

import threading
from collections.abc import Sequence

import pytest

from supernode.control.observer import Observer
from supernode.control.planner import Ask, Planner
from supernode.placement import Placement, Request, Spares
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Level, Profile

PROFILE = Profile("p", "example.com/card", (Level("node", 2, 2), Level("rack", 2, 4), Level("supernode", 2, 8)))


class WatchedFleet(Fleet):
    """Tells in which thread it was last asked."""

    asked_in: threading.Thread

    def of_profile(self, profile: str) -> Sequence[SuperNodeView]:
        self.asked_in = threading.current_thread()
        return super().of_profile(profile)


NODES = [Node(f"n{i}", 2, 0b11, path=("sn", f"sn/{i // 2}")) for i in range(4)]


@pytest.mark.parametrize(
    ("max_span", "at_once"),
    [
        ({}, True),
        ({"supernode": 1}, True),
        ({"rack": 2}, False),
        ({"supernode": 1, "node": 3}, False),
    ],
)
async def test_a_decision_with_bounds_that_may_come_to_bind_never_holds_up_the_loop(
    max_span: dict[str, int], at_once: bool
) -> None:
    planner, fleet = Planner(Observer()), WatchedFleet([SuperNodeView("sn", PROFILE, NODES)])
    ask = Ask(Request("r", 3, 2, max_span=max_span))
    for _ in range(16):  # the first ones take long
        outcome, _ = await planner.decide(fleet, ask)
        assert isinstance(outcome, Placement)
    assert (fleet.asked_in is threading.main_thread()) is at_once


@pytest.mark.parametrize(
    ("before", "request_", "at_once"),
    [
        (Request("r", 3, 1), Request("r", 4, 1), True),
        (Request("r", 7, 1), Request("r", 4, 1), False),
        (Request("r", 3, 2), Request("r", 3, 2, spares=Spares(1)), False),
        (Request("r", 4, 2), Request("r", 4, 2, shape=(2, 4)), False),
    ],
)
async def test_what_reads_other_tables_is_not_expected_to_be_as_short(
    before: Request, request_: Request, at_once: bool
) -> None:
    planner, fleet = Planner(Observer()), WatchedFleet([SuperNodeView("sn", PROFILE, NODES)])
    for _ in range(16):
        await planner.decide(fleet, Ask(before))
    assert fleet.asked_in is threading.main_thread()
    await planner.decide(fleet, Ask(request_))
    assert (fleet.asked_in is threading.main_thread()) is at_once


class Counting(Observer):
    """Keeps what it is told of decisions."""

    def __init__(self) -> None:
        self.decisions: list[tuple[str, float]] = []

    def decided(self, outcome: str, seconds: float) -> None:
        self.decisions.append((outcome, seconds))


async def test_what_decides_nothing_is_not_counted_and_holds_up_the_loop_no_more() -> None:
    observer = Counting()
    planner, fleet = Planner(observer), WatchedFleet([SuperNodeView("sn", PROFILE, NODES)])
    for _ in range(16):
        assert isinstance(await planner.would_place(fleet, Request("r", 3, 2, max_span={"rack": 2})), Placement)
    assert fleet.asked_in is not threading.main_thread()
    assert observer.decisions == []
    await planner.decide(fleet, Ask(Request("r", 3, 2)))
    assert [outcome for outcome, _ in observer.decisions] == ["placed"]
