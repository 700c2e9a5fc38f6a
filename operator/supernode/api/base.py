"""What all models share: camelCase names, immutability, and rules that hold in the API server and in Python alike."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from supernode.api.quantities import DURATION_PATTERN, QUANTITY_PATTERN

_SUBDOMAIN: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_NAME: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY_PATTERN: Final = f"^({_SUBDOMAIN}/)?{_NAME}$"
LABEL_VALUE_PATTERN: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"

RULE_BROKEN: Final = "rule_broken"
"""The pydantic error type of a broken `Rule`; its context holds the rule's field."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition over several fields, written twice: as CEL for the API server and as Python for everyone else.

    `field` is the path the problem is reported at, relative to the model (".levels"), or empty for the model itself.
    `holds` is None for a rule about a change (CEL's `oldSelf`), which one object alone cannot break.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool] | None
    field: str = ""


def immutable(field: str, *, remedy: str) -> Rule:
    """The rule that `field` (its camelCase name) keeps the value it was created with, absent or not."""
    return Rule(
        cel=f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        message=f"{field} cannot be changed; {remedy}",
        holds=None,
        field=f".{field}",
    )


NODE_SELECTOR_KEYS: Final = Rule(
    cel=f"!has(self.nodeSelector) || self.nodeSelector.all(k, k.matches('{LABEL_KEY_PATTERN}'))",
    message="nodeSelector has a key that is none of a label; use an optional prefix and a name, such as a.com/type",
    holds=lambda spec: all(re.fullmatch(LABEL_KEY_PATTERN, key) for key in spec.node_selector),
    field=".nodeSelector",
)


@dataclass(frozen=True, slots=True)
class Unique:
    """The items of a list differ: in the field `key` (a Kubernetes list of type map), or as a whole (a set)."""

    key: str = ""

    def __get_pydantic_core_schema__(self, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Checks after the items were read."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tells the API server."""
        kind = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}
        return handler(schema) | (kind if self.key else {"x-kubernetes-list-type": "set"})

    def _check(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        values = [getattr(item, self.key) if self.key else item for item in items]
        if len(set(values)) < len(values):
            value = next(value for index, value in enumerate(values) if value in values[:index])
            what = f"{self.key} {value}" if self.key else str(value)
            raise PydanticCustomError("twice", "{what} is there twice; keep one", {"what": what})
        return items


class ApiModel(BaseModel):
    """Base of every model: camelCase outside, snake_case inside, immutable, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        for rule in type(self).rules:
            if rule.holds is not None and not rule.holds(self):
                raise PydanticCustomError(RULE_BROKEN, "{message}", {"message": rule.message, "field": rule.field})
        return self

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: camelCase names, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusModel(ApiModel):
    """Base of status models: fields written by a newer operator are passed over, not refused."""

    model_config = ConfigDict(extra="ignore")


class ObjectMeta(ApiModel):
    """The part of `metadata` this project reads; the rest is passed over."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    namespace: str = ""
    uid: str = ""

    @model_serializer(mode="wrap")
    def _only_what_is_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value}


LevelName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=32)]
ObjectName = Annotated[str, Field(pattern=f"^{_SUBDOMAIN}$", max_length=253)]
LabelKey = Annotated[str, Field(pattern=LABEL_KEY_PATTERN, max_length=317)]
LabelValue = Annotated[str, Field(pattern=LABEL_VALUE_PATTERN, max_length=63)]
ResourceName = Annotated[str, Field(pattern=f"^{_SUBDOMAIN}/{_NAME}$", max_length=246)]
"""Of an extended resource; a quota writes `requests.` before it, which has to fit into the length of a prefix too."""
Precision = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$", max_length=16)]
Duration = Annotated[str, Field(pattern=DURATION_PATTERN, min_length=2, max_length=21)]
Quantity = Annotated[str, Field(pattern=QUANTITY_PATTERN, max_length=32)]
