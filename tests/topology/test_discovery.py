"""Nodes find their profile and supernode, and everything doubtful is reported instead of guessed."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernode.topology.discovery import (
    HOSTNAME_LABEL,
    Discovery,
    NodeFacts,
    ProblemKind,
    SuperNodeFacts,
    discover,
)
from supernode.topology.health import card_health, unhealthy_cards
from supernode.topology.ledger import LedgerEntry, Run
from supernode.topology.positions import known_value
from supernode.topology.profile import Level, Profile
from supernode.topology.taints import Taint
from supernode.topology.views import ForeignPod, build_fleet

RESOURCE = "example.com/card"
POD = Profile(
    "pod",
    RESOURCE,
    (
        Level("package", 2, 2),
        Level("node", 4, 8),
        Level("rack", 2, 16, node_label="rack"),
        Level("supernode", 4, 64, node_label="super"),
    ),
    node_selector={"type": "pod"},
)
BOX = Profile("box", RESOURCE, (Level("node", 8, 8),), node_selector={"type": "box"})


def node(name: str, cards: int = 8, **labels: str) -> NodeFacts:
    return NodeFacts(name, {"type": "pod", **labels}, {RESOURCE: cards}, {RESOURCE: cards})


def pairs(discovery: Discovery) -> dict[str, tuple[str, ...]]:
    return {name: found.nodes for name, found in discovery.supernodes.items()}


def test_one_supernode_per_label_value_with_nodes_in_natural_order() -> None:
    nodes = [node(f"n{i}", super=f"sn-{i % 2}", rack="r0") for i in (10, 2, 1, 0)]
    found = discover([POD], nodes)
    assert pairs(found) == {"sn-0": ("n0", "n2", "n10"), "sn-1": ("n1",)}
    assert found.supernodes["sn-0"].node_selector == {"super": "sn-0"}
    assert not found.supernodes["sn-0"].existing
    assert found.assigned == {"n0": "sn-0", "n1": "sn-1", "n2": "sn-0", "n10": "sn-0"}
    assert found.problems == ()


@pytest.mark.parametrize("value", ["", "-1", "-2", "4294967295", "unknown", "none", "None", "UNKNOWN"])
def test_unknown_ids_are_no_supernode(value: str) -> None:
    found = discover([POD], [node("a", super=value), node("b", super="sn-0")])
    assert pairs(found) == {"sn-0": ("b",)}
    assert found.unassigned == {"pod": ("a",)}
    assert [(problem.kind, problem.subject) for problem in found.problems] == [(ProblemKind.UNASSIGNED, "pod")]
    assert "label super" in found.problems[0].message


def test_a_missing_label_is_unknown_too() -> None:
    assert discover([POD], [node("a")]).unassigned == {"pod": ("a",)}
    assert known_value("0") == "0"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("sn-0", "sn-0"),
        ("a.b", "a.b"),
        ("7", "pod-7"),
        ("0012", "pod-0012"),
        ("x", "x"),
        ("ad1ba9ce-5c5b-4f2c-9d4e-0a1b2c3d4e5f.0", "pod-ad1ba9ce-0"),
        ("00daf7d9-5c5b-4f2c-9d4e-0a1b2c3d4e5f.3", "pod-00daf7d9-3"),
    ],
)
def test_names_come_from_values(value: str, name: str) -> None:
    assert list(discover([POD], [node("n", super=value)]).supernodes) == [name]


def test_values_that_lose_something_in_the_name_get_a_hash() -> None:
    found = discover([POD], [node("a", super="SN_1"), node("b", super="SN.1"), node("c", super="7")])
    names = sorted(found.supernodes)
    assert len(names) == 3
    assert all(name.startswith("pod-") for name in names)
    assert len({name for name in names if name.startswith("pod-sn-1-")}) == 2


@pytest.mark.parametrize("value", ["a.-b", "a-.b", "a..b", "A.b", "a.b-", "x" * 63, "rack.0-a", "a.b"])
def test_names_are_subdomains(value: str) -> None:
    """As the names of objects have to be."""
    [name] = discover([POD], [node("n", super=value)]).supernodes
    assert len(name) <= 63
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", part) for part in name.split("."))


def test_two_profiles_with_one_value_get_two_names() -> None:
    other = replace(POD, name="two", node_selector={"type": "two"})
    nodes = [node("a", super="s"), NodeFacts("b", {"type": "two", "super": "s"}, {RESOURCE: 8}, {RESOURCE: 8})]
    assert pairs(discover([POD, other], nodes)) == {"s": ("a",), "two-s": ("b",)}


def test_each_node_is_its_own_supernode_when_node_is_outermost() -> None:
    nodes = [
        NodeFacts(name, {"type": "box", HOSTNAME_LABEL: name}, {RESOURCE: 8}, {RESOURCE: 8}) for name in ("b1", "1a")
    ]
    found = discover([BOX], nodes)
    assert pairs(found) == {"b1": ("b1",), "box-1a": ("1a",)}
    assert found.supernodes["b1"].node_selector == {HOSTNAME_LABEL: "b1"}


def test_an_empty_selector_takes_nodes_that_offer_the_resource() -> None:
    open_ = replace(POD, node_selector={})
    found = discover([open_], [node("a", super="s"), NodeFacts("b", {"super": "s"}), node("c", 0, super="s")])
    assert pairs(found) == {"s": ("a",)}


def test_the_most_specific_profile_wins_and_overlap_is_reported() -> None:
    wide = replace(POD, name="a-wide", node_selector={})
    twin = replace(POD, name="z-twin")
    found = discover([wide, twin, POD], [node("n", super="s")])
    assert found.profile_of == {"n": "pod"}
    assert [problem.kind for problem in found.problems] == [ProblemKind.PROFILE_OVERLAP]
    assert "pod, z-twin, a-wide" in found.problems[0].message


def test_existing_supernodes_keep_their_names() -> None:
    existing = SuperNodeFacts("old-name", "pod", {"super": "sn-0"}, discovered=True, created="2026-01-01T00:00:00Z")
    found = discover([POD], [node("a", super="sn-0"), node("b", super="sn-1")], [existing])
    assert pairs(found) == {"old-name": ("a",), "sn-1": ("b",)}
    assert found.supernodes["old-name"].existing


def test_an_existing_supernode_without_nodes_stays() -> None:
    found = discover([POD], [], [SuperNodeFacts("sn-0", "pod", {"super": "sn-0"}, discovered=True)])
    assert pairs(found) == {"sn-0": ()}


def test_hand_written_before_discovered_then_older_then_name() -> None:
    nodes = [node(f"n{i}", super="s", room="x") for i in range(2)]
    facts = [
        SuperNodeFacts("discovered", "pod", {"super": "s"}, discovered=True, created="2020-01-01T00:00:00Z"),
        SuperNodeFacts("young", "pod", {"room": "x"}, created="2026-02-01T00:00:00Z"),
        SuperNodeFacts("old", "pod", {"room": "x"}, created="2026-01-01T00:00:00Z"),
    ]
    found = discover([POD], nodes, facts)
    assert pairs(found) == {"discovered": (), "old": ("n0", "n1"), "young": ()}
    conflicts = [problem for problem in found.problems if problem.kind is ProblemKind.NODE_CONFLICT]
    assert {problem.subject for problem in conflicts} == {"discovered", "young"}
    assert all("n0,n1" in problem.message and "old" in problem.message for problem in conflicts)


def box(name: str, **labels: str) -> NodeFacts:
    return NodeFacts(name, {HOSTNAME_LABEL: name, "type": "box", **labels}, {RESOURCE: 8}, {RESOURCE: 8})


RACK = SuperNodeFacts("rack", "box", {"room": "x"})


@pytest.mark.parametrize(
    ("existing", "supernodes"),
    [
        ([RACK], {"rack": ("a1",), "a2": ("a2",), "a10": ("a10",)}),
        (
            [RACK, SuperNodeFacts("mine", "box", {HOSTNAME_LABEL: "a2"}, discovered=True)],
            {"rack": ("a1",), "mine": ("a2",), "a10": ("a10",)},
        ),
        (
            [RACK, SuperNodeFacts("first", "box", {HOSTNAME_LABEL: "a1"})],
            {"first": ("a1",), "rack": ("a2",), "a10": ("a10",)},
        ),
    ],
)
def test_a_supernode_of_a_profile_without_levels_above_the_node_has_one_node(
    existing: list[SuperNodeFacts], supernodes: dict[str, tuple[str, ...]]
) -> None:
    found = discover([BOX], [box(name, room="x") for name in ("a10", "a1", "a2")], existing)
    assert pairs(found) == supernodes
    assert found.unassigned == {}
    kept = supernodes["rack"][0]
    problem = found.problems[-1]
    assert (problem.kind, problem.subject) == (ProblemKind.NODE_CONFLICT, "rack")
    assert f"as {kept} is" in problem.message
    assert "a10" in problem.message
    assert "narrow its nodeSelector" in problem.message


def test_nodes_with_the_same_hostname_cannot_all_be_supernodes() -> None:
    nodes = [box("ip-1", **{HOSTNAME_LABEL: "gpu"}), box("ip-2", **{HOSTNAME_LABEL: "gpu"}), box("ip-3")]
    first = discover([BOX], nodes)
    assert pairs(first) == {"gpu": ("ip-1",), "ip-3": ("ip-3",)}
    assert first.unassigned == {"box": ("ip-2",)}
    assert [(problem.kind, problem.subject) for problem in first.problems] == [(ProblemKind.UNASSIGNED, "box")]
    assert "ip-2" in first.problems[0].message
    assert HOSTNAME_LABEL in first.problems[0].message
    created = [SuperNodeFacts(sn.name, "box", sn.node_selector, discovered=True) for sn in first.supernodes.values()]
    second = discover([BOX], nodes, created)
    assert (pairs(second), second.unassigned) == (pairs(first), first.unassigned)
    conflict = next(problem for problem in second.problems if problem.kind is ProblemKind.NODE_CONFLICT)
    assert conflict.subject == "gpu"
    assert f"label each node with a {HOSTNAME_LABEL} of its own" in conflict.message


def test_a_node_without_a_hostname_is_no_supernode() -> None:
    """Its name alone is none: a selector on the label would not find it again."""
    nodes = [NodeFacts(name, {"type": "box", **labels}) for name, labels in (("a", {}), ("b", {HOSTNAME_LABEL: "b"}))]
    found = discover([BOX], nodes)
    assert (pairs(found), found.unassigned) == ({"b": ("b",)}, {"box": ("a",)})
    assert [problem.message for problem in found.problems] == [
        "nodes a of profile box belong to no supernode: label kubernetes.io/hostname is missing, or other nodes have "
        "the same; label each with one of its own"
    ]


def labelled(**values: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional=values)


LABELS = st.one_of(
    labelled(**{"type": st.just("box"), HOSTNAME_LABEL: st.sampled_from(("n0", "n1", "h", ""))}),
    labelled(type=st.just("pod"), super=st.sampled_from(("s", "n0", "pod", "-1", "")), rack=st.just("r")),
)


@given(st.lists(LABELS, max_size=6), st.booleans())
def test_discovery_of_what_it_has_made_makes_nothing_more(labels: list[dict[str, str]], selected: bool) -> None:
    """Whichever labels are missing: what it made has nodes, and with that there is nothing left to make."""
    profiles = [BOX, POD] if selected else [replace(BOX, node_selector={}), POD]
    nodes = [NodeFacts(f"n{i}", given, {RESOURCE: 8}, {RESOURCE: 8}) for i, given in enumerate(labels)]
    first = discover(profiles, nodes)
    made = [SuperNodeFacts(sn.name, sn.profile, sn.node_selector, discovered=True) for sn in first.supernodes.values()]
    second = discover(profiles, nodes, made)
    assert all(found.existing for found in second.supernodes.values())
    assert (pairs(second), second.unassigned) == (pairs(first), first.unassigned)


def test_a_supernode_of_another_profile_claims_nothing() -> None:
    found = discover([POD, BOX], [node("a", super="s")], [SuperNodeFacts("mine", "box", {"super": "s"})])
    assert pairs(found) == {"mine": (), "s": ("a",)}


def test_a_missing_profile_is_reported() -> None:
    found = discover([], [], [SuperNodeFacts("sn", "gone", {"super": "s"})])
    assert [(problem.kind, problem.subject) for problem in found.problems] == [(ProblemKind.PROFILE_MISSING, "sn")]


@given(st.permutations([node(f"n{i}", super=f"s{i % 3}", rack=f"r{i % 2}") for i in range(6)]))
def test_the_order_of_nodes_does_not_matter(nodes: list[NodeFacts]) -> None:
    reference = discover([POD], [node(f"n{i}", super=f"s{i % 3}", rack=f"r{i % 2}") for i in range(6)])
    assert discover([POD], nodes) == reference


def fleet_of(nodes: list[NodeFacts], profile: Profile = POD, **kwargs: object):  # type: ignore[no-untyped-def]
    return build_fleet(discover([profile], nodes), [profile], nodes, **kwargs)  # type: ignore[arg-type]


def test_domains_are_named_under_their_parents_in_natural_order() -> None:
    view = fleet_of([node("n1", super="s", rack="r10"), node("n2", super="s", rack="r2")]).supernodes["s"]
    assert [item.path for item in view.nodes] == [("s", "s/r2"), ("s", "s/r10")]
    assert view.domains(view.nodes[0]) == {"node": "n2", "rack": "s/r2", "supernode": "s"}


def test_nodes_of_unknown_racks_stand_alone() -> None:
    nodes = [node("a", super="s", rack="-1"), node("b", super="s"), node("c", super="s", rack="a")]
    view = fleet_of(nodes).supernodes["s"]
    racks = {item.name: item.path[1] for item in view.nodes}
    assert len(set(racks.values())) == 3
    assert racks["b"] == "s/b"
    assert racks["c"] == "s/a"


@pytest.mark.parametrize(
    "change",
    [
        {"ready": False},
        {"unschedulable": True},
        {"taints": (Taint("x", effect="NoSchedule"),)},
        {"taints": (Taint("x", effect="NoExecute"),)},
        {"annotations": {"supernode.io/unhealthy-cards": "what?"}},
        {"annotations": {"supernode.io/unhealthy-cards": "4,8"}},
    ],
)
def test_barred_nodes_give_nothing_but_keep_what_they_hold(change: dict[str, object]) -> None:
    facts = replace(node("a", super="s"), **change)  # type: ignore[arg-type]
    ledger = {"s": [LedgerEntry("ns/g", "u", (Run("0", "a", ("0-3",)),))]}
    item = fleet_of([facts], ledgers=ledger).supernodes["s"].node("a")
    assert item.free == 0
    assert item.taken == 0b1111


@pytest.mark.parametrize(
    ("annotation", "capacity", "says"),
    [
        ("1;2", 8, "'1;2' is not a range: write a number such as 7 or a run such as 0-7"),
        ("4,4", 8, "card index 4 appears twice in '4,4'"),
        ("1 2", 8, "'1 2' is not a range: write a number such as 7 or a run such as 0-7"),
        ("4,8", 8, "card 8 is named, but the 8 cards of the node are numbered from 0"),
        ("7", 3, None),
        ("9", 12, None),
        ("12", 12, "card 12 is named, but the 12 cards of the node are numbered from 0"),
    ],
    ids=[
        "misspelt",
        "repeated",
        "not one but two",
        "counted from 1",
        "lost",
        "beyond the profile's node",
        "beyond a larger node",
    ],
)
def test_an_annotation_that_cannot_be_right_closes_the_node_and_says_why(
    annotation: str, capacity: int, says: str | None
) -> None:
    facts = replace(_ill(annotation, capacity), capacity={RESOURCE: capacity})
    item = fleet_of([facts]).supernodes["s"].node("a")
    told = [remark for remark in item.remarks if "annotation" in remark]
    assert item.schedulable == (says is None)
    assert told == (
        [f"gives nothing new until annotation supernode.io/unhealthy-cards is right: {says}"] if says else []
    )


def test_a_preferred_taint_bars_nothing() -> None:
    facts = replace(node("a", super="s"), taints=(Taint("x", effect="PreferNoSchedule"),))
    assert fleet_of([facts]).supernodes["s"].node("a").free == 0xFF


@pytest.mark.parametrize(
    ("annotation", "allocatable", "healthy"),
    [
        ("", 8, 0xFF),
        ("3,7", 8, 0x77),
        ("", 6, 0x3F),
        ("0", 7, 0xFE),
        ("0", 6, 0x7E),
        ("0-1, 2", 8, 0xF8),
        ("99", 8, 0xFF),
    ],
)
def test_unhealthy_cards(annotation: str, allocatable: int, healthy: int) -> None:
    facts = replace(
        node("a", super="s"),
        annotations={"supernode.io/unhealthy-cards": annotation},
        allocatable={RESOURCE: allocatable},
    )
    assert fleet_of([facts]).supernodes["s"].node("a").healthy == healthy


@pytest.mark.parametrize(
    ("annotation", "allocatable", "healthy"),
    [("", 8, 0xFF), ("2", 8, 0xF3), ("2", 7, 0xF3), ("1,2", 6, 0xF0), ("", 7, 0x3F), ("0", 6, 0x3C), ("0-7", 0, 0)],
)
def test_a_package_with_an_unhealthy_card_is_given_to_nobody(annotation: str, allocatable: int, healthy: int) -> None:
    facts, profile = _ill(annotation, allocatable), replace(POD, per_package=2)
    assert unhealthy_cards(facts, profile, card_health(facts, profile)) == 0xFF & ~healthy


@pytest.mark.parametrize(
    ("held", "annotation", "allocatable", "free"),
    [
        ("0-3", "", 8, 0xF0),
        ("0-3", "3", 7, 0x70),
        ("0-3", "3", 8, 0xF0),
        ("0-3", "4", 7, 0xE0),
        ("4-7", "", 7, 0x07),
        ("0-7", "3", 7, 0),
        ("", "3", 7, 0xF7),
    ],
    ids=[
        "all work",
        "the group runs on one that failed",
        "which the device plugin offers on",
        "a free one failed",
        "one that the group may have failed",
        "the group has all",
        "nobody has any",
    ],
)
def test_no_more_cards_are_free_than_the_scheduler_can_give(
    held: str, annotation: str, allocatable: int, free: int
) -> None:
    facts = _ill(annotation, allocatable)
    ledger = {"s": [LedgerEntry("ns/g", "u", (Run("0", "a", (held,)),))] if held else []}
    view = fleet_of([facts], ledgers=ledger).supernodes["s"]
    alone = fleet_of([facts]).supernodes["s"]
    assert view.node("a").free == free == view.census.free([0])[0]
    assert view.node("a").healthy == alone.node("a").healthy, "whoever holds them"
    assert view.emptied().node("a") == alone.emptied().node("a")


def _ill(annotation: str, allocatable: int) -> NodeFacts:
    return replace(
        node("a", super="s"),
        annotations={"supernode.io/unhealthy-cards": annotation},
        allocatable={RESOURCE: allocatable},
    )


@pytest.mark.parametrize(
    ("capacity", "allocatable", "annotation", "healthy", "remarks"),
    [
        (8, 8, "", 0xFF, ()),
        (8, 7, "", 0x7F, ()),
        (7, 7, "", 0x7F, ("capacity is 7 of 8 cards",)),
        (7, 6, "", 0x3F, ("capacity is 7 of 8 cards",)),
        (7, 7, "2", 0xFB, ("capacity is 7 of 8 cards",)),
        (7, 7, "7", 0x7F, ("capacity is 7 of 8 cards",)),
        (0, 0, "", 0, ("capacity is 0 of 8 cards",)),
        (12, 12, "", 0xFF, ()),
        (12, 11, "", 0x7F, ()),
    ],
    ids=[
        "all",
        "one is not offered",
        "one is not listed",
        "another is not offered",
        "the one that is not listed is named",
        "it is the last",
        "the device plugin is away",
        "more than the profile says",
        "one of which is not offered",
    ],
)
def test_a_node_has_the_cards_of_its_profile_and_what_it_does_not_offer_is_unhealthy(
    capacity: int, allocatable: int, annotation: str, healthy: int, remarks: tuple[str, ...]
) -> None:
    facts = replace(_ill(annotation, allocatable), capacity={RESOURCE: capacity})
    view = fleet_of([facts, node("b", super="s")], replace(POD, reserve=1)).supernodes["s"]
    item = view.node("a")
    assert (item.cards, item.healthy, item.remarks) == (8, healthy, remarks)
    assert view.wholly_free == 1 + (healthy == 0xFF), "a node that lacks a card serves no reserve"


def test_foreign_pods_take_their_cards_or_the_lowest_aligned_ones() -> None:
    pods = [
        ForeignPod("ns", "known", "a", 1, 0b10),
        ForeignPod("ns", "one", "a", 1),
        ForeignPod("ns", "pair", "a", 2),
        ForeignPod("ns", "elsewhere", "zz", 8),
    ]
    item = fleet_of([node("a", super="s")], foreign=pods).supernodes["s"].node("a")
    assert item.taken == 0b1111


def test_a_foreign_pod_larger_than_what_is_free_takes_all_of_it() -> None:
    item = fleet_of([node("a", super="s")], foreign=[ForeignPod("ns", "p", "a", 7), ForeignPod("ns", "q", "a", 4)])
    assert item.supernodes["s"].node("a").free == 0


def test_cards_on_vanished_nodes_stay_booked() -> None:
    ledger = {"s": [LedgerEntry("ns/g", "u", (Run("0-1", "a,gone", ("0-7",)),))]}
    view = fleet_of([node("a", super="s")], ledgers=ledger).supernodes["s"]
    assert {item.name: (item.taken, item.free, item.cards) for item in view.nodes} == {
        "a": (0xFF, 0, 8),
        "gone": (0xFF, 0, 0),
    }


def test_a_node_that_moved_keeps_its_bookings() -> None:
    nodes = [node("a", super="new")]
    ledger = {"old": [LedgerEntry("ns/g", "u", (Run("0", "a", ("0-3",)),))]}
    found = discover([POD], nodes, [SuperNodeFacts("old", "pod", {"super": "old"})])
    fleet = build_fleet(found, [POD], nodes, ledger)
    assert fleet.supernodes["new"].node("a").taken == 0b1111
    assert fleet.supernodes["old"].node("a").taken == 0b1111
