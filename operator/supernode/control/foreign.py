"""Cards that no ledger counts: those of pods and claims of others, and what those of a group have beyond its seats.

A group's label is no more than a word: whoever may create pods may write it. So a pod that carries it is counted by the
ledger only on the nodes where its group has seats, and all its pods there for no more cards than these have.
"""

from collections.abc import Callable, Iterable, Iterator

from supernode.control.records import PodRecord
from supernode.topology.devices import Claim
from supernode.topology.views import ForeignPod

Held = Callable[[str, str], int]
"""Gives the cards (bitmask) of a node that ledgers give to a group ("namespace/name")."""


def foreign_pods(pods: Iterable[PodRecord], node: str, resource: str, full: int, held: Held) -> Iterator[ForeignPod]:
    """What pods on a node use of the cards that it has (``full``, a bitmask) and that no ledger counts."""
    seated: dict[str, list[tuple[PodRecord, int]]] = {}
    for pod in pods:
        if not pod.requests or pod.finished:
            continue
        cards = dict(pod.requests).get(resource, 0)
        if cards and pod.group is not None:
            seated.setdefault(f"{pod.key[0]}/{pod.group}", []).append((pod, cards))
        elif cards:
            yield ForeignPod(*pod.key, node, cards, pod.named(resource, full))
    for group, theirs in seated.items():
        yield from _beyond_seats(theirs, node, resource, full, held(node, group))


def _beyond_seats(
    pods: Iterable[tuple[PodRecord, int]], node: str, resource: str, full: int, seats: int
) -> Iterator[ForeignPod]:
    """What pods of one group, each with its number of cards, use beyond the cards (bitmask) of its seats on a node.

    Those that name their cards come first: they are on these, the others on whichever are left.
    """
    left = seats
    uses = [(pod, cards, pod.named(resource, full)) for pod, cards in pods]
    for pod, cards, named in sorted(uses, key=lambda use: (use[2] is None, use[0].key)):
        own = _lowest(left, cards) if named is None else named & left
        left &= ~own
        if beyond := cards - own.bit_count():
            outside = (named or 0) & ~seats
            yield ForeignPod(*pod.key, node, beyond, outside if outside.bit_count() == beyond else None)


def foreign_cards(claim: Claim, node: str, cards: int, held: Held) -> int:
    """Which of the cards (bitmask) that a claim has of a node no ledger counts."""
    return cards if claim.group is None else cards & ~held(node, f"{claim.namespace}/{claim.group}")


def _lowest(cards: int, count: int) -> int:
    """So many of these cards, or all of them if they are fewer."""
    found = 0
    while cards and found.bit_count() < count:
        found |= cards & -cards
        cards &= cards - 1
    return found
