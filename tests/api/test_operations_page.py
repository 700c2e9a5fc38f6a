"""What docs/operations.md has people write is what the API knows."""

import json
import re
from pathlib import Path

import yaml

from supernode.api.reading import parse
from supernode.api.supernode import SuperNode, SuperNodeSpec
from supernode.api.trainingjob import JobPhase, TrainingJobSpec

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]


def test_the_supernode_is_one() -> None:
    [manifest] = [block for block in BLOCKS if block.get("kind") == "SuperNode"]
    assert isinstance(parse("SuperNode", manifest), SuperNode)


def test_patches_set_fields_that_there_are() -> None:
    specs = {"trainingjob": TrainingJobSpec, "supernode": SuperNodeSpec}
    patches = re.findall(r"kubectl patch (trainingjob|supernode) .* -p '(\{\"spec\".*\})'", PAGE)
    assert len(patches) == 3
    for kind, patch in patches:
        known = {field.alias or name for name, field in specs[kind].model_fields.items()}
        assert json.loads(patch)["spec"].keys() <= known


def test_the_health_check_knows_every_phase_that_is_not_on_its_way() -> None:
    [checks] = [block["data"] for block in BLOCKS if "data" in block]
    [table] = re.findall(r"known = \{(.*)\}", checks["resource.customizations.health.supernode.io_TrainingJob"])
    assert set(re.findall(r"(\w+) =", table)) == set(JobPhase) - {JobPhase.PENDING, JobPhase.STARTING}
