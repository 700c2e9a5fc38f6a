"""Rules about single pods and single cards."""

from __future__ import annotations

from collections import Counter

from testbed.check.facts import Cards, Cluster, Host, Pod, Profile
from testbed.check.minimum import aligned
from testbed.check.report import Report, Rule


def check_pods(cluster: Cluster, report: Report) -> None:
    """The pods of jobs one by one, then all pods for cards that are used twice."""
    for pod in cluster.pods:
        if pod.job is None:
            continue
        _pinned(cluster, pod, report)
        if host := cluster.hosts.get(pod.node or ""):
            _cards(cluster, host, pod, report)
            _legal(host.profile, pod, report)
    _once(cluster, report)


def _pinned(cluster: Cluster, pod: Pod, report: Report) -> None:
    if not report.expect(Rule.PINNED, pod.title, pod.node is not None, "is not bound to a node"):
        return
    pins = ", ".join(sorted(pod.pins)) or "no node"
    told = f"runs on {pod.node} and is pinned by matchFields to {pins}"
    report.expect(Rule.PINNED, pod.title, pod.pins == {pod.node}, told)
    told = f"runs on {pod.node}, which is in no supernode"
    report.expect(Rule.PLACE, pod.title, pod.node in cluster.hosts, told)


def _cards(cluster: Cluster, host: Host, pod: Pod, report: Report) -> None:
    if not report.expect(Rule.CARDS, pod.title, bool(pod.cards), "names no cards in supernode.io/cards"):
        return
    beyond = sorted(card for card in pod.cards if card >= host.cards)
    report.expect(Rule.CARDS, pod.title, not beyond, f"uses cards {beyond}; {host.name} has {host.cards}")
    ill = sorted(pod.cards - host.working - set(beyond))
    report.expect(Rule.HEALTHY, pod.title, not ill, f"uses cards {ill} of {host.name}, which are unhealthy")
    resource = host.profile.resource
    asked = pod.requests.get(resource, 0) if "devices" not in host.profile.pinning else len(pod.cards)
    told = f"asks for {asked} {resource} but names {len(pod.cards)} cards"
    report.expect(Rule.CARDS, pod.title, asked == len(pod.cards), told)
    pinned = _pinned_cards(cluster, pod, host.profile)
    told = f"tells the node to use {sorted(pinned or ())}, not {sorted(pod.cards)}"
    report.expect(Rule.CARDS, pod.title, pinned in (None, pod.cards), told)


def _pinned_cards(cluster: Cluster, pod: Pod, profile: Profile) -> Cards | None:
    """The cards that the device plugin or runtime is told to use, or the scheduler has given; None where the profile
    pins no cards."""
    match profile.pinning.get("mode"):
        case "annotation":
            names = pod.annotations.get(profile.pinning["key"], "")
            return frozenset(int(name.rpartition("-")[2]) for name in names.split(",") if name)
        case "env":
            indices = pod.environment.get(profile.pinning["key"], "")
            return frozenset(int(index) for index in indices.split(",") if index)
        case "dra":
            given = cluster.devices.given(pod.namespace, pod.claims, pod.node or "", profile.pinning["devices"])
            return given or frozenset()
        case _:
            return None


def _legal(profile: Profile, pod: Pod, report: Report) -> None:
    sizes, count = profile.member_sizes, len(pod.cards)
    told = f"has {count} cards; {profile.name} allows {', '.join(map(str, sizes))}"
    report.expect(Rule.LEGAL, pod.title, not sizes or count in sizes, told)
    told = f"has the cards {sorted(pod.cards)}, which break more domains inside the node than they must"
    report.expect(Rule.LEGAL, pod.title, aligned(pod.cards, profile.nests), told)


def _once(cluster: Cluster, report: Report) -> None:
    users: dict[tuple[str, int], Pod] = {}
    asked: Counter[tuple[str, str]] = Counter()
    for pod in cluster.pods:
        if pod.node is None:
            continue
        for card in pod.cards:
            other = users.setdefault((pod.node, card), pod)
            told = f"uses card {card} of {pod.node}, which {other.title} uses too"
            report.expect(Rule.ONCE, pod.title, other is pod, told)
        for resource, amount in pod.requests.items():
            asked[pod.node, resource] += amount
    for (name, resource), amount in asked.items():
        host = cluster.hosts.get(name)
        if host is not None and host.profile.resource == resource:
            told = f"has {host.cards} cards; its pods ask for {amount}"
            report.expect(Rule.ONCE, f"node {name}", amount <= host.cards, told)
