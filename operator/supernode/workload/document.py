"""The group's document: all that a process of any framework may want to know of where its peers are.

Mounted as `group.json` in every container of a group of more than one member. Ranks in it are those of members (pods);
ranks of cards, one process per card, only under `communicators`. Lists are ranges ("0-15,32-47"), so that it stays
small: 15,488 cards take some tens of kilobytes. Fields are added, never changed, as long as `format` stays 1.
"""

from itertools import groupby
from typing import Any

import orjson

from supernode.topology.ledger import encode_placement
from supernode.topology.ranges import format_ints
from supernode.workload.communicators import communicators
from supernode.workload.identity import pod_address
from supernode.workload.placed import PlacedGroup

FORMAT = 1
DOCUMENT = "group.json"


def group_document(group: PlacedGroup) -> str:
    """The document as JSON text; the same group gives the same text."""
    job, profile = group.job, group.profile
    levels = profile.levels[profile.node_index :]
    document: dict[str, Any] = {
        "format": FORMAT,
        "job": job.metadata.name,
        "namespace": job.metadata.namespace,
        "profile": profile.name,
        "members": len(group.members),
        "cardsPerMember": group.cards_per_member,
        "cards": group.cards,
        "address": pod_address(job, "<rank>"),
        "placement": encode_placement(group.members),
        "domains": {level.name: _domains(group, level.name) for level in levels[1:]},
        "levels": [
            {"name": level.name, "cards": level.cards, "fabric": level.fabric}
            | _distance(level.bandwidth_gbps, level.latency_us)
            for level in profile.levels
        ],
        "uplink": _distance(profile.uplink_bandwidth_gbps, profile.uplink_latency_us),
        "blocks": [{"level": block.level, "members": block.members} for block in group.blocks],
    }
    if job.spec.parallelism is not None:
        found = communicators(job.spec.parallelism, group.cards)
        document["communicators"] = {communicator.kind: communicator.to_dict() for communicator in found}
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE).decode()


def _domains(group: PlacedGroup, level: str) -> list[dict[str, str]]:
    """Which ranks lie in which domain of a level; ranks follow the tree, so each domain has one run of them.

    A member whose node is gone is in none.
    """
    parts = groupby(group.members, key=lambda member: member.domains.get(level))
    return [{"name": name, "ranks": format_ints(member.rank for member in part)} for name, part in parts if name]


def _distance(bandwidth: float | None, latency: float | None) -> dict[str, float]:
    """What two cards whose innermost common domain is of this level have between them, as far as the profile says."""
    facts = {"bandwidthGBps": bandwidth, "latencyMicroseconds": latency}
    return {name: value for name, value in facts.items() if value is not None}
