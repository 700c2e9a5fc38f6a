"""Views of supernodes from what nodes, ledgers and foreign pods say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from supernode.api.names import ANNOTATION_UNHEALTHY_CARDS
from supernode.topology.cards import packing
from supernode.topology.discovery import Discovery, Found, NodeFacts
from supernode.topology.fleet import Fleet, Member, Node, SuperNodeView
from supernode.topology.ledger import LedgerEntry, Seat
from supernode.topology.positions import domain_paths, positions
from supernode.topology.profile import Profile
from supernode.topology.ranges import RangeError, parse_cards
from supernode.topology.taints import barring


@dataclass(frozen=True, slots=True)
class ForeignPod:
    """A pod that holds cards of a profile's resource but belongs to no group. indices: its cards if known (bitmask)."""

    namespace: str
    name: str
    node: str
    cards: int
    indices: int | None = None


def build_view(
    found: Found,
    profile: Profile,
    nodes: Iterable[NodeFacts],
    ledger: Iterable[LedgerEntry] = (),
    foreign: Iterable[ForeignPod] = (),
    *,
    held_elsewhere: Mapping[str, int] | None = None,
) -> SuperNodeView:
    """The view of one supernode. Nodes and foreign pods that are not its own are ignored.

    held_elsewhere: node to cards that ledgers of other supernodes still hold on it (a node that moved). Cards held on a
    node that is gone stay booked on a node without cards. Raises RangeError on a malformed ledger.
    """
    own = set(found.nodes)
    entries = tuple(ledger)
    taken = held_cards(entries)
    for name, mask in (held_elsewhere or {}).items():
        if name in own:
            taken[name] = taken.get(name, 0) | mask
    pods = _by_node(foreign)
    facts = [node for node in nodes if node.name in own]
    paths = domain_paths(profile, found.name, facts)
    built = [_node(node, profile, paths[node.name], taken.get(node.name, 0), pods.get(node.name, ())) for node in facts]
    gone = sorted(taken.keys() - {node.name for node in facts})
    built += [Node(name, 0, 0, taken[name], False, _lone_path(profile, found.name, name)) for name in gone]
    return SuperNodeView(found.name, profile, built, cordoned=found.cordoned, reserve=found.reserve, ledger=entries)


def renew_view(
    view: SuperNodeView,
    nodes: Iterable[NodeFacts],
    taken: Mapping[str, int],
    ledger: Iterable[LedgerEntry] = (),
    foreign: Iterable[ForeignPod] = (),
    *,
    cordoned: bool = False,
) -> SuperNodeView | None:
    """The view after something changed on these of its nodes and nowhere else; the same object if nothing did.

    taken: node to the cards (bitmask) that ledgers hold on it, of these nodes. foreign: their foreign pods. None when
    one of them is new, or became another one: the supernode has to be built anew. O(these nodes), but for a copy.
    """
    pods, changed = _by_node(foreign), {}
    for facts in nodes:
        at = view.layout.index.get(facts.name)
        if at is None:
            return None
        old = view.nodes[at]
        new = _node(facts, view.profile, old.path, taken.get(facts.name, 0), pods.get(facts.name, ()))
        if (new.cards, new.at) != (old.cards, old.at):
            return None
        if new != old:
            changed[facts.name] = new
    entries = tuple(ledger)
    if not changed and (view.cordoned, view.ledger) == (cordoned, entries):
        return view
    return view.with_nodes(changed, cordoned=cordoned, ledger=entries)


def build_fleet(
    discovery: Discovery,
    profiles: Iterable[Profile],
    nodes: Iterable[NodeFacts],
    ledgers: Mapping[str, Iterable[LedgerEntry]] | None = None,
    foreign: Iterable[ForeignPod] = (),
) -> Fleet:
    """The whole fleet. ledgers: by supernode. SuperNodes whose profile does not exist are left out."""
    known = {profile.name: profile for profile in profiles}
    facts = {node.name: node for node in nodes}
    entries = {name: tuple(ledger) for name, ledger in (ledgers or {}).items()}
    held = {name: held_cards(ledger) for name, ledger in entries.items()}
    moved: dict[str, dict[str, int]] = {}
    for name, cards in held.items():
        for node, mask in cards.items():
            owner = discovery.assigned.get(node)
            if owner is not None and owner != name:
                other = moved.setdefault(owner, {})
                other[node] = other.get(node, 0) | mask
    pods: dict[str, list[ForeignPod]] = {}
    for pod in foreign:
        pods.setdefault(discovery.assigned.get(pod.node, ""), []).append(pod)
    views = [
        build_view(
            found,
            known[found.profile],
            [facts[name] for name in found.nodes],
            entries.get(found.name, ()),
            pods.get(found.name, ()),
            held_elsewhere=moved.get(found.name),
        )
        for found in discovery.supernodes.values()
        if found.profile in known
    ]
    return Fleet(views, known)


def seated(view: SuperNodeView | None, supernode: str, seats: Iterable[Seat]) -> Iterator[Member]:
    """Seats of a supernode's ledger with their domains, as far as its nodes are known."""
    for seat in seats:
        known = view is not None and seat.node in view.layout.index
        domains = view.domains(view.node(seat.node)) if view is not None and known else {}
        yield Member(seat.rank, supernode, seat.node, seat.cards, domains)


def held_cards(ledger: Iterable[LedgerEntry]) -> dict[str, int]:
    """Node to the cards (bitmask) that groups of this ledger hold, spares included. Raises RangeError on bad runs."""
    taken: dict[str, int] = {}
    for entry in ledger:
        for node, cards in entry.held.items():
            taken[node] = taken.get(node, 0) | cards
    return taken


def unhealthy_cards(facts: NodeFacts, profile: Profile) -> int | None:
    """Cards (bitmask) that must not be used, or None when the node's annotation cannot be read.

    The annotation, `facts.unhealthy` and the device plugin's report name cards. When fewer cards are allocatable than
    the node has and these do not account for all that are missing, the highest others are assumed to be the missing
    ones: the API does not say which. Cards without their network are not missing, the plugin goes on offering them.
    Of a package with a card that failed none must be used: its cards fail together. What runs on the others goes on.
    """
    cards = _cards(facts, profile)
    failed = _failed(facts, profile)
    if failed is None:
        return None
    usable = facts.allocatable.get(profile.counted, 0)
    missing = max(0, min(cards, facts.capacity.get(profile.counted, 0) - usable))
    for index in range(cards - 1, -1, -1):
        if failed.bit_count() >= missing:
            break
        failed |= 1 << index
    return _whole_packages(failed, profile.per_package) | _cut_off(facts, profile)


def named_unhealthy(facts: NodeFacts, profile: Profile) -> int | None:
    """Cards (bitmask) that are called unhealthy one by one, or None when the node's annotation cannot be read."""
    failed = _failed(facts, profile)
    return None if failed is None else failed | _cut_off(facts, profile)


def _failed(facts: NodeFacts, profile: Profile) -> int | None:
    try:
        named = parse_cards(facts.annotations.get(ANNOTATION_UNHEALTHY_CARDS, "").replace(" ", ""))
    except RangeError:
        return None
    reported = facts.reported.failed.get(profile.resource, 0) if profile.health.reports else 0
    return (named | reported | facts.unhealthy.get(profile.counted, 0)) & ((1 << _cards(facts, profile)) - 1)


def _cut_off(facts: NodeFacts, profile: Profile) -> int:
    if not profile.health.reports or not profile.health.avoid_network_faults:
        return 0
    return facts.reported.cut_off.get(profile.resource, 0) & ((1 << _cards(facts, profile)) - 1)


def _whole_packages(cards: int, size: int) -> int:
    """All cards of the packages, of so many cards each, that have any of these."""
    package = (1 << size) - 1
    return sum(package << at for at in range(0, cards.bit_length(), size) if cards >> at & package)


def all_cards(facts: NodeFacts, profile: Profile) -> int:
    """The cards (bitmask) that a node has, whether they work or not."""
    return (1 << _cards(facts, profile)) - 1


def _cards(facts: NodeFacts, profile: Profile) -> int:
    """Cards beyond the profile's nominal node have no place in its levels, and are left alone."""
    return max(0, min(facts.capacity.get(profile.counted, 0), profile.cards_per_node))


def _node(facts: NodeFacts, profile: Profile, path: tuple[str, ...], taken: int, pods: Iterable[ForeignPod]) -> Node:
    cards = _cards(facts, profile)
    full = (1 << cards) - 1
    unhealthy = unhealthy_cards(facts, profile)
    healthy = full if unhealthy is None else full & ~unhealthy
    taken = _with_foreign(profile, full, healthy, taken, pods)
    healthy &= ~_unbindable(facts, profile, healthy & ~taken, taken)
    open_ = facts.open and unhealthy is not None
    bars = barring(facts.taints, profile.tolerated)
    named = () if not open_ or any(taint.trouble for taint in bars) else bars
    return Node(facts.name, cards, healthy, taken, open_ and not bars, path, positions(profile, facts), taints=named)


def _unbindable(facts: NodeFacts, profile: Profile, free: int, taken: int) -> int:
    """The highest of the free cards that no pod can be bound to, although they work.

    Who runs on a card that failed counts for the scheduler as if on one of those the node goes on offering. Claimed
    devices it does not count.
    """
    beyond = 0
    if profile.pinning.devices is None:
        left = max(0, facts.allocatable.get(profile.counted, 0) - taken.bit_count())
        while free.bit_count() > left:
            beyond |= 1 << free.bit_length() - 1
            free &= ~beyond
    return beyond


def _by_node(foreign: Iterable[ForeignPod]) -> dict[str, list[ForeignPod]]:
    pods: dict[str, list[ForeignPod]] = {}
    for pod in foreign:
        pods.setdefault(pod.node, []).append(pod)
    return pods


def _with_foreign(profile: Profile, full: int, healthy: int, taken: int, pods: Iterable[ForeignPod]) -> int:
    """Taken cards including those of foreign pods; pods whose cards are unknown get the lowest legal free ones."""
    ordered = sorted(pods, key=lambda pod: (pod.indices is None, pod.namespace, pod.name))
    for pod in ordered:
        if pod.indices is not None:
            taken |= pod.indices & full
            continue
        free = healthy & ~taken
        shape = packing(profile.node_make, pod.cards)
        if pod.cards > 0 and shape.capacity(free):
            taken |= shape.place(free, 1)[0]
            continue
        for _ in range(min(pod.cards, full.bit_count())):
            free = (healthy & ~taken) or (full & ~taken)
            taken |= free & -free
    return taken


def _lone_path(profile: Profile, supernode: str, node: str) -> tuple[str, ...]:
    """The path of a node that is gone: alone at every level under its supernode."""
    inner = (f"{supernode}/{'/'.join([node] * depth)}~" for depth in range(1, len(profile.above)))
    return (supernode, *inner) if profile.above else ()
