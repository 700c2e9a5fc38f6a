"""Nodes as the vendor's device plugin annotates them, for rank tables."""

import json

from supernode.workload import server_of
from supernode.workload.ranktable import ANNOTATIONS


def annotation(node: str, index: int, cards: int = 16) -> str:
    """What the vendor's device plugin writes on a node (Ascend/mind-cluster, NpuBaseInfo)."""
    devices = {}
    for card in range(cards):
        instance = {0: f"pod_{node}", 1: "pod", 3: "cluster"}
        layers = [
            {
                "level": layer,
                "info": {
                    net: {
                        "net_layer": layer,
                        "net_instance_id": instance[layer],
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
                },
            }
            for layer, net, ports in ((0, "UB", 7), (1, "UB", 2), (3, "ROCE", 1))
        ]
        address = f"10.{index >> 8 & 255}.{index & 255}.{card + 1}"
        devices[f"Ascend910-{card}"] = {"IP": address, "SuperDeviceID": index * 16 + card, "levelList": layers}
    return json.dumps(devices)


def node(name: str, index: int, cards: int, key: str = ANNOTATIONS[0]):
    return {
        "metadata": {"name": name, "annotations": {key: annotation(name, index, cards)}},
        "status": {"addresses": [{"type": "InternalIP", "address": f"192.168.{index >> 8}.{index & 255}"}]},
    }


def servers_of(group, *, more=(), **changes):
    """By node, of a group and of more nodes."""
    names = list(dict.fromkeys([*(member.node for member in group.members), *more]))
    return {
        name: server_of(node(name, index, group.profile.cards_per_node, **changes)) for index, name in enumerate(names)
    }
