"""Rules about where a group lies: blocks, limits, spans, and whether the spans could be fewer."""

from __future__ import annotations

from collections import Counter

from testbed.check.facts import Cards, Cluster, Host, Json, Profile
from testbed.check.grids import check_grids
from testbed.check.groups import Group, Holding
from testbed.check.minimum import Claim, NotRecomputedError, Vector, minimum
from testbed.check.report import Report, Row, Rule

Places = list[tuple[Host, Cards]]
"""Host and cards of each member, by rank."""


class Occupancy:
    """Who holds which cards, by ledgers and by the pods that no ledger covers."""

    def __init__(self, cluster: Cluster, held: list[Holding]) -> None:
        self.holders: dict[str, dict[int, str]] = {}
        """Node to card to the uid of its group; the empty uid stands for a foreign pod."""
        self.unknown: dict[str, int] = {}
        """Node to the number of cards in foreign pods that do not say which ones."""
        covered = {(holding.supernode, holding.group) for holding in held}
        for holding in held:
            for seat in holding.taken:
                self.holders.setdefault(seat.node, {}).update(dict.fromkeys(seat.cards, holding.uid))
        for pod in cluster.pods:
            host = cluster.hosts.get(pod.node or "")
            amount = pod.requests.get(host.profile.resource, 0) if host else 0
            if host is None or not amount or (host.supernode, f"{pod.namespace}/{pod.group}") in covered:
                continue
            if pod.cards:
                self.holders.setdefault(host.name, {}).update(dict.fromkeys(pod.cards, ""))
            else:
                self.unknown[host.name] = self.unknown.get(host.name, 0) + amount

    def usable(self, host: Host) -> Cards:
        """The healthy cards, without the highest free ones for which a scheduler has no room.

        It counts: whoever runs on a card that failed takes the place of one that the node goes on offering.
        """
        if "devices" in host.profile.pinning:
            return host.healthy
        holders, unknown = self.holders.get(host.name, {}), self.unknown.get(host.name, 0)
        free = sorted(card for card in host.healthy if card not in holders)
        room = max(0, host.offered - len(holders) - unknown)
        return host.healthy - set(free[room + unknown :])

    def free(self, host: Host, uid: str) -> Cards:
        """The usable cards that nobody but this group holds."""
        holders = self.holders.get(host.name, {})
        return frozenset(card for card in self.usable(host) if holders.get(card, uid) == uid)


def check_topology(cluster: Cluster, group: Group, occupancy: Occupancy, report: Report) -> None:
    """Everything about where the group's members lie."""
    hosts = [cluster.hosts.get(seat.node) for _, seat in sorted(group.seats.items())]
    places = [(h, s.cards) for h, (_, s) in zip(hosts, sorted(group.seats.items()), strict=True) if h]
    if len(places) != group.members:
        return  # told already: a member is missing or on no node of a supernode
    profiles = sorted({host.profile.name for host, _ in places})
    wanted = {group.spec.get("profile"), group.status.get("profile")} - {None}
    told = f"lies on the profiles {profiles}; spec and status say {sorted(map(str, wanted))}"
    if not report.expect(Rule.PLACE, group.title, len(profiles) == 1 and wanted <= set(profiles), told):
        return
    profile = places[0][0].profile
    _whole_nodes(group, profile, places, report)
    topologies = [group.spec.get("topology") or {}]
    if group.job is not None:
        topologies.append(group.job["spec"].get("topology") or {})
    for topology in topologies:
        _blocks(group, topology, profile, places, report)
        _limits(group, topology, profile, places, report)
    _spares(cluster, group, profile, places, report)
    check_grids(group, profile, places, cluster.hosts.values(), report)
    spans = _spans(group, profile, places, report)
    verdict = _minimum(cluster, group, profile, occupancy, spans, report)
    supernodes = tuple(sorted({host.supernode for host, _ in places}))
    cards = sum(len(cards) for _, cards in places)
    report.rows.append(Row(group.key, len(places), cards, supernodes, spans, verdict))


def _whole_nodes(group: Group, profile: Profile, places: Places, report: Report) -> None:
    if profile.whole_nodes and len({host.name for host, _ in places}) > 1:
        part = sorted({host.name for host, cards in places if len(cards) != profile.node.cards})
        told = f"is on several nodes but takes only part of {', '.join(part[:3])}"
        report.expect(Rule.LEGAL, group.title, not part, told)


def _touched(level: str, profile: Profile, places: Places) -> int:
    """How many domains of a level the members touch, one member several only inside its node."""
    sizes = {inner.name: inner.cards for inner in profile.inner}
    if level in sizes:
        return len({(host.name, card // sizes[level]) for host, cards in places for card in cards})
    return len({host.domains[level] for host, _ in places})


def _blocks(group: Group, topology: Json, profile: Profile, places: Places, report: Report) -> None:
    for block in topology.get("blocks", ()):
        level, size = profile.level(block["level"]), block["members"]
        for first in range(0, len(places), size):
            count = _touched(level, profile, places[first : first + size])
            told = f"the block of ranks {first}-{first + size - 1} lies in {count} domains of {level}"
            report.expect(Rule.BLOCKS, group.title, count == 1, told)


def _limits(group: Group, topology: Json, profile: Profile, places: Places, report: Report) -> None:
    limits = dict(topology.get("maxSpan", {}))
    if topology.get("required"):
        limits[topology["required"]] = 1
    for level, most in limits.items():
        count = _touched(profile.level(level), profile, places)
        told = f"touches {count} domains of {level}, allowed are {most}"
        report.expect(Rule.LIMITS, group.title, count <= most, told)


def _spares(cluster: Cluster, group: Group, profile: Profile, places: Places, report: Report) -> None:
    """As many as asked for in each domain that has members, and none elsewhere."""
    topology = group.spec.get("topology") or {}
    asked = topology.get("spares") or {}
    level = profile.level(asked.get("within") or topology.get("required") or profile.counted[0])
    hosts = [cluster.hosts.get(seat.node) for seat in group.spares]
    found = Counter(host.domains[level] if host else ("nowhere",) for host in hosts)
    wanted = dict.fromkeys({host.domains[level] for host, _ in places}, asked["members"]) if asked else {}
    told = f"holds {len(group.spares)} spares, not {asked.get('members', 0)} in each {level} that it has members in"
    report.expect(Rule.WHOLE, group.title, found == wanted, told)


def _spans(group: Group, profile: Profile, places: Places, report: Report) -> dict[str, int]:
    spans = {level: _touched(level, profile, places) for level in profile.counted}
    statuses = {"its status": group.status}
    if group.job is not None:
        statuses["the status of its job"] = group.job.get("status", {})
    for source, status in statuses.items():
        said = status.get("spans", {})
        report.expect(Rule.SPANS, group.title, said == spans, f"{source} says {said}, its members touch {spans}")
    return spans


def _minimum(
    cluster: Cluster, group: Group, profile: Profile, occupancy: Occupancy, spans: dict[str, int], report: Report
) -> str:
    """Compare the spans with the minimum; the verdict in words."""
    if group.status.get("proven"):
        said = group.status.get("minimal", {})
        report.expect(Rule.PROVEN, group.title, said == spans, f"says that {said} is the minimum, but touches {spans}")
    try:
        vector = _least(cluster, group, profile, occupancy)
    except NotRecomputedError as reason:
        return f"minimum not recomputed: {reason}"
    least = dict(zip(profile.counted, vector or (), strict=False))
    above = vector is None or tuple(spans.values()) > vector
    told = f"touches {spans} where {least} would do (no fault if cards came free after it was placed)"
    return "minimum proven" if report.expect(Rule.MINIMUM, group.title, not above, told) else "ABOVE THE MINIMUM"


def _least(cluster: Cluster, group: Group, profile: Profile, occupancy: Occupancy) -> Vector | None:
    """The minimum on the fleet as it is and the group's own cards, which may be given even where others may not."""
    if group.spares:
        raise NotRecomputedError("spares have a say in it")
    own = {seat.node: frozenset[int]() for seat in group.seats.values()}
    for seat in group.seats.values():
        own[seat.node] |= seat.cards
    hosts = [host for host in cluster.hosts.values() if host.profile == profile]
    free = {}
    for host in hosts:
        shut = not host.open or cluster.supernodes[host.supernode]["spec"].get("cordoned", False)
        # Which cards are left beside a foreign pod that does not tell its own cannot be known: none, to be fair.
        given = frozenset[int]() if shut or host.name in occupancy.unknown else occupancy.free(host, group.uid)
        free[host.name] = given | own.get(host.name, frozenset())
    keep = {}
    for name in {host.supernode for host in hosts}:
        whole = [h.name for h in hosts if h.supernode == name and len(free[h.name]) == h.cards]
        reserve = cluster.supernodes[name]["spec"].get("reserve", profile.reserve)
        # The reserve may have been raised since; what the group took then is its own.
        keep[name] = min(reserve, len(whole) - sum(node in own for node in whole))
    return minimum(profile, hosts, free, keep, _claim(group, profile))


def would_fit(cluster: Cluster, claimed: Json, occupancy: Occupancy) -> bool:
    """Whether a CardGroup that holds no cards would find room now on the profile it names.

    Raises NotRecomputedError where it asks for spares, or for what `minimum` does not know.
    """
    spec = claimed["spec"]
    if (spec.get("topology") or {}).get("spares"):
        raise NotRecomputedError("spares have a say in it")
    group = Group("", claimed["metadata"]["uid"], spec, {}, None, {}, {}, {})
    return _least(cluster, group, cluster.profiles[spec["profile"]], occupancy) is not None


def _claim(group: Group, profile: Profile) -> Claim:
    topology = group.spec.get("topology") or {}
    required = topology.get("required")
    return Claim(
        members=group.members,
        cards=group.cards,
        required=profile.level(required) if required else None,
        blocks={profile.level(block["level"]): block["members"] for block in topology.get("blocks", ())},
        max_span={profile.level(level): most for level, most in topology.get("maxSpan", {}).items()},
    )


def check_counts(cluster: Cluster, occupancy: Occupancy, report: Report) -> None:
    """The numbers in every SuperNode's status."""
    for name, obj in cluster.supernodes.items():
        hosts = [host for host in cluster.hosts.values() if host.supernode == name]
        cards = {
            "total": sum(host.cards for host in hosts),
            "healthy": sum(len(occupancy.usable(host)) for host in hosts),
            "allocated": sum(
                len(occupancy.holders.get(host.name, ())) + occupancy.unknown.get(host.name, 0) for host in hosts
            ),
            "free": sum(
                max(0, len(occupancy.free(host, "-")) - occupancy.unknown.get(host.name, 0))
                for host in hosts
                if host.open
            ),
        }
        status = obj.get("status", {})
        said = {key: status.get("cards", {}).get(key, 0) for key in cards}
        report.expect(Rule.COUNTS, f"supernode {name}", said == cards, f"its status says {said}, it has {cards}")
        count = status.get("nodes", 0)
        told = f"its status counts {count} nodes, it has {len(hosts)}"
        report.expect(Rule.COUNTS, f"supernode {name}", count == len(hosts), told)
