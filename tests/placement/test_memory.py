"""What a decision holds at once grows with the nodes and with the members, not with their product."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from supernode.placement import Placement, Refusal, Request, plan
from supernode.placement.repair import repair
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from tests.placement.fleets import profile_of

MB = 1_000_000


@contextmanager
def at_most(peak: int) -> Iterator[None]:
    """No more bytes than this are held at once meanwhile."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < peak
    finally:
        tracemalloc.stop()


def half_used(pods: int, nodes: int, *inner: tuple[str, int], reserve: int = 0) -> Fleet:
    """Pods of so many nodes of eight cards each, about half of which are in use."""
    width = inner[0][1] if inner else nodes
    profile = profile_of("p", ("node", 8), *inner, ("pod", nodes // width if inner else nodes), reserve=reserve)
    random = Random(pods)
    views = []
    for number in range(pods):
        pod = f"pod-{number}"
        paths = ((pod, f"{pod}/{at // width}") if inner else (pod,) for at in range(nodes))
        taken = (random.choice([0, 0xFF, random.getrandbits(8)]) for _ in range(nodes))
        found = [Node(f"{pod}-{at}", 8, 0xFF, next(taken), path=path) for at, path in enumerate(paths)]
        views.append(SuperNodeView(pod, profile, found))
    return Fleet(views)


@pytest.mark.parametrize(
    ("fleet", "members", "pods", "proven"),
    [
        (half_used(1, 12_500), 5_000, 1, True),
        (half_used(1, 12_500), 20_000, 1, True),
        (half_used(6, 2_000), 15_488, 2, True),
        (half_used(1, 12_000, ("rack", 6_000)), 30_000, 1, True),
        (half_used(1, 12_500, reserve=100), 36_000, 1, True),
        (half_used(6, 2_000, reserve=10), 15_488, 2, True),
        (half_used(1, 12_000, ("rack", 6_000), reserve=100), 36_000, 1, False),
    ],
    ids=["one pod", "most of it", "several", "wide racks", "a reserve", "several with one", "wide racks with one"],
)
def test_thousands_of_single_cards_in_wide_domains(fleet: Fleet, members: int, pods: int, proven: bool) -> None:
    with at_most(50 * MB):
        outcome = plan(fleet, Request("r", members, 1))
    assert isinstance(outcome, Placement)
    assert outcome.proven is proven
    assert outcome.spans["pod"] == pods
    assert len(outcome.members) == members


def test_a_repair_looks_at_one_choice_of_domains_after_the_other() -> None:
    """Eight of two thousand nodes that are half free; two of them fail, and no two others have room for that."""
    profile = profile_of("p", ("node", 8))
    nodes = [Node(f"n{at}", 8, 0xFF, 0 if at < 8 else 0x0F) for at in range(2_000)]
    free = Fleet([SuperNodeView(node.name, profile, [node]) for node in nodes])
    request = Request("r", 16, 4, max_span={"node": 8})
    placed = plan(free, request)
    assert isinstance(placed, Placement)
    failed = {"n0", "n1"}
    lost = [SuperNodeView(name, profile, [Node(name, 8, 0, 0xFF, schedulable=False)]) for name in failed]
    fleet = free.take(placed.members).replace(*lost)
    with at_most(50 * MB):
        outcome = repair(fleet, request, placed.members, (), lambda seat: seat.node not in failed)
    assert isinstance(outcome, Refusal)
    assert outcome.proven, "no choice was tried in vain"
