"""The files of a group as ConfigMaps, and as the volume and mounts of its pods.

ConfigMaps are named by what they hold, so a pod that starts after a repair cannot read what a node still has cached
from before: its files have another name. Pods that lived through the repair keep their volume, whose content the
caller renews. A file too large for one object is packed, split, and put together again by an init container; packing
comes first because every node of the job fetches it.
"""

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supernode.api import names
from supernode.api.trainingjob import TrainingJob
from supernode.workload.additions import mount, prepare
from supernode.workload.identity import owner_reference
from supernode.workload.layout import GROUP_DIRECTORY, UNPACKED_DIRECTORY

Json = dict[str, Any]

PLAIN_BYTES = 160 * 1024
"""A file up to this size is mounted as it is; the few of a group fit one object together."""

PART_BYTES = 700 * 1024
"""Of a packed file in one object: base64 makes a third more of it, and the API server takes 1 MiB."""

VOLUME = "supernode-group"
UNPACKED_VOLUME = "supernode-unpacked"
UNPACKER = "supernode-unpack"

_DIGEST_CHARACTERS = 10
_DIGEST = re.compile(f"[0-9a-f]{{{_DIGEST_CHARACTERS}}}")


@dataclass(frozen=True, slots=True)
class GroupFiles:
    """The files of one job by name: as text, or packed and in parts.

    objects: names of the ConfigMaps that hold them, the first for all texts, one for each part.
    """

    job: TrainingJob
    digest: str
    plain: Mapping[str, str]
    packed: Mapping[str, tuple[bytes, ...]]
    objects: tuple[str, ...]

    @classmethod
    def of(cls, job: TrainingJob, files: Mapping[str, str]) -> "GroupFiles":
        """From each file's text."""
        # With the job's uid: the objects of a job of this name that was just deleted are still there, but not for long.
        digest = hashlib.sha256(repr((job.metadata.uid, sorted(files.items()))).encode()).hexdigest()[
            :_DIGEST_CHARACTERS
        ]
        plain = {name: text for name, text in files.items() if len(text) <= PLAIN_BYTES}
        packed = {name: _parts(text) for name, text in files.items() if name not in plain}
        base = object_name(job, digest)
        parts = sum(len(each) for each in packed.values())
        return cls(job, digest, plain, packed, (base, *(f"{base}-{number}" for number in range(1, parts + 1))))

    @property
    def names(self) -> list[str]:
        """Of all files."""
        return [*self.plain, *self.packed]

    def path(self, name: str) -> str:
        """Where a worker finds the file."""
        return f"{UNPACKED_DIRECTORY if name in self.packed else GROUP_DIRECTORY}/{name}"

    def reference(self, name: str) -> Json:
        """By which a variable takes the text of a file, as `valueFrom`; there is none to a packed one."""
        return {"configMapKeyRef": {"name": self.objects[0], "key": name}}

    def config_maps(self) -> list[Json]:
        """The objects that hold the files; they must be there before the pods."""
        contents: list[Json] = [{"data": dict(self.plain)}]
        for name, parts in self.packed.items():
            contents += [
                {"binaryData": {f"{name}.gz.{number:02}": base64.b64encode(part).decode()}}
                for number, part in enumerate(parts)
            ]
        return [self._config_map(name, content) for name, content in zip(self.objects, contents, strict=True)]

    def _config_map(self, name: str, content: Json) -> Json:
        metadata = {
            "name": name,
            "namespace": self.job.metadata.namespace,
            "labels": {names.LABEL_JOB: self.job.metadata.name},
            "ownerReferences": [owner_reference(self.job)],
        }
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **content}

    def mount(self, spec: Json, container: Json) -> None:
        """Add volumes and mounts to a pod spec, and the unpacker if there is something to unpack.

        container: the one of the pod whose image unpacks; it needs sh, cat and gzip.
        """
        sources = [{"configMap": {"name": name}} for name in self.objects]
        volumes: list[Json] = [{"name": VOLUME, "projected": {"sources": sources}}]
        mounts: list[Json] = [{"name": VOLUME, "mountPath": GROUP_DIRECTORY, "readOnly": True}]
        if self.packed:
            volumes.append({"name": UNPACKED_VOLUME, "emptyDir": {}})
            mounts.append({"name": UNPACKED_VOLUME, "mountPath": UNPACKED_DIRECTORY})
        mount(spec, volumes, mounts)
        if self.packed:
            unpack = [
                f"cat {GROUP_DIRECTORY}/{name}.gz.* | gzip -dc > {UNPACKED_DIRECTORY}/{name}" for name in self.packed
            ]
            prepare(spec, container, UNPACKER, "\n".join(unpack), mounts)


def object_name(job: TrainingJob, digest: str) -> str:
    """The ConfigMap that holds the texts of a digest.

    What was packed cannot be renewed for a pod that runs; the texts can, by patching this one.
    """
    return f"{job.metadata.name}-{digest}"


def read_digest(annotation: str | None) -> str | None:
    """The digest in a pod's annotation; None for anything else, which whoever may edit pods can write there.

    With the digest of another's they can have no more than an object of the job's name and namespace renewed.
    """
    return annotation if annotation and _DIGEST.fullmatch(annotation) else None


def _parts(text: str) -> tuple[bytes, ...]:
    packed = gzip.compress(text.encode(), compresslevel=6, mtime=0)
    return tuple(packed[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES))
