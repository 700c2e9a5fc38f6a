"""Which cards of a node do not work, and whether those that a group holds do, from what is known of the node."""

from __future__ import annotations

from dataclasses import dataclass

from supernode.api.names import ANNOTATION_UNHEALTHY_CARDS
from supernode.api.tolerations import TaintEffect
from supernode.topology.discovery import NodeFacts
from supernode.topology.profile import Profile
from supernode.topology.ranges import RangeError, format_cards, parse_cards
from supernode.topology.taints import barring


@dataclass(frozen=True, slots=True)
class CardHealth:
    """Cards (bitmasks) of a node that are called unhealthy one by one.

    failed: they do not work. cut_off: their network does not, while the device plugin goes on offering them.
    unreadable: why the annotation that names such cards cannot be read, empty where it can.
    """

    failed: int = 0
    cut_off: int = 0
    unreadable: str = ""

    @property
    def named(self) -> int:
        """All of them."""
        return self.failed | self.cut_off


def card_health(facts: NodeFacts, profile: Profile) -> CardHealth:
    """What is said of single cards: by the annotation, by drivers, and by reports where the profile asks for them."""
    annotated, unreadable = _annotated(facts, max(profile.cards_per_node, facts.capacity.get(profile.counted, 0)))
    failed, cut_off = annotated | facts.unhealthy.get(profile.counted, 0), 0
    if profile.health.reports:
        failed |= facts.reported.failed.get(profile.resource, 0)
        if profile.health.avoid_network_faults:
            cut_off = facts.reported.cut_off.get(profile.resource, 0)
    full = profile.all_cards
    return CardHealth(failed & full, cut_off & full, unreadable)


def named_unhealthy(facts: NodeFacts, profile: Profile) -> int:
    """Cards (bitmask) that are called unhealthy one by one."""
    return card_health(facts, profile).named


def unhealthy_cards(facts: NodeFacts, profile: Profile, said: CardHealth) -> int:
    """Cards (bitmask) that must not be given to anyone. said: of the same node.

    When fewer cards are allocatable than the node should have and those that failed do not account for all that are
    missing, the highest others are assumed to be the missing ones: the API does not say which. Cards without their
    network are not missing. Of a package with a card that failed none must be used: its cards fail together. What runs
    on the others goes on.
    """
    failed, lost = said.failed, _lost(facts, profile)
    for index in range(profile.cards_per_node - 1, -1, -1):
        if failed.bit_count() >= lost:
            break
        failed |= 1 << index
    return _whole_packages(failed, profile.per_package) | said.cut_off


def unnamed_losses(facts: NodeFacts, profile: Profile) -> int:
    """How many cards a node does not offer beyond those that failed by name."""
    return max(0, _lost(facts, profile) - card_health(facts, profile).failed.bit_count())


def ailment(facts: NodeFacts | None, profile: Profile, cards: int) -> str | None:
    """Why pods cannot use these cards (bitmask) of a node, in words; None when nothing is known against it.

    A cordoned node works on. Cards that are missing from allocatable count only where some of these must be among them,
    and not while none is allocatable: then the device plugin is away, as during its update, and says nothing of cards.
    """
    if facts is None:
        return "the node is gone"
    if not facts.ready:
        return "the node is not ready"
    evicting = [taint for taint in barring(facts.taints, profile.tolerated) if taint.effect == TaintEffect.NO_EXECUTE]
    if evicting:
        return f"the node is tainted {evicting[0]}"
    if ill := named_unhealthy(facts, profile) & cards:
        return f"unhealthy cards: {format_cards(ill)}"
    if 0 < (usable := facts.allocatable.get(profile.counted, 0)) < cards.bit_count():
        return f"only {usable} of {profile.cards_per_node} cards are allocatable"
    return None


def _annotated(facts: NodeFacts, count: int) -> tuple[int, str]:
    """The cards that the annotation names, and why it cannot be read. count: how many the node has.

    Who names a card that is not there counts them otherwise, so that the one that is meant may be any.
    """
    parts = facts.annotations.get(ANNOTATION_UNHEALTHY_CARDS, "").split(",")
    try:
        named = parse_cards(",".join(map(str.strip, parts)))
    except RangeError as problem:
        return 0, str(problem)
    if named >> count:
        return named, f"card {named.bit_length() - 1} is named, but the {count} cards of the node are numbered from 0"
    return named, ""


def _lost(facts: NodeFacts, profile: Profile) -> int:
    """How many of its cards a node does not offer; those that it does not even list are among them."""
    cards, usable = profile.cards_per_node, facts.allocatable.get(profile.counted, 0)
    return max(0, min(cards, max(cards, facts.capacity.get(profile.counted, 0)) - usable))


def _whole_packages(cards: int, size: int) -> int:
    """All cards of the packages, of so many cards each, that have any of these."""
    package = (1 << size) - 1
    return sum(package << at for at in range(0, cards.bit_length(), size) if cards >> at & package)
