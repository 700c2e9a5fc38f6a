"""`plan --repair`: how each group whose nodes or cards failed would be repaired."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.text import Text

from supernode.api.conditions import Reason
from supernode.cli.inventory import Say, Snapshot
from supernode.cli.output import show, table
from supernode.cli.plan import Wanted, claim_of, estimate_of, result_document, seat_document
from supernode.cli.plan_output import write_document
from supernode.control.grouping import request_for
from supernode.control.supernodes import Ledger
from supernode.placement import Placement, Refusal, Request, plan
from supernode.placement.repair import Repair, repair
from supernode.topology.fleet import Fleet
from supernode.topology.health import ailment
from supernode.topology.ledger import LedgerEntry
from supernode.topology.node import Member
from supernode.topology.ranges import format_cards, format_ints
from supernode.topology.views import seated
from supernode.workload import InvalidSpec

Seats = tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class RepairResult:
    """The answer for one group, called "namespace/name". before: its members in the ledgers. ills: what failed under
    them and its spares, in words. minimal: what the group would touch if it were placed anew. estimate: of the members
    as they are afterwards."""

    name: str
    before: Seats
    ills: Sequence[str]
    answer: Repair | Refusal
    minimal: Mapping[str, int]
    estimate: dict[str, int] | None
    seconds: float

    @property
    def possible(self) -> bool:
        return isinstance(self.answer, Repair)


def plan_repairs(snapshot: Snapshot, wanted: Sequence[Wanted], say: Say, *, namespace: str) -> list[RepairResult]:
    """Plan the repair of every group in the ledgers that something failed under, by name, each after what the earlier
    ones took. wanted: claims of groups, beside those of the snapshot."""
    claims = dict(snapshot.claims)
    for body in wanted:
        name = f"{body.metadata.namespace or namespace}/{body.metadata.name}"
        try:
            claims[name] = claim_of(snapshot.fleet, body)
        except InvalidSpec as problem:
            say(f"left out: {name}: {problem}")
    fleet, results = snapshot.fleet, []
    for (name, _), entries in sorted(_held(snapshot).items()):
        members, spares = _seats(fleet, entries)
        ill = _Ill(snapshot, fleet)
        ills = [f"{_what(seat, spare=spare)}: {text}" for seat, spare, text in ill.among(members, spares)]
        if not ills or not members:
            continue
        claim = claims.get(name)
        if claim is None:
            say(f"{name}: its CardGroup is not given; it is repaired by the rules of its profile alone")
        request = request_for(name, claim) if claim is not None else _bare(fleet, name, members)
        result = _repaired(fleet, request, members, spares, ill, ills)
        results.append(replace(result, before=tuple(map(snapshot.located, members))))
        if isinstance(result.answer, Repair):
            fleet = fleet.release(fleet.known((*members, *spares)))
            fleet = fleet.take(fleet.known((*result.answer.members, *result.answer.spares)))
    return results


def _repaired(
    fleet: Fleet, request: Request, members: Seats, spares: Seats, ill: _Ill, ills: Sequence[str]
) -> RepairResult:
    started = time.perf_counter()
    answer = _mismatch(request, members) or repair(fleet, request, members, spares, ill.works)
    seconds = time.perf_counter() - started
    if isinstance(answer, Refusal):
        return RepairResult(request.name, members, ills, answer, {}, None, seconds)
    fresh = plan(fleet.release(fleet.known((*members, *spares))), request)
    minimal = fresh.minimal if isinstance(fresh, Placement) else {}
    profile = fleet.supernodes[answer.members[0].supernode].profile.name
    return RepairResult(
        request.name, members, ills, answer, minimal, estimate_of(fleet, profile, answer.members), seconds
    )


def _mismatch(request: Request, members: Seats) -> Refusal | None:
    """The answer where the ledgers do not hold the group as it is claimed: one of them was lost, say."""
    ranks, size = [member.rank for member in members], {member.cards.bit_count() for member in members}
    if len(ranks) != request.members or ranks != list(range(len(ranks))):
        text = f"its ledgers name ranks {format_ints(ranks)} of {request.members}"
    elif size != {request.cards_per_member}:
        cards = " and ".join(map(str, sorted(size)))
        text = f"its ledgers give {cards} cards to a member, it claims {request.cards_per_member}"
    else:
        return None
    return Refusal(Reason.WAITING_FOR_CARDS, f"{text}; the ledger or the claim is to be mended first")


def _held(snapshot: Snapshot) -> dict[tuple[str, str], list[tuple[str, LedgerEntry]]]:
    """What ledgers hold, by the group's name and uid: (supernode, entry)."""
    found: dict[tuple[str, str], list[tuple[str, LedgerEntry]]] = {}
    for supernode, record in sorted(snapshot.supernodes.items()):
        for entry in Ledger.of(record).entries:
            found.setdefault((entry.group, entry.uid), []).append((supernode, entry))
    return found


def _seats(fleet: Fleet, entries: Sequence[tuple[str, LedgerEntry]]) -> tuple[Seats, Seats]:
    views = fleet.supernodes
    members = [m for name, entry in entries for m in seated(views.get(name), name, entry.seats())]
    spares = [s for name, entry in entries for s in seated(views.get(name), name, entry.spare_seats())]
    return tuple(sorted(members, key=lambda member: member.rank)), tuple(spares)


def _bare(fleet: Fleet, name: str, members: Seats) -> Request:
    """What a group in a ledger asks for, as far as the ledger tells."""
    view = fleet.supernodes.get(members[0].supernode)
    return Request(
        name, members[-1].rank + 1, members[0].cards.bit_count(), profile=view.profile.name if view else None
    )


@dataclass(frozen=True, slots=True)
class _Ill:
    snapshot: Snapshot
    fleet: Fleet

    def text(self, seat: Member) -> str | None:
        view = self.fleet.supernodes.get(seat.supernode)
        if view is None:
            return "its supernode is gone"
        return ailment(self.snapshot.nodes.get(seat.node), view.profile, seat.cards)

    def works(self, seat: Member) -> bool:
        return self.text(seat) is None

    def among(self, members: Seats, spares: Seats) -> list[tuple[Member, bool, str]]:
        seats = [(seat, False) for seat in members] + [(seat, True) for seat in spares]
        return [(seat, spare, text) for seat, spare in seats if (text := self.text(seat)) is not None]


def _what(seat: Member, *, spare: bool) -> str:
    return f"{'spare' if spare else f'rank {seat.rank}'} on {seat.node}"


# Writing.


def write_repairs(out: Console, results: Sequence[RepairResult], form: str) -> None:
    """Write the results as `table`, `json` or `yaml`."""
    if form != "table":
        write_document({"results": [_to_dict(result) for result in results]}, form)
        return
    if not results:
        show(out, "no group in the ledgers has failed nodes or cards")
    for index, result in enumerate(results):
        if index:
            show(out)
        _print(out, result)


@dataclass(frozen=True, slots=True)
class _After:
    """A repaired group as any other placed one."""

    members: Seats
    spares: Seats
    spans: Mapping[str, int]
    minimal: Mapping[str, int]
    proven: bool


def _to_dict(result: RepairResult) -> dict[str, Any]:
    answer = result.answer
    if isinstance(answer, Refusal):
        repair_: dict[str, Any] = {"step": "Queue", "moved": [], "missingSpares": 0}
        common = result_document(result.name, answer, result.seconds)
    else:
        moved = answer.moved(result.before)
        repair_ = {
            "step": str(answer.step),
            "moved": [{"rank": old.rank, "from": seat_document(old), "to": seat_document(new)} for old, new in moved],
            "missingSpares": answer.missing,
        }
        after = _After(answer.members, answer.spares, _spans(answer.members), result.minimal, answer.proven)
        common = result_document(result.name, after, result.seconds, result.estimate)
    return common | {"failed": list(result.ills)} | repair_


def _spans(members: Seats) -> dict[str, int]:
    """How many domains of each level members touch, outermost level first."""
    levels = dict.fromkeys(level for member in members for level in reversed(list(member.domains)))
    return {level: len({member.domains.get(level) for member in members}) for level in levels}


_STEPS = {
    "Restart": "no member moves",
    "Spare": "spares take over",
    "Free": "free cards take over",
    "Block": "blocks move",
    "Group": "the whole group is placed again",
}


def _print(out: Console, result: RepairResult) -> None:
    answer, name = result.answer, (result.name, "bold")
    if isinstance(answer, Refusal):
        show(out, Text.assemble(name, ": ", ("waits", "red"), f": {answer.reason}"))
        lines = [*result.ills, answer.message]
    else:
        show(out, Text.assemble(name, ": ", (str(answer.step), "green"), f": {_STEPS[answer.step]}"))
        lines = list(result.ills)
        if answer.missing:
            lines.append(f"{answer.missing} spares are missing afterwards: there is no room for them")
    for line in lines:
        show(out, line, indent=2)
    if isinstance(answer, Repair) and (moved := answer.moved(result.before)):
        rows = [
            [str(old.rank), old.node, format_cards(old.cards), new.node, format_cards(new.cards)] for old, new in moved
        ]
        moves = table(["RANK", "FROM", "CARDS", "TO", "CARDS"], rows, numbers=["RANK"])
        show(out, moves, indent=2)
