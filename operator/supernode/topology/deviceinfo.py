"""Card health as Ascend's device plugin reports it: one ConfigMap for each node.

The ConfigMap `mindx-dl-deviceinfo-<node>` has one JSON text under `DeviceInfoCfg`. Its `DeviceInfo.DeviceList` maps
`<resource>-Unhealthy` and `<resource>-NetworkUnhealthy` to device names with commas between them, such as
`Ascend910-4,Ascend910-5`; the number is the card's index in the node, the same as in the annotation that pins pods.

Source: MindCluster documentation, "Fault Information" (ConfigMap of Ascend Device Plugin), and Ascend/mind-cluster,
`component/ascend-device-plugin/pkg/common/type.go`, `NodeDeviceInfo`.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from supernode.api.errors import SupernodeError
from supernode.topology.ranges import MAX_CARDS

NAME_PREFIX = "mindx-dl-deviceinfo-"
"""What comes before the node's name in the ConfigMap's."""

DATA_KEY = "DeviceInfoCfg"
"""The key of the ConfigMap's `data` that holds the report."""

_HEALTH_KEY = re.compile(r"(?P<resource>.+)-(?:Network)?Unhealthy")
_DEVICE = re.compile(r"[A-Za-z][A-Za-z0-9]*-(?P<index>[0-9]{1,4})")


class DeviceInfoError(SupernodeError, ValueError):
    """A report that does not have the documented form."""


def unhealthy_devices(report: str) -> dict[str, int]:
    """Resource to the cards (bitmask) that a report calls unhealthy, by themselves or by their network.

    A card without its network computes, but cannot serve a group that spans nodes. Raises DeviceInfoError.
    """
    unhealthy: dict[str, int] = {}
    for key, names in _device_list(report).items():
        match = _HEALTH_KEY.fullmatch(key)
        if match is None:
            continue
        if not isinstance(names, str):
            raise DeviceInfoError(f"DeviceInfo.DeviceList.{key} must be device names with commas, not {names!r:.60}")
        for name in filter(None, (part.strip() for part in names.split(","))):
            unhealthy[match["resource"]] = unhealthy.get(match["resource"], 0) | 1 << _index(key, name)
    return unhealthy


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


def _index(key: str, name: str) -> int:
    match = _DEVICE.fullmatch(name)
    if match is None or int(match["index"]) >= MAX_CARDS:
        raise DeviceInfoError(
            f"DeviceInfo.DeviceList.{key} names {name[:60]!r}; a whole card is a device name such as Ascend910-4"
        )
    return int(match["index"])
