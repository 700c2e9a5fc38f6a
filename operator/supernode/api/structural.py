"""Checks that a schema is structural, as apiextensions.k8s.io/v1 demands, before an API server sees it.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

TYPES: Final = frozenset({"object", "array", "string", "integer", "number", "boolean"})
ALLOWED: Final = frozenset(
    {
        "type",
        "format",
        "description",
        "default",
        "enum",
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "required",
        "properties",
        "additionalProperties",
        "items",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
        "x-kubernetes-validations",
    }
)
_LIST_TYPES: Final = frozenset({"atomic", "set", "map"})
_MAP_TYPES: Final = frozenset({"atomic", "granular"})
_SCALARS: Final = TYPES - {"object", "array"}


def structural_problems(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Every reason why `schema` is not structural, or why it uses a keyword this project's schemas do without."""
    here = path or "(root)"
    yield from (f"{here}: keyword {word} is not allowed" for word in sorted(set(schema) - ALLOWED))
    kind = schema.get("type")
    if kind not in TYPES and not schema.get("x-kubernetes-int-or-string"):
        yield f"{here}: type is {kind!r}; a structural schema has one type at every node"
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{here}: properties and additionalProperties exclude each other"
    if kind == "object":
        yield from _object_problems(schema, path)
    if kind == "array":
        yield from _array_problems(schema, path)
    for rule in schema.get("x-kubernetes-validations", ()):
        if not rule.get("rule") or not rule.get("message"):
            yield f"{here}: a validation needs a rule and a message"


def _object_problems(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    map_type = schema.get("x-kubernetes-map-type", "granular")
    if map_type not in _MAP_TYPES:
        yield f"{path}: x-kubernetes-map-type is {map_type!r}; say atomic or granular"
    yield from (
        f"{path}: {name} is required but not described" for name in set(schema.get("required", ())) - set(properties)
    )
    for name, child in properties.items():
        yield from structural_problems(child, f"{path}.{name}")
    values = schema.get("additionalProperties")
    if isinstance(values, bool):
        yield f"{path}: additionalProperties must be a schema"
    elif values is not None:
        yield from structural_problems(values, f"{path}[*]")


def _array_problems(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    items = schema.get("items")
    if not isinstance(items, Mapping):
        yield f"{path}: an array needs one schema for its items"
        return
    yield from structural_problems(items, f"{path}[]")
    list_type = schema.get("x-kubernetes-list-type")
    if list_type not in _LIST_TYPES:
        yield f"{path}: x-kubernetes-list-type is {list_type!r}; say atomic, set or map"
    if list_type == "set" and items.get("type") not in _SCALARS:
        yield f"{path}: a set holds scalars"
    keys = schema.get("x-kubernetes-list-map-keys", ())
    if (list_type == "map") != bool(keys):
        yield f"{path}: a list of type map has list-map-keys, no other has"
    for key in keys:
        if items.get("properties", {}).get(key, {}).get("type") not in _SCALARS:
            yield f"{path}: the key {key} is no scalar field of the items"
        if key not in items.get("required", ()) and "default" not in items.get("properties", {}).get(key, {}):
            yield f"{path}: the key {key} must be required or have a default"
