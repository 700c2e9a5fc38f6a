"""What the image's build rests on; the build itself needs a container engine and is described in docs/install.md."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"


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


def test_the_default_base_has_the_python_that_is_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tested = project["tool"]["mypy"]["python_version"]
    assert f"\nARG BASE_IMAGE=python:{tested}-slim\n" in DOCKERFILE.read_text()


def test_a_build_needs_no_registry_but_those_it_is_told():
    text = DOCKERFILE.read_text()
    assert not re.search(r"^# *syntax=", text, re.MULTILINE), "it would be fetched from Docker Hub"
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE_IMAGE}"}
    before_the_first_pip = text[: text.index("pip install")]
    assert re.search(r"^ARG PIP_INDEX_URL$", before_the_first_pip, re.MULTILINE), "pip takes a mirror from it"
