"""The command line of the check: ``python -m testbed.check``. Its exit code is 1 when a promise is broken."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from testbed.check import check
from testbed.check.reading import read
from testbed.errors import TestbedError


def main() -> None:
    """Read a cluster, print the report."""
    parser = argparse.ArgumentParser(prog="python -m testbed.check", description="Check a cluster's placements.")
    parser.add_argument("--kubeconfig", type=Path, help="the cluster; by default the one kubectl uses")
    try:
        report = check(read(parser.parse_args().kubeconfig))
    except TestbedError as error:
        sys.exit(f"check: {error}")
    print(*report.lines(), sep="\n")
    sys.exit(1 if report.violations else 0)


if __name__ == "__main__":
    main()
