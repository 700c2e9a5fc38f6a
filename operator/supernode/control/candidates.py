"""Which profiles a training job may run on, as far as its claim is concerned."""

from supernode.api.conditions import Reason
from supernode.api.trainingjob import TrainingJob
from supernode.topology.fleet import Fleet
from supernode.topology.profile import Profile
from supernode.workload import InvalidSpec


def candidates(job: TrainingJob, fleet: Fleet, resource: str | None) -> list[Profile]:
    """The profile a job names; else those with supernodes, else all, as far as they suit it; by name, at least one.

    resource: only profiles that count their cards by it. Raises InvalidSpec when there is none.
    """
    spec, known = job.spec, fleet.profiles
    if (named := known.get(spec.profile or "")) is not None:
        return [named]
    counted = [profile for profile in known.values() if resource in (None, profile.resource)]
    present = [profile for profile in counted if fleet.has_profile(profile.name)] or counted
    if not present:
        problem = "there is no SuperNodeProfile; create one for the machines here"
        raise InvalidSpec("spec.profile", problem, reason=Reason.UNKNOWN_PROFILE)
    names = ", ".join(profile.name for profile in present)
    if spec.profile is not None:
        problem = f"there is no SuperNodeProfile {spec.profile}; create it or use one of: {names}"
        raise InvalidSpec("spec.profile", problem, reason=Reason.UNKNOWN_PROFILE)
    suited = [profile for profile in present if spec.precision in (None, *profile.precisions)]
    if not suited:
        cards = f" with {resource}" if resource else ""
        problem = f"no profile here{cards} computes in {spec.precision}; profiles with supernodes: {names}"
        raise InvalidSpec("spec.precision", problem, reason=Reason.PRECISION_UNAVAILABLE)
    return suited
