"""How allocations are written down: members as runs, runs as the lines of a ledger or the items of a placement.

A `Run` says "these consecutive ranks lie on these nodes, in this order, and on each node on these card sets, in this
order". A whole-node group on one supernode is one run whatever its size; `decode(encode(members))` gives the members
back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Protocol

from supernode.topology.ranges import (
    MAX_ITEMS,
    RangeError,
    format_cards,
    format_ints,
    format_nodes,
    parse_cards,
    parse_ints,
    parse_nodes,
)


class Located(Protocol):
    """Anything that says which cards of which node a rank holds: `Seat` and `Member` both do."""

    @property
    def rank(self) -> int: ...
    @property
    def node(self) -> str: ...
    @property
    def cards(self) -> int: ...


class Homed(Located, Protocol):
    """A `Located` that also names its supernode."""

    @property
    def supernode(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Seat:
    """One member as a ledger keeps it: its rank, its node and its cards (bitmask of node indices)."""

    rank: int
    node: str
    cards: int


@dataclass(frozen=True, slots=True)
class Spare:
    """One spare as the ledger of a supernode numbers it."""

    supernode: str
    rank: int
    node: str
    cards: int


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive ranks laid over nodes x card sets, node-major.

    ranks: `"0-47"`; nodes: `"sn0-n[000-047]"`; cards: `("0-15",)`, one text per member on each node.
    """

    ranks: str
    nodes: str
    cards: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"ranks": self.ranks, "nodes": self.nodes, "cards": list(self.cards)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Run:
        """Raises RangeError when a field is missing or of the wrong type."""
        ranks, nodes, cards = data.get("ranks"), data.get("nodes"), data.get("cards")
        if (
            not isinstance(ranks, str)
            or not isinstance(nodes, str)
            or not isinstance(cards, Sequence)
            or isinstance(cards, str)
        ):
            raise RangeError(f"a run needs ranks (text), nodes (text) and cards (list of text), not {dict(data)!r}")
        if not all(isinstance(text, str) for text in cards):
            raise RangeError(f"cards of a run must be a list of text, not {list(cards)!r}")
        return cls(ranks, nodes, tuple(cards))

    def to_text(self) -> str:
        """`RANKS@NODES:CARDS`, several card sets parted by `/`: `0-47@sn0-n[000-047]:0-15`."""
        return f"{self.ranks}@{self.nodes}:{'/'.join(self.cards)}"

    @classmethod
    def from_text(cls, text: str) -> Run:
        """Inverse of `to_text`. Raises RangeError when a part is missing."""
        ranks, _, places = text.partition("@")
        nodes, _, cards = places.partition(":")
        if not (ranks and nodes and cards):
            raise RangeError(f"a run is RANKS@NODES:CARDS, such as 0-47@sn0-n[000-047]:0-15, not {text!r}")
        return cls(ranks, nodes, tuple(cards.split("/")))


@dataclass(frozen=True)
class LedgerEntry:
    """What one group holds in one supernode. group is `namespace/name`; uid is the CardGroup's. spares: what it holds
    for repairs, numbered from 0 in each supernode.

    Its text is one line: `GROUP UID RUN...`, the runs of spares behind a `+`. A line costs the API server a tenth of
    what an object with fields costs it, for each entry at every swap (docs/adr/0010-ledgers-are-lines.md).
    """

    group: str
    uid: str
    runs: tuple[Run, ...]
    spares: tuple[Run, ...] = ()

    @cached_property
    def _seats(self) -> tuple[Seat, ...]:
        return tuple(decode(self.runs))

    @cached_property
    def _spare_seats(self) -> tuple[Seat, ...]:
        return tuple(decode(self.spares))

    @cached_property
    def held(self) -> Mapping[str, int]:
        """Node to the cards (bitmask) of members and spares. Raises RangeError on malformed runs."""
        held: dict[str, int] = {}
        for seat in (*self._seats, *self._spare_seats):
            held[seat.node] = held.get(seat.node, 0) | seat.cards
        return held

    @cached_property
    def text(self) -> str:
        """The item of SuperNode.status.ledger."""
        held = (*(run.to_text() for run in self.runs), *(f"+{run.to_text()}" for run in self.spares))
        return " ".join((self.group, self.uid, *held))

    def seats(self) -> tuple[Seat, ...]:
        """The members. Raises RangeError on malformed runs."""
        return self._seats

    def spare_seats(self) -> tuple[Seat, ...]:
        """The spares. Raises RangeError on malformed runs."""
        return self._spare_seats

    @classmethod
    def from_text(cls, text: object) -> LedgerEntry:
        """Inverse of `text`. Raises RangeError when it is none, or a part is missing."""
        parts = text.split(" ") if isinstance(text, str) else []
        if len(parts) < 3 or not all(parts):
            raise RangeError(f"a ledger entry is GROUP UID RUN..., such as ns/job UID 0@node:0-7, not {text!r}")
        group, uid, *held = parts
        return cls(
            group,
            uid,
            tuple(Run.from_text(run) for run in held if not run.startswith("+")),
            tuple(Run.from_text(run[1:]) for run in held if run.startswith("+")),
        )


def entries_for(group: str, uid: str, members: Iterable[Homed], spares: Iterable[Homed] = ()) -> dict[str, LedgerEntry]:
    """The entry of a group in the ledger of each supernode where it has members or spares."""
    runs, held = by_supernode(members), by_supernode(_renumbered(spares))
    return {
        name: LedgerEntry(group, uid, tuple(runs.get(name, ())), tuple(held.get(name, ())))
        for name in dict.fromkeys((*runs, *held))
    }


def _renumbered(spares: Iterable[Homed]) -> list[Spare]:
    """Spares with numbers of their own in each supernode, so that a change in one touches no other's ledger."""
    counts: dict[str, int] = {}
    found = []
    for spare in spares:
        counts[spare.supernode] = number = counts.get(spare.supernode, -1) + 1
        found.append(Spare(spare.supernode, number, spare.node, spare.cards))
    return found


def encode(members: Iterable[Located]) -> list[Run]:
    """Members as the fewest runs a single pass finds, by ascending rank."""
    runs: list[tuple[int, int, list[str], tuple[int, ...]]] = []
    for node, first, sets in _per_node(members):
        if runs and runs[-1][3] == sets and runs[-1][1] + 1 == first:
            start, _, nodes, _ = runs[-1]
            nodes.append(node)
            runs[-1] = (start, first + len(sets) - 1, nodes, sets)
        else:
            runs.append((first, first + len(sets) - 1, [node], sets))
    return [
        Run(format_ints(range(low, high + 1)), format_nodes(nodes), tuple(format_cards(mask) for mask in sets))
        for low, high, nodes, sets in runs
    ]


def decode(runs: Iterable[Run]) -> list[Seat]:
    """Inverse of `encode`. Raises RangeError on malformed text or when ranks do not count nodes x card sets."""
    seats: list[Seat] = []
    for run in runs:
        ranks = parse_ints(run.ranks)
        nodes = parse_nodes(run.nodes)
        sets = [parse_cards(text) for text in run.cards]
        if len(ranks) != len(nodes) * len(sets):
            raise RangeError(
                f"run {run.ranks!r} names {len(ranks)} ranks for {len(nodes)} nodes with {len(sets)} card sets each"
            )
        if len(seats) + len(ranks) > MAX_ITEMS:
            raise RangeError(f"a ledger entry names more than {MAX_ITEMS} members")
        places = ((node, cards) for node in nodes for cards in sets)
        seats.extend(Seat(rank, node, cards) for rank, (node, cards) in zip(ranks, places, strict=True))
    return seats


def encode_placement(members: Iterable[Homed]) -> list[dict[str, Any]]:
    """CardGroup.status.placement: runs with the supernode each lies in, by ascending rank."""
    ordered = sorted(members, key=lambda member: member.rank)
    return [
        {"supernode": supernode, **run.to_dict()}
        for supernode, part in groupby(ordered, key=lambda member: member.supernode)
        for run in encode(part)
    ]


def decode_placement(placement: Iterable[Mapping[str, Any]]) -> list[tuple[str, Seat]]:
    """Inverse of `encode_placement`: (supernode, seat) by ascending rank. Raises RangeError on malformed items."""
    found: list[tuple[str, Seat]] = []
    for item in placement:
        supernode = item.get("supernode")
        if not isinstance(supernode, str):
            raise RangeError(f"a placement run needs supernode, not {dict(item)!r}")
        found.extend((supernode, seat) for seat in decode([Run.from_dict(item)]))
    return sorted(found, key=lambda pair: pair[1].rank)


def by_supernode(members: Iterable[Homed]) -> dict[str, list[Run]]:
    """The runs each supernode's ledger gets when these members are committed, supernodes in rank order."""
    parts: dict[str, list[Homed]] = {}
    for member in sorted(members, key=lambda member: member.rank):
        parts.setdefault(member.supernode, []).append(member)
    return {supernode: encode(part) for supernode, part in parts.items()}


def _per_node(members: Iterable[Located]) -> Iterable[tuple[str, int, tuple[int, ...]]]:
    """(node, first rank, card sets) for each stretch of consecutive ranks on one node."""
    ordered = sorted(members, key=lambda member: member.rank)
    start = 0
    for end in range(1, len(ordered) + 1):
        if (
            end < len(ordered)
            and ordered[end].node == ordered[start].node
            and ordered[end].rank == ordered[end - 1].rank + 1
        ):
            continue
        yield ordered[start].node, ordered[start].rank, tuple(member.cards for member in ordered[start:end])
        start = end
