"""What real nodes leave on a machine when their processes are gone and that no folder holds: a bridge, control groups.

Mounts, network namespaces and interfaces of pods end by themselves with the namespaces of a node.
"""

from __future__ import annotations

import json
from pathlib import Path

from testbed.realnodes import cgroups, network

_RECORD = "real-nodes.json"


def note(folder: Path, bridge: str, group: str) -> None:
    """Write down, in a bed's folder, what is about to be made."""
    (folder / _RECORD).write_text(json.dumps({"bridge": bridge, "group": group}))


def remove(folder: Path) -> None:
    """Remove what was noted, if anything; the bed's processes must have ended. Safe to repeat."""
    record = folder / _RECORD
    if record.exists():
        noted = json.loads(record.read_text())
        network.remove(noted["bridge"])
        cgroups.remove(noted["group"])
        record.unlink()
