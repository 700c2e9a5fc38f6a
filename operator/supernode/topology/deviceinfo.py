"""Card health as Ascend's device plugin reports it: one ConfigMap for each node.

The ConfigMap `mindx-dl-deviceinfo-<node>` has one JSON text under `DeviceInfoCfg`. Its `DeviceInfo.DeviceList` maps
`<resource>-Unhealthy` and `<resource>-NetworkUnhealthy` to device names with commas between them, such as
`Ascend910-4,Ascend910-5`; the number is the card's index in the node, the same as in the annotation that pins pods.
The plugin writes it anew every few minutes at the least, with nothing changed but a time.

Source: MindCluster documentation, "Fault Information" (ConfigMap of Ascend Device Plugin), and Ascend/mind-cluster,
`component/ascend-device-plugin/pkg/common/type.go`, `NodeDeviceInfo`, and `pkg/kubeclient/client_server.go`, where
namespace, label and name are constants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from supernode.api.errors import SupernodeError
from supernode.topology.devicenames import card_index

NAMESPACE = "kube-system"
"""Where the ConfigMaps are."""

LABEL_SELECTOR = "mx-consumer-cim=true"
"""Selects them, and others of that vendor."""

NAME_PREFIX = "mindx-dl-deviceinfo-"
"""What comes before the node's name in the ConfigMap's."""

DATA_KEY = "DeviceInfoCfg"
"""The key of the ConfigMap's `data` that holds the report."""

_HEALTH_KEY = re.compile(r"(?P<resource>.+)-(?P<network>Network)?Unhealthy")


class DeviceInfoError(SupernodeError, ValueError):
    """A report that does not have the documented form."""


@dataclass(frozen=True, slots=True)
class CardReport:
    """What a device plugin says of a node's cards: resource to those (bitmask) that failed, and to those whose network
    did. The latter compute, and the plugin goes on offering them, but they cannot serve a group that spans nodes.

    passed_over: what it says of anything but whole cards, as `KEY names NAME`; nothing follows from it.
    """

    failed: Mapping[str, int] = field(default_factory=dict, hash=False)
    cut_off: Mapping[str, int] = field(default_factory=dict, hash=False)
    passed_over: tuple[str, ...] = field(default=(), compare=False)


ALL_WELL = CardReport()


def reported_node(config_map: str) -> str:
    """The node that the ConfigMap of this name is about; empty for one that is no report."""
    return config_map.removeprefix(NAME_PREFIX) if config_map.startswith(NAME_PREFIX) else ""


def read_config_map(obj: Mapping[str, Any]) -> CardReport:
    """What a ConfigMap says; that all is well where it is no report. Raises DeviceInfoError."""
    if not reported_node(obj["metadata"]["name"]):
        return ALL_WELL
    return read_report((obj.get("data") or {}).get(DATA_KEY, ""))


def read_report(report: str) -> CardReport:
    """What a report says. A name that is no whole card's is passed over, as those of parts of cards are, so that the
    cards beside it still count. Raises DeviceInfoError where there is no list of names at all.
    """
    failed: dict[str, int] = {}
    cut_off: dict[str, int] = {}
    passed_over: list[str] = []
    for key, names in _device_list(report).items():
        match = _HEALTH_KEY.fullmatch(key)
        if match is None:
            continue
        masks = cut_off if match["network"] else failed
        for name in _names(names):
            index = card_index(name)
            if index is None:
                passed_over.append(f"{key} names {name[:60]!r}")
            else:
                masks[match["resource"]] = masks.get(match["resource"], 0) | 1 << index
    return CardReport(failed, cut_off, tuple(passed_over))


def _names(names: object) -> Iterator[str]:
    if isinstance(names, str):
        yield from filter(None, (part.strip() for part in names.split(",")))
    else:
        yield repr(names)


def _device_list(report: str) -> dict[str, Any]:
    try:
        decoded = orjson.loads(report)
    except orjson.JSONDecodeError as error:
        raise DeviceInfoError(f"is not JSON: {error}") from None
    info = decoded.get("DeviceInfo") if isinstance(decoded, dict) else None
    devices = info.get("DeviceList") if isinstance(info, dict) else None
    if not isinstance(devices, dict):
        raise DeviceInfoError("has no DeviceInfo.DeviceList; it must map <resource>-Unhealthy to device names")
    return devices
