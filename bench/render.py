"""Time and size of what a placed group is told: files with the rank table, pods and claims.

    python -m bench render [--number ROUNDS]

Groups fill supernodes: 64 cards of Atlas A2 (rank table 1.0), 768 of A3 (1.2, 48 servers), 1,024 of the 950 and 15,488
of the 960 (2.0, three network layers of 7, 2 and 1 addresses for each card). Times are the median of some rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import yaml

from bench.figures import Figure
from supernode.api.pinning import Devices
from supernode.api.reading import parse
from supernode.api.trainingjob import TrainingJob
from supernode.topology.node import Member
from supernode.topology.profile import DeviceRule, Pinning, Profile
from supernode.workload import PlacedGroup, Server, render_claims, render_files, render_pod
from supernode.workload.document import group_document
from supernode.workload.ranktable import Device

PROFILES = Path(__file__).parents[1] / "examples" / "profiles"
GROUPS = {"ascend-a2": 64, "ascend-a3-384": 768, "ascend-950": 1024, "ascend-960": 15488}
BY_UUID = DeviceRule.from_spec(
    Devices(driver="npu.example.com", device_class="npus", index_attribute="index", select_attribute="uuid")
)


def group_of(profile: Profile, cards: int) -> PlacedGroup:
    """Whole nodes one after the other, in supernodes one after the other."""
    manifest = {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "large", "namespace": "bench", "uid": "7d0c"},
        "spec": {
            "cards": cards,
            "runtime": "mpi",
            "parallelism": {"tensor": 8},
            "workers": {"template": {"spec": {"containers": [{"name": "main", "image": "trainer"}]}}},
        },
    }
    job: TrainingJob = parse("TrainingJob", manifest)
    each, full = profile.cards_per_node, profile.levels[-1].cards
    members = []
    for rank in range(cards // each):
        supernode, node = f"sn-{rank * each // full}", f"node-{rank:04}"
        above = {level.name: f"{supernode}/{rank * each // level.cards}" for level in profile.above[:-1]}
        domains = {"node": node, **above, profile.levels[-1].name: supernode}
        members.append(Member(rank, supernode, node, (1 << each) - 1, domains))
    return PlacedGroup(job, "91ab4f0c", profile, tuple(members))


def servers_of(group: PlacedGroup) -> dict[str, Server]:
    """What a device plugin publishes on each node."""
    per_node = group.profile.cards_per_node
    return {
        member.node: Server(
            f"192.168.{member.rank >> 8}.{member.rank & 255}",
            {card: _device(member.node, member.rank * per_node + card) for card in range(per_node)},
        )
        for member in group.members
    }


def _device(node: str, number: int) -> Device:
    layers = {
        layer: {
            "net_layer": layer,
            "net_instance_id": instance,
            "net_type": "CLOS" if layer else "TOPO_FILE_DESC",
            "net_attr": "",
            "rank_addr_list": [
                {
                    "addr_type": "EID",
                    "addr": f"{number << 8 | port:032x}",
                    "ports": [f"0/{port}"],
                    "plane_id": f"plane{port}",
                }
                for port in range(ports)
            ],
        }
        for layer, instance, ports in ((0, node, 7), (1, "supernode", 2), (3, "cluster", 1))
    }
    outer = {"ROCE": layers.pop(3)}
    return Device(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", number, layers, outer)


def milliseconds(work: Callable[[], Any], rounds: int) -> float:
    """Processor time, the median of the rounds."""
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return statistics.median(spent) * 1000


def measure(name: str, cards: int, rounds: int) -> list[Figure]:
    """The figures of one group."""
    profile = Profile.from_spec(
        name, parse("SuperNodeProfile", yaml.safe_load((PROFILES / f"{name}.yaml").read_text())).spec
    )
    group = group_of(profile, cards)
    servers = servers_of(group)
    files = render_files(group, servers)
    sizes = [len(orjson.dumps(each)) for each in files.config_maps()]
    claimed = replace(group, profile=replace(profile, pinning=Pinning("dra", None, BY_UUID)))
    values: dict[int, int | str] = {card: f"NPU-{card:032x}" for card in range(profile.cards_per_node)}
    ranks = range(len(group.members))

    def pods() -> None:
        for rank in ranks:
            render_pod(group, rank, files, predicate_time_ns=1)

    def claims() -> None:
        for rank in ranks:
            render_claims(claimed, rank, values)

    figures = [
        Figure("files with rank table", milliseconds(lambda: render_files(group, servers).config_maps(), rounds), "ms"),
        Figure("pods", milliseconds(pods, rounds), "ms"),
        Figure("claims", milliseconds(claims, rounds), "ms"),
        Figure("group document, KiB", len(group_document(group)) / 1024),
        Figure("all objects, KiB", sum(sizes) / 1024),
        Figure("largest object, KiB", max(sizes) / 1024),
    ]
    return [replace(figure, name=f"render: {cards} cards: {figure.name}") for figure in figures]


def run(*, quick: bool = False, number: int | None = None) -> list[Figure]:
    """number: rounds."""
    rounds = number or (3 if quick else 9)
    return [figure for name, cards in GROUPS.items() for figure in measure(name, cards, rounds)]
