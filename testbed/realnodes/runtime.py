"""What runs instead of runc: puts the device files of a container's cards in, then runs runc.

The vendors' own runtimes do this too: they read ``ASCEND_VISIBLE_DEVICES`` or ``NVIDIA_VISIBLE_DEVICES`` from the
container's environment, whoever set it, the device plugin or the pod. A card here is a file that reads like /dev/null.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

_NULL = {"type": "c", "major": 1, "minor": 3, "fileMode": 0o666}


def give_devices(spec: dict[str, Any], files: dict[str, str]) -> None:
    """Add to an OCI runtime spec the device files of the cards its environment names.

    files: for each variable, the beginning of the files' names. A value that is no list of numbers, as images set it
    (``all``, ``void``), gives nothing: only what plugin or operator wrote counts here.
    """
    # The last of a name counts, as for the container itself.
    environment = dict(entry.partition("=")[::2] for entry in spec["process"].get("env", ()))
    for variable, beginning in files.items():
        indices = environment.get(variable, "").split(",")
        if all(index.isdecimal() for index in indices):
            devices = spec["linux"].setdefault("devices", [])
            devices.extend({"path": f"{beginning}{index}", **_NULL} for index in indices)


def main() -> None:
    """``runtime.py RUNC FILES [runc's own arguments]``; FILES is ``give_devices``' map in JSON."""
    runc, files, *arguments = sys.argv[1:]
    if "create" in arguments:
        bundle = next((arguments[at + 1] for at, each in enumerate(arguments) if each == "--bundle"), ".")
        config = Path(bundle) / "config.json"
        spec = json.loads(config.read_text())
        give_devices(spec, json.loads(files))
        config.write_text(json.dumps(spec))
    os.execv(runc, [runc, *arguments])


if __name__ == "__main__":
    main()
