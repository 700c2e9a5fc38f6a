"""Which cards a group holds, found out again after a ledger was lost.

A restored backup drops the status of SuperNodes and CardGroups; somebody may wipe or delete one. The containers still
run. What is left of the ledgers comes first, then the pods, each of which carries its rank and cards, then the
placement in the group's status.

Anybody who may create pods may make some that say anything. So pods book only what they surely have: those that a
kubelet has admitted, no more cards than it admitted them with, and none where the group's status says that it has none.
This covers a restore without statuses, and one of ledgers alone, where statuses name the places; one of all of etcd has
ledgers, statuses and pods of the same moment. It does not cover statuses of old: of a group that waits by its status,
while its pods run and no ledger has it, the cards are nobody else's as long as they run, but it is placed anew.

Ledgers may also name more than the group holds: a swap that was given up for lost lands after the group was placed
elsewhere. Of two places of a rank the one counts where its pod is, or its status says; nobody ever used the other.

With a SuperNode its ledger is gone. Where discovery makes it again, or somebody does, the cards are booked in that one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from supernode.api.cardgroup import CardGroup
from supernode.api.conditions import ConditionType
from supernode.api.errors import SupernodeError
from supernode.control.conditions import find
from supernode.control.fleet import FleetState
from supernode.control.records import Custom, PodRecord
from supernode.topology.ledger import LedgerEntry, Seat, decode_placement, encode_placement
from supernode.topology.node import Member
from supernode.topology.views import held_cards

Place = tuple[str, str, int]
"""Supernode, node and cards (bitmask)."""


class Verdict(Enum):
    """Why a group's cards are not known again."""

    NOTHING_HELD = auto()
    """Neither pods nor status say that it held all its cards, or somebody else has them."""
    NOT_YET = auto()
    """The supernode of some of its nodes does not exist at the moment; it is about to be discovered."""


@dataclass(frozen=True, slots=True)
class Homeless:
    """It held its cards, but a node of it belongs to no supernode now, until somebody makes one or labels the node."""

    node: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the group holds, in the supernodes that its nodes belong to now."""

    members: tuple[Member, ...]
    spares: tuple[Member, ...]


@dataclass(slots=True)
class _Cards:
    """Finds the supernode of cards that nobody else has. ``taken`` are the cards found or given away already."""

    state: FleetState
    parts: Mapping[str, LedgerEntry]
    own: Mapping[str, int]
    taken: dict[str, int]

    def claim(self, rank: int, place: Place) -> Member | Verdict | Homeless:
        recorded, node, cards = place
        home = recorded if recorded in self.parts else self.state.discovery.assigned.get(node, recorded)
        if home not in self.state.ledgers:
            if node in self.state.discovery.assigned:
                return Verdict.NOT_YET
            return Homeless(node) if self.state.exists(node) else Verdict.NOTHING_HELD
        others = self.state.booked_on(node) & ~self.own.get(node, 0)
        if (others | self.taken.get(node, 0)) & cards:
            return Verdict.NOTHING_HELD
        self.taken[node] = self.taken.get(node, 0) | cards
        return Member(rank, home, node, cards)


def recover(
    group: Custom[CardGroup],
    parts: Mapping[str, LedgerEntry],
    pods: Iterable[PodRecord],
    state: FleetState,
    booked: Mapping[str, int],
) -> Recovered | Verdict | Homeless:
    """Everything the group holds, if all its members are found.

    ``parts`` is what ledgers still have of it, ``booked`` the cards given away since the snapshot (bitmask by node).
    """
    assert group.model is not None
    spec = group.model.spec
    seats = dict(_from_status(group, "placement"))
    said = dict(seats)  # of places that ledgers name, any pod tells which one is meant
    for pod in pods:
        if pod.rank is not None and pod.cards is not None and pod.place and not pod.finished:
            said[pod.rank] = (state.discovery.assigned.get(pod.place, ""), pod.place, pod.cards)
            if not denied(group) and state.has_cards(pod):
                seats[pod.rank] = said[pod.rank]
    seats |= _booked(parts, said)
    complete = seats.keys() == set(range(spec.members))
    if not complete or any(cards.bit_count() != spec.cards_per_member for _, _, cards in seats.values()):
        return Verdict.NOTHING_HELD
    cards = _Cards(state, parts, held_cards(parts.values()), dict(booked))
    members = []
    for rank, place in sorted(seats.items()):
        found = cards.claim(rank, place)
        if not isinstance(found, Member):
            return found
        members.append(found)
    used = {member.supernode for member in members}
    left = [
        (name, seat.node, seat.cards)
        for name, entry in sorted(parts.items())
        if name in used
        for seat in entry.spare_seats()
    ]
    told = [place for _, place in _from_status(group, "spares") if place[0] not in parts]
    claims = (cards.claim(number, place) for number, place in enumerate((*left, *told)))
    return Recovered(tuple(members), tuple(found for found in claims if isinstance(found, Member)))


def denied(group: Custom[CardGroup]) -> bool:
    """Whether the group's status says that it has no cards."""
    return find(group.status, ConditionType.ALLOCATED).get("status") == "False"


def told(
    group: Custom[CardGroup],
    parts: Mapping[str, LedgerEntry],
    members: Sequence[Member],
    spares: Iterable[Member],
) -> bool:
    """Whether the group's status names the places that ledgers have for its members and spares, made of ``parts``.

    Status and ledgers write the same runs, unless supernodes alternate from rank to rank: only then is all of it
    encoded. How spares are numbered does not matter.
    """
    first = sorted((entry.seats()[0].rank, name) for name, entry in parts.items() if entry.runs)
    runs = [{"supernode": name, **run.to_dict()} for _, name in first for run in parts[name].runs]
    placement = group.status.get("placement")
    if placement != runs and placement != encode_placement(members):
        return False
    return {place for _, place in _from_status(group, "spares")} == {(m.supernode, m.node, m.cards) for m in spares}


def _booked(parts: Mapping[str, LedgerEntry], told: Mapping[int, Place]) -> dict[int, Place]:
    """The seat of each rank by the ledgers: of several the told one, else that of the ledger that agrees most."""

    def agrees(seat: Seat) -> bool:
        place = told.get(seat.rank)
        return place is not None and place[1:] == (seat.node, seat.cards)

    agreeing = {name: sum(map(agrees, entry.seats())) for name, entry in parts.items()}
    booked = [(name, seat) for name, entry in parts.items() for seat in entry.seats()]
    booked.sort(key=lambda pair: (agrees(pair[1]), agreeing[pair[0]], pair[0]))
    return {seat.rank: (name, seat.node, seat.cards) for name, seat in booked}  # the last of each rank


def _from_status(group: Custom[CardGroup], field: str) -> list[tuple[int, Place]]:
    """Rank and place of each seat."""
    try:
        placement = decode_placement(group.status.get(field, ()))
    except SupernodeError:
        return []
    return [(seat.rank, (supernode, seat.node, seat.cards)) for supernode, seat in placement]
