"""Views of supernodes from what nodes, ledgers and foreign pods say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from supernode.api.names import ANNOTATION_UNHEALTHY_CARDS
from supernode.topology.cards import packing
from supernode.topology.discovery import Discovery, Found, NodeFacts
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.health import CardHealth, card_health, unhealthy_cards
from supernode.topology.ledger import LedgerEntry, Seat
from supernode.topology.node import Member, Node
from supernode.topology.positions import domain_paths, positions
from supernode.topology.profile import Profile
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
    built += [_gone_node(name, taken[name], _lone_path(profile, found.name, name)) for name in gone]
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


def _node(facts: NodeFacts, profile: Profile, path: tuple[str, ...], taken: int, pods: Iterable[ForeignPod]) -> Node:
    full, health = profile.all_cards, card_health(facts, profile)
    healthy = full & ~unhealthy_cards(facts, profile, health)
    taken = _with_foreign(profile, full, healthy, taken, pods)
    open_ = facts.open and not health.unreadable
    bars = barring(facts.taints, profile.tolerated)
    named = () if not open_ or any(taint.trouble for taint in bars) else bars
    return Node(
        facts.name,
        profile.cards_per_node,
        healthy,
        taken,
        open_ and not bars,
        path,
        positions(profile, facts),
        taints=named,
        remarks=_remarks(facts, profile, health),
        unbindable=_unbindable(facts, profile, healthy & ~taken, taken),
    )


def _remarks(facts: NodeFacts, profile: Profile, health: CardHealth) -> tuple[str, ...]:
    """What people should know of a node, in words."""
    listed, cards, remarks = facts.capacity.get(profile.counted, 0), profile.cards_per_node, []
    if listed < cards:
        remarks.append(f"capacity is {listed} of {cards} cards")
    if facts.withheld:
        remarks.append(f"gives nothing new {facts.withheld}")
    if health.unreadable:
        remarks.append(f"gives nothing new until annotation {ANNOTATION_UNHEALTHY_CARDS} is right: {health.unreadable}")
    return tuple(remarks)


def _gone_node(name: str, taken: int, path: tuple[str, ...]) -> Node:
    return Node(name, 0, 0, taken, False, path, remarks=("gone while groups hold cards of it",))


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
