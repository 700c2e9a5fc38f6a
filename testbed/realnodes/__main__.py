"""``python -m testbed.realnodes prepare``: install, build and make what real nodes need, or say why they cannot be."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from testbed.build import MODULES, REAL_NODES, build, complete
from testbed.errors import TestbedError
from testbed.realnodes import images, needs

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Real nodes on the test bed: see docs/testbed.md.")
_BEGAN = time.monotonic()


def _say(message: str) -> None:
    print(f"[{time.monotonic() - _BEGAN:6.1f} s] {message}", file=sys.stderr, flush=True)


@app.callback()
def _real_nodes() -> None:
    """Real nodes on the test bed."""


@app.command()
def prepare(
    install: Annotated[
        bool, typer.Option(help="Install missing packages of the distribution, as is always done in CI.")
    ] = False,
) -> None:
    """Build every binary of the test bed and, where real nodes can run, the image of their pods.

    Where they cannot, say why, which in CI (the variable of that name) is an error.
    """
    try:
        if install or needs.in_ci():
            needs.install(_say)
        needs.check()
    except needs.NeedsError as reason:
        if install or needs.in_ci():
            raise
        build(_say)
        _say(f"no real nodes here: {reason}")
        return
    build(_say, MODULES, more_follow=not complete(REAL_NODES))
    build(_say, REAL_NODES)
    images.build(_say)


def main() -> None:
    """Run one command; what cannot be done is one message on stderr and exit code 1."""
    try:
        app()
    except TestbedError as error:
        sys.exit(f"testbed: {error}")


if __name__ == "__main__":
    main()
