"""The key pair by which the workers of a job reach each other, as a Secret and as a volume of its pods."""

from pathlib import PurePath
from typing import Any

from supernode.api import names
from supernode.api.trainingjob import TrainingJob
from supernode.workload.additions import mount_in, prepare
from supernode.workload.identity import owner_reference
from supernode.workload.layout import SSH_DIRECTORY, SSH_EMPTY

Json = dict[str, Any]

VOLUME = "supernode-ssh"
COPIER = "supernode-ssh"

_SECRET_VOLUME = "supernode-ssh-secret"
_SECRET_DIRECTORY = "/etc/supernode/ssh-secret"

_SSHD_DIRECTORY = "/run/sshd"
"""Debian's sshd starts as root only where this is root's own; images need not have it, and may be read-only."""


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


def mount_ssh(spec: Json, container: Json, job: TrainingJob) -> None:
    """Give a container the key pair as files that belong to its user and that nobody else can read.

    ssh takes no other. The files of a Secret belong to root, who must not share them with an fsGroup, and nobody else
    could read them without; so they are copied, by the same user, into memory.
    """
    secret = {"secretName": ssh_secret_name(job), "defaultMode": 0o444}
    spec["volumes"] = [
        *(spec.get("volumes") or ()),
        {"name": VOLUME, "emptyDir": {"medium": "Memory"}},
        {"name": _SECRET_VOLUME, "secret": secret},
    ]
    own = {"name": VOLUME, "mountPath": SSH_DIRECTORY}
    mount_in(container, [own, {"name": VOLUME, "mountPath": _SSHD_DIRECTORY, "subPath": PurePath(SSH_EMPTY).name}])
    script = f"umask 077\nmkdir -p {SSH_EMPTY}\ncp -f {_SECRET_DIRECTORY}/* {SSH_DIRECTORY}"
    source = {"name": _SECRET_VOLUME, "mountPath": _SECRET_DIRECTORY, "readOnly": True}
    prepare(spec, container, COPIER, script, [own, source])
