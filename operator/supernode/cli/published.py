"""What drivers for Dynamic Resource Allocation and device plugins have published, read once."""

from __future__ import annotations

from collections.abc import Sequence

from supernode.topology.deviceinfo import CardReport
from supernode.topology.devices import Claim, Slice, TaintRule


class Published:
    """Slices by node and by pool, claims by pool, what bars devices, and reports on cards by node; see
    `supernode.control.devices`."""

    complete = True

    def __init__(self) -> None:
        self._on: dict[str, list[Slice]] = {}
        self._in: dict[str, list[Slice]] = {}
        self._claims: dict[str, list[Claim]] = {}
        self._rules: list[TaintRule] = []
        self._reports: dict[str, CardReport] = {}

    def add_slice(self, part: Slice | None) -> None:
        """None: it has no devices of one node."""
        if part is not None:
            self._on.setdefault(part.node, []).append(part)
            self._in.setdefault(part.pool, []).append(part)

    def add_claim(self, claim: Claim | None) -> None:
        """None: it has no devices."""
        if claim is not None:
            for pool in {pool for _, pool, _ in claim.devices}:
                self._claims.setdefault(pool, []).append(claim)

    def add_taint_rule(self, rule: TaintRule | None) -> None:
        """None: it bars nothing."""
        if rule is not None:
            self._rules.append(rule)

    def add_report(self, node: str, report: CardReport) -> None:
        """What a node's device plugin says."""
        self._reports[node] = report

    def slices_on(self, node: str) -> Sequence[Slice]:
        """The slices of one node."""
        return self._on.get(node, ())

    def slices_in(self, pool: str) -> Sequence[Slice]:
        """The slices of pools of this name."""
        return self._in.get(pool, ())

    def claims_in(self, pool: str) -> Sequence[Claim]:
        """The claims that have devices of pools of this name."""
        return self._claims.get(pool, ())

    def barring(self) -> Sequence[TaintRule]:
        """Every rule that bars devices."""
        return self._rules

    def report_on(self, node: str) -> CardReport | None:
        """What a node's device plugin says."""
        return self._reports.get(node)
