"""What a job claims, on the profiles it may land on."""

from typing import Any

import pytest

from supernode.api import names
from supernode.api.conditions import Reason
from supernode.api.reading import parse
from supernode.api.trainingjob import TrainingJob
from supernode.control.grouping import claim_for, group_for
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Level, Profile
from supernode.workload import InvalidSpec

EIGHT = Profile(
    "eight", "v.com/card", (Level("node", 8, 8), Level("rack", 8, 64, node_label="rack")), precisions=("fp8",)
)
FOUR = Profile(
    "four", "w.com/card", (Level("node", 4, 4), Level("rack", 18, 72, node_label="rack")), precisions=("fp4",)
)
ALSO_FOUR = Profile("also-four", "w.com/card", (Level("node", 4, 4), Level("block", 2, 8, node_label="block")))


def has(*profiles: Profile) -> list[SuperNodeView]:
    """A supernode of a single node of each profile."""
    return [SuperNodeView(p.name, p, [Node(f"n-{p.name}", 8, 255, path=(p.name,))]) for p in profiles]


BOTH = Fleet(profiles=[EIGHT, FOUR])


def job(workers: dict[str, Any] | None = None, limits: dict[str, int] | None = None, **spec: Any) -> TrainingJob:
    """A job of 32 cards unless it says otherwise; limits are those of its container."""
    template = {"spec": {"containers": [{"name": "main", "image": "i", "resources": {"limits": limits or {}}}]}}
    if not workers:
        spec = {"cards": 32, **spec}
    manifest = {
        "apiVersion": names.API_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": "j", "namespace": "d", "uid": "u"},
        "spec": {"workers": {"template": template, **(workers or {})}, **spec},
    }
    return parse(TrainingJob, manifest)


@pytest.mark.parametrize(
    ("spec", "fleet", "members", "each"),
    [
        ({"profile": "eight"}, BOTH, 4, 8),
        ({"profile": "four"}, BOTH, 8, 4),
        ({"precision": "fp4"}, BOTH, 8, 4),
        ({"precision": "fp8"}, Fleet(has(EIGHT, ALSO_FOUR)), 4, 8),
        ({}, Fleet(profiles=[EIGHT]), 4, 8),
        ({}, Fleet(has(EIGHT), [FOUR]), 4, 8),
        ({"workers": {"replicas": 3, "cardsPerWorker": 2}}, BOTH, 3, 2),
        ({"cards": 3}, BOTH, 1, 3),
    ],
)
def test_workers_come_from_the_job_and_else_from_the_profile(
    spec: dict[str, Any], fleet: Fleet, members: int, each: int
) -> None:
    claim = claim_for(job(**spec), fleet)
    assert (claim.members, claim.cards_per_member) == (members, each)


@pytest.mark.parametrize(
    ("limits", "spec", "fleet", "claimed"),
    [
        ({}, {"cards": 4}, Fleet(has(EIGHT, FOUR)), None),
        ({"w.com/card": 4}, {}, Fleet(has(EIGHT, FOUR)), "w.com/card"),
        ({"w.com/card": 2}, {}, Fleet(has(EIGHT, FOUR, ALSO_FOUR)), "w.com/card"),
        ({"w.com/card": 4}, {}, Fleet(has(EIGHT), [FOUR]), "w.com/card"),
        ({"w.com/card": 4}, {"profile": "four"}, Fleet(has(EIGHT, FOUR)), None),
        ({"x.com/nic": 4}, {"cards": 4}, Fleet(has(EIGHT, FOUR)), None),
    ],
    ids=["none", "one profile's", "several profiles'", "none there", "beside its profile", "no card"],
)
def test_a_job_claims_cards_of_the_resource_that_its_template_names(
    limits: dict[str, int], spec: dict[str, Any], fleet: Fleet, claimed: str | None
) -> None:
    claim = claim_for(job(limits=limits, **spec), fleet)
    assert (claim.resource, claim.profile) == (claimed, spec.get("profile"))
    assert claim.cards_per_member == limits.get("w.com/card", 4)


@pytest.mark.parametrize(
    ("limits", "spec", "message"),
    [
        (
            {"v.com/card": 8},
            {"profile": "four"},
            r"containers\[0\]\.resources: names v.com/card, but the cards of profile four are w.com/card; correct one",
        ),
        ({"v.com/card": 8, "w.com/card": 4}, {}, r"names v.com/card and w.com/card, .* one kind; remove the others"),
        ({"v.com/card": 8, "w.com/card": 4}, {"profile": "four"}, r"names v.com/card and w.com/card"),
    ],
)
def test_a_template_that_asks_for_other_cards_is_refused(
    limits: dict[str, int], spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message) as caught:
        claim_for(job(limits=limits, **spec), Fleet(has(EIGHT, FOUR)))
    assert caught.value.reason == Reason.INVALID_SPEC


@pytest.mark.parametrize(
    ("spec", "fleet", "reason", "words"),
    [
        ({}, BOTH, Reason.AMBIGUOUS_WORKER, ["without supernodes", "eight: 4 x 8", "four: 8 x 4", "spec.profile"]),
        ({}, Fleet(has(EIGHT, FOUR)), Reason.AMBIGUOUS_WORKER, ["profiles differ", "eight: 4 x 8", "four: 8 x 4"]),
        (
            {"precision": "fp8", "limits": {"w.com/card": 4}},
            Fleet(has(EIGHT, FOUR)),
            Reason.PRECISION_UNAVAILABLE,
            ["with w.com/card computes in fp8", "supernodes: four"],
        ),
        ({"profile": "nine"}, BOTH, Reason.UNKNOWN_PROFILE, ["nine", "eight, four"]),
        ({"precision": "int4"}, BOTH, Reason.PRECISION_UNAVAILABLE, ["int4", "eight, four"]),
        ({"precision": "fp8"}, Fleet(has(ALSO_FOUR)), Reason.PRECISION_UNAVAILABLE, ["fp8", "also-four"]),
        ({}, Fleet(), Reason.UNKNOWN_PROFILE, ["no SuperNodeProfile", "create one"]),
        ({"cards": 36}, Fleet(profiles=[EIGHT]), Reason.AMBIGUOUS_WORKER, ["36", "32 or 40"]),
        (
            {"cards": 1048576, "workers": {"cardsPerWorker": 2}},
            BOTH,
            Reason.INVALID_SPEC,
            ["spec.cards: makes 524288 workers of 2 cards", "at most 131072 members", "workers.cardsPerWorker"],
        ),
    ],
)
def test_an_open_question_names_the_field_and_the_remedy(
    spec: dict[str, Any], fleet: Fleet, reason: Reason, words: list[str]
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        claim_for(job(**spec), fleet)
    assert caught.value.reason == reason
    for word in words:
        assert word in str(caught.value)


def test_the_group_is_owned_by_the_job_and_guarded_from_the_start() -> None:
    group = group_for(job(profile="eight", priority=3), BOTH)
    [owner] = group["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("TrainingJob", "u", True)
    assert group["metadata"]["finalizers"] == [names.FINALIZER_CARDS]
    assert group["spec"]["priority"] == 3


def test_blocks_come_from_parallelism_only_where_none_are_written() -> None:
    split = {"tensor": 8, "pipeline": 4}
    assert [b.level for b in claim_for(job(profile="four", parallelism=split), BOTH).topology.blocks] == ["rack"]
    written = {"blocks": [{"level": "rack", "members": 4}]}
    claim = claim_for(job(profile="four", parallelism=split, topology=written), BOTH)
    assert [(b.level, b.members) for b in claim.topology.blocks] == [("rack", 4)]
