"""`parse`: strict types, helpful problems, nothing lost of what it read."""

import copy
import subprocess
import sys
from typing import Any

import pytest

from supernode.api.cardgroup import CardGroup
from supernode.api.errors import FieldProblem, InvalidObject, SupernodeError
from supernode.api.profile import SuperNodeProfile
from supernode.api.reading import Model, parse, parse_stored
from supernode.api.supernode import SuperNode
from supernode.api.trainingjob import TrainingJob, total_cards


def job(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "train", "image": "example.com/train:1"}]}}
    return {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "llama", "namespace": "research", "creationTimestamp": None},
        "spec": {"cards": 768, "workers": {"template": template}} | spec,
    }


def test_defaults_are_those_of_the_schema() -> None:
    """An object that never met the API server is the same as one that did."""
    read = parse(TrainingJob, job())
    assert (read.spec.runtime, read.spec.priority, read.spec.suspend) == ("plain", 0, False)
    assert read.spec.fault_policy.max_restarts == 3
    assert read.spec.objective == "bandwidth"


def test_the_template_stays_as_it_is_written() -> None:
    """Fields the schema does not know, and their nulls, reach the pod."""
    template = {
        "metadata": {"annotations": {"a": "b"}, "creationTimestamp": None},
        "spec": {
            "containers": [{"name": "a", "image": "b", "env": [{"name": "X", "newer": None}], "newField": {"x": [1]}}],
            "hostPID": True,
            "setHostnameAsFQDN": False,
            "anotherNewField": None,
        },
    }
    assert parse(TrainingJob, job(workers={"template": template})).spec.workers.template.to_dict() == template


def test_a_sidecar_is_an_init_container_that_is_always_restarted() -> None:
    """A container that is so never ends, and is refused."""
    sidecar = {"name": "log", "image": "i", "restartPolicy": "Always"}
    containers = [{"name": "train", "image": "i"}]
    parse(TrainingJob, job(workers={"template": {"spec": {"containers": containers, "initContainers": [sidecar]}}}))
    with pytest.raises(InvalidObject, match=r"containers\[1\]\.restartPolicy: restartPolicy must not be Always"):
        parse(TrainingJob, job(workers={"template": {"spec": {"containers": [*containers, sidecar]}}}))


@pytest.mark.parametrize(
    "spec",
    [
        {"priority": None, "suspend": None, "runtime": None, "faultPolicy": None, "topology": None},
        {"faultPolicy": {"maxRestarts": None}, "topology": {"blocks": None, "maxSpan": {"rack": None}}},
    ],
)
def test_fields_that_are_left_empty_are_absent(spec: dict[str, Any]) -> None:
    """As YAML with nothing after a colon is read, and as the API server takes it."""
    absent = {"faultPolicy": {}, "topology": {}} if spec["topology"] else {}
    assert parse(TrainingJob, job(**spec)) == parse(TrainingJob, job(**absent))


def test_fields_of_a_template_that_are_left_empty_are_absent() -> None:
    container = {"name": "a", "image": "b", "env": None, "resources": {"limits": None, "claims": None}}
    template = {
        "metadata": {"labels": {"a": None}, "annotations": None},
        "spec": {"containers": [container], "restartPolicy": None, "affinity": {"podAffinity": {"x": None}}},
    }
    assert parse(TrainingJob, job(workers={"template": template})).spec.workers.template.to_dict() == {
        "metadata": {"labels": {}},
        "spec": {
            "containers": [{"name": "a", "image": "b", "resources": {}}],
            "affinity": {"podAffinity": {"x": None}},
        },
    }


def test_metadata_is_nobody_elses_affair() -> None:
    read = parse(TrainingJob, job() | {"metadata": {"name": "a", "labels": None, "finalizers": None, "uid": None}})
    assert read.metadata.to_dict() == {"name": "a"}


def test_fields_have_one_name() -> None:
    """The one that the API server knows."""
    with pytest.raises(InvalidObject, match=r"spec\.cards_per_member: is unknown; did you mean cardsPerMember\?"):
        parse(CardGroup, {"metadata": {"name": "g"}, "spec": {"members": 2, "cards_per_member": 8}})


def test_all_problems_are_told_at_once() -> None:
    """One round of corrections is enough."""
    with pytest.raises(InvalidObject) as caught:
        parse("TrainingJob", job(cards="768", prioritty=1, runtime="tensorflow"))
    assert caught.value.kind == "TrainingJob"
    assert caught.value.name == "research/llama"
    assert {problem.path for problem in caught.value.problems} == {"spec.cards", "spec.prioritty", "spec.runtime"}
    assert FieldProblem("spec.prioritty", "is unknown; did you mean priority?") in caught.value.problems
    assert isinstance(caught.value, SupernodeError)


def test_an_unknown_field_far_from_any_lists_the_known_ones() -> None:
    """Also inside lists."""
    obj = {
        "metadata": {"name": "g"},
        "spec": {"members": 2, "topology": {"blocks": [{"level": "a", "members": 1, "zz": 1}]}},
    }
    with pytest.raises(
        InvalidObject, match=r"spec\.topology\.blocks\[0\]\.zz: is unknown; known fields are level, members"
    ):
        parse(CardGroup, obj)


def _stored(kind: str, *places: str, **more: Any) -> dict[str, Any]:
    """An object as the API server gives it. more: fields to add to its spec, or to the parts of it at these places."""
    specs: dict[str, dict[str, Any]] = {
        "TrainingJob": job()["spec"] | {"topology": {"blocks": [{"level": "node", "members": 8}]}},
        "CardGroup": {"members": 2, "cardsPerMember": 8, "topology": {"blocks": [{"level": "node", "members": 2}]}},
        "SuperNode": {"profile": "p", "nodeSelector": {"a": "b"}},
        "SuperNodeProfile": {"card": {"resource": "example.com/card"}, "levels": [{"name": "node", "fanOut": 8}]},
    }
    spec = copy.deepcopy(specs[kind])
    for place in places or ("",):
        here: Any = spec
        for part in filter(None, place.split(".")):
            here = here[int(part) if part.isdigit() else part]
        here.update(more)
    return {"apiVersion": "supernode.io/v1alpha1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        (TrainingJob, ("", "workers", "topology.blocks.0")),
        (CardGroup, ("", "topology", "topology.blocks.0")),
        (SuperNode, ("",)),
        (SuperNodeProfile, ("", "card", "levels.0")),
    ],
)
def test_what_a_newer_definition_adds_to_a_stored_object_is_passed_over(
    kind: type[Model], places: tuple[str, ...]
) -> None:
    """It adds the defaults of its own fields to every object that is read."""
    obj = _stored(kind.__name__, *places, ofTomorrow={"a": [1]})
    assert parse_stored(kind, obj) == parse_stored(kind, _stored(kind.__name__))
    with pytest.raises(InvalidObject, match="ofTomorrow: is unknown"):
        parse(kind, obj)


def test_a_stored_template_keeps_what_no_definition_names() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "b", "newField": 1}], "another": 2}}
    read = parse_stored(TrainingJob, job(workers={"template": template, "ofTomorrow": 3}))
    assert read.spec.workers.template.to_dict() == template


def test_what_else_is_wrong_with_a_stored_object_is_told() -> None:
    with pytest.raises(InvalidObject) as caught:
        parse_stored(CardGroup, _stored("CardGroup", members=0, ofTomorrow=1))
    assert [problem.path for problem in caught.value.problems] == ["spec.members"]
    with pytest.raises(InvalidObject, match="profile has one of its own"):  # rules are looked at, too
        parse_stored(CardGroup, _stored("CardGroup", profile="p", resource="example.com/card", ofTomorrow=1))


@pytest.mark.parametrize("obj", [{}, {"spec": None}, {"metadata": "llama", "spec": {}}, {"metadata": {"name": "a"}}])
@pytest.mark.parametrize("kind", ["TrainingJob", "CardGroup", "SuperNode", "SuperNodeProfile"])
def test_rubbish_is_refused(kind: str, obj: dict[str, Any]) -> None:
    """Whatever it is, the error is ours."""
    with pytest.raises(InvalidObject):
        parse(kind, obj)


def test_another_kind_is_refused() -> None:
    """Both the kind asked for and the kind written must be ours."""
    with pytest.raises(InvalidObject, match="Deployment is unknown; use one of SuperNodeProfile"):
        parse("Deployment", {"metadata": {"name": "a"}})
    with pytest.raises(InvalidObject, match=r"kind: 'TrainingJob' is not allowed; use 'CardGroup'"):
        parse("CardGroup", job())


def test_what_json_cannot_say_is_refused() -> None:
    """YAML can hold more than JSON."""
    with pytest.raises(InvalidObject, match="not expressible as JSON"):
        parse("TrainingJob", job(cards={1, 2}))


def nested(depth: int) -> Any:
    """Something that many others are around of."""
    value: Any = "core"
    for _ in range(depth):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize("depth", [98, 110, 130, 250, 600])
@pytest.mark.parametrize("read", [parse, parse_stored])
def test_what_is_nested_too_deep_is_refused(read: Any, depth: int) -> None:
    """Readers and writers of JSON give up from different levels on; the answer names the place all the same."""
    container = {"name": "train", "image": "i", "deep": nested(depth)}
    obj = job(workers={"template": {"spec": {"containers": [container]}}}, tomorrow=1)
    where = r"spec.workers.template.spec.containers\[0\].deep.a…: lies under more than 190 levels of nesting; take it"
    with pytest.raises(InvalidObject, match=where):
        read(TrainingJob, obj)


def test_what_is_nested_but_not_too_deep_is_read() -> None:
    container = {"name": "train", "image": "i", "deep": nested(90)}
    read = parse_stored(TrainingJob, job(workers={"template": {"spec": {"containers": [container]}}}))
    assert read.spec.workers.template.to_dict()["spec"]["containers"] == [container]


def test_a_status_of_a_newer_operator_is_read() -> None:
    """Statuses are written by programs; unknown fields are passed over."""
    status = {"phase": "Running", "lastCheckpoint": "x", "pods": {"running": 48, "terminating": 1}}
    read = parse(TrainingJob, job() | {"status": status})
    assert read.status.pods.running == 48


@pytest.mark.parametrize(
    ("spec", "cards"),
    [
        ({"cards": 768}, 768),
        ({"replicas": 4, "cardsPerWorker": 8}, 32),
        ({"replicas": 4}, None),
    ],
)
def test_total_cards(spec: dict[str, int], cards: int | None) -> None:
    """Known without a profile, or not."""
    written = job(workers={k: v for k, v in spec.items() if k != "cards"} | job()["spec"]["workers"])
    written["spec"]["cards"] = spec.get("cards")
    assert total_cards(parse(TrainingJob, written).spec) == cards


def test_what_is_read_can_be_written_and_read_again() -> None:
    """`to_dict` gives a manifest."""
    read = parse(TrainingJob, job())
    assert parse(TrainingJob, read.to_dict()) == read
    assert read.to_dict()["metadata"] == {"name": "llama", "namespace": "research"}


def test_reading_needs_no_generator() -> None:
    """The command line starts with `parse` and without what makes CRDs and pages."""
    code = "import sys, supernode.api.reading; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"supernode.api.crd", "supernode.api.reference", "yaml"}.isdisjoint(loaded.split())
