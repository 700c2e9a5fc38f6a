"""Null, as the API server takes it: in the place of a field or of a map's value it is as if nothing were there."""

from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def without_nulls(model: type[BaseModel], obj: Mapping[str, Any]) -> dict[str, Any]:
    """An object without its nulls. They stay in what the model does not know or leaves open, as on the API server."""
    fields = _fields(model)
    return {
        name: _pruned(fields[name], value) if name in fields else value
        for name, value in obj.items()
        if value is not None or name not in fields
    }


@cache
def _fields(model: type[BaseModel]) -> Mapping[str, Any]:
    """The types of a model's fields by their names in JSON."""
    return {field.alias or name: _plain(field.annotation) for name, field in model.model_fields.items()}


def _plain(kind: Any) -> Any:
    """A type without what is noted beside it, and without None as an alternative."""
    while get_origin(kind) in (Annotated, Union, UnionType):
        kind = next(each for each in get_args(kind) if each is not NoneType)
    return kind


def _pruned(kind: Any, value: Any) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if isinstance(value, Mapping):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return without_nulls(kind, value)
        if origin is Mapping and parts[1] is not Any:
            return {key: each for key, each in value.items() if each is not None}
    if origin is tuple and isinstance(value, list):
        item = _plain(parts[0])
        return [_pruned(item, each) for each in value]
    return value
