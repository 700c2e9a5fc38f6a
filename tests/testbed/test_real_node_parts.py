"""The parts of real nodes that can be held against their rules without a node."""

import json
import socket
import struct
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from testbed.realnodes import network, oci
from testbed.realnodes.dns import answer, names_of
from testbed.realnodes.runtime import give_devices


def endpoint_slice(*endpoints: dict[str, object], service: str = "train") -> dict[str, object]:
    labels = {"kubernetes.io/service-name": service}
    return {"metadata": {"namespace": "ml", "labels": labels}, "addressType": "IPv4", "endpoints": list(endpoints)}


def question(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)


def reply(message: bytes | None) -> tuple[int, list[str]]:
    """(response code, addresses) of an answer."""
    assert message is not None
    _, flags, _, count, _, _ = struct.unpack_from("!HHHHHH", message)
    assert flags & 0x8000
    records = [message[len(message) - 16 * (count - index) :][:16] for index in range(count)]
    return flags & 0xF, [socket.inet_ntoa(record[12:]) for record in records]


NAMES = names_of(
    [
        endpoint_slice(
            {"hostname": "train-0", "addresses": ["198.18.0.10"], "conditions": {"ready": True}},
            {"hostname": "train-1", "addresses": ["198.18.0.11"], "conditions": {}},
        ),
        endpoint_slice(
            {"hostname": "late-0", "addresses": ["198.18.0.12"], "conditions": {"ready": False}}, service="late"
        ),
    ]
)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("train-1.train.ml.svc.cluster.local", 1, (0, ["198.18.0.11"])),
        ("Train-1.train.ml.SVC.cluster.local", 1, (0, ["198.18.0.11"])),
        ("train.ml.svc.cluster.local", 1, (0, ["198.18.0.10", "198.18.0.11"])),
        ("train-1.train.ml.svc.cluster.local", 28, (0, [])),
        ("train-2.train.ml.svc.cluster.local", 1, (3, [])),
        ("late-0.late.ml.svc.cluster.local", 1, (3, [])),
        ("train-1.train.ml.svc", 1, (3, [])),
    ],
)
def test_names_are_answered_as_cluster_dns_does(name: str, kind: int, expected: tuple[int, list[str]]) -> None:
    assert reply(answer(question(name, kind), NAMES)) == expected


@pytest.mark.parametrize("junk", [b"", b"\0" * 12, question("a.b")[:-3], b"\xff" * 40])
def test_junk_gets_no_answer(junk: bytes) -> None:
    assert answer(junk, NAMES) is None


def test_a_long_answer_stays_within_a_datagram() -> None:
    many = [{"addresses": [f"198.18.0.{host}"], "conditions": {}} for host in range(200)]
    name = f"{'a' * 40}.ml.svc.cluster.local"
    message = answer(question(name), names_of([endpoint_slice(*many, service="a" * 40)]))
    assert message is not None
    assert len(message) <= 512


def test_the_last_value_of_a_variable_gives_the_device_files() -> None:
    spec = {"process": {"env": ["VISIBLE=0,1", "OTHER=all", "VISIBLE=4,5"]}, "linux": {}}
    give_devices(spec, {"VISIBLE": "/dev/card", "OTHER": "/dev/other", "ABSENT": "/dev/absent"})
    assert [device["path"] for device in spec["linux"]["devices"]] == ["/dev/card4", "/dev/card5"]


def test_images_of_one_file_share_their_layers(tmp_path: Path) -> None:
    layers = [tmp_path / name for name in ("base.tar", "more.tar")]
    for layer in layers:
        layer.write_bytes(layer.name.encode())
    images = [
        oci.Image("localhost/a:1", layers[:1], ["sh"], {}),
        oci.Image("localhost/b:1", layers, ["sh"], {"A": "b"}),
    ]
    oci.write(tmp_path / "images.tar", images)
    with tarfile.open(tmp_path / "images.tar") as archive:
        blobs = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    assert all(name == f"blobs/sha256/{sha256(blob).hexdigest()}" for name, blob in blobs.items() if "blobs/" in name)
    listed = json.loads(blobs["index.json"])["manifests"]
    assert [entry["annotations"]["io.containerd.image.name"] for entry in listed] == ["localhost/a:1", "localhost/b:1"]
    first, second = (json.loads(blobs[f"blobs/sha256/{entry['digest'][7:]}"])["layers"] for entry in listed)
    assert second[:1] == first
    assert len(second) == 2


def test_nodes_have_addresses_of_their_own() -> None:
    net = network.Network(network.bridge_name("a-bed-with-a-name-of-forty-characters-xx"), "198.18.3")
    assert len(net.bridge) <= 15
    ranges = []
    for number in range(network.MOST_NODES):
        [[pods]] = net.cni(number, "x", "/data")["plugins"][0]["ipam"]["ranges"]
        ranges.append(
            range(*(int(pods[end].rpartition(".")[2]) + more for end, more in (("rangeStart", 0), ("rangeEnd", 1))))
        )
    own = [int(net.node(number).rpartition(".")[2]) for number in range(network.MOST_NODES)]
    used = [*own, 1, *(address for each in ranges for address in each)]
    assert len(used) == len(set(used))
    assert max(used) < 255
