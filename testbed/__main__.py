"""The command line of the test bed: ``python -m testbed --help``."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
import yaml

from testbed import bed as beds
from testbed.bed import Bed
from testbed.build import build as build_binaries
from testbed.controlplane import START_ORDER
from testbed.errors import StartError, TestbedError
from testbed.fleet import Fleet
from testbed.nodes import apply, render
from testbed.processes import heed_signals

KUBECONFIG = "SUPERNODE_TESTBED_KUBECONFIG"
"""The variable that names a cluster of the user's own: fleets are applied to it, and nothing is started."""

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="A real control plane with fake nodes, on this machine."
)
fleets = typer.Typer(no_args_is_help=True, help="Nodes from a fleet file.")
app.add_typer(fleets, name="fleet")

Name = Annotated[str, typer.Option(help="Which bed; several can run side by side.")]
Existing = Annotated[
    Path | None,
    typer.Option("--kubeconfig", envvar=KUBECONFIG, help="Use this cluster: apply the nodes, start nothing."),
]
FleetFile = Annotated[Path, typer.Argument(help="A fleet file, such as examples/fleets/small.yaml.")]
_BEGAN = time.monotonic()
_INTERRUPTED = 130
"""The exit code by which typer reports a KeyboardInterrupt."""


def _say(message: str) -> None:
    """One line of progress with the elapsed time, to stderr: stdout is for results."""
    print(f"[{time.monotonic() - _BEGAN:6.1f} s] {message}", file=sys.stderr, flush=True)


@app.command()
def up(
    fleet: Annotated[Path | None, typer.Option(help="Apply the nodes of this fleet file.")] = None,
    name: Name = "default",
    kubeconfig_out: Annotated[Path | None, typer.Option(help="Also write the kubeconfig to this file.")] = None,
    audit: Annotated[bool, typer.Option(help="Write an audit log of every request.")] = False,
    leases: Annotated[bool, typer.Option(help="Let the fake kubelets renew node leases.")] = False,
    kubeconfig: Existing = None,
) -> None:
    """Start a bed, or take the running one of that name, and apply a fleet."""
    if kubeconfig:
        if fleet:
            apply(kubeconfig, Fleet.load(fleet), _say)
        print(f"using the cluster of {kubeconfig}; nothing was started")
        return
    _check_options(beds.running(name), audit=audit, leases=leases)
    bed = beds.start(name, fleet, audit=audit, leases=leases, owned=False, progress=_say)
    if kubeconfig_out:
        kubeconfig_out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bed.kubeconfig, kubeconfig_out)
        kubeconfig_out.chmod(0o600)
    print(f"bed {bed.name} runs at {bed.url}")
    print(f"  use it:  {_export(kubeconfig_out or bed.kubeconfig)}")
    print(f"  stop it: python -m testbed down --name {bed.name}")


def _check_options(running: Bed | None, **asked: bool) -> None:
    """A bed cannot change how it was started: raises StartError where it lacks what is asked for."""
    for option, wanted in asked.items():
        if running and wanted and not getattr(running.options, option):
            raise StartError(
                f"bed {running.name} runs already, without --{option}; stop it first: "
                f"python -m testbed down --name {running.name}"
            )


def _export(kubeconfig: Path) -> str:
    return f"export KUBECONFIG={shlex.quote(str(kubeconfig))}"


@app.command()
def down(
    name: Name = "default",
    every: Annotated[bool, typer.Option("--all", help="Stop every bed but those of programs that still run.")] = False,
) -> None:
    """End a bed's processes and remove its folder."""
    for bed in list(beds.beds(_say)) if every else [beds.find_bed(name)]:
        if every and bed.owner and bed.owner.alive():
            print(f"bed {bed.name} is left to process {bed.owner.pid}, with which it ends")
            continue
        bed.stop()
        print(f"bed {bed.name} stopped")


@app.command()
def status() -> None:
    """Every bed with its address and its programs' pids."""
    known = list(beds.beds(_say))
    for bed in known:
        pids = bed.pids
        state = ", ".join(f"{program} {pids.get(program, 'DOWN')}" for program in START_ORDER)
        print(f"{bed.name}  {bed.url}  {bed.kubeconfig}\n  {state}")
    if not known:
        print("no bed runs; start one: python -m testbed up")


@app.command()
def build() -> None:
    """Build the control plane's binaries into the cache, unless they are there."""
    print(build_binaries(_say))


@app.command()
def env(name: Name = "default") -> None:
    """A line for the shell: eval "$(python -m testbed env)"."""
    print(_export(beds.find_bed(name).kubeconfig))


@fleets.command("render")
def render_fleet(file: FleetFile) -> None:
    """Print the fleet's Node objects as YAML."""
    for node in render(Fleet.load(file)):
        print("---")
        yaml.safe_dump(node, sys.stdout, sort_keys=False)


@fleets.command("apply")
def apply_fleet(file: FleetFile, name: Name = "default", kubeconfig: Existing = None) -> None:
    """Create or update the fleet's nodes in a bed or in a cluster of your own."""
    target = kubeconfig or beds.find_bed(name).kubeconfig
    print(f"{apply(target, Fleet.load(file), _say)} nodes applied")


def main() -> None:
    """Run one command; a user's mistake is one message on stderr and exit code 1, an interrupt is 130."""
    heed_signals()
    try:
        app()
    except TestbedError as error:
        sys.exit(f"testbed: {error}")
    except SystemExit as leave:
        if leave.code == _INTERRUPTED:
            print("testbed: interrupted; what was begun has been undone", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
