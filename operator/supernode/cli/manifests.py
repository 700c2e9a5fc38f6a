"""The parts of manifests of Kubernetes' own kinds that a fleet depends on, checked before anything relies on them.

What comes from an API server has been checked by it; a file may hold anything. The models name what
`supernode.control.records` and `supernode.topology` read; the rest of an object stays as it is.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from supernode.api.base import ObjectName, StatusModel
from supernode.api.errors import FieldProblem, InvalidObject
from supernode.api.quantities import whole_number

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
        if "/" in name and whole_number(amount) is None:
            raise PydanticCustomError(
                "devices", "{name}: {amount} is no whole number of devices", {"name": name, "amount": amount}
            )
    return amounts


Devices = Annotated[Amounts, AfterValidator(_check_devices)]


class _Model(StatusModel):
    """null means absent, as for the API server."""


class _Owner(_Model):
    uid: str
    controller: bool | None = None


class _Metadata(_Model):
    name: ObjectName
    namespace: str | None = None
    uid: str | None = None
    labels: Texts = None
    annotations: Texts = None
    owner_references: tuple[_Owner, ...] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


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
    limits: Devices = None
    requests: Devices = None


class _Container(_Model):
    name: str | None = None
    restart_policy: str | None = None
    resources: _Resources | None = None


class _Requirement(_Model):
    key: str
    values: tuple[str, ...] | None = None


class _NodeTerm(_Model):
    match_fields: tuple[_Requirement, ...] | None = None


class _NodeSelector(_Model):
    node_selector_terms: tuple[_NodeTerm, ...] | None = None


class _NodeAffinity(_Model):
    required_during_scheduling_ignored_during_execution: _NodeSelector | None = None


class _Affinity(_Model):
    node_affinity: _NodeAffinity | None = None


class _PodSpec(_Model):
    node_name: str | None = None
    containers: tuple[_Container, ...] | None = None
    init_containers: tuple[_Container, ...] | None = None
    affinity: _Affinity | None = None


class _Waits(_Model):
    reason: str | None = None
    message: str | None = None


class _Ended(_Model):
    exit_code: int | None = None
    reason: str | None = None


class _ContainerState(_Model):
    waiting: _Waits | None = None
    terminated: _Ended | None = None


class _ContainerStatus(_Model):
    name: str
    restart_count: int | None = None
    state: _ContainerState | None = None
    last_state: _ContainerState | None = None


class _PodCondition(_Condition):
    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None


class _PodStatus(_Model):
    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    start_time: str | None = None
    conditions: tuple[_PodCondition, ...] | None = None
    init_container_statuses: tuple[_ContainerStatus, ...] | None = None
    container_statuses: tuple[_ContainerStatus, ...] | None = None


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


class _TrainingJob(_Model):
    metadata: _Metadata


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
    node["status"] = status = dict(node.get("status", {}))
    conditions = status.get("conditions", ())
    if not any(condition["type"] == "Ready" for condition in conditions):
        status["conditions"] = [*conditions, {"type": "Ready", "status": "True"}]
    for one, other in (("capacity", "allocatable"), ("allocatable", "capacity")):
        if one not in status and other in status:
            status[one] = status[other]
    return node


def checked_pod(body: Json) -> Json:
    """A Pod's body, as from an API server. Raises InvalidObject."""
    pod = _checked(_Pod, "Pod", body)
    pod["metadata"].setdefault("namespace", "default")
    pod["metadata"].setdefault("uid", "")
    if first := pod.get("spec", {}).get("initContainers"):
        pod["spec"] = {**pod["spec"], "initContainers": [{"name": "", **container} for container in first]}
    return pod


def checked_job(body: Json) -> Json:
    """The body of a TrainingJob of a cluster, of which decisions read the metadata alone. Raises InvalidObject."""
    return _checked(_TrainingJob, "TrainingJob", body)


def checked_supernode_status(body: Json) -> Json:
    """What decisions read of the status of a SuperNode. Raises InvalidObject."""
    status: Json = _read(_SuperNode, "SuperNode", body).to_dict().get("status", {})
    return status


def checked_group_status(body: Json) -> Json:
    """What decisions read of the status of a CardGroup. Raises InvalidObject."""
    status: Json = _read(_CardGroup, "CardGroup", body).to_dict().get("status", {})
    return status


def checked_config_map(body: Json) -> Json:
    """A ConfigMap's body, as from an API server. Raises InvalidObject."""
    return _checked(_ConfigMap, "ConfigMap", body)


M = TypeVar("M", bound=_Model)


def _checked(model: type[_Model], kind: str, body: Json) -> Json:
    """The body as it is, without nulls; with `metadata` of its own, to which defaults may be added."""
    _read(model, kind, body)
    kept: Json = _without_nulls(body) if b":null" in orjson.dumps(body) else body
    return {**kept, "metadata": dict(kept["metadata"])}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def _read(model: type[M], kind: str, body: Json) -> M:
    try:
        return model.model_validate_json(orjson.dumps(body), strict=True)
    except ValidationError as error:
        problems = []
        for details in error.errors(include_url=False):
            parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in details["loc"]]
            problems.append(FieldProblem("".join(parts).removeprefix("."), f"{details['msg']}; correct it"))
        metadata = body.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        raise InvalidObject(kind, name if isinstance(name, str) else "", problems) from None
