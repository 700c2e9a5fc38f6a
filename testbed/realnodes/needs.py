"""What real nodes need of the machine: root, Linux namespaces, and programs of the distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from testbed.errors import TestbedError
from testbed.paths import Progress, cache_root, locked
from testbed.realnodes.node import HIDDEN

CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
"""Where distributions put the CNI plugins."""

_CNI_PLUGINS = ("bridge", "host-local", "loopback")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "unshare": "util-linux",
    "tar": "tar",
}
"""The Debian package of each program."""


class NeedsError(TestbedError):
    """This machine cannot run real nodes; the text says why and what would change that."""


def in_ci() -> bool:
    """Whether this is a run whose result counts, where nothing may be left out for a reason of the machine."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def program(name: str) -> str | None:
    """The path of a program; those for root are found although a user's PATH lacks their folders."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")


def cni_folder() -> Path | None:
    """The folder that has all the CNI plugins nodes use."""
    return next((folder for folder in CNI_FOLDERS if all((folder / name).exists() for name in _CNI_PLUGINS)), None)


def missing_packages() -> list[str]:
    """Debian packages of what is not there."""
    packages = {package for name, package in _PACKAGES.items() if program(name) is None}
    if cni_folder() is None:
        packages.add("containernetworking-plugins")
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        packages.add("debian-archive-keyring")
    return sorted(packages)


def install(progress: Progress) -> None:
    """Install the missing packages by apt, if any. Raises NeedsError where that cannot be."""
    _check_machine()
    with locked(cache_root() / "packages.lock", lambda _: progress("another process installs packages")):
        packages = missing_packages()
        if not packages:
            return
        if program("apt-get") is None:
            raise NeedsError(f"there is no apt-get; install what gives {', '.join(packages)} on Debian yourself")
        progress(f"installing {' '.join(packages)}")
        _apt("update", "--quiet")
        _apt("install", "--yes", "--quiet", "--no-install-recommends", *packages)


def check() -> None:
    """Raise NeedsError unless real nodes can be started here."""
    _check_machine()
    if packages := missing_packages():
        raise NeedsError(
            f"not installed: {', '.join(packages)}; `python -m testbed.realnodes prepare --install` does that"
        )


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise NeedsError("real nodes make namespaces, mounts and a bridge, which takes root; run as root")
    probe = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, text=True, check=False
    )
    if probe.returncode:
        raise NeedsError(
            f"this machine gives no namespaces ({probe.stderr.strip()}); run on a virtual machine or in a privileged "
            "container"
        )
    folder = cache_root()
    folder.mkdir(parents=True, exist_ok=True)
    if hidden := next((path for path in HIDDEN if folder.resolve().is_relative_to(path)), None):
        raise NeedsError(f"the cache {folder} lies under {hidden}, which nodes hide; set XDG_CACHE_HOME elsewhere")
    if _filesystem(folder) == "overlay":
        raise NeedsError(f"the cache {folder} lies on an overlay file system, on which containerd cannot make another; "
                         "set XDG_CACHE_HOME to a folder on a disk")  # fmt: skip


def _filesystem(path: Path) -> str:
    found = subprocess.run(
        ["stat", "--file-system", "--format=%T", str(path)], capture_output=True, text=True, check=True
    )
    return "overlay" if "overlay" in found.stdout else found.stdout.strip()


def _apt(*arguments: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", *arguments], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise NeedsError(f"apt-get {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
