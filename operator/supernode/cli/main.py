"""The entry point ``kubectl-supernode``, which kubectl runs as ``kubectl supernode``.

Each command imports what it needs when it runs, so that help and mistakes are answered at once.
"""

import os
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from supernode.api.errors import SupernodeError
from supernode.cli.arguments import spread
from supernode.cli.errors import BadInput, is_name, printable

if TYPE_CHECKING:
    from supernode.cli.documents import Document
    from supernode.cli.inventory import Snapshot

T = TypeVar("T")

BAD_INPUT = 1
DOES_NOT_FIT = 3
_USAGE = 2
"""What typer ends with on a command line it cannot read; here that is bad input like any other."""

app = typer.Typer(
    help="See where jobs would fit, where they run, and why they wait. Nothing is ever written to a cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Kubeconfig = Annotated[Path | None, typer.Option(help="Kubeconfig file [default: kubectl's]", metavar="FILE")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig [default: the current]", metavar="NAME")]
Fleet = Annotated[
    list[str] | None,
    typer.Option(
        help="Manifests of the fleet instead of a cluster: SuperNodeProfile, Node, SuperNode, CardGroup, "
        "TrainingJob, Pod, ConfigMap, ResourceSlice, ResourceClaim, DeviceTaintRule. "
        "A file, a folder or - for standard input; several may be given.",
        metavar="PATH...",
    ),
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace [default: the context's]", metavar="NAME")
]


@app.callback()
def _global(ctx: typer.Context, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    ctx.obj = (kubeconfig, context)


@app.command()
def plan(
    ctx: typer.Context,
    requests: Annotated[
        list[str] | None,
        typer.Option(
            "--filename",
            "-f",
            help="TrainingJob and CardGroup manifests. A file, a folder or - for standard input; several may be given.",
            metavar="PATH...",
        ),
    ] = None,
    fleet: Fleet = None,
    independent: Annotated[
        bool, typer.Option("--independent", help="Each request sees the fleet as it is, not what earlier ones took.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Tell instead how each group whose nodes or cards failed would be repaired; -f then only says what "
            "groups of the ledgers claim, where the fleet does not.",
        ),
    ] = False,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", help="Namespace of requests that name none [default: the context's]", metavar="NAME"
        ),
    ] = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="How to write the answer.")] = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Tell whether jobs would fit, where, and why not, without submitting anything.

    Exit status: 0 every request fits, or every group can be repaired; 3 at least one cannot; 1 bad input.
    """
    from supernode.cli.documents import STDIN, read_documents

    paths = fleet or []
    if not requests and not repair:
        raise BadInput("Missing option '--filename' / '-f': name the requests to plan, or ask for --repair")
    if repair and independent:
        raise BadInput("--independent: repairs are planned one after the other; leave it out")
    if namespace is not None and not is_name(namespace):
        raise BadInput(f"--namespace: {namespace!r} is no name; correct it")
    if STDIN in (requests or ()) and STDIN in paths:
        raise BadInput("-f - and --fleet -: standard input can be read once; name a file for one of them")
    asked, described = list(read_documents(requests or ())), list(read_documents(paths))

    from supernode.cli.output import console, say
    from supernode.cli.plan import plan_all, read_requests
    from supernode.cli.plan_output import write_results

    wanted = read_requests(asked, say) if requests else []
    snapshot, current = _snapshot(_cluster(ctx, kubeconfig, context), described if paths else None, groups=True)
    where = namespace or current
    if repair:
        from supernode.cli.plan_repair import plan_repairs, write_repairs

        repairs = plan_repairs(snapshot, wanted, say, namespace=where)
        write_repairs(console(), repairs, output)
        if not all(one.possible for one in repairs):
            raise typer.Exit(DOES_NOT_FIT)
        return
    results = plan_all(snapshot, wanted, datetime.now(UTC), namespace=where, independent=independent)
    write_results(console(), results, output)
    if not all(result.fits for result in results):
        raise typer.Exit(DOES_NOT_FIT)


@app.command("map")
def map_(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="One supernode, shown node by node.", metavar="NAME")] = None,
    fleet: Fleet = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show what each supernode has, what is free in it, and in which pieces."""
    from supernode.cli.documents import read_documents

    described = list(read_documents(fleet)) if fleet else None

    from supernode.cli.fleet_map import print_map, print_supernode
    from supernode.cli.output import console

    snapshot, _ = _snapshot(_cluster(ctx, kubeconfig, context), described)
    if name is None:
        print_map(console(), snapshot)
    else:
        print_supernode(console(), snapshot, name)


@app.command()
def jobs(
    ctx: typer.Context,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Jobs of every namespace.")] = False,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """List training jobs: where they run, or what they wait for."""
    from supernode.cli.jobs import print_jobs
    from supernode.cli.live import connect
    from supernode.cli.output import console, say
    from supernode.cluster.resources import TRAININGJOBS

    async def read() -> None:
        async with connect(*_cluster(ctx, kubeconfig, context)) as reader:
            where = None if all_namespaces else namespace or reader.namespace
            found = [job async for job in reader.every(TRAININGJOBS, where)]
            if not found:
                say("no training jobs" + (f" in namespace {where}; -A shows all" if where else ""))
                return
            profiles = (await reader.profiles(say)).profiles
            print_jobs(console(), found, profiles, all_namespaces=all_namespaces)

    _run(read())


@app.command()
def why(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A TrainingJob or CardGroup.", metavar="[NAMESPACE/]NAME")],
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Explain how a job or group stands: conditions, placement, and spans against the minimum."""
    from supernode.cli.inventory import snapshot
    from supernode.cli.live import connect
    from supernode.cli.output import console, say
    from supernode.cli.why import print_case, read_case

    before, slash, last = name.rpartition("/")
    where = before if slash else namespace
    if not is_name(last) or (where is not None and not is_name(where)):
        raise BadInput(f"{name!r}: name a job or group, as NAMESPACE/NAME")

    async def read() -> None:
        async with connect(*_cluster(ctx, kubeconfig, context)) as reader:
            case = await read_case(reader, (where or reader.namespace, last))
            print_case(console(), case, snapshot(await reader.layout(say)))

    _run(read())


def main() -> None:
    """Run the command line. Ends the process: with 0, 3 (a planned request does not fit) or 1 (anything else)."""
    if sys.stdout is None:
        sys.exit("error: standard output is closed; the answer needs it")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            app(list(spread(sys.argv[1:])), prog_name="kubectl supernode")
        finally:
            sys.stdout.flush()
    except SystemExit as ended:
        sys.exit(BAD_INPUT if ended.code == _USAGE else ended.code)
    except SupernodeError as problem:
        sys.exit(f"error: {printable(str(problem))}")
    except OSError as problem:
        _let_go_of_output()
        sys.exit(f"error: standard output: cannot be written: {problem.strerror}")


def _let_go_of_output() -> None:
    """Or the interpreter tries to write once more what nobody took, and tells of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _cluster(ctx: typer.Context, kubeconfig: Path | None, context: str | None) -> tuple[Path | None, str | None]:
    """The cluster meant by the options, which may stand before or after the command."""
    before_kubeconfig, before_context = ctx.obj
    return kubeconfig or before_kubeconfig, context or before_context


def _snapshot(
    cluster: tuple[Path | None, str | None], described: "list[Document] | None", *, groups: bool = False
) -> "tuple[Snapshot, str]":
    """The fleet as described, or else of the cluster; and the namespace of what names none."""
    from supernode.cli.inventory import collect, snapshot
    from supernode.cli.output import say

    if described is not None:
        return snapshot(collect(described, say)), "default"

    from supernode.cli.live import connect

    async def read() -> "tuple[Snapshot, str]":
        async with connect(*cluster) as reader:
            return snapshot(await reader.inventory(say, groups=groups)), reader.namespace

    return _run(read())


def _run(work: Coroutine[object, object, T]) -> T:
    import asyncio

    return asyncio.run(work)


if __name__ == "__main__":
    main()
