"""`plan --repair`: how each group whose nodes or cards failed would be repaired."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from supernode.cli.errors import printable
from supernode.cli.inventory import Say, Snapshot
from supernode.cli.output import table
from supernode.cli.plan import Wanted, claim_of, seat_document
from supernode.cli.plan_output import write_document
from supernode.control.grouping import request_for
from supernode.control.supernodes import Ledger
from supernode.placement import Placement, Refusal, Request, plan
from supernode.placement.repair import Repair, repair
from supernode.topology.fleet import Fleet, Member
from supernode.topology.health import ailment
from supernode.topology.ledger import LedgerEntry
from supernode.topology.ranges import format_cards
from supernode.topology.views import seated
from supernode.workload import InvalidSpec

Seats = tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class RepairResult:
    """The answer for one group, called "namespace/name". before: its members in the ledgers. ills: what failed under
    them and its spares, in words. fresh: where the group would go if it were placed anew."""

    name: str
    before: Seats
    ills: Sequence[str]
    answer: Repair | Refusal
    fresh: Placement | Refusal
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
        started = time.perf_counter()
        answer = repair(fleet, request, members, spares, ill.works)
        seconds = time.perf_counter() - started
        freed = fleet.release(seat for seat in (*members, *spares) if _known(fleet, seat))
        results.append(RepairResult(name, members, ills, answer, plan(freed, request), seconds))
        if isinstance(answer, Repair):
            fleet = freed.take(seat for seat in (*answer.members, *answer.spares) if _known(freed, seat))
    return results


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


def _known(fleet: Fleet, seat: Member) -> bool:
    view = fleet.supernodes.get(seat.supernode)
    return view is not None and seat.node in view.layout.index


def _bare(fleet: Fleet, name: str, members: Seats) -> Request:
    """What a group in a ledger asks for, as far as the ledger tells."""
    view = fleet.supernodes.get(members[0].supernode)
    return Request(name, len(members), members[0].cards.bit_count(), profile=view.profile.name if view else None)


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
        out.print("no group in the ledgers has failed nodes or cards")
    for index, result in enumerate(results):
        if index:
            out.print()
        _print(out, result)


def _to_dict(result: RepairResult) -> dict[str, Any]:
    answer = result.answer
    done = answer if isinstance(answer, Repair) else None
    refused = answer if isinstance(answer, Refusal) else None
    minimal: Mapping[str, int] = result.fresh.minimal if isinstance(result.fresh, Placement) else {}
    levels = list(minimal) or list(dict.fromkeys(level for m in result.before for level in reversed(list(m.domains))))
    moved = done.moved(result.before) if done else []
    return {
        "name": result.name,
        "feasible": done is not None,
        "step": str(done.step) if done else "Queue",
        "failed": list(result.ills),
        "moved": [{"rank": old.rank, "from": seat_document(old), "to": seat_document(new)} for old, new in moved],
        "members": [{"rank": member.rank, **seat_document(member)} for member in (done.members if done else ())],
        "spares": [seat_document(spare) for spare in (done.spares if done else ())],
        "missingSpares": done.missing if done else 0,
        "spans": {level: len({m.domains.get(level) for m in done.members}) for level in levels} if done else {},
        "minimal": dict(minimal) if done else {},
        "proven": answer.proven,
        "reason": str(refused.reason) if refused else None,
        "message": refused.message if refused else None,
        "decisionSeconds": round(result.seconds, 6),
    }


_STEPS = {
    "Restart": "no member moves",
    "Spare": "spares take over",
    "Free": "free cards take over",
    "Block": "blocks move",
    "Group": "the whole group is placed again",
}


def _print(out: Console, result: RepairResult) -> None:
    answer, name = result.answer, (printable(result.name), "bold")
    if isinstance(answer, Refusal):
        out.print(Text.assemble(name, ": ", ("waits", "red"), f": {answer.reason}"))
        lines = [*result.ills, answer.message]
    else:
        out.print(Text.assemble(name, ": ", (str(answer.step), "green"), f": {_STEPS[answer.step]}"))
        lines = list(result.ills)
        if answer.missing:
            lines.append(f"{answer.missing} spares are missing afterwards: there is no room for them")
    for line in lines:
        out.print(Padding(Text(printable(line)), (0, 0, 0, 2), expand=False))
    if isinstance(answer, Repair) and (moved := answer.moved(result.before)):
        rows = [
            [str(old.rank), old.node, format_cards(old.cards), new.node, format_cards(new.cards)] for old, new in moved
        ]
        moves = table(["RANK", "FROM", "CARDS", "TO", "CARDS"], rows, numbers=["RANK"])
        out.print(Padding(moves, (0, 0, 0, 2), expand=False))
