"""What a placement means for collectives: the alpha-beta model of HCCL, level by level.

One step of n bytes takes latency + n / bandwidth. An all-reduce is hierarchical, as in HCCL and NCCL: reduce-scatter
inside a domain, all-reduce between domains of what is left, all-gather inside; so each level sees only the share that
the levels further in left over, and a group that breaks its inner domains pays further out. An all-to-all sends what
does not stay in a supernode over the uplink. Profiles give bandwidth and latency per level, per card and direction; a
level whose fabric is `none` is no network of its own, and its domains are joined by the next level out.

Sources: HCCL, collective algorithms (Hockney form); StrataCL, arXiv 2607.26444, for where rings lose to direct
exchange: below 8 MiB count a logarithmic number of steps (one, in a full mesh), above 16 MiB those of a ring.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from supernode.topology.node import Member
from supernode.topology.profile import Level, Profile

MIB = 1 << 20
ALL_REDUCE_BYTES = 256 * MIB
"""The message of an estimated all-reduce."""

ALL_TO_ALL_BYTES = 64 * MIB
"""What each card sends in an estimated all-to-all."""

DIRECT_BYTES, RING_BYTES = 8 * MIB, 16 * MIB


Width = tuple[int, int]
"""How many cards, or domains of the level before, a domain joins: in the fullest and in the emptiest."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds that collectives over all cards of a group take, at the sizes above, on an otherwise idle fabric."""

    all_reduce: float
    all_to_all: float

    def to_dict(self) -> dict[str, int]:
        """As statuses and programs have it, in microseconds."""
        return {
            "allReduceMicroseconds": round(self.all_reduce * 1e6),
            "allToAllMicroseconds": round(self.all_to_all * 1e6),
        }


@dataclass(frozen=True, slots=True)
class Hop:
    """One network that a group uses. most, least: the parts that it joins, as in `Width`. bandwidth: bytes per second.
    latency: seconds. mesh: whether every part has a link to every other."""

    most: int
    least: int
    bandwidth: float
    latency: float
    mesh: bool = False


def estimate(profile: Profile, members: Sequence[Member]) -> Estimate | None:
    """The times of a placement; None where the profile lacks the bandwidth of a level that the group crosses."""
    hops = _hops(profile, _widths(profile, members))
    if hops is None:
        return None
    cards = sum(member.cards.bit_count() for member in members)
    return Estimate(all_reduce(hops, ALL_REDUCE_BYTES), all_to_all(hops[:-1], hops[-1], cards, ALL_TO_ALL_BYTES))


def distance(profile: Profile, members: Sequence[Member]) -> float | None:
    """Seconds of latency between the two cards of a placement that are farthest apart; None where it is not known."""
    hops = _hops(profile, _widths(profile, members))
    crossed = [hop for hop in hops or () if hop.most > 1]
    return None if hops is None else max((hop.latency for hop in crossed[-1:]), default=0.0)


def all_reduce(hops: Iterable[Hop], size: float) -> float:
    """Seconds to all-reduce `size` bytes over everything the hops join, inner to outer."""
    seconds, rest = 0.0, size
    for hop in hops:
        if hop.most > 1:
            share = (hop.most - 1) / hop.most * rest / hop.bandwidth
            seconds += 2 * (_rounds(hop, size) * hop.latency + share)
        rest /= hop.least
    return seconds


def all_to_all(inside: Sequence[Hop], uplink: Hop, cards: int, size: float) -> float:
    """Seconds for each of `cards` cards to send `size` bytes in equal parts to the others.

    inside: the hops of one supernode, which carry what stays in it at the pace of the outermost one.
    """
    if cards == 1:
        return 0.0
    least = most = 1
    for hop in inside:
        least, most = least * hop.least, most * hop.most
    crossed = [hop for hop in (*inside, uplink) if hop.most > 1]
    near = [hop for hop in inside if hop.most > 1]
    stays = size * (min(most, cards) - 1) / (cards - 1) / near[-1].bandwidth if near else 0.0
    leaves = size * max(0, cards - least) / (cards - 1) / uplink.bandwidth if uplink.most > 1 else 0.0
    return crossed[-1].latency + max(stays, leaves)


def _rounds(hop: Hop, size: float) -> float:
    """How often a step's latency is paid."""
    ring = hop.most - 1
    direct = 1 if hop.mesh else ring.bit_length()
    towards_ring = min(1.0, max(0.0, (size - DIRECT_BYTES) / (RING_BYTES - DIRECT_BYTES)))
    return direct + towards_ring * (ring - direct)


def _hops(profile: Profile, widths: Sequence[Width]) -> list[Hop] | None:
    """The network that each level crosses, inner to outer, the uplink last; None where a bandwidth is missing.

    Neighbouring switch levels of the same bandwidth and latency are one network of one hop.
    """
    hops: list[Hop] = []
    uplink = Level("fleet", 1, 0, "switch", (), profile.uplink_bandwidth_gbps, profile.uplink_latency_us)
    most = least = 1
    for level, (fullest, emptiest) in zip((*profile.levels, uplink), widths, strict=True):
        most, least = most * fullest, least * emptiest
        if level.fabric == "none":
            continue
        if level.bandwidth_gbps is None and most > 1:
            return None
        hop = _hop(level, most, least)
        last = hops[-1] if hops and level is not uplink else None
        if last and not hop.mesh and not last.mesh and (hop.bandwidth, hop.latency) == (last.bandwidth, last.latency):
            hops[-1] = replace(hop, most=hop.most * last.most, least=hop.least * last.least)
        else:
            hops.append(hop)
        most = least = 1
    return hops


def _hop(level: Level, most: int, least: int) -> Hop:
    """In a full mesh of n parts, k of them use k - 1 of the n - 1 links of each."""
    mesh = level.fabric == "mesh" and level.fan_out > 1
    links = min(1.0, max(1, most - 1) / (level.fan_out - 1)) if mesh else 1.0
    bandwidth = (level.bandwidth_gbps or float("inf")) * 1e9 * links
    return Hop(most, least, bandwidth, (level.latency_us or 0.0) * 1e-6, mesh)


def _widths(profile: Profile, members: Sequence[Member]) -> list[Width]:
    """For each level inner to outer, and last for the fleet."""
    nodes: dict[str, int] = {}
    homes: dict[str, tuple[str, ...]] = {}
    outer = [level.name for level in profile.levels[profile.node_index :]]
    for member in members:
        nodes[member.node] = nodes.get(member.node, 0) | member.cards
        homes[member.node] = (*(member.domains[name] for name in outer), "fleet")
    found, size = [], 1
    for level in profile.levels[: profile.node_index + 1]:
        parts = [
            sum(mask >> at & ((1 << size) - 1) > 0 for at in range(start, start + level.cards, size))
            for mask in set(nodes.values())
            for start in range(0, profile.cards_per_node, level.cards)
        ]
        found.append((max(parts), min(filter(None, parts))))
        size = level.cards
    for depth in range(len(outer)):
        counts = Counter(parent for _, parent in {home[depth : depth + 2] for home in homes.values()})
        found.append((max(counts.values()), min(counts.values())))
    return found
