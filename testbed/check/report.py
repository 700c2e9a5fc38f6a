"""What the check found: how often it looked at each rule, what is broken, and where the groups lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Table = list[tuple[str, ...]]


class Rule(StrEnum):
    """What must hold, in the words of the report.

    HEALTHY and MINIMUM speak of now: after a placement cards may rightly break or come free.
    """

    PINNED = "every pod is on the one node it is pinned to"
    CARDS = "every pod's cards exist, and are what it asks for and its node is told"
    HEALTHY = "every pod's cards are healthy"
    LEGAL = "every card set is legal and aligned on its profile"
    ONCE = "no card is used twice, no node gives more than it has"
    WHOLE = "all members and spares of a group or none, each with its cards"
    AGREE = "pods, ledgers and statuses say the same"
    PLACE = "every node lies in the supernode and the profile told"
    BLOCKS = "no block straddles domains"
    LIMITS = "the required level and maxSpan are kept"
    SHAPE = "what is taken of a ring or torus is a legal box of whole children, or one child"
    SPANS = "the spans told are the domains touched"
    PROVEN = "spans told as proven are the minimum told"
    MINIMUM = "the spans are the fewest possible"
    COUNTS = "every supernode counts its cards rightly"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    rule: Rule
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """One placed group. ``verdict`` says how its spans stand to the minimum."""

    group: str
    members: int
    cards: int
    supernodes: tuple[str, ...]
    spans: Mapping[str, int]
    verdict: str


@dataclass(slots=True)
class Report:
    """Everything that was found."""

    looked: Counter[Rule] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def expect(self, rule: Rule, subject: str, holds: bool, message: str) -> bool:
        """Count one look at a rule, and note a violation unless it ``holds``."""
        self.looked[rule] += 1
        if not holds:
            self.violations.append(Violation(rule, subject, message))
        return holds

    def lines(self) -> Iterator[str]:
        """The report as text."""
        if self.rows:
            places: Table = [("GROUP", "MEMBERS", "CARDS", "SUPERNODES", "TOUCHES", "")]
            for row in self.rows:
                spans = ", ".join(f"{count} {level}{'s' * (count > 1)}" for level, count in row.spans.items())
                where = ",".join(row.supernodes)
                places.append((row.group, str(row.members), str(row.cards), where, spans, row.verdict))
            yield from _columns(places)
            yield ""
        broken = Counter(violation.rule for violation in self.violations)
        rules: Table = [("RULE", "LOOKS", "RESULT")]
        rules += [(rule, str(self.looked[rule]), f"FAIL ({n})" if (n := broken[rule]) else "PASS") for rule in Rule]
        yield from _columns(rules)
        yield from (f"FAIL {v.subject}: {v.message}" for v in self.violations)


def _columns(table: Table) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
