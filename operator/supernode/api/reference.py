"""What people and editors read, from the same schemas: the reference pages and JSON schemas."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from supernode.api.conditions import Reason, ReasonKind
from supernode.api.crd import root_schema
from supernode.api.kinds import KINDS, Kind
from supernode.api.names import API_VERSION

_KIND_TEXT: Final[Mapping[ReasonKind, str]] = {
    ReasonKind.PROGRESS: "All is well, or on its way.",
    ReasonKind.WAITING: "The operator waits and tries again by itself when something changes.",
    ReasonKind.STALLED: "The operator cannot go on until somebody changes something; other jobs are not held up.",
    ReasonKind.FAILED: "The job failed, or part of it.",
}


def reasons_page() -> str:
    """`docs/reference/reasons.md`: every reason with its sentence and an anchor."""
    lines = [
        "# Reasons",
        "",
        "Every condition carries one of these words in `reason`; its `message` has the names and numbers.",
        "`kubectl supernode plan` uses the same words. This page is generated from `supernode.api.conditions`.",
    ]
    for kind in ReasonKind:
        lines += ["", f"## {kind.value.capitalize()}", "", _KIND_TEXT[kind]]
        for reason in Reason:
            if reason.kind is kind:
                lines += ["", f"### {reason.value}", "", reason.meaning]
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """`docs/reference/api.md`: every field of every kind."""
    lines = [
        f"# API reference: `{API_VERSION}`",
        "",
        "Generated from the models in `supernode.api`, as are the CustomResourceDefinitions in `crds/` and the schemas",
        "for [editors](../operations.md#editor-schemas) in `docs/schemas/`. **Required** fields are bold; a value",
        "after = is the default.",
    ]
    for kind in KINDS:
        schema = root_schema(kind)
        scope = "namespaced" if kind.namespaced else "cluster-scoped"
        lines += ["", f"## {kind.name}", "", f"{schema['description']}", ""]
        lines += [f"`{kind.plural}`, short `{kind.short}`, {scope}."]
        lines += _rules(schema, "metadata")
        for part in ("spec", "status"):
            lines += ["", f"### {kind.name} {part}", "", "| field | type | meaning |", "|---|---|---|"]
            lines += list(_rows(schema["properties"][part], ""))
            lines += _rules(schema["properties"][part], part)
    return "\n".join(lines) + "\n"


def _rows(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    required = schema.get("required", ())
    for name, child in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        shown = f"**`{here}`**" if name in required else f"`{here}`"
        yield f"| {shown} | {_type(child)} | {_cell(child.get('description', ''))} |"
        if child.get("type") == "array":
            yield from _rows(child["items"], f"{here}[]")
        else:
            yield from _rows(child, here)


def _type(schema: Mapping[str, Any]) -> str:
    if schema["type"] == "array":
        text = f"list of {_type(schema['items'])}"
    elif "enum" in schema:
        text = ", ".join(f"`{value}`" for value in schema["enum"])
    elif "additionalProperties" in schema:
        text = f"map of {_type(schema['additionalProperties'])}"
    else:
        text = str(schema["type"])
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema.get("exclusiveMinimum"):
        text += f" above {low}" + ("" if high is None else f" up to {high}")
    elif low is not None and high is not None:
        text += f" {low} to {high}"
    elif low is not None:
        text += f" from {low}"
    default = schema.get("default")
    if default is not None and not isinstance(default, Mapping):
        text += f" = `{str(default).lower() if isinstance(default, bool) else default}`"
    return text


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _rules(schema: Mapping[str, Any], path: str) -> list[str]:
    messages = list(_messages(schema, path))
    if not messages:
        return []
    return ["", "Rules, kept by the API server:", "", *(f"- `{where}`: {message}" for where, message in messages)]


def _messages(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """The rules of `schema` and, unless it is a whole object, of everything below."""
    for validation in schema.get("x-kubernetes-validations", ()):
        yield path, validation["message"]
    if path == "metadata":
        return
    for name, child in schema.get("properties", {}).items():
        yield from _messages(child, f"{path}.{name}")
    if isinstance(items := schema.get("items"), Mapping):
        yield from _messages(items, f"{path}[]")


def editor_schema(kind: Kind) -> dict[str, Any]:
    """A JSON schema of what people write, for completion and checks in editors."""
    root = root_schema(kind)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.name,
        "description": root["description"],
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind.name},
            "metadata": {"type": "object", "description": "Name, labels and so on, as in every Kubernetes object."},
            "spec": _plain(root["properties"]["spec"]),
            "status": {"type": "object", "description": "Written by the operator."},
        },
    }


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` in plain JSON Schema: no Kubernetes keywords, unknown fields refused where the server drops them."""
    plain: dict[str, Any] = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if plain.pop("exclusiveMinimum", False):
        plain["exclusiveMinimum"] = plain.pop("minimum")
    if "properties" in plain:
        plain["properties"] = {name: _plain(child) for name, child in plain["properties"].items()}
        plain["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    for key in ("items", "additionalProperties"):
        if isinstance(plain.get(key), Mapping):
            plain[key] = _plain(plain[key])
    return plain
