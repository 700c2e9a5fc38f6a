"""What the image's build rests on; the build itself needs a container engine and is described in docs/install.md."""

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"


def closure(package: str) -> set[str]:
    """The package and all it needs on this Python, without extras."""
    found: set[str] = set()
    queue = [package]
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            needed = map(Requirement, requires(name) or ())
            queue += [need.name for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def test_the_build_backend_is_locked_with_all_it_needs():
    picked = re.search(r"keep = /\^\((.+)\)==/", DOCKERFILE.read_text())
    assert picked is not None
    assert set(picked[1].split("|")) == closure("hatchling")
