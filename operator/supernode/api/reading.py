"""Reading objects: `parse` turns a manifest into a model, or says which fields are wrong and what to do; `parse_stored`
does so with what an API server has taken."""

import copy
import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeVar, overload

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from supernode.api import kinds
from supernode.api.base import RULE_BROKEN, ApiModel
from supernode.api.cardgroup import CardGroup
from supernode.api.errors import FieldProblem, InvalidObject
from supernode.api.kinds import Model
from supernode.api.nulls import without_nulls
from supernode.api.profile import SuperNodeProfile
from supernode.api.supernode import SuperNode
from supernode.api.trainingjob import TrainingJob

A = TypeVar("A", bound=ApiModel)
M = TypeVar("M", SuperNodeProfile, SuperNode, CardGroup, TrainingJob)

READABLE_DEPTH: Final = 190
"""Levels of nesting that all readers and writers of JSON take; they give up from 200 levels on."""

_SHOWN_STEPS = 8

KINDS: Final[Mapping[str, type[Model]]] = {kind.name: kind.model for kind in kinds.KINDS}


@overload
def parse(kind: type[M], obj: Mapping[str, Any]) -> M: ...
@overload
def parse(kind: Literal["SuperNodeProfile"], obj: Mapping[str, Any]) -> SuperNodeProfile: ...
@overload
def parse(kind: Literal["SuperNode"], obj: Mapping[str, Any]) -> SuperNode: ...
@overload
def parse(kind: Literal["CardGroup"], obj: Mapping[str, Any]) -> CardGroup: ...
@overload
def parse(kind: Literal["TrainingJob"], obj: Mapping[str, Any]) -> TrainingJob: ...
@overload
def parse(kind: str, obj: Mapping[str, Any]) -> Model: ...
def parse(kind: str | type[M], obj: Mapping[str, Any]) -> Model:
    """The model of an object as the API server or a YAML file gives it. Raises InvalidObject.

    Holds for schema and CEL rules alike, so that an object that never met the API server gets the same answer.
    Types are strict, as in the API server: "3" is no number. Null in the place of a field is as if it were absent.
    """
    model = KINDS.get(kind) if isinstance(kind, str) else kind
    if model is None:
        problem = FieldProblem("kind", f"{kind} is unknown; use one of {', '.join(KINDS)}")
        raise InvalidObject(str(kind), _name(obj), [problem])
    try:
        return _validated(model, obj)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=True)
        problems = [
            _not_json(obj, each["msg"]) if each["type"] == "json_invalid" else _problem(model, each)
            for each in found
            if not _follows(each)
        ]
        raise InvalidObject(model.__name__, _name(obj), problems) from None
    except orjson.JSONEncodeError as error:
        raise InvalidObject(model.__name__, _name(obj), [_not_json(obj, str(error))]) from None


def parse_stored(kind: type[M], obj: Mapping[str, Any]) -> M:
    """The model of an object that an API server has stored. Raises InvalidObject.

    A field that this version does not know is passed over: the API server refuses those that nobody knows, and a newer
    definition adds the defaults of its own fields to every object that is read.
    """
    try:
        return _validated(kind, obj)
    except orjson.JSONEncodeError:
        return parse(kind, obj)
    except ValidationError as error:
        return parse(kind, _known_part(obj, error))


def _validated(model: type[A], obj: Mapping[str, Any]) -> A:
    body = orjson.dumps(obj)
    if b":null" in body:
        body = orjson.dumps(without_nulls(model, obj))
    return model.model_validate_json(body, strict=True, by_alias=True, by_name=False)


def _known_part(obj: Mapping[str, Any], error: ValidationError) -> Mapping[str, Any]:
    """The object without the fields that this error calls unknown."""
    known = copy.deepcopy(dict(obj))
    for details in error.errors(include_url=False, include_input=False, include_context=False):
        if details["type"] == "extra_forbidden":
            *path, name = details["loc"]
            holder: Any = known
            for part in path:
                holder = holder[part]
            del holder[name]
    return known


def _name(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping):
        return ""
    name, namespace = metadata.get("name") or "", metadata.get("namespace")
    return f"{namespace}/{name}" if namespace else str(name)


def _path(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _follows(details: ErrorDetails) -> bool:
    """Whether it says only that a list is too short without the items that are wrong."""
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def _problem(model: type[ApiModel], details: ErrorDetails) -> FieldProblem:
    path = _path(details["loc"])
    context = details.get("ctx", {})
    match details["type"]:
        case "missing":
            return FieldProblem(path, "is required; set it")
        case "extra_forbidden":
            return FieldProblem(path, _unknown_field(model, details["loc"]))
        case "enum" | "literal_error":
            return FieldProblem(path, f"{details['input']!r} is not allowed; use {context['expected']}")
        case "string_pattern_mismatch":
            return FieldProblem(path, f"{details['input']!r} does not match {context['pattern']}; correct it")
        case kind if kind == RULE_BROKEN:
            return FieldProblem((path + context["field"]).removeprefix("."), context["message"])
        case "too_short":
            return FieldProblem(path, f"must have at least {_items(context['min_length'])}; add what is missing")
        case "too_long":
            has = len(details["input"])
            return FieldProblem(path, f"must have at most {_items(context['max_length'])}, has {has}; remove some")
        case "twice":
            return FieldProblem(path, details["msg"])
        case _:
            message = details["msg"].removeprefix("Input ")
            return FieldProblem(path, f"{message}, got {_brief(details['input'])}; correct it")


def _items(count: int) -> str:
    return f"{count} item{'' if count == 1 else 's'}"


def _not_json(obj: Mapping[str, Any], complaint: str) -> FieldProblem:
    """What an encoder or a decoder of JSON complains of; of nesting it does not say where."""
    if steps := _too_deep(obj):
        return FieldProblem(f"{_path(steps)}…", f"lies under more than {READABLE_DEPTH} levels of nesting; take it out")
    return FieldProblem("", f"not expressible as JSON: {complaint}")


def _too_deep(obj: Mapping[str, Any]) -> tuple[int | str, ...]:
    """The first steps to what is nested too deep; none where nothing is."""
    pending: list[tuple[Any, int, tuple[int | str, ...]]] = [(obj, 0, ())]
    while pending:
        here, depth, steps = pending.pop()
        if depth > READABLE_DEPTH:
            return steps
        inner = here.items() if isinstance(here, Mapping) else enumerate(here) if isinstance(here, list) else ()
        pending += [(each, depth + 1, (*steps, name)[:_SHOWN_STEPS]) for name, each in inner]
    return ()


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _unknown_field(model: type[ApiModel], location: tuple[int | str, ...]) -> str:
    known = sorted(_fields_at(model, location[:-1]))
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known fields are {', '.join(known)}"
    return f"is unknown; {hint}"


def _fields_at(model: type[ApiModel], location: tuple[int | str, ...]) -> Iterator[str]:
    """Names of the fields of the model that lies at `location` under `model`."""
    schema = model.model_json_schema()
    definitions, here = schema.get("$defs", {}), schema
    for part in location:
        here = here.get("items", {}) if isinstance(part, int) else here.get("properties", {}).get(part, {})
        here = next((option for option in here.get("anyOf", ()) if option.get("type") != "null"), here)
        here = definitions.get(str(here.get("$ref", "")).rpartition("/")[2], here)
    yield from here.get("properties", ())
