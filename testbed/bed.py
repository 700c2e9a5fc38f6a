"""A running test bed: a real control plane with fake kubelets, in a folder of its own.

    with bed.start(fleet=Path("examples/fleets/small.yaml")) as cluster:
        ...  # cluster.kubeconfig

Everything a bed leaves on the machine is its processes and its folder, and ``stop`` removes both.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import ssl
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

from testbed import processes
from testbed.binaries import Binaries, find
from testbed.build import tail
from testbed.controlplane import HOST, START_ORDER, Layout, Options, arguments, new_layout, write_files
from testbed.errors import StartError
from testbed.fleet import Fleet
from testbed.loopback import fetch
from testbed.nodes import apply
from testbed.paths import Progress, beds_root, locked
from testbed.processes import ProcessId
from testbed.realnodes import remains

READY_WITHIN = 90.0
"""Seconds that a program may take to become ready; on an idle machine all of them together take three."""

_STATE = "state.json"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


@dataclass(slots=True)
class Bed:
    """One control plane, started here or found again by name."""

    layout: Layout
    options: Options
    binaries: Binaries
    processes: dict[str, ProcessId] = field(default_factory=dict)
    owner: ProcessId | None = None
    """The process that the bed must not outlive; None for a bed that stays until it is stopped."""

    @property
    def name(self) -> str:
        return self.layout.folder.name

    @property
    def folder(self) -> Path:
        return self.layout.folder

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the administrator."""
        return self.layout.kubeconfig

    @property
    def url(self) -> str:
        """The address of the API server, without a slash at its end."""
        return self.layout.url

    @property
    def admin_token(self) -> str:
        """The administrator's bearer token."""
        return (self.folder / "admin.token").read_text()

    @property
    def certificate(self) -> Path:
        """The certificate (PEM) by which clients know the API server."""
        return self.layout.certificate

    @property
    def audit_log(self) -> Path:
        """One JSON event (audit.k8s.io/v1, level Metadata) per line and request; missing when started without audit."""
        return self.layout.audit_log

    @property
    def pids(self) -> dict[str, int]:
        """The pid of each program that runs now."""
        return {program: process.pid for program, process in self.processes.items() if process.alive()}

    def apply(self, fleet: Fleet | Path, progress: Progress = print) -> int:
        """Create or update the fleet's nodes and wait until they are as the fleet says; their number."""
        return apply(self.kubeconfig, fleet if isinstance(fleet, Fleet) else Fleet.load(fleet), progress)

    def stop_program(self, program: str) -> None:
        """End one program (see START_ORDER) and leave everything else as it is."""
        if process := self.processes.pop(program, None):
            processes.end([process], grace=2.0)
            self._save()

    def start_program(self, program: str) -> None:
        """Start one program, with its data and on its port of before, and wait until it is ready."""
        if (process := self.processes.get(program)) and process.alive():
            return
        argv = [*self.binaries.command[program], *arguments(program, self.layout, self.options)]
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder)}
        self.processes[program] = processes.spawn(argv, self.layout.log(program), self.folder, env)
        self._save()
        self._wait(program)

    def record(self, program: str, process: ProcessId) -> None:
        """Let a process of another program live and end with this bed; the last one of a name counts."""
        self.processes[program] = process
        self._save()

    def stop_apiserver(self) -> None:
        """Take the API server away; its data stay in etcd."""
        self.stop_program("kube-apiserver")

    def start_apiserver(self) -> None:
        """Bring the API server back at the same address, with the same certificate and tokens."""
        self.start_program("kube-apiserver")

    def restart_apiserver(self) -> None:
        """Take the API server away and bring it back: every watch breaks, the watch cache starts empty."""
        self.stop_apiserver()
        self.start_apiserver()

    def stop_etcd(self) -> None:
        """Take the database away; the API server stays and answers errors."""
        self.stop_program("etcd")

    def start_etcd(self) -> None:
        """Bring the database back with its data."""
        self.start_program("etcd")

    def stop(self) -> None:
        """End exactly the recorded processes and remove the folder. Safe to repeat."""
        # Nothing of it is kept, so nothing has to be closed with care.
        processes.end(self.processes.values(), grace=0.5)
        self.processes.clear()
        remains.remove(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Bed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self, program: str) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while not self._ready(program):
            process, log = self.processes[program], self.layout.log(program)
            if not process.alive():
                code = processes.reap(process)
                raise StartError(
                    f"{program} of bed {self.name} ended with code {code}; the end of its log:\n{tail(log)}"
                )
            if time.monotonic() > deadline:
                raise StartError(
                    f"{program} of bed {self.name} was not ready after {READY_WITHIN:.0f} s; the machine may be too "
                    f"busy (`uptime`), or its log tells more:\n{tail(log)}"
                )
            time.sleep(0.05)

    def _ready(self, program: str) -> bool:
        match program:
            case "etcd":
                return _answers(f"http://{HOST}:{self.layout.etcd_port}/health")
            case "kube-apiserver":
                return self._api_answers("/readyz")
            case "kube-controller-manager":
                # Pods need it, and only the controller manager makes it.
                return self._api_answers("/api/v1/namespaces/default/serviceaccounts/default")
            case "kube-scheduler":
                return _answers(f"https://{HOST}:{self.layout.scheduler_port}/healthz", context=_unverified())
            case "kwok":
                return _answers(f"http://{HOST}:{self.layout.kwok_port}/healthz")
            case _:
                raise StartError(f"there is no program {program!r}; use one of {', '.join(START_ORDER)}")

    def _api_answers(self, path: str) -> bool:
        if not self.certificate.exists():
            return False
        try:
            context = ssl.create_default_context(cafile=str(self.certificate))
        except ssl.SSLError:  # the file is being written
            return False
        return _answers(self.url + path, self.admin_token, context)

    def _save(self) -> None:
        state = {
            "layout": asdict(self.layout) | {"folder": str(self.folder)},
            "options": asdict(self.options),
            "command": self.binaries.command,
            "processes": {program: asdict(process) for program, process in self.processes.items()},
            "owner": self.owner and asdict(self.owner),
        }
        part = self.folder / f"{_STATE}.part"
        part.write_text(json.dumps(state, indent=1))
        part.rename(self.folder / _STATE)


def start(
    name: str | None = None,
    fleet: Fleet | Path | None = None,
    *,
    audit: bool = True,
    leases: bool = False,
    owned: bool = True,
    progress: Progress = print,
) -> Bed:
    """Start a bed, or take the running one of that name, and apply a fleet.

    ``name`` defaults to a random one. An ``owned`` bed is also ended, at the next start of any bed, when
    the process that started it is gone. Raises BuildError, FleetError, StartError; what was begun is then undone.
    """
    if not (processes.PROC / "self" / "stat").exists():
        raise StartError("the test bed runs on Linux only; elsewhere use a Linux machine, virtual or not, or WSL 2")
    described = Fleet.load(fleet) if isinstance(fleet, Path) else fleet
    name = name or f"bed-{secrets.token_hex(3)}"
    if not _NAME.fullmatch(name):
        raise StartError(
            f"{name!r} is no name for a bed: use up to 40 of a-z, 0-9 and -, a letter or digit at both ends"
        )
    binaries = find(progress)
    with locked(
        beds_root() / ".lock", lambda seconds: progress(f"another bed is starting; waiting since {seconds:.0f} s")
    ):
        sweep(progress)
        existing = running(name)
        bed = existing or _start(name, binaries, Options(audit, leases), owned, progress)
    try:
        if described:
            bed.apply(described, progress)
    except BaseException:
        if not existing:
            bed.stop()
        raise
    return bed


def _start(name: str, binaries: Binaries, options: Options, owned: bool, progress: Progress) -> Bed:
    folder = beds_root() / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    bed = Bed(new_layout(folder), options, binaries, owner=ProcessId.of(os.getpid()) if owned else None)
    began = time.monotonic()
    try:
        write_files(bed.layout, options)
        for program in START_ORDER:
            bed.start_program(program)
    except BaseException:
        bed.stop()
        raise
    progress(f"control plane of bed {name} ready in {time.monotonic() - began:.1f} s")
    return bed


def beds(damaged: Progress = lambda _: None) -> Iterator[Bed]:
    """Every bed on record, running or not, by name; ``damaged`` gets a message for each that cannot be read."""
    for state in sorted(beds_root().glob(f"*/{_STATE}")):
        try:
            yield _load(state)
        except StartError as error:
            damaged(str(error))


def find_bed(name: str) -> Bed:
    """The bed of that name; raises StartError when there is none."""
    state = beds_root() / name / _STATE
    if not state.exists():
        known = ", ".join(bed.name for bed in beds()) or "none"
        raise StartError(f"there is no bed {name!r} (beds: {known}); start one: python -m testbed up --name {name}")
    return _load(state)


def running(name: str) -> Bed | None:
    """The bed of that name if all its programs run."""
    state = beds_root() / name / _STATE
    if not state.exists():
        return None
    bed = _load(state)
    if bed.pids.keys() >= set(START_ORDER):
        return bed
    bed.stop()
    return None


def sweep(progress: Progress) -> None:
    """End the beds whose owner is gone, as after a killed test run."""
    for bed in beds(progress):
        if bed.owner and not bed.owner.alive():
            progress(f"ending bed {bed.name}: the process that started it is gone")
            bed.stop()


def _load(state: Path) -> Bed:
    try:
        content = json.loads(state.read_text())
        layout = content["layout"] | {"folder": state.parent}
        return Bed(
            Layout(**layout),
            Options(**content["options"]),
            Binaries({program: tuple(command) for program, command in content["command"].items()}),
            {program: ProcessId(**process) for program, process in content["processes"].items()},
            ProcessId(**content["owner"]) if content["owner"] else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(
            f"{state} is damaged ({error!r}); end its processes by hand and remove {state.parent}"
        ) from error


def _unverified() -> ssl.SSLContext:
    """For the scheduler, whose certificate is in its memory only and which is asked nothing but its health."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _answers(url: str, token: str | None = None, context: ssl.SSLContext | None = None) -> bool:
    return 200 <= fetch(url, token=token, context=context, timeout=5)[0] < 300
