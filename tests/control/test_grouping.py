"""What a job claims, on the profiles it may land on."""

from typing import Any

import pytest

from supernode.api import names
from supernode.api.conditions import Reason
from supernode.api.reading import parse
from supernode.api.trainingjob import TrainingJob
from supernode.control.grouping import claim_for, group_for
from supernode.topology.profile import Level, Profile
from supernode.workload import InvalidSpec

EIGHT = Profile(
    "eight", "v.com/card", (Level("node", 8, 8), Level("rack", 8, 64, node_label="rack")), precisions=("fp8",)
)
FOUR = Profile(
    "four", "w.com/card", (Level("node", 4, 4), Level("rack", 18, 72, node_label="rack")), precisions=("fp4",)
)
BOTH = {"eight": EIGHT, "four": FOUR}


def job(workers: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    """A job of 32 cards unless it says otherwise."""
    template = {"spec": {"containers": [{"name": "main", "image": "i"}]}}
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
    ("spec", "profiles", "members", "each"),
    [
        ({"profile": "eight"}, BOTH, 4, 8),
        ({"profile": "four"}, BOTH, 8, 4),
        ({"precision": "fp4"}, BOTH, 8, 4),
        ({}, {"eight": EIGHT}, 4, 8),
        ({"workers": {"replicas": 3, "cardsPerWorker": 2}}, BOTH, 3, 2),
        ({"cards": 3}, BOTH, 1, 3),
    ],
)
def test_workers_come_from_the_job_and_else_from_the_profile(
    spec: dict[str, Any], profiles: dict[str, Profile], members: int, each: int
) -> None:
    claim = claim_for(job(**spec), profiles)
    assert (claim.members, claim.cards_per_member) == (members, each)


@pytest.mark.parametrize(
    ("spec", "profiles", "reason", "words"),
    [
        ({}, BOTH, Reason.AMBIGUOUS_WORKER, ["eight: 4 x 8", "four: 8 x 4", "spec.profile"]),
        ({"profile": "nine"}, BOTH, Reason.UNKNOWN_PROFILE, ["nine", "eight, four"]),
        ({"precision": "int4"}, BOTH, Reason.PRECISION_UNAVAILABLE, ["int4", "eight, four"]),
        ({}, {}, Reason.UNKNOWN_PROFILE, ["no SuperNodeProfile", "create one"]),
        ({"cards": 36}, {"eight": EIGHT}, Reason.AMBIGUOUS_WORKER, ["36", "32 or 40"]),
    ],
)
def test_an_open_question_names_the_field_and_the_remedy(
    spec: dict[str, Any], profiles: dict[str, Profile], reason: Reason, words: list[str]
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        claim_for(job(**spec), profiles)
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
