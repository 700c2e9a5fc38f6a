"""What keeps the pods of groups from running on single nodes, as the caches and the snapshot know it now."""

from collections.abc import Iterable

from supernode.cluster.store import Store
from supernode.control.caches import Caches
from supernode.control.fleet import FleetState
from supernode.control.records import PodRecord
from supernode.topology.discovery import NodeFacts
from supernode.topology.fleet import SuperNodeView
from supernode.topology.health import named_unhealthy
from supernode.topology.profile import DeviceRule
from supernode.topology.ranges import format_cards


class NodeHealth:
    """Answers for one node at a time; nothing is remembered."""

    def __init__(self, caches: Caches, state: FleetState) -> None:
        self._caches = caches
        self._state = state

    def unready(self, node: str) -> bool:
        """Whether a node exists and is not ready."""
        facts = self._caches.nodes.store.get(("", node))
        return facts is not None and not facts.ready

    def crowded(self, node: str) -> bool:
        """Whether pods that no ledger counts use cards of this node that ledgers give to others."""
        view = self._state.view_of(node)
        if view is None or node not in view.layout.index:
            return False
        foreign = self._state.foreign_on(node, view.profile)
        return sum(pod.cards for pod in foreign) + self._state.booked_on(node).bit_count() > view.node(node).cards

    def offers_none(self, node: str) -> bool:
        """Whether a node of a supernode offers no card at all: its device plugin is away, and will be back."""
        if (known := self._known(node)) is None:
            return False
        view, facts = known
        return not self._state.devices.facts(facts).allocatable.get(view.profile.counted, 0)

    def card_trouble(self, node: str, cards: int, *, stuck: bool = False) -> str | None:
        """Why a pod cannot use these cards (bitmask) of a node, in words; ``None`` when nothing is known against it.

        stuck: it waits for a scheduler that cannot bind it. Any other may still get cards of its node that work where
        the kubelet chooses them, and where the node says only how many are left.
        """
        if (known := self._known(node)) is None:
            return None
        view, facts = known
        pinning = view.profile.pinning
        if pinning.mode == "none" and not stuck:
            return None
        if ill := named_unhealthy(self._state.devices.facts(facts), view.profile) & cards:
            return f"{_cards(ill)} of {node} {'do' if ill & (ill - 1) else 'does'} not work"
        if pinning.devices is not None:
            return self._device_trouble(node, cards, pinning.devices)
        return self._shortage(facts, view) if stuck else None

    def _device_trouble(self, node: str, cards: int, rule: DeviceRule) -> str | None:
        """Why claims of these cards cannot be allocated."""
        if missing := self._state.devices.missing(node, rule, cards):
            return f"the driver does not publish {_cards(missing)} of {node} any more"
        claimed = 0
        for claim in self._state.devices.foreign(node, rule, self._state.held_on):
            claimed |= (claim.indices or 0) & cards
        return f"others claimed {_cards(claimed)} of {node}" if claimed else None

    def _shortage(self, facts: NodeFacts, view: SuperNodeView) -> str | None:
        """That a node offers fewer cards than ledgers give away there, and not only for a moment.

        A device plugin says how many cards are left, not which. One that offers none at all is away.
        """
        offered, booked = facts.allocatable.get(view.profile.counted, 0), self._state.booked_on(facts.name).bit_count()
        seen = facts.name in view.layout.index and view.node(facts.name).healthy.bit_count() <= offered
        settled = seen and not self._state.awaits_cards(facts.name)
        if settled and 0 < offered < booked:
            return f"{facts.name} offers {offered} cards, fewer than the {booked} that groups have there"
        return None

    def _known(self, node: str) -> tuple[SuperNodeView, NodeFacts] | None:
        """A node as it is now, with its supernode; None where there is no such node or it is in none."""
        view, facts = self._state.view_of(node), self._caches.nodes.store.get(("", node))
        return None if view is None or facts is None else (view, facts)


def stranded(pods: Iterable[PodRecord], nodes: Store[NodeFacts]) -> tuple[PodRecord, ...]:
    """Those of these pods that are being deleted, while no kubelet of their node says that it has ended them."""
    going = ((pod, nodes.get(("", pod.node))) for pod in pods if pod.deleting and pod.node and not pod.finished)
    return tuple(pod for pod, facts in going if facts is not None and not facts.ready)


def _cards(mask: int) -> str:
    return f"card{'s' if mask & (mask - 1) else ''} {format_cards(mask)}"
