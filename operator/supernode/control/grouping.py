"""What is asked for: a training job's claim, its CardGroup, and the request the planner takes."""

from typing import Any

from pydantic import ValidationError

from supernode.api import names
from supernode.api.cardgroup import MAX_MEMBERS, CardGroup, CardGroupSpec
from supernode.api.conditions import Reason
from supernode.api.topology import Block, Topology
from supernode.api.trainingjob import TrainingJob
from supernode.control.candidates import candidates
from supernode.control.records import Custom
from supernode.placement import Block as PlacementBlock
from supernode.placement import Request, Spares
from supernode.topology.fleet import Fleet
from supernode.topology.profile import Profile
from supernode.workload import InvalidSpec, WorkerShape, card_resource, derive_blocks, worker_shape

Group = Custom[CardGroup]
_Claim = tuple[WorkerShape, tuple[Block, ...]]


def request_for(name: str, spec: CardGroupSpec) -> Request:
    """A claim as the planner takes it, whatever it prefers."""
    topology = spec.topology or Topology()
    return Request(
        name=name,
        members=spec.members,
        cards_per_member=spec.cards_per_member,
        profile=spec.profile,
        resource=spec.resource,
        precision=spec.precision,
        required=topology.required,
        blocks=tuple(PlacementBlock(block.level, block.members) for block in topology.blocks),
        max_span=dict(topology.max_span),
        spares=Spares(topology.spares.members, topology.spares.within) if topology.spares else None,
        objective=str(spec.objective),
        shape=topology.shape or (),
    )


def claim_for(job: TrainingJob, fleet: Fleet) -> CardGroupSpec:
    """What the job claims.

    Without ``spec.profile`` all candidates must agree on the number of workers and on the derived blocks, and it claims
    cards of the resource that its template names, if it names one. Raises InvalidSpec, which names the field and the
    remedy.
    """
    spec = job.spec
    resource = card_resource(job, fleet.profiles)
    shape, blocks = _agreed_claim(job, fleet, resource)
    if shape.members > MAX_MEMBERS:
        raise InvalidSpec(
            "spec.cards",
            f"makes {shape.members} workers of {shape.cards_per_member} cards, but a card group has at most "
            f"{MAX_MEMBERS} members; ask for less, or give each worker more cards by workers.cardsPerWorker",
        )
    topology = (spec.topology or Topology()).model_copy(update={"blocks": blocks})
    try:
        return CardGroupSpec(
            members=shape.members,
            cards_per_member=shape.cards_per_member,
            profile=spec.profile,
            resource=resource if spec.profile is None else None,
            precision=spec.precision,
            topology=topology,
            objective=spec.objective,
            priority=spec.priority,
        )
    except ValidationError as error:
        size = f"{shape.members} workers of {shape.cards_per_member} cards"
        wrong = "; ".join(problem["msg"] for problem in error.errors(include_url=False))
        raise InvalidSpec("spec", f"asks for {size}, which no card group can be: {wrong}") from None


def group_for(job: TrainingJob, fleet: Fleet) -> dict[str, Any]:
    """The manifest of the job's CardGroup: same name, owned by the job, its finalizer set from the start.

    Takes and raises what :func:`claim_for` does.
    """
    claim, meta = claim_for(job, fleet), job.metadata
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


def _agreed_claim(job: TrainingJob, fleet: Fleet, resource: str | None) -> _Claim:
    claims: dict[str, _Claim] = {}
    refusals: list[InvalidSpec] = []
    for profile in candidates(job, fleet, resource):
        try:
            claims[profile.name] = _claim(job, profile)
        except InvalidSpec as refusal:
            refusals.append(refusal)
    if not claims:
        raise refusals[0]
    if len(set(claims.values())) > 1:
        options = ", ".join(
            f"{name}: {c[0].members} x {c[0].cards_per_member} cards" for name, c in sorted(claims.items())
        )
        absent = "" if any(fleet.has_profile(name) for name in claims) else " without supernodes"
        raise InvalidSpec(
            "spec.profile",
            f"profiles{absent} differ in the workers and blocks they give ({options}); "
            "set it, or workers.cardsPerWorker and topology.blocks",
            reason=Reason.AMBIGUOUS_WORKER,
        )
    return next(iter(claims.values()))


def _claim(job: TrainingJob, profile: Profile) -> _Claim:
    shape = worker_shape(job, profile)
    blocks = job.spec.topology.blocks if job.spec.topology else ()
    if not blocks and job.spec.parallelism is not None:
        blocks = derive_blocks(job.spec.parallelism, shape, profile)
    return shape, blocks
