"""Nodes that give no new cards for a while although they seem to have them, or have lost them only for a moment."""

from collections.abc import MutableMapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from supernode.topology.discovery import NodeFacts
from supernode.topology.health import unnamed_losses
from supernode.topology.profile import Profile

REFUSAL_SECONDS = 300.0
"""So long a node gets nothing new after its kubelet has refused members again and again."""

_AWAY = "until its device plugin offers its cards again, or has not for long"


class Distrust:
    """A device plugin that restarts takes the node's cards away and brings them back: until ``grace`` seconds have
    passed they count as there, so that nothing that runs is taken for lost, and as closed, so that nothing new comes.
    Cards that something names as failed went for a reason, and are not waited for.

    Times are seconds of a monotonic clock.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._settled: dict[str, NodeFacts] = {}
        self._less_until: dict[str, float] = {}
        self._refused_until: dict[str, float] = {}
        self._refused_at: dict[str, datetime] = {}

    def facts(self, seen: NodeFacts, profile: Profile, moment: float) -> NodeFacts:
        """The node, of this profile, as decisions should see it."""
        known = self._settled.get(seen.name)
        if known is not None and _lost_some(seen, known, profile):
            until = self._less_until.setdefault(seen.name, moment + self._grace)
            if moment < until:
                return replace(seen, capacity=known.capacity, allocatable=known.allocatable, withheld=_AWAY)
        self._less_until.pop(seen.name, None)
        self._settled[seen.name] = seen
        if seen.name not in self._refused_until:
            return seen
        back = f"{self._refused_at[seen.name] + timedelta(seconds=REFUSAL_SECONDS):%H:%M} UTC"
        return replace(seen, withheld=f"until {back}: members could not be bound to it, or its kubelet refused them")

    def refused(self, node: str, moment: float) -> None:
        """The kubelet of this node refuses members that should fit, or none can be bound to it."""
        self._refused_until[node] = moment + REFUSAL_SECONDS
        self._refused_at[node] = datetime.now(UTC)

    def waits_for(self, node: str) -> bool:
        """Whether cards that this node has lost may come back, and count as there."""
        return node in self._less_until

    def forget(self, node: str) -> None:
        """The node is gone."""
        times: tuple[MutableMapping[str, Any], ...] = (self._less_until, self._refused_until, self._refused_at)
        for known in (self._settled, *times):
            known.pop(node, None)

    def over(self, moment: float) -> list[str]:
        """Nodes that are to be looked at again: their time is over. Each is named once, whoever looks at it."""
        back = _taken_out(self._refused_until, moment)
        less = _taken_out(self._less_until, moment)
        for node in less:
            self._settled.pop(node, None)
        return [*back, *less]

    def next_time(self) -> float | None:
        """When the next node's time is over."""
        return min((*self._less_until.values(), *self._refused_until.values()), default=None)


def _lost_some(seen: NodeFacts, known: NodeFacts, profile: Profile) -> bool:
    """Whether a node offers fewer cards than before, and of some that are missing nothing says which they are."""
    now, before = (facts.allocatable.get(profile.counted, 0) for facts in (seen, known))
    return now < before and unnamed_losses(seen, profile) > unnamed_losses(known, profile)


def _taken_out(times: dict[str, float], moment: float) -> list[str]:
    """The nodes whose time is over, which have none from now on."""
    over = [node for node, until in times.items() if until <= moment]
    for node in over:
        del times[node]
    return over
