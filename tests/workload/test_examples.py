"""The example jobs, placed on an empty fleet and rendered: golden files, and the order of their ranks.

`python tests/workload/test_examples.py` writes the golden files anew.
"""

import os
import subprocess
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import yaml

from supernode.api.reading import parse
from supernode.api.trainingjob import Parallelism, TrainingJob
from supernode.control.foreign import foreign_pods
from supernode.control.grouping import claim_for, request_for
from supernode.control.records import convert_pod
from supernode.placement import Placement, plan
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Profile
from supernode.topology.ranges import parse_cards
from supernode.workload import PlacedGroup, communicators, render_files, render_pod, render_service
from supernode.workload.affinity import on_node
from supernode.workload.pinning import pinning_annotations
from supernode.workload.tolerations import tolerations

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden_examples"
JOBS = {
    path.stem: document
    for path in sorted((ROOT / "examples/jobs").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if document["kind"] == "TrainingJob"
}


def read_profile(name: str) -> Profile:
    manifest = yaml.safe_load((ROOT / "examples/profiles" / f"{name}.yaml").read_text())
    return Profile.from_spec(name, parse("SuperNodeProfile", manifest).spec)


def empty_supernode(name: str, machine: Profile) -> SuperNodeView:
    """A supernode of the profile's nominal size; nodes are named by their number in it."""
    per_node = machine.cards_per_node
    nodes = []
    for number in range(machine.levels[-1].cards // per_node):
        inner = reversed(machine.levels[machine.node_index + 1 : -1])
        path = [name, *(f"{name}/{level.name}{number * per_node // level.cards}" for level in inner)]
        full = (1 << per_node) - 1
        at = [
            number * per_node // machine.levels[i - 1].cards % level.fan_out if level.position_label else -1
            for i, level in enumerate(machine.levels)
            if i > machine.node_index
        ]
        path = path if machine.above else []
        nodes.append(Node(f"{name}-n{number:03}", per_node, full, path=tuple(path), at=tuple(at[::-1])))
    return SuperNodeView(name, machine, nodes, reserve=0)


def place(name: str) -> PlacedGroup:
    """The example as the operator would place it on empty machines of its profile."""
    manifest = JOBS[name]
    job: TrainingJob = parse(
        "TrainingJob", manifest | {"metadata": manifest["metadata"] | {"namespace": "d", "uid": "7d0c"}}
    )
    machine = read_profile(job.spec.profile or "")
    claim = claim_for(job, Fleet(profiles=[machine]))
    count = -(-claim.cards // machine.levels[-1].cards) + 1
    views = [empty_supernode(f"sn-{index}", machine) for index in range(count)]
    answer = plan(Fleet(views, [machine]), request_for(name, claim))
    assert isinstance(answer, Placement), answer
    blocks = claim.topology.blocks if claim.topology else ()
    return PlacedGroup(job, "91ab4f0c", machine, answer.members, blocks)


def rendered(name: str) -> dict[str, Any]:
    """First and last pod, the Service and the files."""
    group = place(name)
    files = render_files(group)
    ranks = sorted({0, len(group.members) - 1})
    return {
        "pods": [render_pod(group, rank, files, predicate_time_ns=1789000000000000000) for rank in ranks],
        "service": render_service(group.job),
        "files": dict(files.plain),
    }


@pytest.mark.parametrize("name", JOBS)
def test_examples_render_as_their_golden_files_say(name: str) -> None:
    assert rendered(name) == yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())


def test_every_golden_file_has_its_example() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(JOBS)


KUBECTL = """#!/bin/sh
case "$*" in
  *metadata.uid*) echo 91ab4f0c ;;
  *placement*nodes*) echo n0 ;;
  *placement*cards*) echo {cards} ;;
  apply*) cat > pod.yaml ;;
esac
"""


@pytest.mark.parametrize(("name", "cards"), [("cardgroup", "0-7"), ("cardgroup-ascend", "1,8-10")])
def test_a_pod_of_ones_own_is_made_as_the_example_says(name: str, cards: str, tmp_path: Path) -> None:
    """As far as placement, device plugin and ledger go, it is as the pod of a job would be."""
    text = (ROOT / "examples/jobs" / f"{name}.yaml").read_text()
    group = parse("CardGroup", yaml.safe_load(text))
    machine, chosen = read_profile(group.spec.profile or ""), parse_cards(cards)
    (tmp_path / "kubectl").write_text(KUBECTL.format(cards=cards))
    (tmp_path / "kubectl").chmod(0o755)
    script = "\n".join(line[4:] for line in text.splitlines() if line.startswith("#   "))
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-eu"], input=script, text=True, check=True, cwd=tmp_path, env=path)
    pod = yaml.safe_load((tmp_path / "pod.yaml").read_text())
    annotations, spec = pod["metadata"].get("annotations", {}), pod["spec"]
    pinning = pinning_annotations(machine, chosen, int(annotations.get("predicate-time", 0)))
    assert pinning.items() <= annotations.items()
    assert spec["affinity"] == on_node(None, "n0")
    assert tolerations(spec["tolerations"], machine.tolerated) == spec["tolerations"]
    pod["metadata"] |= {"namespace": "d", "uid": "u"}
    record = convert_pod(pod | {"spec": spec | {"nodeName": "n0"}})
    assert record.group == group.metadata.name
    assert not list(foreign_pods([record], "n0", machine.resource, (1 << 16) - 1, lambda *_: chosen))
    if pinning:
        assert (record.cards, record.group_uid, record.rank) == (chosen, "91ab4f0c", 0)


def crossings(split: Parallelism, domains: list[int]) -> tuple[int, ...]:
    """Groups of each kind, innermost first, that lie in more than one domain. domains: by rank of cards."""
    return tuple(
        sum(len({domains[rank] for rank in group}) > 1 for group in each.groups())
        for each in communicators(split, len(domains))
    )


def fewest(split: Parallelism, shares: list[int]) -> tuple[int, ...]:
    """The fewest groups of each kind that must cross when domains have so many cards each, up to the innermost kind
    that must cross at all, with nothing further in crossed.

    What is kept whole so far are runs of cards. A group of the next kind has one card of each of some runs, as have its
    siblings through the other cards of these runs: they all cross, or they all lie in a domain that holds all the runs.
    """
    cards, kept, found = sum(shares), 1, []
    for each in communicators(split, cards):
        run = each.stride * each.size
        assert run % kept == 0 or kept % run == 0, "kinds that do not nest need another bound"
        together = max(run, kept)
        whole = sum(share // together for share in shares)
        crossed = (cards // together - whole) * (together // each.size)
        found.append(crossed)
        if crossed:
            break
        kept = together
    return tuple(found)


@pytest.mark.parametrize("name", [name for name in JOBS if "parallelism" in JOBS[name]["spec"]])
def test_as_few_groups_of_examples_cross_as_any_order_of_ranks_must(name: str) -> None:
    """At every level, given how many cards the placement has in each domain of it."""
    group = place(name)
    split = group.job.spec.parallelism
    assert split is not None
    for level in group.profile.levels[group.profile.node_index :]:
        domains = [hash(m.domains[level.name]) for m in group.members for _ in range(group.cards_per_member)]
        least = fewest(split, [domains.count(domain) for domain in dict.fromkeys(domains)])
        assert crossings(split, domains)[: len(least)] == least, f"groups cross {level.name}"


def assignments(shares: list[int], ranks: tuple[int, ...], domain: int = 0) -> Iterator[dict[int, int]]:
    """Every way to give the domains their shares of the ranks."""
    if domain == len(shares):
        yield {}
        return
    for chosen in combinations(ranks, shares[domain]):
        rest = tuple(rank for rank in ranks if rank not in chosen)
        for others in assignments(shares, rest, domain + 1):
            yield dict.fromkeys(chosen, domain) | others


SPLITS = [
    (tensor, context, copies, pipeline, expert, domains)
    for tensor, context, copies, pipeline, expert, domains in product(
        (1, 2), (1, 2), (1, 2, 4), (1, 2), (1, 2, 4), (1, 2, 4)
    )
    if (cards := tensor * context * copies * pipeline) <= 8
    and cards % domains == 0
    and cards // domains % tensor == 0
    and context * copies % expert == 0
]


@pytest.mark.parametrize(("tensor", "context", "copies", "pipeline", "expert", "domains"), SPLITS)
def test_ranks_in_the_order_of_the_tree_cross_as_few_equal_domains_as_any_order(
    tensor: int, context: int, copies: int, pipeline: int, expert: int, domains: int
) -> None:
    """Against every way to deal the ranks out: fewest groups cross of the innermost kind that must cross at all, and
    none of those further in."""
    cards = tensor * context * copies * pipeline
    split = Parallelism(tensor=tensor, context=context, data=copies, pipeline=pipeline, expert=expert)
    shares = [cards // domains] * domains
    best = min(
        crossings(split, [domain for _, domain in sorted(deal.items())])
        for deal in assignments(shares, tuple(range(cards)))
    )
    until = next((index for index, crossed in enumerate(best, start=1) if crossed), len(best))
    in_order = crossings(split, [domain for domain, share in enumerate(shares) for _ in range(share)])
    assert in_order[:until] == best[:until] == fewest(split, shares)


if __name__ == "__main__":
    yaml.SafeDumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
    for example in JOBS:
        text = yaml.safe_dump(rendered(example), sort_keys=False, width=110)
        (GOLDEN / f"{example}.yaml").write_text(text)
