"""Which taints keep cards from being given, and what is said of them."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernode.api.tolerations import Toleration as TolerationSpec
from supernode.topology.discovery import NodeFacts, discover
from supernode.topology.fleet import SuperNodeView
from supernode.topology.profile import DeviceRule, Pinning, Profile
from supernode.topology.taints import Taint, Toleration, barring, described, remedy
from supernode.topology.views import build_fleet
from tests.placement.fleets import profile_of

TEAM = Taint("gpu", "team-a")
PROFILE = profile_of("p", ("node", 4), ("supernode", 2))
CARD = PROFILE.resource


@pytest.mark.parametrize(
    ("spec", "taint", "tolerated"),
    [
        ({"key": "gpu", "value": "team-a", "effect": "NoSchedule"}, TEAM, True),
        ({"key": "gpu", "value": "team-b", "effect": "NoSchedule"}, TEAM, False),
        ({"key": "tpu", "value": "team-a", "effect": "NoSchedule"}, TEAM, False),
        ({"key": "gpu", "value": "team-a", "effect": "NoExecute"}, TEAM, False),
        ({"key": "gpu", "value": "team-a", "effect": "NoExecute"}, replace(TEAM, effect="NoExecute"), True),
        ({"key": "gpu", "value": "team-a", "effect": "PreferNoSchedule"}, TEAM, False),
        ({"key": "gpu", "value": "team-a"}, TEAM, True),
        ({"key": "gpu", "value": "team-a"}, replace(TEAM, effect="NoExecute"), True),
        ({"key": "gpu"}, TEAM, False),
        ({"key": "gpu"}, Taint("gpu"), True),
        ({"key": "gpu", "value": ""}, Taint("gpu"), True),
        ({"key": "gpu", "operator": "Exists"}, TEAM, True),
        ({"key": "gpu", "operator": "Exists", "value": ""}, TEAM, True),
        ({"key": "gp", "operator": "Exists"}, TEAM, False),
        ({"operator": "Exists"}, TEAM, True),
        ({"operator": "Exists"}, replace(TEAM, effect="NoExecute"), True),
        ({"operator": "Exists", "effect": "NoSchedule"}, replace(TEAM, effect="NoExecute"), False),
    ],
)
def test_a_taint_is_tolerated_as_the_scheduler_does(spec: dict[str, str], taint: Taint, tolerated: bool) -> None:
    toleration = Toleration.from_spec(TolerationSpec.model_validate(spec))
    assert barring((taint,), (toleration,)) == (() if tolerated else (taint,))


@pytest.mark.parametrize("effect", ["NoSchedule", "NoExecute"])
@pytest.mark.parametrize(
    "key",
    [
        "node.kubernetes.io/unschedulable",
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
        "node.kubernetes.io/disk-pressure",
        "node.kubernetes.io/memory-pressure",
        "node.kubernetes.io/network-unavailable",
        "node.kubernetes.io/out-of-service",
        "node.cloudprovider.kubernetes.io/uninitialized",
        "node.cloudprovider.kubernetes.io/shutdown",
        "karpenter.sh/disrupted",
        "ToBeDeletedByClusterAutoscaler",
    ],
)
def test_no_toleration_opens_a_node_in_trouble(key: str, effect: str) -> None:
    taint = Taint(key, effect=effect)
    assert barring((taint,), (Toleration(), Toleration(key))) == (taint,)


@pytest.mark.parametrize("key", ["kubernetes.io/arch", "node-role.kubernetes.io/control-plane", "node.example.com/gpu"])
def test_other_keys_are_anyones_to_tolerate(key: str) -> None:
    assert barring((Taint(key),), (Toleration(),)) == ()


def test_a_preferred_taint_bars_nothing() -> None:
    assert barring((Taint("gpu", effect="PreferNoSchedule"),), ()) == ()


BY_CLAIMS = replace(PROFILE, pinning=Pinning("dra", devices=DeviceRule("card.example.com", "c", "i", None, "i")))


@pytest.mark.parametrize("profile", [PROFILE, BY_CLAIMS], ids=["extended resource", "claims"])
@pytest.mark.parametrize(
    ("taint", "tolerated"),
    [
        (Taint(CARD, "present"), True),
        (Taint(CARD), True),
        (Taint(CARD, "present", "NoExecute"), False),
        (Taint("example.com/other", "present"), False),
        (Taint("card.example.com"), False),
    ],
)
def test_the_taint_called_like_the_resource_is_tolerated(profile: Profile, taint: Taint, tolerated: bool) -> None:
    assert (barring((taint,), profile.tolerated) == ()) == tolerated


def test_a_toleration_that_says_the_same_is_there_once() -> None:
    default = Toleration(CARD, effect="NoSchedule")
    profile = replace(PROFILE, tolerations=(Toleration("gpu"), default, Toleration("gpu")))
    assert profile.tolerated == (default, Toleration("gpu"))


def view_of(facts: NodeFacts, profile: Profile = PROFILE) -> SuperNodeView:
    labelled = replace(facts, labels={"label/supernode": "s"}, capacity={CARD: 4}, allocatable={CARD: 4})
    return build_fleet(discover([profile], [labelled]), [profile], [labelled]).supernodes["s"]


BROKEN = Taint("node.kubernetes.io/disk-pressure")


@pytest.mark.parametrize(
    ("facts", "free", "named"),
    [
        (NodeFacts("n", taints=(TEAM,)), 0, (TEAM,)),
        (NodeFacts("n", taints=(TEAM, Taint("b"))), 0, (TEAM, Taint("b"))),
        (NodeFacts("n", taints=(Taint(CARD, "present"), TEAM)), 0, (TEAM,)),
        (NodeFacts("n", taints=(Taint(CARD, "present"),)), 4, ()),
        (NodeFacts("n", taints=(TEAM,), unschedulable=True), 0, ()),
        (NodeFacts("n", taints=(TEAM,), ready=False), 0, ()),
        (NodeFacts("n", taints=(TEAM,), annotations={"supernode.io/unhealthy-cards": "?"}), 0, ()),
        (NodeFacts("n", taints=(TEAM, BROKEN)), 0, ()),
        (NodeFacts("n", taints=(BROKEN,)), 0, ()),
    ],
)
def test_a_node_names_its_taints_where_they_alone_close_it(
    facts: NodeFacts, free: int, named: tuple[Taint, ...]
) -> None:
    view = view_of(facts)
    assert (view.free_cards, view.nodes[0].taints) == (free, named)


def test_a_cordoned_node_stays_cordoned_whatever_is_tolerated() -> None:
    taint = Taint("node.kubernetes.io/unschedulable")
    everything = replace(PROFILE, tolerations=(Toleration(),))
    assert view_of(NodeFacts("n", taints=(TEAM,)), everything).free_cards == 4
    assert view_of(NodeFacts("n", taints=(taint,), unschedulable=True), everything).free_cards == 0


_KEYS = st.sampled_from(["a", "b", CARD, "node.kubernetes.io/not-ready"])
_VALUES = st.sampled_from(["", "x", "y"])
_EFFECTS = st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"])
_TAINTS = st.lists(st.builds(Taint, _KEYS, _VALUES, _EFFECTS), max_size=3).map(tuple)
_TOLERATIONS = st.lists(
    st.builds(Toleration, st.sampled_from(["", "a", "b"]), st.none() | _VALUES, st.just("") | _EFFECTS), max_size=3
).map(tuple)


@given(_TAINTS, _TOLERATIONS, st.booleans(), st.booleans())
def test_a_tolerated_taint_behaves_as_none(
    taints: tuple[Taint, ...], tolerations: tuple[Toleration, ...], ready: bool, cordoned: bool
) -> None:
    profile = replace(PROFILE, tolerations=tolerations)
    bars = barring(taints, profile.tolerated)
    facts = NodeFacts("n", taints=taints, ready=ready, unschedulable=cordoned)
    assert view_of(facts, profile).nodes == view_of(replace(facts, taints=bars), profile).nodes
    assert view_of(facts, profile).free_cards == (4 if ready and not cordoned and not bars else 0)


NAMES = [Taint(name) for name in "abcd"]


@pytest.mark.parametrize(
    ("tainted", "parts", "advice"),
    [
        ({}, [], ""),
        (
            {(TEAM,): 3},
            [(3, "tainted gpu=team-a:NoSchedule")],
            "; to use tainted nodes, add gpu=team-a:NoSchedule to tolerations of profile p",
        ),
        (
            {(NAMES[0],): 1, (NAMES[1], TEAM): 2},
            [(2, "tainted b:NoSchedule and gpu=team-a:NoSchedule"), (1, "tainted a:NoSchedule")],
            "; to use tainted nodes, add b:NoSchedule, gpu=team-a:NoSchedule, a:NoSchedule to tolerations of profile p",
        ),
        (
            {(name,): 1 for name in (*NAMES, TEAM)},
            [*((1, f"tainted {name}:NoSchedule") for name in "abc"), (2, "tainted otherwise")],
            "; to use tainted nodes, add a:NoSchedule, b:NoSchedule, c:NoSchedule and 2 others to tolerations of "
            "profile p",
        ),
    ],
)
def test_taints_in_messages(tainted: dict[tuple[Taint, ...], int], parts: list[tuple[int, str]], advice: str) -> None:
    assert described(Counter(tainted)) == parts
    assert remedy(Counter(tainted), "p") == advice
