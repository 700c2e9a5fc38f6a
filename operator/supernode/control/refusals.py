"""Pods that a node does not take: refused by its kubelet before any of their containers ran, or never bound to it.

A device plugin that restarts, or a pod that came first, makes a kubelet refuse a member that the ledger has cards for.
The member is made again in its place, each time later; after some times the whole group is placed elsewhere; after many
the job answers for it, so that a template no kubelet takes does not go round for ever.

Cards are all that placement sees. A node that lacks cpu or memory, or that the template's own selector leaves out, is
left once the scheduler has found for a while that it cannot bind a member there; with each time that while is longer,
so that a group that fits no node comes to wait at one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from supernode.control.conditions import timestamp
from supernode.control.records import PodRecord, parse_time

FORGIVEN = 12
"""Refusals in a row that do not count as failures of the job."""

IN_PLACE = 4
"""So many refusals in a row make the group go elsewhere."""

LONGEST_DELAY = 60.0
"""Seconds; the delay begins with one and doubles with each refusal."""

UNBOUND_SECONDS = 60.0
"""So long a pod may wait for a scheduler that cannot bind it until its group goes elsewhere; doubles with refusals."""

LONGEST_UNBOUND = 3600.0
"""Seconds."""

_REASONS = frozenset({"UnexpectedAdmissionError", "NodeAffinity", "TopologyAffinityError", "Taint", "NodeShutdown"})
"""What kubelets give as a pod's reason when they do not admit it; and ``OutOf`` with the name of a resource."""


def is_refused(pod: PodRecord) -> bool:
    """Whether the kubelet did not admit a failed pod."""
    return pod.phase == "Failed" and (pod.reason in _REASONS or pod.reason.startswith("OutOf"))


@dataclass(frozen=True, slots=True)
class Refusals:
    """How often in a row pods of a job were not taken, those at one time counting once, and when last."""

    count: int = 0
    last: datetime | None = None

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> "Refusals":
        """As a job's status has it."""
        return cls(status.get("refusals", 0), parse_time(status.get("refusedAt")))

    def once_more(self, now: datetime) -> "Refusals":
        """After another one."""
        return Refusals(self.count + 1, now)

    @property
    def forgiven(self) -> bool:
        """Whether the last one is not the job's failure."""
        return self.count <= FORGIVEN

    @property
    def leaves(self) -> bool:
        """Whether the last one sends the group elsewhere."""
        return self.forgiven and self.count > 0 and self.count % IN_PLACE == 0

    def unbound_too_long(self, pod: PodRecord, now: datetime) -> bool:
        """Whether a pod that cannot be bound has waited for its node long enough."""
        patience = min(LONGEST_UNBOUND, UNBOUND_SECONDS * 2 ** min(self.count, 30))
        since = pod.unbound_since
        return pod.blocked and since is not None and (now - since).total_seconds() >= patience

    def wait(self, now: datetime) -> float:
        """Seconds until the members are made again; 0 when it is time."""
        if self.last is None:
            return 0.0
        delay = min(LONGEST_DELAY, float(2 ** min(self.count - 1, 30)))
        left = (self.last + timedelta(seconds=delay) - now).total_seconds()
        return max(0.0, min(delay, left))  # who wrote `last` may have had a clock that was ahead

    def fields(self) -> dict[str, Any]:
        """As a job's status has it."""
        return {"refusals": self.count, "refusedAt": timestamp(self.last)} if self.last else {}
