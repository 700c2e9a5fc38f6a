"""What is made from the models is fresh, structural, and as people expect it."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from supernode.api.__main__ import generated, main
from supernode.api.conditions import Reason
from supernode.api.crd import crd, root_schema
from supernode.api.kinds import KINDS, Kind
from supernode.api.reference import editor_schema
from supernode.api.structural import structural_problems

ROOT = Path(__file__).parents[2]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.mark.parametrize(("name", "content"), [pytest.param(*item, id=item[0]) for item in generated()])
def test_generated_files_are_fresh(name: str, content: str) -> None:
    """After a change of the models: `python -m supernode.api generate`."""
    assert (ROOT / name).read_text() == content


def test_generate_writes_and_check_finds_what_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command does in any folder what it does in the repository."""
    assert main(["generate", "--check", "--root", str(tmp_path)]) == 1
    assert "python -m supernode.api generate" in capsys.readouterr().err
    assert main(["generate", "--root", str(tmp_path)]) == 0
    assert main(["generate", "--check", "--root", str(tmp_path)]) == 0
    (tmp_path / "docs/reference/api.md").write_text("changed by hand")
    assert main(["generate", "--check", "--root", str(tmp_path)]) == 1
    assert "docs/reference/api.md" in capsys.readouterr().err


@each_kind
def test_schemas_are_structural(kind: Kind) -> None:
    """The API server takes nothing else."""
    assert list(structural_problems(root_schema(kind))) == []


@each_kind
def test_every_field_of_a_spec_is_described(kind: Kind) -> None:
    """`kubectl explain` has a sentence for everything."""

    def missing(schema: dict[str, Any], path: str) -> list[str]:
        found = [] if schema.get("description") or path.endswith("]") else [path]
        for name, child in schema.get("properties", {}).items():
            found += missing(child, f"{path}.{name}")
        return found + (missing(schema["items"], f"{path}[]") if "items" in schema else [])

    properties = root_schema(kind)["properties"]
    assert missing(properties["spec"], "spec") + missing(properties["status"], "status") == []


@each_kind
def test_a_status_has_no_default_but_that_nobody_has_looked_yet(kind: Kind) -> None:
    """Any other would be said by the API server where the operator has not looked."""
    status = root_schema(kind)["properties"]["status"]
    said = status.pop("default", None)
    assert '"default"' not in json.dumps(status)
    assert said == kind.initial_status
    if said is not None:
        jsonschema.validate(said, status)
        assert [(c["type"], c["status"]) for c in said["conditions"]] == [("Ready", "False"), ("Reconciling", "True")]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"$ref": "#/x"}, "keyword $ref is not allowed"),
        ({"type": None}, "one type at every node"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "keyword anyOf is not allowed"),
        ({"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}, "exclude each other"),
        ({"properties": {"a": {}}}, ".a: type is None"),
        ({"required": ["b"]}, "b is required but not described"),
        ({"additionalProperties": True}, "must be a schema"),
        ({"type": "array"}, "needs one schema for its items"),
        ({"type": "array", "items": {"type": "string"}}, "say atomic, set or map"),
        ({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"}, "a set holds scalars"),
        ({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}, "has list-map-keys"),
        (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
            },
            "must be required or have a default",
        ),
        ({"x-kubernetes-map-type": "map"}, "say atomic or granular"),
        ({"x-kubernetes-validations": [{"rule": "true"}]}, "needs a rule and a message"),
    ],
)
def test_what_is_not_structural_is_found(change: dict[str, Any], problem: str) -> None:
    """Each rule of the checker catches its mistake."""
    assert any(problem in found for found in structural_problems({"type": "object"} | change))


@each_kind
def test_crds_have_what_kubectl_shows(kind: Kind) -> None:
    """Short names, a category, a status subresource, and columns that end in the age."""
    spec = crd(kind)["spec"]
    (version,) = spec["versions"]
    assert spec["names"]["shortNames"] == [kind.short]
    assert spec["names"]["categories"] == ["supernode-all"]
    assert version["subresources"] == {"status": {}}
    assert version["additionalPrinterColumns"][-1]["name"] == "Age"


def test_no_two_words_of_kubectl_are_the_same() -> None:
    """kubectl takes a category before a kind of the same name, and then refuses object names."""
    names = [crd(kind)["spec"]["names"] for kind in KINDS]
    words = [word for name in names for word in (name["plural"], name["singular"], *name["shortNames"])]
    words += {category for name in names for category in name["categories"]}
    assert len(words) == len(set(words))


@each_kind
def test_editor_schemas_are_json_schemas(kind: Kind) -> None:
    """Editors read draft 2020-12."""
    jsonschema.Draft202012Validator.check_schema(editor_schema(kind))


def test_editors_take_the_profiles_and_mark_mistakes() -> None:
    """A profile that ships is clean; a misspelt field is not."""
    (kind,) = (kind for kind in KINDS if kind.name == "SuperNodeProfile")
    validator = jsonschema.Draft202012Validator(editor_schema(kind))
    for path in sorted((ROOT / "examples/profiles").glob("*.yaml")):
        profile = yaml.safe_load(path.read_text())
        assert not list(validator.iter_errors(profile))
        bad = copy.deepcopy(profile)
        bad["spec"]["levels"][0]["fanout"] = bad["spec"]["levels"][0].pop("fanOut")
        assert {error.validator for error in validator.iter_errors(bad)} == {"required", "additionalProperties"}


def test_every_reason_has_its_place_on_the_page() -> None:
    """Messages link to `docs/reference/reasons.md#<anchor>`."""
    headings = {
        line.removeprefix("### ").lower(): line
        for line in (ROOT / "docs/reference/reasons.md").read_text().splitlines()
        if line.startswith("### ")
    }
    assert set(headings) == {reason.anchor for reason in Reason}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_one_word_with_a_sentence(reason: Reason) -> None:
    """As metav1.Condition wants it, and as people read it."""
    assert reason.value.isidentifier()
    assert reason.value[0].isupper()
    assert reason.name == "".join(f"_{c}" if c.isupper() else c.upper() for c in reason.value).removeprefix("_")
    assert reason.meaning.endswith(".")
    assert Reason(reason.value) is reason
