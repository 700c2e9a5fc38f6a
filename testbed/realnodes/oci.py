"""Writing container images as an OCI image layout in one tar file, which `ctr images import` reads.

Layers are plain tar files: on one machine nothing is won by packing them. Images of one file share their layers.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAME = "io.containerd.image.name"
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Image:
    """An image by name: its layers, undermost first, and what the runtime is told about it."""

    name: str
    layers: Sequence[Path]
    command: Sequence[str]
    environment: Mapping[str, str]


def write(path: Path, images: Sequence[Image]) -> None:
    """Write the images into one file."""
    described = {layer: _described(layer) for image in images for layer in image.layers}
    manifests = []
    with tarfile.open(path, "w") as archive:
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        for layer, descriptor in described.items():
            archive.add(layer, _blob(descriptor["digest"]))
        for image in images:
            layers = [described[layer] for layer in image.layers]
            config = _store(archive, _CONFIG, _config(image, [layer["digest"] for layer in layers]))
            content = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}
            manifests.append({**_store(archive, _MANIFEST, content), "annotations": {_NAME: image.name}})
        _add(archive, "index.json", _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}))


def architecture() -> str:
    """This machine's, by the name images go by."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def _config(image: Image, layers: Sequence[str]) -> dict[str, Any]:
    environment = [f"{name}={value}" for name, value in image.environment.items()]
    return {
        "architecture": architecture(),
        "os": "linux",
        "config": {"Cmd": list(image.command), "Env": environment},
        "rootfs": {"type": "layers", "diff_ids": list(layers)},
    }


def _described(layer: Path) -> dict[str, Any]:
    with layer.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {"mediaType": _LAYER, "digest": f"sha256:{digest}", "size": layer.stat().st_size}


def _store(archive: tarfile.TarFile, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    data = _json(content)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    _add(archive, _blob(digest), data)
    return {"mediaType": kind, "digest": digest, "size": len(data)}


def _blob(digest: str) -> str:
    return "/".join(("blobs", *digest.split(":")))


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
