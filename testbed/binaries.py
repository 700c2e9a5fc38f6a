"""Which file runs each program: the user's envtest binaries first, then the cached build, then a fresh one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from testbed.build import build
from testbed.errors import BuildError
from testbed.paths import Progress

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
ENVTEST = "KUBEBUILDER_ASSETS"
"""The variable by which envtest, and so most operator projects, name a folder of binaries."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """The command, without its flags, of each program."""

    command: dict[str, tuple[str, ...]]


def find(progress: Progress) -> Binaries:
    """Commands for every program; builds what neither the user nor the cache has. Raises BuildError."""
    command: dict[str, tuple[str, ...]] = {}
    assets = os.environ.get(ENVTEST)
    if assets:
        if not Path(assets).is_dir():
            raise BuildError(
                f"{ENVTEST}={assets} is no folder; unset it or let it name one with etcd and kube-apiserver"
            )
        for program in PROGRAMS:
            file = Path(assets) / program
            if os.access(file, os.X_OK):
                command[program] = (str(file),)
    if missing := [program for program in PROGRAMS if program not in command]:
        built = build(progress)
        for program in missing:
            own = program == "kwok"
            command[program] = (str(built / "kwok"),) if own else (str(built / "testbed-server"), program)
    return Binaries(command)
