from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts" / "supernode-operator"


@pytest.fixture(scope="session")
def chart() -> Iterator[helm.Chart]:
    with helm.Chart.load(CHART) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def render(chart: helm.Chart) -> Callable[..., dict[tuple[str, str], dict[str, Any]]]:
    """The chart's objects by (kind, name), rendered with values as `helm install -n supernode` would."""

    def objects(
        values: dict[str, Any] | None = None, *, name: str = "supernode-operator"
    ) -> dict[tuple[str, str], dict[str, Any]]:
        chart.validate_schema(values)
        files = chart.render(values, name=name, namespace="supernode")
        manifests = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
        found = [
            document for text in manifests for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document
        ]
        by_name = {(document["kind"], document["metadata"]["name"]): document for document in found}
        assert len(by_name) == len(found)
        return by_name

    return objects
