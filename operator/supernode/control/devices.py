"""What drivers for Dynamic Resource Allocation and device plugins say of the cards of nodes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from supernode.control.foreign import Held, foreign_cards
from supernode.control.records import Key
from supernode.topology.deviceinfo import CardReport
from supernode.topology.devices import Claim, NodeDevices, Slice, TaintRule, Value, node_devices, with_devices
from supernode.topology.discovery import NodeFacts
from supernode.topology.profile import DeviceRule, Profile
from supernode.topology.views import ForeignPod

_NONE = NodeDevices()


class Published(Protocol):
    """What drivers, device plugins, administrators and the scheduler have written, found by what it is about."""

    @property
    def complete(self) -> bool:
        """Whether slices and claims have been read; until then nodes have no devices."""

    def slices_on(self, node: str) -> Iterable[Slice]: ...
    def slices_in(self, pool: str) -> Iterable[Slice]: ...
    def claims_in(self, pool: str) -> Iterable[Claim]: ...
    def barring(self) -> Iterable[TaintRule]: ...
    def report_on(self, node: str) -> CardReport | None: ...


class DeviceState:
    """The devices of each node, by the rules of the profiles that pin by claims, and what is reported of its cards."""

    def __init__(self, published: Published) -> None:
        self._published = published
        self._rules: frozenset[DeviceRule] = frozenset()
        self._known: dict[tuple[str, DeviceRule], NodeDevices] = {}

    def follow(self, profiles: Iterable[Profile]) -> None:
        """From now on these profiles say which devices are cards."""
        rules = frozenset(profile.pinning.devices for profile in profiles if profile.pinning.devices)
        if rules != self._rules:
            self._rules = rules
            self._known.clear()

    def changed(self, node: str) -> None:
        """Slices of this node came, went or changed."""
        for rule in self._rules:
            self._known.pop((node, rule), None)

    def all_changed(self) -> None:
        """Something changed that may concern any node."""
        self._known.clear()

    def facts(self, seen: NodeFacts) -> NodeFacts:
        """The node with its devices as cards, counted under each rule's own name, and with what is reported of them."""
        report = self._published.report_on(seen.name)
        if report is not None:
            seen = replace(seen, reported=report)
        for rule in self._rules:
            devices = self._of(seen.name, rule)
            if devices.present:
                seen = with_devices(seen, rule.resource, devices)
        return seen

    def values(self, node: str, rule: DeviceRule) -> Mapping[int, Value]:
        """By card, what a claim selects its device by."""
        return self._of(node, rule).values

    def missing(self, node: str, rule: DeviceRule, cards: int) -> int:
        """Which of these cards (bitmask) the driver does not publish, while it publishes any of the node.

        Where it numbers devices anew when one has gone, the highest is always the one that is missing.
        """
        present = self._of(node, rule).present
        return cards & ~present if present else 0

    def foreign(self, node: str, rule: DeviceRule, held: Held) -> Iterator[ForeignPod]:
        """What claims have of the node's cards that no ledger counts."""
        for claim in self._claims_on(node, rule):
            if taken := self.uncounted(claim, node, rule, held):
                yield ForeignPod(claim.namespace, claim.name, node, taken.bit_count(), taken)

    def claimed_by(self, group: Key | None, node: str, rule: DeviceRule) -> int | None:
        """The cards (bitmask) of the node that claims of a group have; ``None`` while its driver publishes none."""
        if not self._of(node, rule).present:
            return None
        claimed = 0
        for claim in self._claims_on(node, rule):
            if (claim.namespace, claim.group) == group:
                claimed |= claim.cards(rule, self._of(node, rule))
        return claimed

    def uncounted(self, claim: Claim, node: str, rule: DeviceRule, held: Held) -> int:
        """The cards (bitmask) of the node that a claim has and no ledger counts."""
        return foreign_cards(claim, node, claim.cards(rule, self._of(node, rule)), held)

    def _claims_on(self, node: str, rule: DeviceRule) -> Iterable[Claim]:
        pools = {pool for pool, _ in self._of(node, rule).cards}
        return {(c.namespace, c.name): c for pool in pools for c in self._published.claims_in(pool)}.values()

    def nodes_of(self, claim: Claim) -> set[str]:
        """The nodes whose devices a claim has."""
        return {part.node for _, pool, _ in claim.devices for part in self._published.slices_in(pool)}

    def _of(self, node: str, rule: DeviceRule) -> NodeDevices:
        if not self._published.complete:
            return _NONE
        known = self._known.get((node, rule))
        if known is None:
            known = node_devices(rule, self._published.slices_on(node), self._published.barring())
            self._known[node, rule] = known
        return known
