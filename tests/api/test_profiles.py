"""The profiles that ship: they parse, they name their machines' sizes, and no node matches two of them."""

import itertools
import math
from pathlib import Path

import pytest
import yaml

from supernode.api.names import LEVEL_NODE, LEVEL_SUPERNODE
from supernode.api.profile import SuperNodeProfile
from supernode.api.reading import parse

PROFILES = {
    path.stem: parse(SuperNodeProfile, yaml.safe_load(path.read_text()))
    for path in sorted((Path(__file__).parents[2] / "examples/profiles").glob("*.yaml"))
}
each_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


@pytest.mark.parametrize(
    ("name", "cards_per_node", "nodes_per_supernode"),
    [
        ("ascend-a1", 8, 1),
        ("ascend-a2", 8, 1),
        ("ascend-a2-box16", 16, 1),
        ("ascend-a3-384", 16, 48),
        ("ascend-350", 16, 1),
        ("ascend-850", 8, 16),
        ("ascend-950", 8, 128),
        ("ascend-960", 8, 1936),
        ("ascend-960e", 8, 512),
        ("nvidia-hgx8", 8, 1),
        ("nvidia-nvl72", 4, 18),
        ("nvidia-vr-nvl72", 4, 18),
        ("nvidia-nvl144", 4, 36),
        ("clos-rail", 8, 512),
        ("tpu-v4", 4, 1024),
        ("tpu-v5p", 4, 2240),
        ("tpu-7x", 4, 2304),
    ],
)
def test_sizes(name: str, cards_per_node: int, nodes_per_supernode: int) -> None:
    """A3: 384 packages are 768 cards; Atlas 960: 15488 cards; and so on."""
    spec = PROFILES[name].spec
    assert (spec.cards_per_node, spec.nodes_per_supernode) == (cards_per_node, nodes_per_supernode)


def test_no_other_profiles_ship_untested() -> None:
    """A new profile gets a row above."""
    (sizes,) = (mark for mark in test_sizes.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    assert {row[0] for row in sizes.args[1]} == set(PROFILES)


@each_profile
def test_profiles_are_self_describing(profile: SuperNodeProfile) -> None:
    """File name, sources, assumptions, and the outermost level called supernode unless it is the node."""
    spec = profile.spec
    assert profile.metadata.name in PROFILES
    assert spec.sources
    assert "(*)" in (spec.description or "")
    assert spec.levels[-1].name == (LEVEL_NODE if spec.nodes_per_supernode == 1 else LEVEL_SUPERNODE)
    assert all(level.bandwidth for level in spec.levels if level.fabric != "none")
    assert all(level.latency is not None for level in spec.levels if level.fabric != "none")


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.combinations(PROFILES.values(), 2)), ids=lambda profile: profile.metadata.name
)
def test_no_node_matches_two_profiles(one: SuperNodeProfile, other: SuperNodeProfile) -> None:
    """Cards of different resources, or selectors that want different values of one label."""
    a, b = one.spec.node_selector, other.spec.node_selector
    assert one.spec.card.resource != other.spec.card.resource or any(a[key] != b[key] for key in a.keys() & b.keys())


@pytest.mark.parametrize("name", ["tpu-v4", "tpu-v5p", "tpu-7x"])
def test_tpus_are_cut_into_slices_of_every_power_of_two_below_a_cube(name: str) -> None:
    """A slice of 16 chips is 2x2x4 in all of them."""
    assert [math.prod(shape) for shape in PROFILES[name].spec.allocation.shapes] == [4, 8, 16, 32]


def test_the_network_of_a_tpu7x_is_as_its_source_says() -> None:
    """1200 GB/s in both directions and 100 Gb/s to the data centre, per chip; v5p has half of that network."""
    newer, older = (PROFILES[name].spec for name in ("tpu-7x", "tpu-v5p"))
    assert {level.bandwidth for level in newer.levels} == {1200 / 2}
    assert newer.uplink is not None
    assert older.uplink is not None
    assert newer.uplink.bandwidth == 2 * (older.uplink.bandwidth or 0) == 100 / 8


@each_profile
def test_ascend_cards_are_pinned_by_their_resource_name(profile: SuperNodeProfile) -> None:
    """The device plugin reads the annotation that is called as the resource; other plugins choose by themselves."""
    resource, pinning = profile.spec.card.resource, profile.spec.pinning
    expected = ("annotation", resource) if resource.startswith("huawei.com/") else ("none", None)
    assert (pinning.mode, pinning.key) == expected
