"""HCCL rank tables: which rank is which device at which address, in the three formats of Huawei's collective library.

1.0 (servers), 1.2 (servers in supernodes) and 2.0 (network layers per rank), as hicann/hccl describes them in
`docs/zh/user_guide/cluster_info_config`. Addresses come from the annotation in which the vendor's device plugin
publishes them on its node (Ascend/mind-cluster, `NpuBaseInfo`): per device its IP, its id in the supernode and, from
the 950 generation on, its addresses per network layer. Format 2.0 has the layers inside the supernode, 0 and 1, and one
beyond: devices publish several, and that operator's own tables (`ascend-operator`, `pkg/ranktable/v2dot0`) have the
first of `_OUTER` for all ranks. One rank is one card; ranks follow members, and within a member
the cards. In format 1.2 servers of one supernode stand together, also where a replaced member is in another one than
its neighbours in rank. In the first two formats ranks of servers must not interleave.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import groupby
from typing import Any, Self

import orjson

from supernode.api.errors import SupernodeError
from supernode.api.profile import RankTableFormat
from supernode.topology.positions import known_value
from supernode.topology.ranges import card_indices
from supernode.workload.placed import PlacedGroup

Json = dict[str, Any]

RANK_TABLE = "ranktable.json"

ANNOTATIONS = ("huawei.com/npu.base-device-infos", "baseDeviceInfos")
"""Where the device plugin publishes its devices: its present name for the annotation, then the old one."""

MAX_RANKS = 65536
"""The most ranks a table of format 2.0 may have."""

_INNER = (0, 1)
"""The layers inside the supernode."""

_OUTER = {"ROCE": 3, "UBOE": 2, "UBG": 2}
"""The layer of each kind of network beyond the supernode, in order of preference."""


class AddressesMissing(SupernodeError):  # noqa: N818 - the name of the reason it becomes
    """There can be no table: a node does not say what it needs, or its format cannot express the placement."""

    @classmethod
    def on(cls, node: str) -> Self:
        """The node of this name publishes nothing."""
        return cls(f"node {node} has no annotation {ANNOTATIONS[0]}; is the vendor's device plugin running?")


@dataclass(frozen=True, slots=True)
class Device:
    """One card as its node publishes it.

    super_device_id: None where it is not known. layers: what format 2.0 lists of the networks inside the supernode, by
    net_layer. outer: the same of those beyond it, by kind.
    """

    ip: str
    super_device_id: int | None
    layers: Mapping[int, Json] = field(default_factory=dict)
    outer: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Server:
    """A node's address, which is its name where it has none of IPv4, and its devices by index within the node."""

    address: str
    devices: Mapping[int, Device]


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


Entry = tuple[int, int, Device, str]
"""Rank, index within the node, device, node."""


def published(annotations: Mapping[str, str]) -> str | None:
    """What the device plugin published in a node's annotations, if anything."""
    return next((annotations[key] for key in ANNOTATIONS if annotations.get(key)), None)


def server_of(node: Json) -> Server:
    """A Node object as rank tables need it. Raises AddressesMissing."""
    name = node["metadata"]["name"]
    text = published(node["metadata"].get("annotations") or {})
    if text is None:
        raise AddressesMissing.on(name)
    addresses = (node.get("status") or {}).get("addresses") or ()
    internal = (entry["address"] for entry in addresses if entry.get("type") == "InternalIP")
    try:
        devices = {int(key.rpartition("-")[2]): _device(value) for key, value in orjson.loads(text).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise AddressesMissing(f"node {name}: annotation {ANNOTATIONS[0]} cannot be read: {problem}") from None
    return Server(next(filter(_is_ipv4, internal), name), devices)


def _device(info: Json) -> Device:
    levels = {int(level["level"]): level.get("info") or {} for level in info.get("levelList") or ()}
    inner = {layer: next(iter(levels.get(layer, {}).values()), None) for layer in _INNER}
    outer = {kind: levels.get(layer, {}).get(kind) for kind, layer in _OUTER.items()}
    identity = info.get("SuperDeviceID")
    return Device(
        ip=info.get("IP") or "",
        super_device_id=None if identity is None or known_value(str(identity)) is None else int(identity),
        layers={number: layer for number, layer in inner.items() if layer},
        outer={kind: layer for kind, layer in outer.items() if layer},
    )


def rank_table(group: PlacedGroup, servers: Mapping[str, Server]) -> str:
    """The table as JSON text, in the format the group's profile names; the same input gives the same text.

    servers: by node, of every node of the group. The profile must name a format. Raises AddressesMissing.
    """
    assert group.profile.rank_table is not None
    tables = {RankTableFormat.V1_0: _table_1, RankTableFormat.V1_2: _table_1_2, RankTableFormat.V2_0: _table_2}
    if group.cards > MAX_RANKS:
        raise AddressesMissing(f"a rank table has at most {MAX_RANKS} ranks, the group {group.cards}")
    table = tables[RankTableFormat(group.profile.rank_table)](group, servers)
    return orjson.dumps(table, option=orjson.OPT_APPEND_NEWLINE).decode()


def _table_1(group: PlacedGroup, servers: Mapping[str, Server]) -> Json:
    by_server = dict(_by_server(group, servers))
    listed = [
        {
            "server_id": servers[node].address,
            "device": [_device_1(*entry, needs_ip=len(by_server) > 1) for entry in devices],
        }
        for node, devices in by_server.items()
    ]
    return {"status": "completed", "version": "1.0", "server_count": str(len(listed)), "server_list": listed}


def _device_1(rank: int, index: int, device: Device, node: str, *, needs_ip: bool) -> Json:
    if needs_ip and not device.ip:
        raise AddressesMissing(f"node {node}: device {index} has no IP, by which other servers reach it")
    address = {"device_ip": device.ip} if device.ip else {}
    return {"device_id": str(index), **address, "rank_id": str(rank)}


def _table_1_2(group: PlacedGroup, servers: Mapping[str, Server]) -> Json:
    by_server = dict(_by_server(group, servers))
    homes: dict[str, list[str]] = {}
    for node, supernode in dict.fromkeys((member.node, member.supernode) for member in group.members):
        homes.setdefault(supernode, []).append(node)
    for nodes in homes.values():
        _tell_apart(entry for node in nodes for entry in by_server[node])
    listed = [
        {
            **_host(servers[node]),
            "device": [_device_1_2(*entry, needs_ip=len(homes) > 1) for entry in by_server[node]],
        }
        for nodes in homes.values()
        for node in nodes
    ]
    pods = [
        {"super_pod_id": supernode, "server_list": [{"server_id": servers[node].address} for node in nodes]}
        for supernode, nodes in homes.items()
    ]
    head = {"status": "completed", "version": "1.2", "server_count": str(len(listed))}
    return {**head, "server_list": listed, "super_pod_list": pods}


def _host(server: Server) -> Json:
    """`host_ip` takes nothing but an IPv4 address."""
    return {"server_id": server.address, **({"host_ip": server.address} if _is_ipv4(server.address) else {})}


def _tell_apart(entries: Iterable[Entry]) -> None:
    """The devices of one supernode have ids of their own."""
    known: dict[int, str] = {}
    for _, index, device, node in entries:
        if device.super_device_id is None:
            raise AddressesMissing(f"node {node}: device {index} has no SuperDeviceID")
        here = f"device {index} of node {node}"
        other = known.setdefault(device.super_device_id, here)
        if other is not here:
            raise AddressesMissing(f"{other} and {here} have the same SuperDeviceID, {device.super_device_id}")


def _device_1_2(rank: int, index: int, device: Device, node: str, *, needs_ip: bool) -> Json:
    if needs_ip and not device.ip:
        raise AddressesMissing(f"node {node}: device {index} has no IP, by which other supernodes reach it")
    address = {"device_ip": device.ip} if device.ip else {}
    identity = {"device_id": str(index), "super_device_id": str(device.super_device_id)}
    return {**identity, **address, "rank_id": str(rank)}


def _table_2(group: PlacedGroup, servers: Mapping[str, Server]) -> Json:
    entries = list(_devices(group, servers))
    inner = [layer for layer in _INNER if all(layer in device.layers for _, _, device, _ in entries)]
    outer = next((kind for kind in _OUTER if all(kind in device.outer for _, _, device, _ in entries)), None)
    if 0 not in inner:
        _, index, _, node = next(entry for entry in entries if 0 not in entry[2].layers)
        raise AddressesMissing(f"node {node}: device {index} has no level 0 in its levelList")
    if outer is None:
        _check_joined(group, entries, inner)
    ranks = [_rank_2(rank, index, device, inner, outer) for rank, index, device, _ in entries]
    return {"status": "completed", "version": "2.0", "rank_count": len(ranks), "rank_list": ranks}


def _check_joined(group: PlacedGroup, entries: Collection[Entry], inner: Iterable[int]) -> None:
    """By a network inside the supernode, where none beyond it is listed."""
    if len({member.supernode for member in group.members}) > 1:
        raise AddressesMissing(f"no network beyond the supernode ({', '.join(_OUTER)}) is published of every device")
    one = (len({device.layers[layer].get("net_instance_id") for _, _, device, _ in entries}) == 1 for layer in inner)
    if len({member.node for member in group.members}) > 1 and not any(one):
        raise AddressesMissing("no network that all members share is published of every device")


def _rank_2(rank: int, index: int, device: Device, inner: Iterable[int], outer: str | None) -> Json:
    layers = [*(device.layers[layer] for layer in inner), *([device.outer[outer]] if outer else [])]
    return {"rank_id": rank, "local_id": index, "device_id": index, "level_list": layers}


def _by_server(group: PlacedGroup, servers: Mapping[str, Server]) -> Iterator[tuple[str, list[Entry]]]:
    """Each node with its devices, in the order of their ranks."""
    seen: set[str] = set()
    for node, entries in groupby(_devices(group, servers), key=lambda entry: entry[3]):
        if node in seen:
            raise AddressesMissing(
                f"the ranks of node {node} do not follow one another; format {group.profile.rank_table} cannot say so"
            )
        seen.add(node)
        yield node, list(entries)


def _devices(group: PlacedGroup, servers: Mapping[str, Server]) -> Iterator[Entry]:
    """Every rank's device."""
    rank = 0
    for member in group.members:
        for index in card_indices(member.cards):
            device = servers[member.node].devices.get(index)
            if device is None:
                raise AddressesMissing(f"node {member.node} publishes no device {index}")
            yield rank, index, device, member.node
            rank += 1
