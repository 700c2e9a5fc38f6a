"""Names by which the objects of a job find each other."""

from typing import Any

from supernode.api import names
from supernode.api.trainingjob import TrainingJob


def pod_name(job: str, rank: int | str) -> str:
    """The same for every incarnation of a rank, so that creating a member twice is harmless."""
    return f"{job}-{rank}"


def pod_address(job: TrainingJob, rank: int | str) -> str:
    """DNS name of a rank, resolvable before its pod is ready and the same for every incarnation of it."""
    name = job.metadata.name
    return f"{pod_name(name, rank)}.{name}.{job.metadata.namespace}.svc"


def owner_reference(job: TrainingJob) -> dict[str, Any]:
    """Ties an object's life to the job's."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": "TrainingJob",
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
