"""The parts of manifests of Kubernetes' own kinds that a fleet depends on, checked before anything relies on them.

What comes from an API server has been checked by it; a file may hold anything.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from supernode.api.base import ObjectName, StatusModel
from supernode.api.errors import FieldProblem, InvalidObject

Json = dict[str, Any]
Texts = Mapping[str, str] | None


def _as_text(value: object) -> object:
    """YAML reads a quantity without quotes as a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Amount = Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^[0-9A-Za-z.+-]{0,64}$")]
Amounts = Mapping[str, Amount] | None


def _check_devices(amounts: Amounts) -> Amounts:
    """Extended resources are counted in whole devices."""
    for name, amount in (amounts or {}).items():
        if "/" in name and not re.fullmatch(r"[0-9]+([kMGTPE]i?|[eE][0-9]+)?", amount):
            raise PydanticCustomError(
                "devices", "{name}: {amount} is no number of devices", {"name": name, "amount": amount}
            )
    return amounts


Devices = Annotated[Amounts, AfterValidator(_check_devices)]


class _Model(StatusModel):
    """null means absent, as for the API server."""


class _Metadata(_Model):
    name: ObjectName
    namespace: str | None = None
    uid: str | None = None
    labels: Texts = None
    annotations: Texts = None


class _Taint(_Model):
    key: str
    value: str | None = None
    effect: str


class _Condition(_Model):
    type: str
    status: str


class _NodeSpec(_Model):
    unschedulable: bool | None = None
    taints: tuple[_Taint, ...] | None = None


class _NodeStatus(_Model):
    capacity: Devices = None
    allocatable: Devices = None
    conditions: tuple[_Condition, ...] | None = None


class _Node(_Model):
    metadata: _Metadata
    spec: _NodeSpec | None = None
    status: _NodeStatus | None = None


class _Resources(_Model):
    limits: Amounts = None
    requests: Amounts = None


class _Container(_Model):
    resources: _Resources | None = None


class _PodSpec(_Model):
    node_name: str | None = None
    containers: tuple[_Container, ...] | None = None
    init_containers: tuple[_Container, ...] | None = None


class _PodStatus(_Model):
    phase: str | None = None


class _Pod(_Model):
    metadata: _Metadata
    spec: _PodSpec | None = None
    status: _PodStatus | None = None


class _ConfigMap(_Model):
    metadata: _Metadata
    data: Texts = None


class _SuperNodeStatus(_Model):
    ledger: tuple[str, ...] | None = None
    shape: str | None = None


class _SuperNode(_Model):
    status: _SuperNodeStatus | None = None


class _GroupCondition(_Condition):
    observed_generation: int | None = None


class _GroupStatus(_Model):
    conditions: tuple[_GroupCondition, ...] | None = None
    waiting_since: str | None = None


class _CardGroup(_Model):
    status: _GroupStatus | None = None


class _Value(_Model):
    number: int | None = Field(default=None, alias="int")
    string: str | None = None


class _DeviceTaint(_Model):
    effect: str


class _Device(_Model):
    name: str
    attributes: Mapping[str, _Value] | None = None
    taints: tuple[_DeviceTaint, ...] | None = None


class _Pool(_Model):
    name: str
    generation: int = 0
    resource_slice_count: int = 1


class _SliceSpec(_Model):
    driver: str
    node_name: str | None = None
    pool: _Pool
    devices: tuple[_Device, ...] | None = None


class _Slice(_Model):
    metadata: _Metadata
    spec: _SliceSpec


class _Result(_Model):
    driver: str
    pool: str
    device: str
    admin_access: bool | None = None


class _Results(_Model):
    results: tuple[_Result, ...] | None = None


class _Allocation(_Model):
    devices: _Results | None = None


class _ClaimStatus(_Model):
    allocation: _Allocation | None = None


class _Claim(_Model):
    metadata: _Metadata
    status: _ClaimStatus | None = None


class _DeviceSelector(_Model):
    driver: str | None = None
    pool: str | None = None
    device: str | None = None


class _TaintRuleSpec(_Model):
    device_selector: _DeviceSelector | None = None
    taint: _DeviceTaint


class _TaintRule(_Model):
    metadata: _Metadata
    spec: _TaintRuleSpec


def checked_slice(body: Json) -> Json:
    """A ResourceSlice's body, as from an API server. Raises InvalidObject."""
    return _checked(_Slice, "ResourceSlice", body)


def checked_claim(body: Json) -> Json:
    """A ResourceClaim's body, as from an API server. Raises InvalidObject."""
    claim = _checked(_Claim, "ResourceClaim", body)
    claim["metadata"].setdefault("namespace", "default")
    return claim


def checked_taint_rule(body: Json) -> Json:
    """A DeviceTaintRule's body, as from an API server. Raises InvalidObject."""
    return _checked(_TaintRule, "DeviceTaintRule", body)


def checked_node(body: Json) -> Json:
    """A Node's body, as from an API server. Raises InvalidObject.

    What only a running kubelet writes is filled in for a fleet that was written by hand: without a Ready condition the
    node is ready, and of capacity and allocatable the one that is absent equals the other.
    """
    node = _checked(_Node, "Node", body)
    status = node.setdefault("status", {})
    conditions = status.setdefault("conditions", [])
    if not any(condition["type"] == "Ready" for condition in conditions):
        conditions.append({"type": "Ready", "status": "True"})
    for one, other in (("capacity", "allocatable"), ("allocatable", "capacity")):
        if one not in status and other in status:
            status[one] = status[other]
    return node


def checked_pod(body: Json) -> Json:
    """A Pod's body, as from an API server. Raises InvalidObject."""
    pod = _checked(_Pod, "Pod", body)
    pod["metadata"].setdefault("namespace", "default")
    pod["metadata"].setdefault("uid", "")
    return pod


def checked_supernode_status(body: Json) -> Json:
    """What decisions read of the status of a SuperNode. Raises InvalidObject."""
    status: Json = _checked(_SuperNode, "SuperNode", body).get("status", {})
    return status


def checked_group_status(body: Json) -> Json:
    """What decisions read of the status of a CardGroup. Raises InvalidObject."""
    status: Json = _checked(_CardGroup, "CardGroup", body).get("status", {})
    return status


def checked_config_map(body: Json) -> Json:
    """A ConfigMap's body, as from an API server. Raises InvalidObject."""
    return _checked(_ConfigMap, "ConfigMap", body)


M = TypeVar("M", bound=_Model)


def _checked(model: type[M], kind: str, body: Json) -> Json:
    try:
        return model.model_validate_json(orjson.dumps(body), strict=True).to_dict()
    except ValidationError as error:
        problems = []
        for details in error.errors(include_url=False):
            parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in details["loc"]]
            problems.append(FieldProblem("".join(parts).removeprefix("."), f"{details['msg']}; correct it"))
        metadata = body.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        raise InvalidObject(kind, name if isinstance(name, str) else "", problems) from None
