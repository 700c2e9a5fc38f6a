"""The bridge that the pods of all real nodes hang on, and who has which address.

One bridge in the machine's own network namespace: pods of different nodes reach each other without routes, and no
packet of theirs can leave, since nothing forwards between the bridge and other interfaces.
"""

from __future__ import annotations

import json
import subprocess
import zlib
from dataclasses import dataclass
from typing import Any

from testbed.errors import StartError
from testbed.paths import cache_root, locked

_FIRST_NODE, _FIRST_POD, _PODS_PER_NODE = 2, 10, 60
MOST_NODES = 4
"""That many ranges of pod addresses fit a network of 256."""


@dataclass(frozen=True, slots=True)
class Network:
    """A /24 of the block that is reserved for benchmarks inside one organisation (RFC 2544): nobody routes it."""

    bridge: str
    prefix: str

    @property
    def dns(self) -> str:
        """The address of the name server."""
        return f"{self.prefix}.1"

    def node(self, number: int) -> str:
        """The address of a node."""
        return f"{self.prefix}.{_FIRST_NODE + number}"

    def cni(self, number: int, name: str, data: str) -> dict[str, Any]:
        """The configuration of a node's CNI plugins; ``data`` is where it remembers addresses given away."""
        first = _FIRST_POD + number * _PODS_PER_NODE
        pods = {
            "subnet": f"{self.prefix}.0/24",
            "rangeStart": f"{self.prefix}.{first}",
            "rangeEnd": f"{self.prefix}.{first + _PODS_PER_NODE - 1}",
        }
        bridge = {
            "type": "bridge",
            "bridge": self.bridge,
            "ipam": {"type": "host-local", "dataDir": data, "ranges": [[pods]]},
        }
        return {"cniVersion": "0.4.0", "name": name, "plugins": [bridge]}


def bridge_name(bed: str) -> str:
    """The bridge of a bed; the kernel takes 15 characters."""
    return f"supernode{zlib.crc32(bed.encode()) & 0xFFFFFF:06x}"


def make(bed: str, nodes: int) -> Network:
    """Make the bridge with the addresses of name server and nodes. Raises StartError."""
    if nodes > MOST_NODES:
        raise StartError(f"{nodes} real nodes are too many for one bed; start at most {MOST_NODES}")
    with locked(cache_root() / "network.lock", lambda _: None):
        network = Network(bridge_name(bed), _free_prefix())
        _ip("link", "add", network.bridge, "type", "bridge")
        for address in (network.dns, *(network.node(number) for number in range(nodes))):
            _ip("address", "add", f"{address}/24", "dev", network.bridge)
    _ip("link", "set", network.bridge, "up")
    return network


def remove(bridge: str) -> None:
    """Remove a bridge if it is there."""
    subprocess.run(["ip", "link", "delete", bridge], capture_output=True, check=False)


def _free_prefix() -> str:
    taken = {
        address["local"].rpartition(".")[0]
        for interface in json.loads(_ip("-json", "-4", "address"))
        for address in interface.get("addr_info", ())
    }
    for third in range(256):
        if (prefix := f"198.18.{third}") not in taken:
            return prefix
    raise StartError("all of 198.18.0.0/16 is in use; remove bridges that are left (`ip link`)")


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"ip {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout
