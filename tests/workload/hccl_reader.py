"""Reads HCCL rank tables as the vendor's documents describe them, and says what is wrong. Knows nothing of the project.

`docs/zh/user_guide/cluster_info_config/rank_table_config_{a2,a3,a5}.md` of hicann/hccl; of the layers beyond the
supernode, tables have one as those that Ascend/mind-cluster makes do. `read` gives each rank's (server, device) in rank
order, so that a caller can hold it against a placement.
"""

import ipaddress
import json
from typing import Any

Seat = tuple[str, int]


class Wrong(Exception):  # noqa: N818 - what it says of the table
    """The table breaks a rule of the format."""


def must(holds: bool, rule: str) -> None:
    if not holds:
        raise Wrong(rule)


def read(text: str) -> list[Seat]:
    table = json.loads(text)
    must(table["status"] == "completed", "status is completed")
    return {"1.0": _servers, "1.2": _supernodes, "2.0": _layers}[table["version"]](table)


def _servers(table: dict[str, Any]) -> list[Seat]:
    """Format 1.0, and the server list of 1.2."""
    servers = table["server_list"]
    must(table["server_count"] == str(len(servers)), "server_count counts the servers")
    names = [server["server_id"] for server in servers]
    must(len(set(names)) == len(names), "server_id is unique")
    must(all(0 < len(name) <= 64 for name in names), "server_id has at most 64 characters")
    for server in servers:
        if "host_ip" in server:
            ipaddress.IPv4Address(server["host_ip"])
    seats: dict[int, Seat] = {}
    for server in servers:
        ranks = []
        for device in server["device"]:
            must(all(isinstance(value, str) for value in device.values()), "values are strings")
            if table["version"] == "1.0" and len(servers) > 1:
                must("device_ip" in device, "device_ip is given with several servers")
            if "device_ip" in device:
                ipaddress.ip_address(device["device_ip"])
            rank = int(device["rank_id"])
            must(rank not in seats, "rank_id is unique")
            seats[rank] = (server["server_id"], int(device["device_id"]))
            ranks.append(rank)
        must(ranks == list(range(min(ranks), min(ranks) + len(ranks))), "ranks of servers do not interleave")
        devices = [seats[rank][1] for rank in ranks]
        must(len(set(devices)) == len(devices), "device_id is unique within a server")
    addresses = [device.get("device_ip") for server in servers for device in server["device"]]
    must(None in addresses or len(set(addresses)) == len(addresses), "device_ip is unique")
    must(sorted(seats) == list(range(len(seats))), "ranks count from 0 without a gap")
    return [seats[rank] for rank in sorted(seats)]


def _supernodes(table: dict[str, Any]) -> list[Seat]:
    seats = _servers(table)
    pods = table["super_pod_list"]
    ids = [pod["super_pod_id"] for pod in pods]
    must(len(set(ids)) == len(ids), "super_pod_id is unique")
    listed = [server["server_id"] for pod in pods for server in pod["server_list"]]
    must(listed == [server["server_id"] for server in table["server_list"]], "servers of one supernode stand together")
    home = {server["server_id"]: pod["super_pod_id"] for pod in pods for server in pod["server_list"]}
    seen = set()
    for server in table["server_list"]:
        for device in server["device"]:
            where = (home[server["server_id"]], device["super_device_id"])
            must(where not in seen, "super_device_id is unique within a supernode")
            must(0 <= int(device["super_device_id"]) < 0xFFFFFFFF, "super_device_id is known")
            seen.add(where)
            must(len(pods) == 1 or "device_ip" in device, "device_ip is given with several supernodes")
    return seats


def _layers(table: dict[str, Any]) -> list[Seat]:
    ranks = table["rank_list"]
    must(table["rank_count"] == len(ranks) and 1 <= len(ranks) <= 65536, "rank_count counts the ranks")
    must([rank["rank_id"] for rank in ranks] == list(range(len(ranks))), "rank_id counts from 0")
    seats = []
    for rank in ranks:
        must(0 <= rank["local_id"] <= 64 and 0 <= rank["device_id"] <= 64, "ids are at most 64")
        layers = rank["level_list"]
        numbers = [layer["net_layer"] for layer in layers]
        must(1 <= len(layers) <= 8 and numbers[0] == 0 and numbers == sorted(set(numbers)), "layers ascend from 0")
        must(len([number for number in numbers if number > 1]) <= 1, "one layer lies beyond the supernode")
        must(layers[0]["net_type"] == "TOPO_FILE_DESC", "layer 0 is described by the topology file")
        for layer in layers:
            must(layer["net_type"] in ("TOPO_FILE_DESC", "CLOS"), "net_type is known")
            must(0 < len(layer["net_instance_id"]) <= 1024, "net_instance_id is given")
            must(1 <= len(layer["rank_addr_list"]) <= 24, "at most 24 addresses in a layer")
            for address in layer["rank_addr_list"]:
                must(address["addr_type"] in ("EID", "IPV4", "IPV6"), "addr_type is known")
                must(1 <= len(address["ports"]) <= 16, "1 to 16 ports")
        seats.append((layers[0]["net_instance_id"], rank["device_id"]))
    must(len(set(seats)) == len(seats), "no device has two ranks")
    listed = {tuple(layer["net_layer"] for layer in rank["level_list"]) for rank in ranks}
    must(len(listed) == 1, "all ranks have the same layers")
    instances = zip(*([layer["net_instance_id"] for layer in rank["level_list"]] for rank in ranks), strict=True)
    must(any(len(set(one)) == 1 for one in instances), "a layer joins all ranks")
    return seats
