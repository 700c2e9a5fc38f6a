"""How many workers a job has and how many cards each of them holds."""

from collections.abc import Mapping
from dataclasses import dataclass

from supernode.api.conditions import Reason
from supernode.api.trainingjob import TrainingJob
from supernode.topology.profile import Profile
from supernode.workload.errors import InvalidSpec
from supernode.workload.template import PATH, check_names, named_resources, pod_template, requested_cards


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """A job's members, all of the same size."""

    members: int
    cards_per_member: int

    @property
    def cards(self) -> int:
        """The cards of the whole group."""
        return self.members * self.cards_per_member


def natural_worker(profile: Profile, cards: int) -> WorkerShape:
    """The workers of a job that only says `cards`: whole nodes, or one worker when it needs less than a node.

    Raises `InvalidSpec` when the cards fill more than one node but not whole nodes: which nodes would hold the
    remainder, and whether its worker may be smaller, is the job's to say.
    """
    per_node = profile.cards_per_node
    if cards < per_node:
        return WorkerShape(1, cards)
    if cards % per_node:
        below = cards // per_node * per_node
        raise InvalidSpec(
            "spec.cards",
            f"{cards} is not a whole number of nodes of profile {profile.name}, which have {per_node} cards; "
            f"ask for {below} or {below + per_node}, or set spec.workers.cardsPerWorker",
            reason=Reason.AMBIGUOUS_WORKER,
        )
    return WorkerShape(cards // per_node, per_node)


def card_resource(job: TrainingJob, profiles: Mapping[str, Profile]) -> str | None:
    """The resource by which the job's cards are counted as its template has it; None when it names that of no profile.

    profiles: all there are, by name. Raises `InvalidSpec` when it names several, or another than the job's profile has:
    the pods would ask for cards that were not placed.
    """
    named = named_resources(pod_template(job)["spec"], {profile.resource for profile in profiles.values()})
    if len(named) > 1:
        raise InvalidSpec(
            f"{PATH}.spec",
            f"names {' and '.join(named)}, but the cards of a worker are of one kind; remove the others",
        )
    profile = profiles.get(job.spec.profile or "")
    for resource, path in named.items():
        if profile is not None and resource != profile.resource:
            raise InvalidSpec(
                f"{PATH}.spec.{path}.resources",
                f"names {resource}, but the cards of profile {profile.name} are {profile.resource}; correct one",
            )
    return next(iter(named), None)


def worker_shape(job: TrainingJob, profile: Profile) -> WorkerShape:
    """The members of a job on machines of this profile.

    The size of a worker is, in this order: `workers.cardsPerWorker`; the count of the profile's resource in the pod
    template; the profile's natural worker. Raises `InvalidSpec` when they contradict each other or leave it open, or
    when the template cannot become a pod.
    """
    spec, pod_spec = job.spec, pod_template(job)["spec"]
    check_names(pod_spec)
    requested = requested_cards(pod_spec, profile.resource)
    per_worker = _cards_per_worker(spec.workers.cards_per_worker, requested, profile.resource)
    if spec.cards is None:
        return WorkerShape(spec.workers.replicas or 1, per_worker or profile.cards_per_node)
    if per_worker is None:
        return natural_worker(profile, spec.cards)
    if spec.cards % per_worker:
        raise InvalidSpec(
            "spec.cards",
            f"{spec.cards} is not a multiple of the {per_worker} cards of a worker; change one of them",
            reason=Reason.AMBIGUOUS_WORKER,
        )
    return WorkerShape(spec.cards // per_worker, per_worker)


def _cards_per_worker(declared: int | None, requested: int | None, resource: str) -> int | None:
    """The size of a worker as written: the field, or the template's own request."""
    if declared is not None and requested is not None and declared != requested:
        raise InvalidSpec(
            "spec.workers.cardsPerWorker",
            f"is {declared}, but the template asks for {requested} {resource}; make them equal or remove one",
            reason=Reason.AMBIGUOUS_WORKER,
        )
    return requested if declared is None else declared
