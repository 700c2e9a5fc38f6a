"""The example jobs and those of the demo are what the API takes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from supernode.api.reading import parse
from testbed.demo import INTACT_NODES, JOBS, NAMESPACE, NODES, REFUSED, RESOURCE
from testbed.fleet import Fleet
from testbed.nodes import render
from testbed.paths import PROJECT

FILES = sorted([*(PROJECT / "examples" / "jobs").glob("*.yaml"), *JOBS.glob("*.yaml")])


def documents(file: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_document_is_valid(file: Path) -> None:
    for document in documents(file):
        assert document["apiVersion"] == "supernode.io/v1alpha1"
        parse(document["kind"], document)


def test_the_demo_knows_its_jobs() -> None:
    jobs = [document for file in JOBS.glob("*.yaml") for document in documents(file)]
    assert {job["metadata"]["namespace"] for job in jobs} == {NAMESPACE}
    assert {job["metadata"]["name"] for job in jobs} > REFUSED


def test_the_demo_has_an_intact_superpod() -> None:
    selector = dict(term.split("=") for term in INTACT_NODES.split(","))
    fleet = Fleet.load(PROJECT / "examples" / "fleets" / "mixed.yaml")
    nodes = [node for node in render(fleet) if selector.items() <= node["metadata"]["labels"].items()]
    assert len(nodes) == NODES
    assert {node["status"]["allocatable"][RESOURCE] for node in nodes} == {"16"}
    assert not any(node["spec"]["unschedulable"] or node["spec"]["taints"] for node in nodes)
