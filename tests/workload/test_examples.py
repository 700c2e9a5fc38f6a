"""The example jobs, placed on an empty fleet and rendered: golden files, and the order of their ranks.

`python tests/workload/test_examples.py` writes the golden files anew.
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from supernode.api.reading import parse
from supernode.api.trainingjob import Parallelism, TrainingJob
from supernode.control.grouping import claim_for, request_for
from supernode.placement import Placement, plan
from supernode.topology.fleet import Fleet, Node, SuperNodeView
from supernode.topology.profile import Profile
from supernode.workload import PlacedGroup, communicators, render_files, render_pod, render_service

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
    claim = claim_for(job, {machine.name: machine})
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


def crossings(split: Parallelism, domains: list[int]) -> tuple[int, ...]:
    """Groups of each kind, innermost first, that lie in more than one domain. domains: by rank of cards."""
    return tuple(
        sum(len({domains[rank] for rank in group}) > 1 for group in each.groups())
        for each in communicators(split, len(domains))
    )


@pytest.mark.parametrize("name", [name for name in JOBS if "parallelism" in JOBS[name]["spec"]])
def test_the_innermost_groups_of_examples_cross_nothing_they_could_stay_in(name: str) -> None:
    group = place(name)
    split = group.job.spec.parallelism
    assert split is not None
    for level in group.profile.levels[group.profile.node_index :]:
        domains = [hash(m.domains[level.name]) for m in group.members for _ in range(group.cards_per_member)]
        shares = [domains.count(domain) for domain in dict.fromkeys(domains)]
        crossed = dict(
            zip([each.kind for each in communicators(split, len(domains))], crossings(split, domains), strict=True)
        )
        for kind, size in (("tensor", split.tensor), ("expert", split.tensor * split.expert)):
            if all(share % size == 0 for share in shares):
                assert crossed.get(kind, 0) == 0, f"{kind} groups cross {level.name}"


def shares_of(total: int, step: int) -> st.SearchStrategy[list[int]]:
    """How many ranks each domain takes: multiples of `step` that sum to `total`."""
    return (
        st.lists(st.integers(1, total // step), min_size=1, max_size=4)
        .map(lambda parts: [part * step for part in parts])
        .filter(lambda parts: sum(parts) == total)
    )


def assignments(shares: list[int], ranks: tuple[int, ...], domain: int = 0) -> Iterator[dict[int, int]]:
    """Every way to give the domains their shares of the ranks."""
    if domain == len(shares):
        yield {}
        return
    for chosen in combinations(ranks, shares[domain]):
        rest = tuple(rank for rank in ranks if rank not in chosen)
        for others in assignments(shares, rest, domain + 1):
            yield dict.fromkeys(chosen, domain) | others


@settings(max_examples=60)
@given(
    data=st.data(),
    tensor=st.sampled_from([1, 2]),
    context=st.sampled_from([1, 2]),
    copies=st.sampled_from([1, 2, 4]),
    pipeline=st.sampled_from([1, 2]),
)
def test_ranks_in_the_tree_s_order_cross_as_few_domains_as_any_order_could(
    data, tensor, context, copies, pipeline
) -> None:
    """Against every way to deal the ranks out: fewest tensor groups cross, then fewest context groups, and so on."""
    cards = tensor * context * copies * pipeline
    if cards > 8:
        cards, copies = 8, max(1, 8 // (tensor * context * pipeline))
    split = Parallelism(tensor=tensor, context=context, data=copies, pipeline=pipeline)
    cards = tensor * context * copies * pipeline
    shares = data.draw(shares_of(cards, tensor * context))
    in_order = [domain for domain, share in enumerate(shares) for _ in range(share)]
    best = min(
        crossings(split, [domain for _, domain in sorted(deal.items())])
        for deal in assignments(shares, tuple(range(cards)))
    )
    assert crossings(split, in_order) == best


if __name__ == "__main__":
    yaml.SafeDumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
    for example in JOBS:
        text = yaml.safe_dump(rendered(example), sort_keys=False, width=110)
        (GOLDEN / f"{example}.yaml").write_text(text)
