"""ResourceClaims that ask for exactly the devices placement chose (Dynamic Resource Allocation, `resource.k8s.io/v1`).

A claim selects devices by an expression over their attributes; the scheduler finds, on the one node the pod may go to,
as many devices as the claim names values, so it has no choice left. A claim holds at most 32 devices, so a member with
more has several. Claims cannot be changed: their names say what is in them and for which allocation, so that a repeat
is harmless and a group that is placed again gets others. They belong to the CardGroup, so that whatever ends the
allocation takes them along.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from supernode.api import names
from supernode.api.errors import SupernodeError
from supernode.topology.devices import Value
from supernode.topology.profile import DeviceRule
from supernode.topology.ranges import card_indices, format_ints
from supernode.workload.identity import pod_name
from supernode.workload.placed import PlacedGroup

Json = dict[str, Any]

LARGEST = 32
"""Devices that one claim may hold (`AllocationResultsMaxSize` of the API)."""

REQUEST = "cards"
"""The name of a claim's one request."""


class DevicesMissing(SupernodeError):  # noqa: N818 - what it says of the node
    """A node's driver does not publish the devices of some cards; the text names them."""


def render_claims(group: PlacedGroup, rank: int, values: Mapping[int, Value]) -> list[Json]:
    """The claims of a rank, in the order of its cards; none where the profile does not pin by claims.

    values: by card of the rank's node, what its device is selected by. Raises DevicesMissing.
    """
    rule, member = group.profile.pinning.devices, group.members[rank]
    if rule is None:
        return []
    missing = [card for card in card_indices(member.cards) if card not in values]
    if missing:
        raise DevicesMissing(
            f"{rule.driver} publishes no device for the cards {format_ints(missing)} of node {member.node}; "
            "is the driver running?"
        )
    chosen = [values[card] for card in card_indices(member.cards)]
    digest = hashlib.sha256(repr((group.uid, rule, member.node, chosen)).encode()).hexdigest()[:10]
    return [
        _claim(group, rank, f"{pod_name(group.job.metadata.name, rank)}-{digest}-{number}", rule, part)
        for number, part in enumerate(_parts(chosen))
    ]


def use_claims(spec: Json, container: Json, claims: Sequence[Json]) -> None:
    """Let a pod's container have what its claims hold, beside claims of the user's own."""
    used = [(f"supernode-cards-{number}", claim["metadata"]["name"]) for number, claim in enumerate(claims)]
    spec["resourceClaims"] = [
        *(spec.get("resourceClaims") or ()),
        *({"name": name, "resourceClaimName": claim} for name, claim in used),
    ]
    resources = dict(container.get("resources") or {})
    resources["claims"] = [*(resources.get("claims") or ()), *({"name": name} for name, _ in used)]
    container["resources"] = resources


def _parts(chosen: list[Value]) -> Iterator[list[Value]]:
    for start in range(0, len(chosen), LARGEST):
        yield chosen[start : start + LARGEST]


def _claim(group: PlacedGroup, rank: int, name: str, rule: DeviceRule, chosen: list[Value]) -> Json:
    job = group.job.metadata
    request = {
        "deviceClassName": rule.device_class,
        "allocationMode": "ExactCount",
        "count": len(chosen),
        "selectors": [{"cel": {"expression": _expression(rule, chosen)}}],
    }
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "name": name,
            "namespace": job.namespace,
            "labels": {names.LABEL_JOB: job.name, names.LABEL_GROUP: job.name, names.LABEL_RANK: str(rank)},
            "ownerReferences": [
                {"apiVersion": names.API_VERSION, "kind": "CardGroup", "name": job.name, "uid": group.uid}
            ],
        },
        "spec": {"devices": {"requests": [{"name": REQUEST, "exactly": request}]}},
    }


def _expression(rule: DeviceRule, chosen: list[Value]) -> str:
    """True for the chosen devices. The attribute is asked for first: reading one that is not there is an error."""
    domain, _, attribute = rule.select_attribute.partition("/")
    of_domain = f"device.attributes[{_literal(domain)}]"
    listed = ", ".join(map(_literal, chosen))
    return (
        f"device.driver == {_literal(rule.driver)} && {_literal(attribute)} in {of_domain} "
        f"&& {of_domain}[{_literal(attribute)}] in [{listed}]"
    )


def _literal(value: Value) -> str:
    """JSON's numbers and strings are CEL's."""
    return orjson.dumps(value).decode()
