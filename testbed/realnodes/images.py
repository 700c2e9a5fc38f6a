"""The image of workers, made from a distribution base into the cache, once for each content of its recipe.

What the cache keeps is not the image but a containerd's folder that has it unpacked. A node starts with a copy that
shares the files (hard links): the layers are only read, and unpacking them takes longer than everything else.

The recipe is this file and `jax.txt`: Debian packages (Python, Open MPI, PyTorch, ssh) on a base by debootstrap, and
JAX, which Debian lacks, from wheels. It has every runtime that the tests run for real.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed.errors import BuildError
from testbed.paths import Progress, cache_root, locked
from testbed.realnodes import oci
from testbed.realnodes.needs import NeedsError, program
from testbed.realnodes.node import PAUSE_IMAGE, WORKER_IMAGE

_SUITE = "bookworm"
_PYTHON = "3.11"
"""Of that suite."""

_PACKAGES = ("openmpi-bin", "openssh-client", "openssh-server", "python3", "python3-mpi4py", "python3-torch")
_WHEELS = Path(__file__).with_name("jax.txt")
_WHEELS_FOLDER = "opt/jax"
_PLATFORMS = ("manylinux_2_17", "manylinux2014", "manylinux_2_27", "manylinux_2_28")

_NOT_NEEDED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/lib/libtorch-test",
    "usr/lib/*/dri",
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/sbin/policy-rc.d",
)
"""A third of a gigabyte that no worker reads."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def cached() -> Path:
    """The folder with the images; it may not exist yet."""
    recipe = hashlib.sha256(oci.architecture().encode())
    for source in (Path(__file__), Path(oci.__file__), _WHEELS):
        recipe.update(source.read_bytes())
    return cache_root() / f"images-{recipe.hexdigest()[:12]}"


def build(progress: Progress) -> Path:
    """The folder with the images; makes it where it is missing (some minutes). Raises BuildError, NeedsError."""
    store = cached()
    if store.exists():
        return store

    def waiting(seconds: float) -> None:
        progress(f"another process is making the images; waiting since {seconds:.0f} s")

    with locked(cache_root() / "images.lock", waiting):
        if not store.exists():
            work = store.with_suffix(".part")
            _remove(work)
            work.mkdir(parents=True)
            try:
                _build(work, progress).rename(store)
            finally:
                _remove(work)
    return store


def _build(work: Path, progress: Progress) -> Path:
    root, wheels = work / "root", work / "wheels"
    progress(f"making a base of Debian {_SUITE} by debootstrap")
    debootstrap = program("debootstrap")
    if debootstrap is None:
        raise NeedsError("debootstrap is not installed; run `python -m testbed.realnodes prepare --install`")
    _run([debootstrap, "--variant=minbase", _SUITE, str(root)])
    # Packages of daemons would start them.
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    progress(f"installing {' '.join(_PACKAGES)} into it")
    for arguments in (("update",), ("install", "--yes", "--no-install-recommends", *_PACKAGES)):
        _run(["chroot", str(root), "apt-get", "--quiet", *arguments], {"DEBIAN_FRONTEND": "noninteractive"})
    for pattern in _NOT_NEEDED:
        for path in root.glob(pattern):
            _remove(path)
    progress("fetching JAX's wheels")
    target = wheels / _WHEELS_FOLDER
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    exact = ["--require-hashes", "--only-binary=:all:", f"--python-version={_PYTHON}", "--implementation=cp"]
    platforms = [f"--platform={each}_{platform.machine()}" for each in _PLATFORMS]
    _run([*pip, *exact, *platforms, f"--requirement={_WHEELS}", f"--target={target}"])
    progress("writing the images")
    base, jax = _layer(root, work / "base.tar"), _layer(wheels, work / "jax.tar")
    environment = {"PATH": _PATH}
    archive = work / "images.tar"
    oci.write(
        archive,
        [
            oci.Image(PAUSE_IMAGE, [base], ["sleep", "infinity"], environment),
            oci.Image(WORKER_IMAGE, [base, jax], ["sh"], environment),
        ],
    )
    progress(f"unpacking them: {archive.stat().st_size / 1e9:.1f} GB")
    return _unpacked(archive, work)


def _unpacked(archive: Path, work: Path) -> Path:
    store = work / "store"
    (work / "containerd.toml").write_text(
        f'version = 2\nroot = "{store}"\nstate = "/run/containerd"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
    )
    ctr = f"{program('ctr')} -n k8s.io"
    script = [
        "set -e",
        "mount -t tmpfs tmpfs /run",
        f"{program('containerd')} --config {work}/containerd.toml >{work}/containerd.log 2>&1 &",
        "daemon=$!",
        f"until {ctr} version >/dev/null 2>&1; do kill -0 $daemon; sleep 0.1; done",
        f"{ctr} images import {archive}",
        # What is unpacked is not needed packed: of a layer both the record and the file.
        f"layers=$(find {store}/*/blobs -size +1M)",
        f"for layer in $layers; do {ctr} content rm sha256:${{layer##*/}}; done",
        "kill $daemon",
        "wait $daemon || true",
        "rm -f $layers",
    ]
    _run(["sh", "-c", "\n".join(script)])
    return store


def _layer(tree: Path, file: Path) -> Path:
    # Owners by number, as the machine's names are not the image's; what the runtime mounts over stays empty.
    fixed = ["--numeric-owner", "--sort=name", "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*"]
    _run(["tar", "--create", f"--file={file}", *fixed, f"--directory={tree}", "."])
    return file


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    # In namespaces of its own, nothing that a step mounts or starts outlives it.
    alone = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    done = subprocess.run(
        [*alone, *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"PATH": f"{os.environ.get('PATH', '')}:{_PATH}", "LC_ALL": "C"} | dict(environment or {}),
        check=False,
    )
    if done.returncode:
        raise BuildError(
            f"{' '.join(argv[:4])} ... failed with code {done.returncode}; the end of what it said:\n"
            f"{(done.stdout + done.stderr)[-3000:]}\nCheck that the distribution's mirror and the package index can be "
            "reached, then repeat."
        )
