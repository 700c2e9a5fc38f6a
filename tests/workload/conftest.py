from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from supernode.api.reading import parse
from supernode.api.trainingjob import TrainingJob
from supernode.topology.ledger import decode_placement
from supernode.topology.node import Member
from supernode.topology.profile import Profile
from supernode.workload import PlacedGroup, derive_blocks, worker_shape

PROFILES = Path(__file__).parents[2] / "examples" / "profiles"


@pytest.fixture(scope="session")
def profile() -> Callable[..., Profile]:
    """A shipped profile by name, with parts of its spec replaced."""

    def load(name: str, **changes: Any) -> Profile:
        manifest = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
        manifest["spec"] |= changes
        return Profile.from_spec(name, parse("SuperNodeProfile", manifest).spec)

    return load


@pytest.fixture(scope="session")
def job() -> Callable[..., TrainingJob]:
    """A TrainingJob from its spec; `template` is the spec of its pods, by default one container that names no cards."""

    def build(
        template: Mapping[str, Any] | None = None, *, workers: Mapping[str, Any] | None = None, **spec: Any
    ) -> TrainingJob:
        pod = {"containers": [{"name": "main", "image": "trainer"}], **(template or {})}
        return parse(
            "TrainingJob",
            {
                "apiVersion": "supernode.io/v1alpha1",
                "kind": "TrainingJob",
                "metadata": {"name": "llama", "namespace": "team-a", "uid": "7d0c"},
                "spec": {**spec, "workers": {**(workers or {}), "template": {"spec": pod}}},
            },
        )

    return build


@pytest.fixture(scope="session")
def placed() -> Callable[..., PlacedGroup]:
    """A job on machines of a profile, at `runs` of (supernode, ranks, nodes, card sets); by default on the nodes n0,
    n1, ... of supernode sn, each member with the first cards of its node. A node's number says which domains it is in.
    """

    def place(job: TrainingJob, profile: Profile, *runs: Mapping[str, Any]) -> PlacedGroup:
        shape = worker_shape(job, profile)
        if not runs:
            last, cards = shape.members - 1, f"0-{shape.cards_per_member - 1}"
            runs = ({"supernode": "sn", "ranks": f"0-{last}", "nodes": f"n[0-{last}]", "cards": [cards]},)
        members = []
        for supernode, seat in decode_placement(runs):
            domains, index = {"node": seat.node}, int("".join(filter(str.isdigit, seat.node.rpartition("-")[2])))
            for level in profile.levels[profile.node_index + 1 : -1]:
                index //= level.fan_out
                domains[level.name] = f"{supernode}/{index}"
            domains[profile.levels[-1].name] = supernode
            members.append(Member(seat.rank, supernode, seat.node, seat.cards, domains))
        degrees = job.spec.parallelism
        blocks = derive_blocks(degrees, shape, profile) if degrees else ()
        return PlacedGroup(job, "91ab4f0c", profile, tuple(members), blocks)

    return place
