"""Which node belongs to which profile and supernode, from labels alone.

Pure: the caller brings what it knows of profiles, nodes and existing SuperNodes, and gets back which SuperNodes should
exist, which nodes each has, and what is wrong, in a form fit for conditions and events.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256

from supernode.topology.deviceinfo import ALL_WELL, CardReport
from supernode.topology.positions import known_value, misplaced
from supernode.topology.profile import Profile
from supernode.topology.ranges import format_nodes, natural_key
from supernode.topology.taints import Taint

HOSTNAME_LABEL = "kubernetes.io/hostname"

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MAX_NAME = 63
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known of a node that the fleet depends on.

    capacity, allocatable: resource name to a number of cards. unhealthy: resource name to cards (bitmask) that
    something other than the Node object reports as such. reported: what its device plugin says of single cards, which
    counts where its profile says so. tells_addresses: its cards' addresses are published on it. withheld: until when,
    and why, it gives nothing new although nothing else is against it; empty where it gives.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    capacity: Mapping[str, int] = field(default_factory=dict, hash=False)
    allocatable: Mapping[str, int] = field(default_factory=dict, hash=False)
    unschedulable: bool = False
    ready: bool = True
    taints: tuple[Taint, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    unhealthy: Mapping[str, int] = field(default_factory=dict, hash=False)
    reported: CardReport = ALL_WELL
    tells_addresses: bool = False
    withheld: str = ""

    @property
    def open(self) -> bool:
        """Whether new pods that tolerate its taints may be put here: ready and neither cordoned nor withheld."""
        return self.ready and not self.unschedulable and not self.withheld


@dataclass(frozen=True, slots=True)
class SuperNodeFacts:
    """What an existing SuperNode says. created: its creationTimestamp (RFC 3339, so that text order is time order)."""

    name: str
    profile: str
    node_selector: Mapping[str, str] = field(hash=False)
    discovered: bool = False
    created: str = ""
    cordoned: bool = False
    reserve: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A SuperNode that should exist, and its nodes in natural order. existing: it already does."""

    name: str
    profile: str
    node_selector: Mapping[str, str] = field(hash=False)
    nodes: tuple[str, ...]
    existing: bool
    cordoned: bool = False
    reserve: int | None = None


class ProblemKind(StrEnum):
    """What kind of thing is wrong; the values name condition reasons where one exists."""

    PROFILE_OVERLAP = "ProfileOverlap"
    PROFILE_MISSING = "ProfileMissing"
    NODE_CONFLICT = "NodeConflict"
    UNASSIGNED = "Unassigned"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: subject is the SuperNode (missing profile, conflict) or the profile (overlap, unassigned)."""

    kind: ProblemKind
    subject: str
    message: str

    @property
    def of_profile(self) -> bool:
        """Whether the subject is a profile: one may be called as a SuperNode is."""
        return self.kind in (ProblemKind.PROFILE_OVERLAP, ProblemKind.UNASSIGNED)


@dataclass(frozen=True, slots=True)
class Discovery:
    """The answer. profile_of and assigned map node names; unassigned maps profiles to nodes in no supernode. matching,
    formed: profile to how many nodes match it and how many supernodes it has."""

    supernodes: Mapping[str, Found] = field(hash=False)
    profile_of: Mapping[str, str] = field(hash=False)
    assigned: Mapping[str, str] = field(hash=False)
    unassigned: Mapping[str, tuple[str, ...]] = field(hash=False)
    matching: Mapping[str, int] = field(hash=False)
    formed: Mapping[str, int] = field(hash=False)
    problems: tuple[Problem, ...]


def discover(
    profiles: Iterable[Profile], nodes: Iterable[NodeFacts], supernodes: Iterable[SuperNodeFacts] = ()
) -> Discovery:
    """Sort nodes into profiles and supernodes. The order of the inputs does not matter."""
    known = {profile.name: profile for profile in sorted(profiles, key=lambda profile: profile.name)}
    facts = sorted(nodes, key=lambda node: natural_key(node.name))
    existing = sorted(supernodes, key=lambda sn: (sn.discovered, sn.created, sn.name))
    problems: list[Problem] = []
    profile_of = _match_profiles(known, facts, problems)
    claimed = _claim(known, facts, profile_of, existing, problems)
    members: dict[str, list[str]] = {}
    for node in facts:
        if (owner := claimed.get(node.name)) is not None:
            members.setdefault(owner, []).append(node.name)
    found = [
        Found(
            sn.name,
            sn.profile,
            sn.node_selector,
            tuple(members.get(sn.name, ())),
            existing=True,
            cordoned=sn.cordoned,
            reserve=sn.reserve,
        )
        for sn in existing
    ]
    loose = [node for node in facts if node.name in profile_of and node.name not in claimed]
    hostnames = {node.labels.get(HOSTNAME_LABEL, "") for node in facts if node.name in claimed}
    new, unassigned = _form(known, loose, profile_of, {sn.name for sn in existing}, hostnames)
    found += new
    for name, names in unassigned.items():
        text = f"{_listed(names)} of profile {name} belong to no supernode: {_homeless(known[name])}"
        problems.append(Problem(ProblemKind.UNASSIGNED, name, text))
    found = _leave_out(known, facts, found, unassigned, problems)
    found.sort(key=lambda sn: natural_key(sn.name))
    return Discovery(
        supernodes={sn.name: sn for sn in found},
        profile_of=profile_of,
        assigned={node: sn.name for sn in found for node in sn.nodes},
        unassigned=unassigned,
        matching=Counter(profile_of.values()),
        formed=Counter(sn.profile for sn in found),
        problems=tuple(problems),
    )


def selecting_labels(profiles: Iterable[Profile], supernodes: Iterable[SuperNodeFacts]) -> tuple[str, ...]:
    """The labels of nodes that :func:`discover` looks at; nodes whose others change stay where they are."""
    keys = {HOSTNAME_LABEL, *(key for sn in supernodes for key in sn.node_selector)}
    for profile in profiles:
        keys.update(profile.node_selector)
        keys.update(label for level in profile.levels for label in (level.node_label, level.position_label) if label)
    return tuple(sorted(keys))


def selecting_resources(profiles: Iterable[Profile]) -> frozenset[str]:
    """The resources of nodes that :func:`discover` looks at: whoever has any belongs to a profile without selector."""
    return frozenset(profile.counted for profile in profiles if not profile.node_selector)


def _match_profiles(known: Mapping[str, Profile], facts: list[NodeFacts], problems: list[Problem]) -> dict[str, str]:
    """Node to profile; a node that matches several goes to the most specific selector, and that is reported.

    Nodes that look alike to every selector are asked about once: there are tens of thousands, of a few kinds.
    """
    profile_of: dict[str, str] = {}
    overlaps: dict[tuple[str, ...], list[str]] = {}
    keys = tuple({key for profile in known.values() for key in profile.node_selector})
    counted = tuple(selecting_resources(known.values()))
    answers: dict[tuple[object, ...], tuple[str, ...]] = {}
    for node in facts:
        kind = (*map(node.labels.get, keys), *(node.capacity.get(name, 0) > 0 for name in counted))
        matches = answers.get(kind)
        if matches is None:
            ordered = sorted(known.values(), key=lambda profile: (-len(profile.node_selector), profile.name))
            matches = answers[kind] = tuple(profile.name for profile in ordered if _matches(profile, node))
        if matches:
            profile_of[node.name] = matches[0]
        if len(matches) > 1:
            overlaps.setdefault(matches, []).append(node.name)
    for names, members in overlaps.items():
        text = (
            f"{_listed(members)} match the profiles {', '.join(names)}; {names[0]} is used. "
            f"Narrow nodeSelector so that each node matches one profile"
        )
        problems.append(Problem(ProblemKind.PROFILE_OVERLAP, names[0], text))
    return profile_of


def _matches(profile: Profile, node: NodeFacts) -> bool:
    if not profile.node_selector:
        return node.capacity.get(profile.counted, 0) > 0
    return _selects(profile.node_selector, node)


def _selects(selector: Mapping[str, str], node: NodeFacts) -> bool:
    return all(node.labels.get(key) == value for key, value in selector.items())


def _claim(
    known: Mapping[str, Profile],
    facts: list[NodeFacts],
    profile_of: Mapping[str, str],
    existing: list[SuperNodeFacts],
    problems: list[Problem],
) -> dict[str, str]:
    """Node to the existing SuperNode that has it; `existing` is in order of precedence.

    Where no level lies above the node, a SuperNode has one node; the others it selects are left to discovery.
    """
    claimed: dict[str, str] = {}
    lost: dict[tuple[str, str], list[str]] = {}
    beyond: dict[tuple[SuperNodeFacts, str], list[str]] = {}
    index = _LabelIndex(facts)
    for sn in existing:
        if sn.profile not in known:
            text = f"profile {sn.profile} does not exist; create it or correct spec.profile of supernode {sn.name}"
            problems.append(Problem(ProblemKind.PROFILE_MISSING, sn.name, text))
            continue
        alone = not known[sn.profile].above
        only: str | None = None
        for node in index.select(sn.node_selector):
            if profile_of.get(node.name) != sn.profile:
                continue
            if only is not None and node.name not in claimed:
                beyond.setdefault((sn, only), []).append(node.name)
                continue
            owner = claimed.setdefault(node.name, sn.name)
            if owner != sn.name:
                lost.setdefault((sn.name, owner), []).append(node.name)
            elif alone:
                only = node.name
    for (loser, owner), names in lost.items():
        text = f"{_listed(names)} are selected by supernode {loser} but belong to {owner}; narrow one nodeSelector"
        problems.append(Problem(ProblemKind.NODE_CONFLICT, loser, text))
    for (sn, kept), names in beyond.items():
        remedy = f"label each node with a {HOSTNAME_LABEL} of its own" if sn.discovered else "narrow its nodeSelector"
        text = (
            f"{_listed(names)} are selected by supernode {sn.name} as {kept} is, "
            f"but each node of profile {sn.profile} is a supernode by itself; {remedy}"
        )
        problems.append(Problem(ProblemKind.NODE_CONFLICT, sn.name, text))
    return claimed


class _LabelIndex:
    """Nodes by label, so that matching many selectors costs what they match."""

    def __init__(self, facts: list[NodeFacts]) -> None:
        self._facts = facts
        self._by_key: dict[str, dict[str, list[NodeFacts]]] = {}

    def select(self, selector: Mapping[str, str]) -> list[NodeFacts]:
        if not selector:
            return []
        candidates = min((self._values(key).get(value, []) for key, value in selector.items()), key=len)
        return [node for node in candidates if _selects(selector, node)]

    def _values(self, key: str) -> dict[str, list[NodeFacts]]:
        if key not in self._by_key:
            values = self._by_key[key] = {}
            for node in self._facts:
                if key in node.labels:
                    values.setdefault(node.labels[key], []).append(node)
        return self._by_key[key]


def _homeless(profile: Profile) -> str:
    """Why a node of the profile is in no supernode."""
    if not profile.above:
        return f"label {HOSTNAME_LABEL} is missing, or other nodes have the same; label each with one of its own"
    return f"label {profile.outermost.node_label} is missing or says unknown"


def _form(
    known: Mapping[str, Profile],
    loose: list[NodeFacts],
    profile_of: Mapping[str, str],
    used: set[str],
    hostnames: set[str],
) -> tuple[list[Found], dict[str, tuple[str, ...]]]:
    """New SuperNodes for nodes nobody claims, one per value of the outermost label; and the nodes left over.

    hostnames: those of nodes that are claimed. A node that is to be a supernode is told apart by this label alone, so
    that one without it is none: no selector would find it again.
    """
    groups: dict[tuple[str, str, str], list[str]] = {}
    unassigned: dict[str, list[str]] = {}
    for node in loose:
        profile = known[profile_of[node.name]]
        label = profile.outermost.node_label
        hostname = node.labels.get(HOSTNAME_LABEL, "")
        if not profile.above and hostname and hostname not in hostnames:
            hostnames.add(hostname)
            groups[profile.name, HOSTNAME_LABEL, hostname] = [node.name]
        elif not profile.above:
            unassigned.setdefault(profile.name, []).append(node.name)
        elif label is not None and known_value(value := node.labels.get(label)) is not None and value is not None:
            groups.setdefault((profile.name, label, value), []).append(node.name)
        else:
            unassigned.setdefault(profile.name, []).append(node.name)
    found = []
    for (profile_name, label, value), names in sorted(groups.items()):
        name = _name(profile_name, value, used)
        used.add(name)
        found.append(Found(name, profile_name, {label: value}, tuple(names), existing=False))
    return found, {name: tuple(nodes) for name, nodes in sorted(unassigned.items())}


def _leave_out(
    known: Mapping[str, Profile],
    facts: list[NodeFacts],
    found: list[Found],
    unassigned: dict[str, tuple[str, ...]],
    problems: list[Problem],
) -> list[Found]:
    """The SuperNodes without the nodes whose place in a ring or torus is unknown; these become unassigned."""
    by_name = {node.name: node for node in facts}
    outside: dict[str, dict[str, str]] = {}
    kept = []
    for sn in found:
        profile = known.get(sn.profile)
        reasons = misplaced(profile, sn.name, (by_name[name] for name in sn.nodes)) if profile else {}
        if reasons:
            outside.setdefault(sn.profile, {}).update(reasons)
            sn = replace(sn, nodes=tuple(name for name in sn.nodes if name not in reasons))
        if sn.nodes or sn.existing:
            kept.append(sn)
    for name, reasons in sorted(outside.items()):
        unassigned[name] = tuple(sorted((*unassigned.get(name, ()), *reasons), key=natural_key))
        problems.append(Problem(ProblemKind.UNASSIGNED, name, _misplaced_text(name, reasons)))
    return kept


def _misplaced_text(profile: str, reasons: Mapping[str, str]) -> str:
    by_reason: dict[str, list[str]] = {}
    for node, reason in reasons.items():
        by_reason.setdefault(reason, []).append(node)
    shown = list(by_reason.items())[:_SHOWN]
    parts = [f"{_listed(names)}: {reason}" for reason, names in shown]
    if more := len(reasons) - sum(len(names) for _, names in shown):
        parts.append(f"{more} more for such reasons")
    return f"of profile {profile} stand outside, because their place is unknown: {'; '.join(parts)}"


def _name(profile: str, value: str, used: set[str]) -> str:
    """The value itself if it can be a name; else with the profile in front; with a hash when that is not unique.

    Of a UUID, as in an NVLink clique's id, the first eight digits are enough to tell domains apart.
    """
    brief = _UUID.sub(lambda match: match[0][:8], value)
    if brief == value and len(value) <= _MAX_NAME and _NAME.fullmatch(value) and value not in used:
        return value
    clean = re.sub(r"[^a-z0-9]+", "-", brief.lower()).strip("-")
    plain = f"{profile}-{clean}" if clean else profile
    if (clean == value or brief != value) and len(plain) <= _MAX_NAME and plain not in used:
        return plain
    suffix = sha256(f"{profile}/{value}".encode()).hexdigest()[:8]
    return f"{plain[: _MAX_NAME - 9].rstrip('-.')}-{suffix}"


def _listed(names: Iterable[str]) -> str:
    """Node names for a message: `nodes a-n[000-047]`, cut when long."""
    text = format_nodes(list(names))
    return f"nodes {text if len(text) <= 200 else text[:197] + '...'}"
