"""Rules about groups: that pods, ledgers and statuses tell of the same members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from testbed.check.facts import Cluster, Json, Pod, Seat, Seats, ledger_entry, seats
from testbed.check.report import Report, Rule


@dataclass(frozen=True, slots=True)
class Holding:
    """What one group holds in one supernode by its ledger: its members' seats, and spares that no pod uses."""

    supernode: str
    group: str
    uid: str
    seats: Seats
    spares: tuple[Seat, ...] = ()

    @property
    def taken(self) -> tuple[Seat, ...]:
        return (*self.seats.values(), *self.spares)


@dataclass(frozen=True, slots=True)
class Group:
    """A CardGroup that holds cards, with its members as each source knows them. ``job`` is None for a bare group.

    ``pods``: of a rank whose pod has ended, and that has no other, that one.
    """

    key: str
    uid: str
    spec: Json
    status: Json
    job: Json | None
    ledger: Seats
    placement: Seats
    pods: Mapping[int, Pod]
    spares: tuple[Seat, ...] = ()

    @property
    def title(self) -> str:
        return f"group {self.key}"

    @property
    def members(self) -> int:
        return int(self.spec["members"])

    @property
    def cards(self) -> int:
        """Cards per member."""
        return int(self.spec.get("cardsPerMember", 1))

    @property
    def seats(self) -> Seats:
        """Where the members are: by their pods where a job runs them, else by the ledger."""
        if self.job is None:
            return self.ledger
        return {rank: Seat(pod.node, pod.cards) for rank, pod in self.pods.items() if pod.node is not None}


def ledgers(cluster: Cluster, report: Report) -> list[Holding]:
    """Every ledger entry, decoded; checks that each is on its own nodes and that no card is in two."""
    held: list[Holding] = []
    owner: dict[tuple[str, int], str] = {}
    for name, obj in cluster.supernodes.items():
        for line in obj.get("status", {}).get("ledger", ()):
            try:
                entry = ledger_entry(line)
            except ValueError:
                report.expect(
                    Rule.AGREE, f"supernode {name}", False, f"its ledger has a line that says nothing: {line}"
                )
                continue
            subject = f"supernode {name}, {entry['group']}"
            found = _decoded(entry["runs"], subject, report)
            spares = _decoded(entry.get("spares", []), subject, report)
            holding = Holding(name, entry["group"], entry["uid"], found, tuple(spares.values()))
            held.append(holding)
            mine: set[tuple[str, int]] = set()
            for seat in holding.taken:
                host = cluster.hosts.get(seat.node)
                home = host.supernode if host else "none"
                told = f"the ledger holds cards of {seat.node}, which is in supernode {home}"
                report.expect(Rule.PLACE, subject, home == name, told)
                for card in seat.cards:
                    place = seat.node, card
                    free = place not in mine and owner.setdefault(place, entry["uid"]) == entry["uid"]
                    mine.add(place)
                    told = f"the ledger holds card {card} of {seat.node}, which is held already"
                    report.expect(Rule.ONCE, subject, free, told)
    return held


def _decoded(runs: list[Json], subject: str, report: Report) -> Seats:
    try:
        return seats(runs)
    except (ValueError, KeyError) as error:
        report.expect(Rule.AGREE, subject, False, f"its runs cannot be read: {error}")
        return {}


def groups(cluster: Cluster, held: list[Holding], report: Report) -> Iterator[Group]:
    """Every group that holds cards; checks that no ledger entry and no pod is without one."""
    jobs = {job["metadata"]["uid"]: job for job in cluster.jobs}
    entries: dict[str, list[Holding]] = {}
    for holding in held:
        entries.setdefault(holding.uid, []).append(holding)
    known = {obj["metadata"]["uid"] for obj in cluster.groups}
    for uid, orphans in entries.items():
        told = f"supernode {orphans[0].supernode} holds cards for it, but no such group exists"
        report.expect(Rule.AGREE, f"group {orphans[0].group}", uid in known, told)
    for pod in cluster.pods:
        if pod.job is not None:
            told = f"exists for the group {pod.group}, which holds no cards"
            report.expect(Rule.WHOLE, pod.title, pod.group_uid in entries, told)
    for obj in cluster.groups:
        meta, status = obj["metadata"], obj.get("status", {})
        uid, key = meta["uid"], f"{meta['namespace']}/{meta['name']}"
        placement = _decoded(status.get("placement", []), f"group {key}", report)
        if uid in entries or placement:
            job = next((jobs[ref["uid"]] for ref in meta.get("ownerReferences", ()) if ref["uid"] in jobs), None)
            mine = (pod for pod in (*cluster.ended, *cluster.pods) if pod.group_uid == uid)
            pods = {pod.rank: pod for pod in mine if pod.rank is not None}
            ledger = _joined(key, entries.get(uid, []), report)
            spares = tuple(seat for holding in entries.get(uid, ()) for seat in holding.spares)
            yield Group(key, uid, obj["spec"], status, job, ledger, placement, pods, spares)


def _joined(key: str, holdings: list[Holding], report: Report) -> Seats:
    joined: Seats = {}
    for holding in holdings:
        told = f"the ledger of {holding.supernode} calls it {holding.group}"
        report.expect(Rule.AGREE, f"group {key}", holding.group == key, told)
        twice = sorted(joined.keys() & holding.seats.keys())
        report.expect(Rule.AGREE, f"group {key}", not twice, f"the ranks {twice} are in two ledgers")
        joined |= holding.seats
    return joined


def check_group(cluster: Cluster, group: Group, report: Report) -> None:
    """All members are there, and every source tells the same of them."""
    _whole(group, report)
    told = "the ledgers and status.placement tell of different members"
    report.expect(Rule.AGREE, group.title, group.ledger == group.placement, told)
    spares = _decoded(group.status.get("spares", []), group.title, report)
    told = "the ledgers and status.spares tell of different spares"
    report.expect(Rule.AGREE, group.title, Counter(group.spares) == Counter(spares.values()), told)
    for run in group.status.get("placement", ()):
        for node in {seat.node for seat in _decoded([run], group.title, report).values()}:
            host = cluster.hosts.get(node)
            told = f"status.placement has {node} in {run['supernode']}, it is in {host.supernode if host else 'none'}"
            report.expect(Rule.PLACE, group.title, host is not None and host.supernode == run["supernode"], told)
    if group.job is not None:
        _pods_agree(cluster, group, group.job, report)


def _whole(group: Group, report: Report) -> None:
    sources: dict[str, Mapping[int, object]] = {"the ledgers": group.ledger, "status.placement": group.placement}
    if group.job is not None:
        sources["its pods"] = group.pods
    for source, found in sources.items():
        wrong = sorted(set(range(group.members)) ^ found.keys())
        told = f"{source} have {len(found)} of {group.members} members; missing or too many are the ranks {wrong[:8]}"
        report.expect(Rule.WHOLE, group.title, not wrong, told)
    sizes = {len(seat.cards) for seat in (*group.ledger.values(), *group.placement.values(), *group.spares)}
    told = f"its members have {sorted(sizes)} cards, claimed are {group.cards}"
    report.expect(Rule.WHOLE, group.title, sizes <= {group.cards}, told)
    total = group.job["spec"].get("cards") if group.job else None
    told = f"its job asks for {total} cards, the group for {group.members} x {group.cards}"
    report.expect(Rule.WHOLE, group.title, total in (None, group.members * group.cards), told)


def _pods_agree(cluster: Cluster, group: Group, job: Json, report: Report) -> None:
    for rank, pod in group.pods.items():
        seat = group.ledger.get(rank)
        booked = f"{seat.node} with {sorted(seat.cards)}" if seat else "nothing"
        told = f"{pod.title} is on {pod.node} with cards {sorted(pod.cards)}, its ledger has {booked}"
        report.expect(
            Rule.AGREE, group.title, seat is not None and (pod.node, pod.cards) == (seat.node, seat.cards), told
        )
    named = sorted(job.get("status", {}).get("superNodes", ()))
    found = sorted({host.supernode for s in group.seats.values() if (host := cluster.hosts.get(s.node))})
    report.expect(
        Rule.AGREE, group.title, named == found, f"its job names the supernodes {named}, its pods are in {found}"
    )
    running = job.get("status", {}).get("pods", {}).get("running", 0)
    told = f"its job counts {running} pods running of {len(group.pods)}"
    report.expect(Rule.AGREE, group.title, running == sum(pod.running for pod in group.pods.values()), told)
