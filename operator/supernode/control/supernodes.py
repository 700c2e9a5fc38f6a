"""What one SuperNode's record says: pure functions shared by the engine and the command line."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from supernode.api import names
from supernode.api.conditions import Reason
from supernode.api.supernode import SuperNode
from supernode.control.records import Custom
from supernode.placement import fragmentation, largest_block
from supernode.topology.discovery import Discovery, ProblemKind, SuperNodeFacts
from supernode.topology.fleet import SuperNodeView
from supernode.topology.ledger import LedgerEntry
from supernode.topology.node import Node
from supernode.topology.profile import Profile
from supernode.topology.ranges import RangeError, format_nodes
from supernode.topology.taints import SHOWN, described, remedy
from supernode.topology.views import held_cards

LISTED = 100
"""Characters that the names of nodes may take before a message only counts them."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a supernode gives no new cards although it exists."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """One supernode's ledger as last seen, in which term, and which cards of which node it books (bitmasks).

    ``by_group`` are its entries by the group ("namespace/name") they name, ``doubled`` the uids of those whose entries
    book cards that an entry before theirs has.
    """

    resource_version: str
    term: int
    entries: tuple[LedgerEntry, ...] = ()
    booked: Mapping[str, int] = field(default_factory=dict)
    by_group: Mapping[str, tuple[LedgerEntry, ...]] = field(default_factory=dict)
    doubled: frozenset[str] = frozenset()
    error: str | None = None

    @classmethod
    def of(cls, record: Custom[SuperNode], before: Self | None = None) -> Self:
        """Read from the status; an unreadable one books nothing and says so in ``error``.

        ``before`` is the ledger as it was read last: of a large one only the entries that are new are read.
        """
        known = {entry.text: entry for entry in before.entries} if before is not None else {}
        term = record.status.get("term", 0)
        try:
            entries = tuple(known.get(text) or LedgerEntry.from_text(text) for text in _lines(record.status))
            booked, doubled = before._rebooked(entries) if before is not None else _book(entries, {})
        except RangeError as problem:
            return cls(record.resource_version, term, error=str(problem))
        by_group: dict[str, tuple[LedgerEntry, ...]] = {}
        for entry in entries:
            by_group[entry.group] = (*by_group.get(entry.group, ()), entry)
        return cls(record.resource_version, term, entries, booked, by_group, doubled)

    def held_on(self, node: str, group: str) -> int:
        """The cards (bitmask) of a node that it books for a group ("namespace/name")."""
        held = 0
        for entry in self.by_group.get(group, ()):
            held |= entry.held.get(node, 0)
        return held

    def _rebooked(self, entries: tuple[LedgerEntry, ...]) -> tuple[dict[str, int], frozenset[str]]:
        """What :func:`_book` says of other entries, by those that came and went unless cards are given twice."""
        if not self.doubled and len({entry.text for entry in entries}) == len(entries):
            gone, came = changes(self.entries, entries)
            freed = held_cards(gone)
            kept = {node: left for node, cards in self.booked.items() if (left := cards & ~freed.get(node, 0))}
            booked, doubled = _book(came, kept)
            if not doubled:
                return booked, doubled
        return _book(entries, {})


def _lines(status: Mapping[str, Any]) -> Iterable[str]:
    """The lines of the ledger. Raises RangeError where another version of the operator has written it otherwise."""
    lines = status.get("ledger", ())
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
        raise RangeError("it is no list of lines; another version of the operator may have written it")
    return lines


def _book(entries: Iterable[LedgerEntry], booked: dict[str, int]) -> tuple[dict[str, int], frozenset[str]]:
    """Add what entries hold to what is ``booked``; the uids of those whose cards somebody had before."""
    doubled = set()
    for entry in entries:
        for node, cards in held_cards([entry]).items():
            if booked.get(node, 0) & cards:
                doubled.add(entry.uid)
            booked[node] = booked.get(node, 0) | cards
    return booked, frozenset(doubled)


def changes(before: Iterable[LedgerEntry], after: Iterable[LedgerEntry]) -> tuple[list[LedgerEntry], list[LedgerEntry]]:
    """The entries that went and those that came from one reading of a ledger to the next."""
    old, new = ({entry.text: entry for entry in entries} for entries in (before, after))
    gone = [entry for text, entry in old.items() if text not in new]
    return gone, [entry for text, entry in new.items() if text not in old]


def shape_of(profile: Profile) -> str:
    """A digest of what ledgers depend on: the name cards are counted by, the levels with their sizes and labels, and
    whether its cards are those that pods really have, which they are not where the kubelet chooses."""
    return _digest(profile, *(("none",) if profile.pinning.mode == "none" else ()))


def _digest(profile: Profile, *more: str) -> str:
    levels = [(level.name, level.fan_out, level.node_label) for level in profile.levels]
    return hashlib.sha256(repr((profile.counted, levels, *more)).encode()).hexdigest()[:12]


def _changed_in_use(shape: str, profile: Profile) -> bool:
    """Whether a profile is another than a ledger was written by; one that says nothing of pods' cards may be either."""
    return shape not in (shape_of(profile), _digest(profile))


def facts_of(record: Custom[SuperNode]) -> SuperNodeFacts:
    """The record as discovery takes it. It must have a model."""
    assert record.model is not None
    spec = record.model.spec
    return SuperNodeFacts(
        name=record.key[1],
        profile=spec.profile,
        node_selector=spec.node_selector,
        discovered=record.labels.get(names.LABEL_DISCOVERED) == "true",
        created=record.created.isoformat(),
        cordoned=spec.cordoned,
        reserve=spec.reserve,
    )


def trouble_of(record: Custom[SuperNode], profile: Profile | None, ledger: Ledger) -> Trouble | None:
    """Why the supernode must not give new cards, ``None`` when nothing is wrong."""
    if ledger.error is not None:
        return Trouble(Reason.INVALID_SPEC, f"status.ledger cannot be read: {ledger.error}")
    if profile is None:
        name = record.model.spec.profile if record.model else "?"
        return Trouble(Reason.PROFILE_MISSING, f"SuperNodeProfile {name} does not exist or is invalid; create it")
    shape = record.status.get("shape")
    if ledger.entries and shape and _changed_in_use(shape, profile):
        text = (
            f"profile {profile.name} got other levels, another resource or another pinning while groups hold cards; "
            "undo it, or no new cards are given until they are released"
        )
        return Trouble(Reason.PROFILE_CHANGED_IN_USE, text)
    return None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a supernode stands; ``ready`` is false when it cannot serve as its spec says.

    ``tainted`` counts nodes that give no new cards only because the profile does not tolerate their taints,
    ``remarkable`` those of which the message tells something else.
    """

    reason: Reason
    message: str
    ready: bool
    tainted: int = 0
    remarkable: int = 0


def conflicts_of(discovery: Discovery) -> dict[str, str]:
    """By supernode, which of its nodes others have."""
    told: dict[str, list[str]] = {}
    for problem in discovery.problems:
        if problem.kind == ProblemKind.NODE_CONFLICT:
            told.setdefault(problem.subject, []).append(problem.message)
    return {name: "; ".join(messages) for name, messages in told.items()}


def standing(view: SuperNodeView | None, trouble: Trouble | None, conflict: str | None, *, cordoned: bool) -> Standing:
    """How a supernode with a readable spec stands; ``conflict`` says which of its nodes another one has."""
    if trouble is not None:
        return Standing(trouble.reason, trouble.message, ready=False)
    if conflict:
        return Standing(Reason.NODE_CONFLICT, conflict, ready=False)
    nodes = view.nodes if view is not None else ()
    remarks, remarkable = _remarks(nodes), sum(bool(node.remarks) for node in nodes)
    there = sum(not node.gone for node in nodes)
    if view is None or not there:
        text = f"no node matches its profile and nodeSelector; check their labels{remarks}"
        return Standing(Reason.NO_NODES, text, ready=False, remarkable=remarkable)
    if cordoned:
        text = f"spec.cordoned is true: it gives no new cards{remarks}"
        return Standing(Reason.CORDONED, text, ready=True, remarkable=remarkable)
    tainted = Counter(node.taints for node in nodes if node.taints)
    parts = "".join(f", {count} {what}" for count, what in described(tainted))
    name = view.profile.name
    text = f"{there} node{'' if there == 1 else 's'} of profile {name}{parts}{remedy(tainted, name)}{remarks}"
    return Standing(Reason.DISCOVERED, text, ready=True, tainted=tainted.total(), remarkable=remarkable)


def _remarks(nodes: Iterable[Node]) -> str:
    """What people should know of single nodes, as the end of a message; empty without anything."""
    told: dict[str, list[str]] = {}
    for node in nodes:
        for words in node.remarks:
            told.setdefault(words, []).append(node.name)
    parts = [f"; {_names(names)}: {words}" for words, names in list(told.items())[:SHOWN]]
    more = len({name for names in list(told.values())[SHOWN:] for name in names})
    return "".join(parts) + (f"; {more} more for other reasons" if more else "")


def _names(nodes: Sequence[str]) -> str:
    """As ranges; where these are many, the first and how many more."""
    text = format_nodes(nodes)
    return text if len(text) <= LISTED else f"{nodes[0]} and {len(nodes) - 1} more"


def cards_of(view: SuperNodeView) -> dict[str, int]:
    """A supernode's cards by state."""
    return {
        "total": sum(node.cards for node in view.nodes),
        "healthy": sum((node.healthy & node.all_cards).bit_count() for node in view.nodes),
        "allocated": sum((node.taken & node.all_cards).bit_count() for node in view.nodes),
        "free": view.free_cards,
    }


def counts(view: SuperNodeView) -> dict[str, Any]:
    """The counted part of a SuperNode's status: nodes, cards, largestBlock, fragmentation."""
    return {
        "nodes": sum(not node.gone for node in view.nodes),
        "cards": cards_of(view),
        "largestBlock": [{"level": level, "cards": cards} for level, cards in largest_block(view).items()],
        "fragmentation": fragmentation(view),
    }
