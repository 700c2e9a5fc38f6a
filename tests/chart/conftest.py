from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

CHARTS = Path(__file__).parents[2] / "charts"
Objects = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="session")
def chart() -> Iterator[helm.Chart]:
    with helm.Chart.load(CHARTS / "supernode-operator") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def profiles_chart() -> Iterator[helm.Chart]:
    with helm.Chart.load(CHARTS / "supernode-profiles") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def render(chart: helm.Chart) -> Callable[..., Objects]:
    """The operator chart's objects by (kind, name), for some values."""
    return lambda values=None: objects(chart, values)


@pytest.fixture(scope="session")
def render_profiles(profiles_chart: helm.Chart) -> Callable[..., Objects]:
    """The profiles chart's objects by (kind, name), for some values."""
    return lambda values=None: objects(profiles_chart, values)


def objects(chart: helm.Chart, values: dict[str, Any] | None) -> Objects:
    """What `helm install <name of the chart> -n supernode` would create."""
    chart.validate_schema(values)
    files = chart.render(values, name=chart.name, namespace="supernode")
    manifests = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
    found = [document for text in manifests for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]
    by_name = {(document["kind"], document["metadata"]["name"]): document for document in found}
    assert len(by_name) == len(found)
    return by_name
