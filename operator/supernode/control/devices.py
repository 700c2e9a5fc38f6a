"""What drivers for Dynamic Resource Allocation say, kept as the cards of nodes."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from supernode.control.caches import Caches
from supernode.topology.devices import Claim, NodeDevices, Value, node_devices, with_devices
from supernode.topology.discovery import NodeFacts
from supernode.topology.profile import DeviceRule, Profile
from supernode.topology.views import ForeignPod

_NONE = NodeDevices()


class DeviceState:
    """The devices of each node, by the rules of the profiles that pin by claims; idle without such a profile."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self._rules: frozenset[DeviceRule] = frozenset()
        self._known: dict[tuple[str, DeviceRule], NodeDevices] = {}

    @property
    def ready(self) -> bool:
        """Whether slices and claims have been read; until then such nodes have no cards."""
        return self._caches.slices.synced.is_set() and self._caches.claims.synced.is_set()

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

    def of(self, node: str, rule: DeviceRule) -> NodeDevices:
        """The node's cards under a rule."""
        if not self.ready:
            return _NONE
        known = self._known.get((node, rule))
        if known is None:
            slices = self._caches.slices.store.by_index("node", node)
            known = node_devices(rule, slices, self._caches.taint_rules.store.values())
            self._known[node, rule] = known
        return known

    def facts(self, seen: NodeFacts) -> NodeFacts:
        """The node with its devices as cards, counted under each rule's own name."""
        for rule in self._rules:
            devices = self.of(seen.name, rule)
            if devices.present:
                seen = with_devices(seen, rule.resource, devices)
        return seen

    def values(self, node: str, rule: DeviceRule) -> Mapping[int, Value]:
        """By card, what a claim selects its device by."""
        return self.of(node, rule).values

    def foreign(self, node: str, rule: DeviceRule, holders: Collection[str]) -> Iterator[ForeignPod]:
        """What claims that no ledger counts hold of the node's cards. holders: groups ("namespace/name") of ledgers."""
        devices = self.of(node, rule)
        pools = {pool for pool, _ in devices.cards}
        claims = {
            (claim.namespace, claim.name): claim
            for pool in pools
            for claim in self._caches.claims.store.by_index("pool", pool)
        }
        for claim in claims.values():
            taken = claim.cards(rule, devices)
            if taken and f"{claim.namespace}/{claim.group}" not in holders:
                yield ForeignPod(claim.namespace, claim.name, node, taken.bit_count(), taken)

    def nodes_of(self, claim: Claim) -> set[str]:
        """The nodes whose devices a claim has."""
        slices = self._caches.slices.store
        return {part.node for _, pool, _ in claim.devices for part in slices.by_index("pool", pool)}
