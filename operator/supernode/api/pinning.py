"""How a profile says which cards of its node a pod gets: by a device plugin's protocol, or by claims of devices."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from supernode.api.base import LABEL_KEY_PATTERN, ApiModel, ObjectName, Rule
from supernode.api.names import ANNOTATION_PREDICATE_TIME, GROUP, OWN_VARIABLES

VARIABLE_PATTERN = "^[A-Za-z_][A-Za-z0-9_]*$"
DRIVER_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
ATTRIBUTE_PATTERN = r"^([a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?/)?[A-Za-z_][A-Za-z0-9_]{0,31}$"
DEVICE_NAME_PATTERN = r"^[-a-z0-9]*\{index\}[-a-z0-9]*$"

Attribute = Annotated[str, Field(pattern=ATTRIBUTE_PATTERN, max_length=96)]


class PinningMode(StrEnum):
    """How a pod learns which cards of its node are its own."""

    ANNOTATION = "annotation"
    ENV = "env"
    DRA = "dra"
    NONE = "none"


class Devices(ApiModel):
    """Which devices of a driver for Dynamic Resource Allocation are the cards, and how claims name them."""

    driver: Annotated[str, Field(pattern=DRIVER_PATTERN, max_length=63)] = Field(
        description="The driver that publishes them in ResourceSlices, such as gpu.nvidia.com."
    )
    device_class: ObjectName = Field(description="DeviceClass of the claims, such as gpu.nvidia.com.")
    index_attribute: Attribute | None = Field(
        default=None,
        description="Integer attribute of a device that is the card's index within its node, such as index. "
        "An attribute without a domain is in the driver's.",
    )
    name_pattern: Annotated[str, Field(pattern=DEVICE_NAME_PATTERN, max_length=63)] | None = Field(
        default=None,
        description="Instead of indexAttribute: the name of a card's device, with {index} in the place of its index "
        "within the node, such as gpu-{index}. Devices of other names are no cards.",
    )
    select_attribute: Attribute | None = Field(
        default=None,
        description="Attribute by which claims name devices, different for each device of a node, such as uuid: the "
        "expressions of a claim cannot see a device's name. Absent: indexAttribute.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.indexAttribute) != has(self.namePattern)",
            message="devices needs either indexAttribute or namePattern, to know which card a device is; keep one",
            holds=lambda d: (d.index_attribute is None) != (d.name_pattern is None),
            field=".indexAttribute",
        ),
        Rule(
            cel="!has(self.namePattern) || has(self.selectAttribute)",
            message="selectAttribute is required with namePattern, because claims cannot see a device's name; "
            "name an attribute such as uuid",
            holds=lambda d: d.name_pattern is None or d.select_attribute is not None,
            field=".selectAttribute",
        ),
    )


class Pinning(ApiModel):
    """How a pod is told its cards."""

    mode: PinningMode = Field(
        default=PinningMode.NONE,
        description="annotation: a pod annotation the device plugin honours; env: a container variable; dra: "
        "ResourceClaims that name the devices; none: nothing, so the device plugin chooses which cards of its node a "
        "member of less than the node gets.",
    )
    key: Annotated[str, Field(min_length=1, max_length=317)] | None = Field(
        default=None, description="The annotation or the variable, such as huawei.com/npu."
    )
    devices: Devices | None = Field(default=None, description="Which devices the cards are, with mode dra.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.mode != 'annotation' && self.mode != 'env') || has(self.key)",
            message="key is required when mode is annotation or env; name the annotation or the variable",
            holds=lambda p: p.mode not in (PinningMode.ANNOTATION, PinningMode.ENV) or p.key is not None,
            field=".key",
        ),
        Rule(
            cel="!has(self.key) || self.mode == 'annotation' || self.mode == 'env'",
            message="key belongs to modes annotation and env; set mode to one of them, or remove key",
            holds=lambda p: p.key is None or p.mode in (PinningMode.ANNOTATION, PinningMode.ENV),
            field=".key",
        ),
        Rule(
            cel=f"!has(self.key) || !(self.key == '{ANNOTATION_PREDICATE_TIME}' || self.key.startsWith('{GROUP}/') "
            f"|| self.key.startsWith('{OWN_VARIABLES}'))",
            message="key is one that the operator writes something else to; use the one that the device plugin reads",
            holds=lambda p: (
                p.key is None
                or not (p.key == ANNOTATION_PREDICATE_TIME or p.key.startswith((f"{GROUP}/", OWN_VARIABLES)))
            ),
            field=".key",
        ),
        Rule(
            cel="(self.mode == 'dra') == has(self.devices)",
            message="devices belongs to mode dra and to no other; set both or neither",
            holds=lambda p: (p.mode is PinningMode.DRA) == (p.devices is not None),
            field=".devices",
        ),
        Rule(
            cel=f"self.mode != 'env' || !has(self.key) || self.key.matches('{VARIABLE_PATTERN}')",
            message="key is no name of a variable; use letters, digits and _, such as ASCEND_VISIBLE_DEVICES",
            holds=lambda p: (
                p.mode is not PinningMode.ENV or not p.key or bool(re.fullmatch(VARIABLE_PATTERN, p.key, re.A))
            ),
            field=".key",
        ),
        Rule(
            cel=f"self.mode != 'annotation' || !has(self.key) || self.key.matches('{LABEL_KEY_PATTERN}')",
            message="key is no annotation key; use an optional prefix and a name, such as huawei.com/npu",
            holds=lambda p: (
                p.mode is not PinningMode.ANNOTATION or not p.key or bool(re.fullmatch(LABEL_KEY_PATTERN, p.key))
            ),
            field=".key",
        ),
    )
