"""Profiles as the core sees them, and views of a fleet built from the shipped ones."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from supernode.api.profile import SuperNodeProfile
from supernode.topology.census import Kind
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Level, Profile, UnknownLevel

SHIPPED = sorted(Path("examples/profiles").glob("*.yaml"))


def load(path: Path) -> Profile:
    model = SuperNodeProfile.model_validate(yaml.safe_load(path.read_text()))
    return Profile.from_spec(model.metadata.name, model.spec)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_profile_reads(path: Path) -> None:
    profile = load(path)
    assert profile.levels[profile.node_index].name == "node"
    assert profile.cards_per_node % profile.per_package == 0
    assert profile.level("supernode") is profile.outermost
    assert profile.level_names == tuple(level.name for level in (*profile.inner, profile.level("node"), *profile.above))
    sizes = [level.cards for level in profile.levels]
    assert all(outer % inner == 0 for inner, outer in pairwise(sizes))


def test_the_a3_profile_in_numbers() -> None:
    profile = load(Path("examples/profiles/ascend-a3-384.yaml"))
    assert profile.cards_per_node == 16
    assert [level.cards for level in profile.levels] == [2, 16, 64, 768]
    assert profile.whole_nodes_across_nodes
    assert profile.reserve == 2
    assert profile.pinning.mode == "annotation"
    assert profile.level("package").bandwidth_gbps == 210


def test_unknown_levels_are_named_with_the_known_ones() -> None:
    profile = load(Path("examples/profiles/ascend-a3-384.yaml"))
    with pytest.raises(UnknownLevel, match="package, node, rack, supernode") as caught:
        profile.level_index("row")
    assert caught.value.level == "row"
    assert caught.value.known == profile.level_names


PROFILE = Profile(
    "p",
    "example.com/card",
    (Level("node", 4, 4), Level("rack", 2, 8, node_label="r"), Level("sn", 2, 16, node_label="s")),
)


def view(name: str = "s") -> SuperNodeView:
    nodes = [Node(f"{name}-n{i}", 4, 15, path=(name, f"{name}/r{i // 2}")) for i in (3, 10, 0, 2, 1)]
    return SuperNodeView(name, PROFILE, nodes)


def test_nodes_are_depth_first_in_natural_order() -> None:
    found = view()
    assert [node.name for node in found.nodes] == ["s-n0", "s-n1", "s-n2", "s-n3", "s-n10"]
    assert found.layout.names == [("s/r0", "s/r1", "s/r5"), ("s",)]
    assert found.layout.node_bounds == [(0, 2, 4, 5), (0, 5)]


def test_taking_and_releasing_makes_new_snapshots() -> None:
    before = view()
    after = before.take({"s-n0": 0b11})
    assert before.node("s-n0").free == 15
    assert after.node("s-n0").free == 0b1100
    assert (before.wholly_free, after.wholly_free) == (5, 4)
    assert after.release({"s-n0": 0b11}).nodes == before.nodes
    assert after.layout is before.layout


def test_counts_follow_every_change() -> None:
    one = view()
    assert one.census.wholly_free.all()
    for step in range(40):
        name = f"s-n{(step * 7) % 4}"
        one = one.take({name: 1 << step % 4}) if step % 3 else one.release({name: 0b1010})
        fresh = SuperNodeView("s", PROFILE, one.nodes)
        kinds = list(one.census.kinds)
        assert [kinds[i] for i in one.census.each] == [Kind.of(node) for node in fresh.nodes]
        assert one.wholly_free == fresh.wholly_free


def test_emptied_views_are_shared_and_follow_sizes() -> None:
    one = view()
    empty = one.take({"s-n0": 1}).emptied()
    assert empty is one.emptied()
    assert empty.wholly_free == 5
    shrunk = one.with_nodes({"s-n0": Node("s-n0", 2, 3, path=one.node("s-n0").path)})
    assert shrunk.emptied().node("s-n0").cards == 2
    other = one.with_nodes({}, reserve=one.reserve + 1)
    assert (other.emptied().reserve, one.emptied().reserve) == (one.reserve + 1, one.reserve)


def test_a_fleet_replaces_only_what_it_knows() -> None:
    fleet = Fleet([view("b"), view("a10"), view("a2")], [PROFILE])
    assert list(fleet.supernodes) == ["a2", "a10", "b"]
    assert fleet.domain_counts("p") == (15, 9, 3)
    changed = fleet.replace(view("b").take({"b-n0": 15}))
    assert changed.supernodes["a2"] is fleet.supernodes["a2"]
    assert fleet.supernodes["b"].wholly_free == 5
    with pytest.raises(KeyError, match="not in this fleet"):
        fleet.replace(view("zz"))


def test_a_later_snapshot_keeps_what_was_remembered_and_counts_anew() -> None:
    fleet = Fleet([view("a"), view("b")], [PROFILE])
    assert fleet.domain_counts("p") == (10, 6, 2)
    larger = SuperNodeView("b", PROFILE, [Node("b-n0", 4, 15, path=("b", "b/r0"))])
    assert fleet.replace(larger).domain_counts("p") == (6, 4, 2)
    later = fleet.succeeded_by([fleet.supernodes["a"]], fleet.profiles)
    assert later.shared is fleet.shared
    assert later.domain_counts("p") == (5, 3, 1)


@pytest.mark.parametrize("known", [range(0), range(0, 200, 2), range(1, 199)])
def test_a_later_snapshot_has_its_supernodes_in_natural_order(known: range) -> None:
    views = [view(f"s{number}") for number in range(200)]
    before = Fleet([views[number] for number in known], [PROFILE])
    later = before.succeeded_by(reversed(views), before.profiles)
    assert list(later.supernodes.values()) == list(later.of_profile("p")) == views
