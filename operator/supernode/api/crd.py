"""CustomResourceDefinitions from the models.

pydantic's JSON schema says nearly everything; what is left is to make it structural (no references, no null types), to
put the defaults where the API server fills them in, and to add the CEL rules of `base.Rule`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from supernode.api.base import ApiModel, Rule, StatusModel
from supernode.api.kinds import CATEGORY, KINDS, Column, Kind
from supernode.api.names import GROUP, VERSION

Schema = dict[str, Any]

_KEPT: Final = (
    "type",
    "format",
    "description",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)


def crd(kind: Kind) -> Schema:
    """The CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": [CATEGORY],
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": root_schema(kind)},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                }
            ],
        },
    }


def _column(column: Column) -> Schema:
    printed: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        printed["description"] = column.description
    if column.wide:
        printed["priority"] = 1
    return printed


def root_schema(kind: Kind) -> Schema:
    """The structural schema of a whole object."""
    full = kind.model.model_json_schema(by_alias=True, mode="validation")
    definitions = full.get("$defs", {})
    models = {model.__name__: model for model in _subclasses(ApiModel)}
    schema: Schema = {
        "type": "object",
        "description": _sentence(kind.model),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
            "kind": {"type": "string", "description": f"Always {kind.name}."},
            "metadata": {"type": "object"},
            "spec": _structural(full["properties"]["spec"], definitions, models, in_status=False),
            "status": _structural(full["properties"]["status"], definitions, models, in_status=True),
        },
    }
    # One writer owns a status as a whole: to record it field by field makes each write of it a quarter dearer (ADR 12).
    schema["properties"]["status"]["x-kubernetes-map-type"] = "atomic"
    if kind.initial_status is not None:
        schema["properties"]["status"]["default"] = kind.initial_status
    if kind.model.rules:
        schema["x-kubernetes-validations"] = [_validation(rule) for rule in kind.model.rules]
    return schema


def _subclasses(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in model.__subclasses__():
        yield child
        yield from _subclasses(child)


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _structural(node: Mapping[str, Any], definitions: Schema, models: Schema, *, in_status: bool) -> Schema:
    """`node` of pydantic's schema without references, null types and titles, with rules and defaults."""
    merged, model = _resolve(node, definitions, models)
    schema: Schema = {key: merged[key] for key in _KEPT if key in merged}
    if "const" in merged:
        schema["enum"] = [merged["const"]]
    if "exclusiveMinimum" in merged:
        schema |= {"minimum": merged["exclusiveMinimum"], "exclusiveMinimum": True}
    if model is not None and "description" not in node:
        schema["description"] = _sentence(model)
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    default = merged.get("default")
    if not in_status and default is not None and default not in ([], {}):
        schema["default"] = default
    if merged.get("type") == "array":
        schema.setdefault("x-kubernetes-list-type", "atomic")
        schema["items"] = _structural(merged["items"], definitions, models, in_status=in_status)
    if "properties" in merged:
        if "required" in merged:
            schema["required"] = merged["required"]
        schema["properties"] = {
            name: _structural(child, definitions, models, in_status=in_status)
            for name, child in merged["properties"].items()
        }
        if not in_status:
            _default_objects(model, schema["properties"])
    values = merged.get("additionalProperties")
    if values is True:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    elif isinstance(values, Mapping):
        schema["additionalProperties"] = _structural(values, definitions, models, in_status=in_status)
    if model is not None and issubclass(model, ApiModel) and model.rules:
        schema["x-kubernetes-validations"] = [_validation(rule) for rule in model.rules]
    return schema


def _resolve(node: Mapping[str, Any], definitions: Schema, models: Schema) -> tuple[Schema, type[BaseModel] | None]:
    """`node` with its reference and its null alternative replaced by what they stand for, and the model behind it."""
    merged, model = dict(node), None
    while "$ref" in merged or "anyOf" in merged:
        if "anyOf" in merged:
            (target,) = (option for option in merged.pop("anyOf") if option.get("type") != "null")
        else:
            name = merged.pop("$ref").rpartition("/")[2]
            target, model = definitions[name], models.get(name)
        merged = {**target, **merged}
    return merged, model


def _default_objects(model: type[BaseModel] | None, properties: Schema) -> None:
    """Gives objects that are made when absent the defaults inside them, so that the API server fills them in.

    They are written out: the API server checks a default against CEL before it would fill in what is nested.
    """
    for field in model.model_fields.values() if model else ():
        factory = field.default_factory
        if isinstance(factory, type) and issubclass(factory, ApiModel) and not issubclass(factory, StatusModel):
            child = properties[field.alias or ""]
            default = {name: inner["default"] for name, inner in child["properties"].items() if "default" in inner}
            if default:
                child["default"] = default


def _validation(rule: Rule) -> Schema:
    validation: Schema = {"rule": rule.cel, "message": rule.message}
    if rule.field:
        validation["fieldPath"] = rule.field
    if rule.holds is None:
        validation["reason"] = "FieldValueForbidden"
    return validation


def all_crds() -> Iterable[tuple[str, Schema]]:
    """File name and content of every CustomResourceDefinition."""
    return ((f"{kind.crd_name}.yaml", crd(kind)) for kind in KINDS)
