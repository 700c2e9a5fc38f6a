"""A control group for each node: two kubelets in one would take the other's pods for leftovers and end them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_EMPTY_WITHIN = 10.0


def group_of(bed: str) -> str:
    """The path, within every hierarchy, of the group that holds a bed's nodes."""
    return f"/supernode-testbed-{bed}"


def make(path: str) -> None:
    """Make a group, and those around it, in every hierarchy. ``path`` starts with a slash."""
    for hierarchy in _hierarchies():
        folder = hierarchy
        for part in path.strip("/").split("/"):
            if (controllers := folder / "cgroup.controllers").exists():
                wanted = " ".join(f"+{name}" for name in controllers.read_text().split())
                (folder / "cgroup.subtree_control").write_text(wanted)
            parent, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):
                # In version 1 a new group has none and cannot hold a process until somebody gives it some.
                if (own := folder / setting).exists() and not (folder / "cgroup.controllers").exists():
                    own.write_text((parent / setting).read_text())


def kill(path: str, name: str) -> None:
    """Kill the processes of the group of this name, and of those inside it, somewhere inside a group."""
    hierarchy = next(_hierarchies())
    for found in (hierarchy / path.strip("/")).rglob(name):
        for members in found.rglob("cgroup.procs"):
            for pid in members.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def remove(path: str) -> None:
    """Remove a group with those inside it, wherever it is; no process may be in it any more."""
    # Also from the hierarchy of version 2 beside those of version 1, where the container runtime makes groups itself.
    for hierarchy in {_MOUNT, *_MOUNT.iterdir()}:
        top = hierarchy / path.strip("/")
        if top.is_dir():
            for folder, _, _ in os.walk(top, topdown=False):
                _remove_empty(Path(folder))


def _remove_empty(folder: Path) -> None:
    """A group counts as busy for a moment after its last process ended."""
    deadline = time.monotonic() + _EMPTY_WITHIN
    while True:
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _hierarchies() -> Iterator[Path]:
    if (_MOUNT / "cgroup.controllers").exists():
        yield _MOUNT
        return
    for folder in _MOUNT.iterdir():
        if (folder / "cgroup.procs").exists() and not folder.is_symlink() and folder.name != "unified":
            yield folder
