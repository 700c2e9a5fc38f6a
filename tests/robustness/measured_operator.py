"""The operator's process, which on SIGUSR1 writes what it holds: `python measured_operator.py REPORT [options]`."""

import asyncio
import gc
import json
import resource
import signal
import sys
import tracemalloc
from pathlib import Path
from typing import Any

from supernode.app.main import main

_PAGE_KIB = resource.getpagesize() // 1024


def _report(path: Path) -> None:
    gc.collect()
    traced = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, tracemalloc.__file__)])
    top = traced.statistics("lineno")
    told = {
        "rss_kib": int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_KIB,
        "traced_kib": sum(statistic.size for statistic in top) // 1024,
        "tasks": len(asyncio.all_tasks(asyncio.get_running_loop())),
        "top": [f"{s.size // 1024} KiB in {s.count} blocks: {s.traceback}" for s in top[:10]],
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(told))
    part.rename(path)


if __name__ == "__main__":
    report = Path(sys.argv.pop(1))

    def asked(*_: Any) -> None:
        """Write the report."""
        _report(report)

    tracemalloc.start()
    signal.signal(signal.SIGUSR1, asked)
    main()
