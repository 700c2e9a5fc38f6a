"""The key pair by which the workers of a job reach each other, as a Secret and as a volume of its pods."""

from typing import Any

from supernode.api import names
from supernode.api.trainingjob import TrainingJob
from supernode.workload.files import mount
from supernode.workload.identity import owner_reference
from supernode.workload.layout import SSH_DIRECTORY

Json = dict[str, Any]

VOLUME = "supernode-ssh"


def ssh_secret_name(job: TrainingJob) -> str:
    """One for the life of the job: its workers trust no other key.

    With part of its uid: the Secret of a job of this name that was just deleted is still there, but not for long.
    """
    return f"{job.metadata.name}-ssh-{(job.metadata.uid or '')[:8]}"


def render_ssh_secret(job: TrainingJob, private: str, public: str) -> Json:
    """private, public: one key pair in OpenSSH's formats. It serves as identity, as host key and as who may enter."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": ssh_secret_name(job),
            "namespace": job.metadata.namespace,
            "labels": {names.LABEL_JOB: job.metadata.name},
            "ownerReferences": [owner_reference(job)],
        },
        "type": "Opaque",
        "stringData": {"id_ed25519": private, "authorized_keys": public},
    }


def mount_ssh(spec: Json, job: TrainingJob) -> None:
    """ssh takes a private key that it owns only if nobody else may read it; with an fsGroup, root owns it and the group
    reads it."""
    mode = 0o440 if (spec.get("securityContext") or {}).get("fsGroup") is not None else 0o400
    volume = {"name": VOLUME, "secret": {"secretName": ssh_secret_name(job), "defaultMode": mode}}
    mount(spec, [volume], [{"name": VOLUME, "mountPath": SSH_DIRECTORY, "readOnly": True}])
