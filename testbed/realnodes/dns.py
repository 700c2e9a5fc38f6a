"""A name server for the pods of real nodes: the names that Services without an address give, and nothing else.

    python -m testbed.realnodes.dns KUBECONFIG ADDRESS

``<hostname>.<service>.<namespace>.svc.cluster.local`` and the service's own name, from the EndpointSlices, as cluster
DNS gives them. The API server's choice counts which pods those hold: with ``publishNotReadyAddresses`` also those that
are not ready. Over UDP; an answer holds as many addresses as fit 512 bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from testbed.client import ApiClient, connect
from testbed.errors import ApiError

_SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
_SUFFIX = ".svc.cluster.local"
_A, _IN = 1, 1
_NO_SUCH_NAME, _NOT_IMPLEMENTED = 3, 4
_DATAGRAM, _RECORD = 512, 16
"""Bytes of the largest answer, and of one address in it."""

_TTL = 2

SERVING = "serving names"
"""What it prints when it has its address."""

Names = Mapping[str, tuple[str, ...]]


def names_of(slices: Iterable[dict[str, Any]]) -> Names:
    """Each name with its IPv4 addresses, from EndpointSlices."""
    found: dict[str, list[str]] = {}
    for each in slices:
        metadata = each["metadata"]
        service = metadata.get("labels", {}).get("kubernetes.io/service-name")
        if service is None or each.get("addressType") != "IPv4":
            continue
        domain = f"{service}.{metadata['namespace']}{_SUFFIX}"
        for endpoint in each.get("endpoints") or ():
            if endpoint.get("conditions", {}).get("ready") is False:
                continue
            for name in (domain, *([f"{endpoint['hostname']}.{domain}"] if endpoint.get("hostname") else ())):
                found.setdefault(name, []).extend(endpoint["addresses"])
    return {name: tuple(dict.fromkeys(addresses)) for name, addresses in found.items()}


def answer(query: bytes, names: Names) -> bytes | None:
    """The reply to a DNS message (RFC 1035); None to what is no question."""
    if len(query) < 17 or query[2] & 0x80:
        return None
    identifier, flags, questions = struct.unpack_from("!HHH", query)
    try:
        name, end = _name(query, 12)
        kind, family = struct.unpack_from("!HH", query, end)
    except (IndexError, struct.error, UnicodeDecodeError):
        return None
    code, addresses = 0, names.get(name.lower(), ())
    if questions != 1 or flags & 0x7800:
        code, addresses = _NOT_IMPLEMENTED, ()
    elif not addresses:
        code = _NO_SUCH_NAME
    if (kind, family) != (_A, _IN):
        addresses = ()
    addresses = addresses[: (_DATAGRAM - end - 4) // _RECORD]
    # An answer, authoritative; whether recursion was desired is repeated.
    header = struct.pack("!HHHHHH", identifier, 0x8400 | flags & 0x0100 | code, 1, len(addresses), 0, 0)
    records = [
        struct.pack("!HHHIH", 0xC00C, _A, _IN, _TTL, 4) + ipaddress.IPv4Address(address).packed for address in addresses
    ]
    return b"".join((header, query[12 : end + 4], *records))


def _name(message: bytes, at: int) -> tuple[str, int]:
    labels = []
    while length := message[at]:
        labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels), at + 1


class _Server:
    """Answers what comes to a socket from the names of the moment."""

    def __init__(self, address: str) -> None:
        self.names: Names = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((address, 53))

    def read(self) -> None:
        """One message; the event loop calls again while there are more."""
        with contextlib.suppress(OSError):  # of a client that is gone
            query, client = self.socket.recvfrom(512)
            if (reply := answer(query, self.names)) is not None:
                self.socket.sendto(reply, client)


async def _follow(api: ApiClient, server: _Server) -> None:
    listed = await api.request("GET", _SLICES)
    slices = {each["metadata"]["uid"]: each for each in listed["items"]}
    server.names = names_of(slices.values())
    async for event in api.watch(_SLICES, listed["metadata"]["resourceVersion"]):
        changed = event["object"]
        if event["type"] == "DELETED":
            slices.pop(changed["metadata"]["uid"], None)
        elif event["type"] in ("ADDED", "MODIFIED"):
            slices[changed["metadata"]["uid"]] = changed
        server.names = names_of(slices.values())


async def serve(kubeconfig: Path, address: str) -> None:
    """Answer until cancelled, also while the API server is away for a time."""
    server = _Server(address)
    print(SERVING, flush=True)
    asyncio.get_running_loop().add_reader(server.socket, server.read)
    async with connect(kubeconfig) as api:
        while True:
            try:
                await _follow(api, server)
            except ApiError as error:
                print(f"the watch ended: {error}", file=sys.stderr, flush=True)
                await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2]))
