"""What is asked for: a training job's claim, its CardGroup, and the request the planner takes."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from supernode.api import names
from supernode.api.cardgroup import CardGroupSpec
from supernode.api.conditions import Reason
from supernode.api.topology import Block, Topology
from supernode.api.trainingjob import TrainingJob
from supernode.placement import Block as PlacementBlock
from supernode.placement import Request, Spares
from supernode.topology.fleet import Fleet
from supernode.topology.profile import Profile
from supernode.workload import InvalidSpec, WorkerShape, derive_blocks, worker_shape

_Claim = tuple[WorkerShape, tuple[Block, ...]]


def profiles_for(job: TrainingJob, fleet: Fleet, profiles: Mapping[str, Profile]) -> Mapping[str, Profile]:
    """The profiles a job's claim is read with: the one it names, else those that have supernodes, else all."""
    if (named := profiles.get(job.spec.profile or "")) is not None:
        return {named.name: named}
    return {view.profile.name: view.profile for view in fleet.supernodes.values()} or profiles


def request_for(name: str, spec: CardGroupSpec) -> Request:
    """A claim as the planner takes it, whatever it prefers."""
    topology = spec.topology or Topology()
    return Request(
        name=name,
        members=spec.members,
        cards_per_member=spec.cards_per_member,
        profile=spec.profile,
        precision=spec.precision,
        required=topology.required,
        blocks=tuple(PlacementBlock(block.level, block.members) for block in topology.blocks),
        max_span=dict(topology.max_span),
        spares=Spares(topology.spares.members, topology.spares.within) if topology.spares else None,
        objective=str(spec.objective),
        shape=topology.shape or (),
    )


def claim_for(job: TrainingJob, profiles: Mapping[str, Profile]) -> CardGroupSpec:
    """What the job claims.

    ``profiles`` are those that :func:`profiles_for` gives. Without ``spec.profile`` all must agree on the number
    of workers and on the derived blocks. Raises InvalidSpec, which names the field and the remedy.
    """
    shape, blocks = _agreed_claim(job, profiles)
    spec = job.spec
    topology = (spec.topology or Topology()).model_copy(update={"blocks": blocks})
    try:
        return CardGroupSpec(
            members=shape.members,
            cards_per_member=shape.cards_per_member,
            profile=spec.profile,
            precision=spec.precision,
            topology=topology,
            objective=spec.objective,
            priority=spec.priority,
        )
    except ValidationError as error:
        size = f"{shape.members} workers of {shape.cards_per_member} cards"
        wrong = "; ".join(problem["msg"] for problem in error.errors(include_url=False))
        raise InvalidSpec("spec", f"asks for {size}, which no card group can be: {wrong}") from None


def group_for(job: TrainingJob, profiles: Mapping[str, Profile]) -> dict[str, Any]:
    """The manifest of the job's CardGroup: same name, owned by the job, its finalizer set from the start.

    Takes and raises what :func:`claim_for` does.
    """
    claim, meta = claim_for(job, profiles), job.metadata
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": "TrainingJob",
        "name": meta.name,
        "uid": meta.uid,
        "controller": True,
    }
    return {
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "labels": {names.LABEL_JOB: meta.name},
            "ownerReferences": [owner],
            "finalizers": [names.FINALIZER_CARDS],
        },
        "spec": claim.to_dict(),
    }


def _agreed_claim(job: TrainingJob, profiles: Mapping[str, Profile]) -> _Claim:
    claims: dict[str, _Claim] = {}
    refusals: list[InvalidSpec] = []
    for name in _candidates(job, profiles):
        try:
            claims[name] = _claim(job, profiles[name])
        except InvalidSpec as refusal:
            refusals.append(refusal)
    if not claims:
        raise refusals[0] if refusals else _no_profile(job, profiles)
    if len(set(claims.values())) > 1:
        options = ", ".join(
            f"{name}: {c[0].members} x {c[0].cards_per_member} cards" for name, c in sorted(claims.items())
        )
        raise InvalidSpec(
            "spec.profile",
            f"profiles differ in the workers and blocks they give ({options}); "
            "set it, or workers.cardsPerWorker and topology.blocks",
            reason=Reason.AMBIGUOUS_WORKER,
        )
    return next(iter(claims.values()))


def _candidates(job: TrainingJob, profiles: Mapping[str, Profile]) -> list[str]:
    spec = job.spec
    if spec.profile is not None:
        return [spec.profile] if spec.profile in profiles else []
    return sorted(
        name
        for name, profile in profiles.items()
        if spec.precision is None or not profile.precisions or spec.precision in profile.precisions
    )


def _claim(job: TrainingJob, profile: Profile) -> _Claim:
    shape = worker_shape(job, profile)
    blocks = job.spec.topology.blocks if job.spec.topology else ()
    if not blocks and job.spec.parallelism is not None:
        blocks = derive_blocks(job.spec.parallelism, shape, profile)
    return shape, blocks


def _no_profile(job: TrainingJob, profiles: Mapping[str, Profile]) -> InvalidSpec:
    if not profiles and job.spec.profile is None:
        problem = "there is no SuperNodeProfile; create one for the machines here"
        return InvalidSpec("spec.profile", problem, reason=Reason.UNKNOWN_PROFILE)
    known = ", ".join(sorted(profiles)) or "none"
    if job.spec.profile is not None:
        problem = f"there is no SuperNodeProfile {job.spec.profile}; create it or use one of: {known}"
        return InvalidSpec("spec.profile", problem, reason=Reason.UNKNOWN_PROFILE)
    problem = f"no profile here computes in {job.spec.precision}; profiles with supernodes: {known}"
    return InvalidSpec("spec.precision", problem, reason=Reason.PRECISION_UNAVAILABLE)
