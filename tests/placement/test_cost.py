"""The cost model against worked numbers, and what it may not do."""

from itertools import product
from pathlib import Path

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from supernode.api.profile import SuperNodeProfileSpec
from supernode.placement import Placement, Request, plan
from supernode.placement.cost import ALL_REDUCE_BYTES, ALL_TO_ALL_BYTES, MIB, Hop, all_reduce, all_to_all, estimate
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Member, Node
from supernode.topology.profile import Level, Profile

SHIPPED = Path(__file__).parents[2] / "examples" / "profiles"


def profile(name: str, **levels: dict[str, object]) -> Profile:
    """A shipped profile, with some fields of some levels changed."""
    spec = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())["spec"]
    spec["levels"] = [level | levels.get(level["name"], {}) for level in spec["levels"]]
    return Profile.from_spec(name, SuperNodeProfileSpec.model_validate(spec))


def group(of: Profile, cards: int, *counts: int) -> list[Member]:
    """Members alike everywhere: counts[0] supernodes of counts[1] domains further in each, and so on, the last being
    nodes; the lowest `cards` cards of each node."""
    names = [level.name for level in reversed(of.levels[of.node_index :])]
    members = []
    for rank, path in enumerate(product(*map(range, counts))):
        domains = {name: "/".join(map(str, path[: i + 1])) for i, name in enumerate(names)}
        members.append(Member(rank, domains[names[0]], domains["node"], cards, domains))
    return members


A3 = profile("ascend-a3-384")
NVL72 = profile("nvidia-nvl72")
UB = profile("ascend-950", supernode={"fanOut": 8})
FULL, ONE_OF_EACH_PAIR = 0xFFFF, 0x5555

ALL_REDUCE = {
    "NVL72: one rack": (NVL72, group(NVL72, 0xF, 1, 16), 0.71),
    "NVL72: 2 x 32": (NVL72, group(NVL72, 0xF, 2, 8), 0.82),
    "NVL72: 4 x 16": (NVL72, group(NVL72, 0xF, 4, 4), 1.12),
    "NVL72: 16 x 4": (NVL72, group(NVL72, 0xF, 16, 1), 3.12),
    "NVL72: 64 x 1": (NVL72, group(NVL72, 0x1, 64, 1), 11.2),
    "CM384: 4 nodes in a supernode": (A3, group(A3, FULL, 1, 1, 4), 2.85),
    "CM384: two supernodes": (A3, group(A3, FULL, 2, 1, 2), 3.13),
    "CM384: four supernodes": (A3, group(A3, FULL, 4, 1, 1), 3.71),
    "CM384: pairs broken": (A3, group(A3, ONE_OF_EACH_PAIR, 1, 2, 4), 3.19),
    "950: one rack": (UB, group(UB, 0xFF, 1, 1, 8), 1.36),
    "950: 8 racks": (UB, group(UB, 0xFF, 1, 8, 1), 1.50),
    "950: 8 supernodes": (UB, group(UB, 0xFF, 8, 1, 1), 2.46),
    "950: one board": (UB, group(UB, 0xFF, 1, 1, 1), 1.21),
    "950: 4 + 4 on two boards": (UB, group(UB, 0x0F, 1, 1, 2), 2.55),
}
ALL_TO_ALL = {
    "NVL72: one rack": (NVL72, group(NVL72, 0xF, 1, 16), 0.075),
    "NVL72: 2 racks": (NVL72, group(NVL72, 0xF, 2, 8), 0.68),
    "NVL72: 4 racks": (NVL72, group(NVL72, 0xF, 4, 4), 1.02),
    "NVL72: 16 racks": (NVL72, group(NVL72, 0xF, 16, 1), 1.28),
    "CM384: one supernode": (A3, group(A3, FULL, 1, 1, 4), 0.45),
    "CM384: two supernodes": (A3, group(A3, FULL, 2, 1, 2), 1.36),
    "CM384: four supernodes": (A3, group(A3, FULL, 4, 1, 1), 2.05),
}


@pytest.mark.parametrize("name", ALL_REDUCE)
def test_worked_all_reduce(name: str) -> None:
    """Milliseconds for 256 MiB, to the digits given."""
    of, members, expected = ALL_REDUCE[name]
    found = estimate(of, members)
    assert found is not None
    assert found.all_reduce * 1e3 == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", ALL_TO_ALL)
def test_worked_all_to_all(name: str) -> None:
    """Milliseconds for 64 MiB; the worked numbers leave out latency, a hundredth here."""
    of, members, expected = ALL_TO_ALL[name]
    found = estimate(of, members)
    assert found is not None
    assert found.all_to_all * 1e3 == pytest.approx(expected, rel=0.02)


def test_a_flat_ring() -> None:
    """64 dies as one ring, in a supernode and over RoCE."""
    for bandwidth, latency, expected in ((150e9, 2.1e-6, 3.8), (25e9, 5e-6, 21.8)):
        assert all_reduce([Hop(64, 64, bandwidth, latency)], 256 * MIB) * 1e3 == pytest.approx(expected, rel=0.01)


def test_small_messages_take_few_rounds() -> None:
    """A direct exchange is at least twice as fast as a ring below 1 MiB; from 16 MiB on the ring's rounds count."""
    switch, mesh = Hop(16, 16, 170e9, 0.7e-6), Hop(16, 16, 170e9, 0.7e-6, mesh=True)
    ring = 2 * (15 * 0.7e-6 + 15 / 16 * 65536 / 170e9)
    assert all_reduce([mesh], 65536) < all_reduce([switch], 65536) < ring / 2
    assert all_reduce([mesh], 16 * MIB) == all_reduce([switch], 16 * MIB)


def test_no_estimate_without_numbers() -> None:
    silent = profile("ascend-a3-384", supernode={"bandwidth": None})
    assert estimate(silent, group(silent, FULL, 1, 1, 2)) is None
    assert estimate(silent, group(silent, FULL, 1, 1, 1)) is not None
    assert estimate(A3, group(A3, 0x1, 1, 1, 1)) is not None


def test_the_slowest_legal_network_has_an_estimate_that_json_can_hold() -> None:
    slowest = {"bandwidth": 0.00101, "latency": 1e6}
    slow = profile("ascend-950", **dict.fromkeys(("node", "rack", "supernode"), slowest))
    found = estimate(slow, group(slow, 0xFF, 4, 4, 4))
    assert found is not None
    assert orjson.loads(orjson.dumps(found.to_dict())) == found.to_dict()
    most = 131072 * 1024
    for hop in (Hop(most, most, 1e6, 1.0), Hop(most, 1, 1e6 / 65535, 1.0, mesh=True)):
        assert all_reduce([hop] * 9, ALL_REDUCE_BYTES) * 1e6 < 1 << 53
        assert all_to_all([hop] * 8, hop, most, ALL_TO_ALL_BYTES) * 1e6 < 1 << 53


def test_one_card_talks_to_nobody() -> None:
    found = estimate(A3, group(A3, 0x1, 1, 1, 1))
    assert found is not None
    assert (found.all_reduce, found.all_to_all) == (0, 0)


@given(st.integers(0, 4), st.integers(0, 3), st.integers(1, 8).map(lambda gib: gib << 30))
def test_spreading_over_supernodes_is_never_faster(nodes: int, spread: int, size: int) -> None:
    """The same cards over twice as many supernodes, messages large enough that bandwidth decides."""
    inside = [Hop(16, 16, 170e9, 0.7e-6)]
    counts = [(1 << nodes, 1 << spread), (1 << nodes >> 1, 2 << spread)] if nodes else [(1, 1), (1, 1)]
    times = []
    for near, far in counts:
        hops = [*inside, Hop(near, near, 150e9, 2.1e-6), Hop(far, far, 25e9, 5e-6)]
        times.append((all_reduce(hops, size), all_to_all(hops[:-1], hops[-1], 16 * near * far, size)))
    assert times[0][0] <= times[1][0] + 1e-12
    assert times[0][1] <= times[1][1] + 1e-12


def test_the_objective_chooses_between_profiles_of_equal_spans() -> None:
    wide = Profile("wide", "r", (Level("node", 4, 4, "switch", (), 400.0, 3.0),))
    near = Profile("near", "r", (Level("node", 4, 4, "switch", (), 100.0, 1.0),))
    dark = Profile("dark", "r", (Level("node", 4, 4),))
    views = [SuperNodeView(of.name, of, [Node(of.name, 4, 15)]) for of in (wide, near, dark)]
    chosen = {}
    for objective in ("bandwidth", "latency"):
        placed = plan(Fleet(views), Request("r", 1, 4, objective=objective))
        assert isinstance(placed, Placement)
        chosen[objective] = placed.profile
    assert chosen == {"bandwidth": "wide", "latency": "near"}
    two = [SuperNodeView(f"near-{i}", near, [Node(f"near-{i}", 4, 15, taken)]) for i, taken in enumerate((1, 0))]
    placed = plan(Fleet([views[0].take({"wide": 1}), *two]), Request("r", 1, 4))
    assert isinstance(placed, Placement)
    assert placed.profile == "near", "what fits comes before what is fast"
