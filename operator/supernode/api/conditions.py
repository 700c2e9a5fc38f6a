"""Conditions and their reasons. The page `docs/reference/reasons.md` is generated from here."""

from enum import StrEnum
from typing import Final, Self

from pydantic import Field

from supernode.api.base import StatusModel


class ConditionType(StrEnum):
    """What a condition is about. The first three follow kstatus; True means what the name says."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    ALLOCATED = "Allocated"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"


class ConditionStatus(StrEnum):
    """A condition's truth; Unknown until it was looked at."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ReasonKind(StrEnum):
    """What a reason asks of its reader."""

    PROGRESS = "progress"
    WAITING = "waiting"
    STALLED = "stalled"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a condition is as it is. Numbers and names are in the condition's message."""

    meaning: str
    kind: ReasonKind

    def __new__(cls, value: str, kind: ReasonKind = ReasonKind.PROGRESS, meaning: str = "") -> Self:
        """A member is its text; `kind` and `meaning` ride along."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.kind = kind
        member.meaning = meaning
        return member

    ALLOCATED = "Allocated", ReasonKind.PROGRESS, "Every member holds its cards; the placement is in the status."
    RELEASED = "Released", ReasonKind.PROGRESS, "The group gives its cards back as soon as no pod of it runs any more."
    SUSPENDED = "Suspended", ReasonKind.PROGRESS, "spec.suspend is true: the job holds no cards and runs no pods."
    PODS_PENDING = "PodsPending", ReasonKind.PROGRESS, "The cards are allocated; not every pod runs yet."
    PODS_RUNNING = "PodsRunning", ReasonKind.PROGRESS, "Every pod of the job runs."
    ALL_SUCCEEDED = "AllSucceeded", ReasonKind.PROGRESS, "Every pod of the job ended with success."
    DISCOVERED = "Discovered", ReasonKind.PROGRESS, "The supernode's nodes were found and counted."
    CORDONED = "Cordoned", ReasonKind.PROGRESS, "spec.cordoned is true: groups keep their cards, none gets new ones."

    LEDGER_REPAIRED = (
        "LedgerRepaired",
        ReasonKind.PROGRESS,
        "A supernode's ledger was lost or wrong and was mended from pods and groups; running pods were left alone.",
    )

    WAITING_FOR_CARDS = (
        "WaitingForCards",
        ReasonKind.WAITING,
        "The job's card group is not allocated yet; its message says why.",
    )
    INSUFFICIENT_CARDS = (
        "InsufficientCards",
        ReasonKind.WAITING,
        "Fewer healthy, free cards are left than the group needs, after what supernodes keep in reserve.",
    )
    NO_DOMAIN_FITS = (
        "NoDomainFits",
        ReasonKind.WAITING,
        "Enough cards are free, but no domains of the named level can hold the group or its blocks as asked.",
    )
    PREFERRED_LEVEL_WAIT = (
        "PreferredLevelWait",
        ReasonKind.WAITING,
        "A wider placement exists; the group still waits for one domain of its preferred level.",
    )
    NODES_LOST = (
        "NodesLost",
        ReasonKind.WAITING,
        "Nodes that hold cards of the job are gone, or in another supernode now while a pod has yet to be made there. "
        "A minute is waited for them, then the group is placed again.",
    )
    NODES_NOT_READY = (
        "NodesNotReady",
        ReasonKind.WAITING,
        "Nodes of members are not ready. Pods that fail meanwhile are not counted, and are made again once these nodes "
        "are ready or given up: delete them, or taint them out of service.",
    )
    POD_REFUSED = (
        "PodRefused",
        ReasonKind.WAITING,
        "A kubelet did not admit a pod; it is made again later and, if refusals go on, elsewhere. Not a restart.",
    )
    POD_UNSCHEDULABLE = (
        "PodUnschedulable",
        ReasonKind.WAITING,
        "The scheduler could not bind a pod to its node for a while, for want of cpu or memory or because of what the "
        "template asks of nodes; the group is placed again, at first without that node.",
    )
    CARDS_TAKEN = (
        "CardsTaken",
        ReasonKind.WAITING,
        "Pods of others took cards that were allocated, before the job's pods were bound; the group is placed again.",
    )
    CARDS_FAILED = (
        "CardsFailed",
        ReasonKind.WAITING,
        "Allocated cards failed, or others claimed them, while a pod of the job that needs them did not run, or failed "
        "cards made a peer fail: the group is placed again; or the driver does not publish them at the moment.",
    )
    NO_NODES = (
        "NoNodes",
        ReasonKind.WAITING,
        "No node matches the profile or the supernode; check nodeSelector and labels.",
    )

    INVALID_SPEC = (
        "InvalidSpec",
        ReasonKind.STALLED,
        "The spec breaks a rule the message names; correct the field. Create a job that has failed of it anew.",
    )
    UNKNOWN_PROFILE = (
        "UnknownProfile",
        ReasonKind.STALLED,
        "The request names a profile that does not exist, or a resource that none counts cards by; create it or name "
        "one that the message lists.",
    )
    UNKNOWN_LEVEL = (
        "UnknownLevel",
        ReasonKind.STALLED,
        "The request names a level the profile does not have; use one that the message lists.",
    )
    PRECISION_UNAVAILABLE = (
        "PrecisionUnavailable",
        ReasonKind.STALLED,
        "No eligible profile computes in the precision asked for; ask for one that the message lists.",
    )
    BLOCKS_DO_NOT_DIVIDE = (
        "BlocksDoNotDivide",
        ReasonKind.STALLED,
        "A block's size divides neither the members nor the next larger block, or breaks the profile's blockMultiple.",
    )
    ILLEGAL_MEMBER_SIZE = (
        "IllegalMemberSize",
        ReasonKind.STALLED,
        "The profile's memberSizes do not allow this number of cards per member; use one that the message lists.",
    )
    WHOLE_NODES_ONLY = (
        "WholeNodesOnly",
        ReasonKind.STALLED,
        "A group over several nodes takes whole nodes on this profile; set cards per member to the cards of a node.",
    )
    ILLEGAL_SHAPE = (
        "IllegalShape",
        ReasonKind.STALLED,
        "The shape or size is no legal part of the profile's ring or torus; use one that the message lists.",
    )
    NEVER_FITS = (
        "NeverFits",
        ReasonKind.STALLED,
        "The group would not fit even if every card were healthy and free; ask for less, loosen the topology or, where "
        "the message says so, lower the reserve.",
    )
    DECISION_FAILED = (
        "DecisionFailed",
        ReasonKind.STALLED,
        "Placing the group, or making out what the job asks for or its pods, brought a mistake of the operator to "
        "light; its log tells more. Others are not held up.",
    )
    AMBIGUOUS_WORKER = (
        "AmbiguousWorker",
        ReasonKind.STALLED,
        "The profile gives no natural worker for this number of cards; set workers.cardsPerWorker or profile.",
    )
    PROFILE_MISSING = (
        "ProfileMissing",
        ReasonKind.STALLED,
        "The profile of the supernode, or of the one the job lies in, does not exist; create it.",
    )
    SUPER_NODE_MISSING = (
        "SuperNodeMissing",
        ReasonKind.STALLED,
        "The SuperNode in which the group has its cards was deleted, and no other has its nodes. Pods run on, and are "
        "left alone; create it and its profile again, or correct the nodes' labels.",
    )
    PROFILE_CHANGED_IN_USE = (
        "ProfileChangedInUse",
        ReasonKind.STALLED,
        "The profile's levels or card changed while groups hold its cards; undo it, or wait until they are released.",
    )
    NODE_CONFLICT = (
        "NodeConflict",
        ReasonKind.STALLED,
        "Another supernode or profile claims the same nodes and has them, or each is a supernode by itself; "
        "narrow one of the node selectors.",
    )
    NAME_CONFLICT = (
        "NameConflict",
        ReasonKind.STALLED,
        "A CardGroup, Service or pod of the name the job needs is not its own; delete it or rename the job.",
    )
    CREATION_FORBIDDEN = (
        "CreationForbidden",
        ReasonKind.STALLED,
        "A quota, an admission policy or missing rights forbid what a job needs, such as a pod, or a SuperNode of a "
        "profile: make room or allow it. A job keeps its cards and tries again every ten seconds, a SuperNode is tried "
        "again within a minute.",
    )

    ENVIRONMENT_OVERRIDDEN = (
        "EnvironmentOverridden",
        ReasonKind.PROGRESS,
        "The pod template sets variables the group has other values for; the template's count.",
    )
    RANK_TABLE_MISSING = (
        "RankTableMissing",
        ReasonKind.PROGRESS,
        "The workers got no rank table: a node does not publish its devices' addresses, or the format cannot say where "
        "the members are.",
    )
    POD_REJECTED = (
        "PodRejected",
        ReasonKind.FAILED,
        "The API server refused the job's pod template, and the job has ended; create it anew with a correct one.",
    )
    POD_FAILED = (
        "PodFailed",
        ReasonKind.FAILED,
        "A pod of the job failed; it is replaced in its place if restarts are left.",
    )
    MAX_RESTARTS_EXCEEDED = (
        "MaxRestartsExceeded",
        ReasonKind.FAILED,
        "The job failed more often than faultPolicy.maxRestarts allows.",
    )
    DEADLINE_EXCEEDED = (
        "DeadlineExceeded",
        ReasonKind.FAILED,
        "The job had not ended activeDeadlineSeconds after its start.",
    )
    QUEUE_DEADLINE_EXCEEDED = (
        "QueueDeadlineExceeded",
        ReasonKind.FAILED,
        "The job waited for cards longer than queueDeadlineSeconds.",
    )

    @property
    def anchor(self) -> str:
        """Where `docs/reference/reasons.md` explains this reason."""
        return self.value.lower()


NEVER: Final = "1970-01-01T00:00:00Z"
"""When the conditions of an object changed that nobody has looked at yet."""


class Condition(StatusModel):
    """One observation, shaped as metav1.Condition."""

    type: str = Field(max_length=316, description="What the condition is about, such as Ready.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: int = Field(default=0, description="Generation of the spec the condition was made from.")
    last_transition_time: str = Field(
        description="When the status last changed, in RFC 3339.", json_schema_extra={"format": "date-time"}
    )
    reason: str = Field(max_length=1024, description="Why, as one word of the reference page on reasons.")
    message: str = Field(default="", max_length=32768, description="Why, for people, with names and numbers.")
