"""Nodes as the vendor's device plugin annotates them, for rank tables."""

import json
from collections.abc import Iterable
from typing import Any

from supernode.workload import server_of
from supernode.workload.ranktable import ANNOTATIONS

LAYERS = {"UBOE": 2, "UBG": 2, "ROCE": 3}
"""Of the kinds of network beyond the supernode."""


def annotation(
    node: str,
    index: int,
    cards: int = 16,
    *,
    outer: Iterable[str] = ("ROCE",),
    inner: Iterable[int] = (0, 1),
    ip: bool = True,
    identity: int | None = None,
) -> str:
    """What the vendor's device plugin writes on a node (Ascend/mind-cluster, NpuBaseInfo).

    inner: the layers inside the supernode. identity: the SuperDeviceID of all devices, which differ otherwise.
    """
    devices = {}
    nets = [*(("UB", layer, (7, 2)[layer]) for layer in inner), *((kind, LAYERS[kind], 1) for kind in outer)]
    for card in range(cards):
        instance = {0: f"pod_{node}", 1: "pod"}
        levels: dict[int, dict[str, Any]] = {}
        for net, layer, ports in nets:
            levels.setdefault(layer, {})[net] = {
                "net_layer": layer,
                "net_instance_id": instance.get(layer, f"cluster of {net}"),
                "net_type": "TOPO_FILE_DESC" if layer == 0 else "CLOS",
                "net_attr": "",
                "rank_addr_list": [
                    {
                        "addr_type": "EID",
                        "addr": f"{(index * 16 + card) << 8 | port:032x}",
                        "ports": [f"0/{port}"],
                        "plane_id": f"plane{port}",
                    }
                    for port in range(ports)
                ],
            }
        address = f"10.{index >> 8 & 255}.{index & 255}.{card + 1}" if ip else ""
        listed = [{"level": level, "info": info} for level, info in levels.items()]
        own = index * 16 + card if identity is None else identity
        devices[f"Ascend910-{card}"] = {"IP": address, "SuperDeviceID": own, "levelList": listed}
    return json.dumps(devices)


def node(name: str, index: int, cards: int, key: str = ANNOTATIONS[0], **published: Any):
    return {
        "metadata": {"name": name, "annotations": {key: annotation(name, index, cards, **published)}},
        "status": {"addresses": [{"type": "InternalIP", "address": f"192.168.{index >> 8}.{index & 255}"}]},
    }


def servers_of(group, *, more=(), **changes):
    """By node, of a group and of more nodes."""
    names = list(dict.fromkeys([*(member.node for member in group.members), *more]))
    return {
        name: server_of(node(name, index, group.profile.cards_per_node, **changes)) for index, name in enumerate(names)
    }
