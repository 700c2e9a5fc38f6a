"""The four kinds as the API server and kubectl see them: names, scope, and the columns of `kubectl get`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from supernode.api.cardgroup import CardGroup
from supernode.api.conditions import NEVER, ConditionType, Reason
from supernode.api.names import GROUP
from supernode.api.profile import SuperNodeProfile
from supernode.api.supernode import SuperNode
from supernode.api.trainingjob import TrainingJob

Model = SuperNodeProfile | SuperNode | CardGroup | TrainingJob

CATEGORY: Final = "supernode-all"
"""`kubectl get supernode-all` lists every kind. Were it `supernode`, kubectl would refuse `get supernode sn-0`."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; a wide one shows with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """What a CustomResourceDefinition says besides its schema. initial_status: what an object's status is until the
    operator writes one, so that nobody takes a new object for a finished one, and no write is needed to say so.
    """

    model: type[Model]
    plural: str
    short: str
    namespaced: bool
    columns: tuple[Column, ...]
    initial_status: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The kind's name, such as CardGroup."""
        return self.model.__name__

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition, such as cardgroups.supernode.io."""
        return f"{self.plural}.{GROUP}"


def _ready_reason() -> Column:
    return Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', description="Why it is as it is.")


def _awaited(kind: ConditionType, status: str) -> dict[str, str]:
    text = "the operator has not looked at it yet"
    return {
        "type": str(kind),
        "status": status,
        "reason": str(Reason.WAITING_FOR_CARDS),
        "message": text,
        "lastTransitionTime": NEVER,
    }


_NEW: Final = {
    "phase": "Pending",
    "conditions": [_awaited(ConditionType.READY, "False"), _awaited(ConditionType.RECONCILING, "True")],
}

_AGE: Final = Column("Age", ".metadata.creationTimestamp", "date", "Time since creation.")

KINDS: Final = (
    Kind(
        SuperNodeProfile,
        "supernodeprofiles",
        "snp",
        False,
        (
            Column("Resource", ".spec.card.resource", description="Extended resource that counts the cards."),
            Column("SuperNodes", ".status.superNodes", "integer", "SuperNodes of this profile."),
            Column("Nodes", ".status.nodes", "integer", "Nodes that belong to a SuperNode."),
            Column("Unassigned", ".status.unassignedNodes", "integer", "Matching nodes without a SuperNode."),
            Column("Pinning", ".spec.pinning.mode", description="How a pod learns its cards.", wide=True),
            _ready_reason(),
            _AGE,
        ),
    ),
    Kind(
        SuperNode,
        "supernodes",
        "sn",
        False,
        (
            Column("Profile", ".spec.profile", description="Its shape."),
            Column("Nodes", ".status.nodes", "integer", "Nodes that belong to it."),
            Column("Cards", ".status.cards.total", "integer", "Cards the nodes have."),
            Column("Free", ".status.cards.free", "integer", "Healthy cards that nobody holds."),
            Column("Largest", ".status.largestBlock[-1:].cards", "integer", "Largest group that fits in it now."),
            Column("Healthy", ".status.cards.healthy", "integer", "Cards that may be used.", wide=True),
            Column("Allocated", ".status.cards.allocated", "integer", "Cards that somebody holds.", wide=True),
            Column(
                "Frag%",
                ".status.fragmentation",
                "integer",
                "Free cards outside largest block and reserve.",
                wide=True,
            ),
            Column("Cordoned", ".spec.cordoned", "boolean", "Whether it gives no new cards."),
            _ready_reason(),
            _AGE,
        ),
    ),
    Kind(
        CardGroup,
        "cardgroups",
        "cg",
        True,
        (
            Column("Phase", ".status.phase", description="Summary of the conditions."),
            Column("Members", ".spec.members", "integer", "Members placed together."),
            Column("Cards/Member", ".spec.cardsPerMember", "integer", "Cards of each member."),
            Column("Profile", ".status.profile", description="Profile it was placed on."),
            Column("Spans", ".status.spans", description="Domains touched, by level."),
            Column("Minimal", ".status.minimal", description="Fewest domains possible, by level.", wide=True),
            Column("Proven", ".status.proven", "boolean", "Whether minimal is exact.", wide=True),
            Column("Priority", ".spec.priority", "integer", "Order among waiting groups.", wide=True),
            _ready_reason(),
            _AGE,
        ),
        _NEW,
    ),
    Kind(
        TrainingJob,
        "trainingjobs",
        "tj",
        True,
        (
            Column("Phase", ".status.phase", description="Summary of the conditions."),
            Column("Cards", ".status.cards", "integer", "Cards of the whole job."),
            Column("SuperNodes", ".status.superNodes", description="SuperNodes it lies in."),
            Column("Running", ".status.pods.running", "integer", "Pods that run."),
            Column("Members", ".status.members", "integer", "Workers, one pod each."),
            Column("Profile", ".status.profile", description="Profile it was placed on.", wide=True),
            Column("Spans", ".status.spans", description="Domains touched, by level.", wide=True),
            Column("Restarts", ".status.restarts", "integer", "Restarts so far.", wide=True),
            Column("Priority", ".spec.priority", "integer", "Order among waiting jobs.", wide=True),
            _ready_reason(),
            _AGE,
        ),
        _NEW,
    ),
)
