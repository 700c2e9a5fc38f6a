"""The headless Service that gives every member of a job a DNS name."""

from typing import Any

from supernode.api import names
from supernode.api.trainingjob import TrainingJob
from supernode.workload.identity import owner_reference


def render_service(job: TrainingJob) -> dict[str, Any]:
    """Members resolve as `<job>-<rank>.<job>.<namespace>.svc`, also before they are ready: rendezvous comes first."""
    name = job.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": job.metadata.namespace,
            "labels": {names.LABEL_JOB: name},
            "ownerReferences": [owner_reference(job)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.LABEL_JOB: name},
        },
    }
