"""The independent check passes a sound cluster and catches every kind of damage done to it."""

import ast
import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed import check as package
from testbed.check import Rule, check
from testbed.check.facts import Cluster, node_names, numbers, seats
from testbed.check.groups import ledgers
from testbed.check.report import Report
from testbed.check.topology import Occupancy, would_fit
from tests.testbed.sound_cluster import (
    CARDS,
    GROUP_UID,
    PLACE,
    RACK,
    SPARE,
    SUPERNODE,
    Json,
    Objects,
    pod,
    sound,
    supernode,
)

DAMAGE: dict[str, tuple[Rule, Callable[[Objects], object]]] = {}


def damage(rule: Rule) -> Callable[[Callable[[Objects], object]], None]:
    """Register a way to break a sound cluster, with the rule that must notice."""

    def register(act: Callable[[Objects], object]) -> None:
        DAMAGE[act.__name__] = (rule, act)

    return register


@damage(Rule.PINNED)
def pod_on_another_node_than_its_pin(objects: Objects) -> None:
    objects["Pod/big-0"]["spec"]["nodeName"] = "s1-n03"


@damage(Rule.PINNED)
def pod_pinned_to_two_nodes(objects: Objects) -> None:
    affinity = objects["Pod/big-0"]["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    terms[0]["matchFields"][0]["values"].append("s0-n01")


@damage(Rule.PINNED)
def pod_without_a_pin(objects: Objects) -> None:
    del objects["Pod/big-0"]["spec"]["affinity"]


@damage(Rule.PINNED)
def pod_with_an_alternative_without_a_pin(objects: Objects) -> None:
    affinity = objects["Pod/big-0"]["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    terms.append({"matchExpressions": [{"key": "machine", "operator": "Exists"}]})


@damage(Rule.PINNED)
def pod_that_is_not_bound(objects: Objects) -> None:
    del objects["Pod/small-1"]["spec"]["nodeName"]


@damage(Rule.PLACE)
def pod_on_a_node_of_no_supernode(objects: Objects) -> None:
    del objects["Node/s0-n03"]["metadata"]["labels"][SUPERNODE]


@damage(Rule.CARDS)
def card_beyond_the_node(objects: Objects) -> None:
    objects["Pod/small-0"]["metadata"]["annotations"][CARDS] = "8-9"


@damage(Rule.HEALTHY)
def card_marked_unhealthy(objects: Objects) -> None:
    objects["Node/s0-n01"]["metadata"]["annotations"]["supernode.io/unhealthy-cards"] = "3"


@damage(Rule.HEALTHY)
def fewer_cards_allocatable_than_used(objects: Objects) -> None:
    objects["Node/s0-n01"]["status"]["allocatable"]["example.com/card"] = "7"


@damage(Rule.CARDS)
def pod_that_asks_for_more_than_it_names(objects: Objects) -> None:
    objects["Pod/small-0"]["spec"]["containers"][0]["resources"]["requests"]["example.com/card"] = "4"


@damage(Rule.CARDS)
def device_plugin_told_of_other_cards(objects: Objects) -> None:
    objects["Pod/small-0"]["metadata"]["annotations"]["example.com/card"] = "card-4,card-5"


@damage(Rule.CARDS)
def pod_that_names_no_cards(objects: Objects) -> None:
    del objects["Pod/small-0"]["metadata"]["annotations"][CARDS]


@damage(Rule.LEGAL)
def cards_across_packages(objects: Objects) -> None:
    objects.move("small", 0, "s1-n01", "1-2")


@damage(Rule.LEGAL)
def size_that_the_profile_forbids(objects: Objects) -> None:
    objects.move("small", 0, "s1-n01", "0-2")


@damage(Rule.LEGAL)
def part_of_a_node_across_nodes(objects: Objects) -> None:
    objects.move("small", 1, "s1-n01")


@damage(Rule.SHAPE)
def run_of_nodes_that_are_no_neighbours(objects: Objects) -> None:
    for name, place in (("r0", "1"), ("r1", "0")):
        objects[f"Node/{name}"]["metadata"]["labels"][PLACE] = place


@damage(Rule.ONCE)
def card_in_two_pods(objects: Objects) -> None:
    objects.move("small", 1, "s1-n00", "0-1")


@damage(Rule.ONCE)
def card_in_two_ledger_entries(objects: Objects) -> None:
    objects.rewrite("SuperNode/sn-1", "n00:4-7", "n00:0-3")


@damage(Rule.ONCE)
def spare_on_the_cards_of_another_group(objects: Objects) -> None:
    objects.rewrite("SuperNode/sn-1", SPARE, "+0@s1-n00:4-5")


@damage(Rule.ONCE)
def spare_on_the_cards_of_its_own_group(objects: Objects) -> None:
    objects.rewrite("SuperNode/sn-1", SPARE, "+0@s1-n00:0-1")


@damage(Rule.PLACE)
def spare_on_a_node_that_is_not_there(objects: Objects) -> None:
    objects.rewrite("SuperNode/sn-1", SPARE, "+0@nowhere:0-1")


@damage(Rule.ONCE)
def foreign_pod_beyond_the_cards_of_the_node(objects: Objects) -> None:
    foreign = copy.deepcopy(objects["Pod/big-0"])
    foreign["metadata"] = {"namespace": "b", "name": "stranger"}
    objects.items.append(foreign)


@damage(Rule.WHOLE)
def spare_that_was_asked_for_and_is_not_held(objects: Objects) -> None:
    objects.rewrite("SuperNode/sn-1", f" {SPARE}", "")


@damage(Rule.WHOLE)
def spare_of_another_size_than_the_members(objects: Objects) -> None:
    objects.rewrite("SuperNode/sn-1", SPARE, "+0@s1-n02:0-3")


@damage(Rule.AGREE)
def status_with_another_spare_than_the_ledger(objects: Objects) -> None:
    objects["CardGroup/small"]["status"]["spares"][0]["nodes"] = "s1-n03"


@damage(Rule.AGREE)
def ledger_with_a_spare_that_cannot_be_read(objects: Objects) -> None:
    objects.rewrite("SuperNode/sn-1", SPARE, "+0-9@s1-n02:0-1")


@damage(Rule.WHOLE)
def member_without_a_pod(objects: Objects) -> None:
    objects.items.remove(objects["Pod/big-2"])


@damage(Rule.WHOLE)
def pod_of_a_group_without_cards(objects: Objects) -> None:
    objects["Pod/big-2"]["metadata"]["annotations"][GROUP_UID] = "gone"


@damage(Rule.WHOLE)
def group_of_another_size_than_its_job(objects: Objects) -> None:
    objects["TrainingJob/big"]["spec"]["cards"] = 64


@damage(Rule.WHOLE)
def ledger_with_smaller_members(objects: Objects) -> None:
    objects.rewrite("SuperNode/sn-0", ":0-7", ":0-3")


@damage(Rule.AGREE)
def pod_on_another_node_than_the_ledger(objects: Objects) -> None:
    objects.move("small", 0, "s1-n01")


@damage(Rule.AGREE)
def status_with_other_ranks_than_the_ledger(objects: Objects) -> None:
    objects["CardGroup/big"]["status"]["placement"][0]["nodes"] = "s0-n[02-03],s0-n[00-01]"


@damage(Rule.AGREE)
def ledger_that_lost_the_group(objects: Objects) -> None:
    objects["SuperNode/sn-0"]["status"]["ledger"] = []


@damage(Rule.AGREE)
def ledger_of_a_group_that_is_gone(objects: Objects) -> None:
    objects.items.remove(objects["CardGroup/disk"])


@damage(Rule.AGREE)
def ledger_that_cannot_be_read(objects: Objects) -> None:
    objects.rewrite("SuperNode/sn-0", "0-3@", "0-9@")


@damage(Rule.AGREE)
def ledger_with_a_line_that_says_nothing(objects: Objects) -> None:
    objects.rewrite("SuperNode/sn-0", " 0-3@", " ")


@damage(Rule.AGREE)
def job_that_names_another_supernode(objects: Objects) -> None:
    objects["TrainingJob/big"]["status"]["superNodes"] = ["sn-1"]


@damage(Rule.AGREE)
def job_that_counts_too_few_running_pods(objects: Objects) -> None:
    objects["TrainingJob/big"]["status"]["pods"]["running"] = 3


@damage(Rule.PLACE)
def status_that_names_another_supernode(objects: Objects) -> None:
    objects["CardGroup/big"]["status"]["placement"][0]["supernode"] = "sn-1"


@damage(Rule.PLACE)
def group_on_another_profile_than_asked(objects: Objects) -> None:
    objects["CardGroup/big"]["spec"]["profile"] = "q"


@damage(Rule.BLOCKS)
def block_across_racks(objects: Objects) -> None:
    """Ranks 0 and 1 in different racks: the same nodes in another order, wherever the order is told."""
    nodes = "s0-n00,s0-n02,s0-n01,s0-n03"
    objects.rewrite("SuperNode/sn-0", "s0-n[00-03]", nodes)
    objects["CardGroup/big"]["status"]["placement"][0]["nodes"] = nodes
    objects.move("big", 1, "s0-n02")
    objects.move("big", 2, "s0-n01")


@damage(Rule.BLOCKS)
def block_that_only_the_job_asks_for(objects: Objects) -> None:
    objects["TrainingJob/big"]["spec"]["topology"]["blocks"].append({"level": "rack", "members": 4})


@damage(Rule.LIMITS)
def group_outside_its_required_level(objects: Objects) -> None:
    objects["CardGroup/big"]["spec"]["topology"]["required"] = "rack"


@damage(Rule.LIMITS)
def group_over_its_span_limit(objects: Objects) -> None:
    objects["CardGroup/big"]["spec"]["topology"]["maxSpan"] = {"node": 3}


@damage(Rule.SPANS)
def group_that_tells_too_small_a_span(objects: Objects) -> None:
    objects["CardGroup/big"]["status"]["spans"] = {"pod": 1, "rack": 1, "node": 4}


@damage(Rule.SPANS)
def racks_that_are_not_where_the_status_says(objects: Objects) -> None:
    objects["Node/s0-n01"]["metadata"]["labels"][RACK] = "unknown"


@damage(Rule.MINIMUM)
def group_over_more_domains_than_needed(objects: Objects) -> None:
    """The whole job in two supernodes, though another supernode could hold it."""
    third = [copy.deepcopy(objects[f"Node/s0-n0{place}"]) for place in range(4)]
    for obj in third:
        obj["metadata"]["name"] = obj["metadata"]["name"].replace("s0", "s2")
        obj["metadata"]["labels"][SUPERNODE] = "2"
    objects.items += [*third, supernode(2, [], free=32)]
    del objects["CardGroup/big"]["spec"]["topology"]["required"]
    del objects["TrainingJob/big"]["spec"]["topology"]["required"]
    for place in (2, 3):
        objects.move("big", place, f"s1-n0{place}")


@damage(Rule.PROVEN)
def minimum_told_that_is_not_the_span(objects: Objects) -> None:
    objects["CardGroup/big"]["status"]["minimal"] = {"pod": 1, "rack": 1, "node": 4}


@damage(Rule.COUNTS)
def supernode_with_wrong_counts(objects: Objects) -> None:
    objects["SuperNode/sn-1"]["status"]["cards"]["free"] = 23


@damage(Rule.COUNTS)
def supernode_that_misses_a_node(objects: Objects) -> None:
    objects["SuperNode/sn-1"]["status"]["nodes"] = 3


def test_a_sound_cluster_passes() -> None:
    report = check(sound())
    assert report.violations == []
    assert set(report.looked) == set(Rule)
    assert [(row.group, row.verdict) for row in report.rows] == [
        ("a/big", "minimum proven"),
        ("a/small", "minimum not recomputed: spares have a say in it"),
        ("a/disk", "minimum proven"),
        ("a/arc", "minimum not recomputed: a level is a ring or a torus"),
    ]


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_caught(kind: str) -> None:
    rule, act = DAMAGE[kind]
    objects = Objects()
    act(objects)
    report = check(objects.items)
    assert rule in {violation.rule for violation in report.violations}
    assert any("FAIL" in line for line in report.lines())


def test_every_rule_is_broken_once() -> None:
    assert {rule for rule, _ in DAMAGE.values()} == set(Rule)


@pytest.mark.parametrize(
    ("taint", "tolerations", "opens"),
    [
        ({"key": "example.com/card", "value": "present", "effect": "NoSchedule"}, [], True),
        ({"key": "example.com/card", "effect": "NoExecute"}, [], False),
        ({"key": "gpu", "value": "a", "effect": "NoSchedule"}, [], False),
        ({"key": "gpu", "value": "a", "effect": "NoSchedule"}, [{"key": "gpu", "operator": "Exists"}], True),
        ({"key": "gpu", "value": "a", "effect": "NoSchedule"}, [{"key": "gpu", "value": "b"}], False),
        ({"key": "gpu", "value": "a", "effect": "NoExecute"}, [{"operator": "Exists"}], True),
        ({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}, [{"operator": "Exists"}], False),
        ({"key": "gpu", "effect": "PreferNoSchedule"}, [], True),
    ],
)
def test_nodes_are_counted_where_their_taints_are_tolerated(taint: Json, tolerations: list[Json], opens: bool) -> None:
    objects = Objects()
    objects["Node/s1-n03"]["spec"]["taints"] = [taint]
    objects["SuperNodeProfile/p"]["spec"]["tolerations"] = tolerations
    assert (check(objects.items).violations == []) == opens


def test_finished_pods_hold_nothing() -> None:
    objects = Objects()
    ended = copy.deepcopy(objects["Pod/big-0"])
    ended["metadata"]["name"], ended["status"]["phase"] = "older", "Succeeded"
    objects.items.append(ended)
    assert check(objects.items).violations == []


def test_a_member_that_has_ended_before_the_others_is_there() -> None:
    objects = Objects()
    objects["Pod/big-0"]["status"]["phase"] = "Succeeded"
    objects["TrainingJob/big"]["status"]["pods"]["running"] = 3
    report = check(objects.items)
    assert report.violations == []
    assert ("a/big", "minimum proven") in {(row.group, row.verdict) for row in report.rows}
    objects["Pod/big-0"]["metadata"]["annotations"][CARDS] = "0-3"
    assert Rule.AGREE in {violation.rule for violation in check(objects.items).violations}


def test_a_pod_on_a_bare_group_is_no_stranger() -> None:
    objects = Objects()
    user = pod("disk", 0, "s1-n00", [4, 5, 6, 7])
    del user["metadata"]["labels"]["supernode.io/job"]
    objects.items.append(user)
    assert check(objects.items).violations == []


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({"members": 2, "cardsPerMember": 8}, True),
        ({"members": 3, "cardsPerMember": 8}, False),
        ({"members": 2, "cardsPerMember": 8, "topology": {"required": "rack"}}, False),
        ({"members": 3, "cardsPerMember": 2}, True),
        ({"members": 5, "cardsPerMember": 2}, False),
    ],
    ids=["two nodes are free", "not three", "not of one rack", "members in one node", "not more than it has"],
)
def test_whether_a_group_that_waits_would_fit(spec: Json, fits: bool) -> None:
    objects = Objects()
    cluster = Cluster(objects.items)
    waits = {"metadata": {"uid": "waits"}, "spec": {"profile": "p", **spec}}
    assert would_fit(cluster, waits, Occupancy(cluster, ledgers(cluster, Report()))) == fits


def test_runs_are_read() -> None:
    assert numbers("0-2,7") == [0, 1, 2, 7]
    assert node_names("a-n[08-10],b.c") == ["a-n08", "a-n09", "a-n10", "b.c"]
    found = seats([{"ranks": "0-3", "nodes": "n[1-2]", "cards": ["0-1", "2"]}])
    assert [(rank, seat.node, sorted(seat.cards)) for rank, seat in found.items()] == [
        (0, "n1", [0, 1]),
        (1, "n1", [2]),
        (2, "n2", [0, 1]),
        (3, "n2", [2]),
    ]


def _imports() -> Iterator[str]:
    for file in Path(package.__path__[0]).glob("*.py"):
        for statement in ast.walk(ast.parse(file.read_text())):
            if isinstance(statement, ast.ImportFrom):
                yield statement.module or ""
            elif isinstance(statement, ast.Import):
                yield from (alias.name for alias in statement.names)


def test_the_check_shares_nothing_with_the_operator() -> None:
    assert not [name for name in _imports() if name.split(".")[0] == "supernode"]
    assert {name for name in _imports() if name.startswith("testbed.")} <= {
        "testbed.errors",
        *(f"testbed.check{part}" for part in ("", ".facts", ".grids", ".groups", ".minimum", ".places", ".pods")),
        *(f"testbed.check{part}" for part in (".devices", ".reading", ".report", ".topology")),
    }
