from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from supernode.api.reading import parse
from supernode.api.trainingjob import TrainingJob
from supernode.topology.profile import Profile

PROFILES = Path(__file__).parents[2] / "examples" / "profiles"


@pytest.fixture(scope="session")
def profile() -> Callable[..., Profile]:
    """A shipped profile by name, with parts of its spec replaced."""

    def load(name: str, **changes: Any) -> Profile:
        manifest = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
        manifest["spec"] |= changes
        return Profile.from_spec(name, parse("SuperNodeProfile", manifest).spec)

    return load


@pytest.fixture(scope="session")
def job() -> Callable[..., TrainingJob]:
    """A TrainingJob from its spec; `template` is the spec of its pods, by default one container that names no cards."""

    def build(
        template: Mapping[str, Any] | None = None, *, workers: Mapping[str, Any] | None = None, **spec: Any
    ) -> TrainingJob:
        pod = {"containers": [{"name": "main", "image": "trainer"}], **(template or {})}
        return parse(
            "TrainingJob",
            {
                "apiVersion": "supernode.io/v1alpha1",
                "kind": "TrainingJob",
                "metadata": {"name": "llama", "namespace": "team-a", "uid": "7d0c"},
                "spec": {**spec, "workers": {**(workers or {}), "template": {"spec": pod}}},
            },
        )

    return build
