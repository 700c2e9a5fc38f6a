"""CardGroup: a claim for a group of cards, all or nothing."""

from collections.abc import Mapping
from enum import StrEnum
from math import prod
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from supernode.api.base import (
    ApiModel,
    ObjectMeta,
    ObjectName,
    Precision,
    ResourceName,
    Rule,
    StatusModel,
    Unique,
    immutable,
)
from supernode.api.conditions import Condition
from supernode.api.names import API_VERSION
from supernode.api.topology import SHAPE_PRODUCT, Objective, Topology

MAX_MEMBERS = 131072

PRIORITY_LIMIT = 1_000_000_000

_RECREATE = "delete the group and create a new one"


class GroupPhase(StrEnum):
    """A group's state in one word, for people; never an input."""

    PENDING = "Pending"
    ALLOCATED = "Allocated"
    STALLED = "Stalled"
    RELEASING = "Releasing"


class RepairStep(StrEnum):
    """How a group was repaired, from the smallest step to the largest; the smallest that works is taken."""

    RESTART = "Restart"
    """No hardware failed: members start again where they were."""
    SPARE = "Spare"
    """Spares took the place of the failed members."""
    FREE = "Free"
    """Free cards near the others did, where spares did not suffice."""
    BLOCK = "Block"
    """Whole blocks moved, whose domains had no room for a replacement."""
    GROUP = "Group"
    """The whole group was placed again."""


class CardGroupSpec(ApiModel):
    """What the group claims. Everything but the priority is fixed at creation."""

    members: int = Field(ge=1, le=MAX_MEMBERS, description="Members of the group, placed together or not at all.")
    cards_per_member: int = Field(default=1, ge=1, le=1024, description="Cards of each member, all on one node.")
    profile: ObjectName | None = Field(
        default=None,
        min_length=1,
        description="Name of the SuperNodeProfile to use. Absent: any that can hold the group.",
    )
    resource: ResourceName | None = Field(
        default=None,
        description="Extended resource that counts the cards, such as nvidia.com/gpu: only profiles of that resource "
        "are used. Not together with profile.",
    )
    precision: Precision | None = Field(
        default=None, description="Number format the cards must compute in, such as fp8."
    )
    topology: Topology | None = Field(default=None, description="Where the members may lie relative to each other.")
    objective: Objective = Field(
        default=Objective.BANDWIDTH, description="What to favour where the fewest domains leave a choice."
    )
    priority: int = Field(
        default=0,
        ge=-PRIORITY_LIMIT,
        le=PRIORITY_LIMIT,
        description="Order among waiting groups, higher first; may be changed while waiting, but of a job's group only "
        "in the job, which sets it anew.",
    )

    @property
    def cards(self) -> int:
        """Cards of the whole group."""
        return self.members * self.cards_per_member

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.profile) || !has(self.resource)",
            message="resource: profile has one of its own; remove one of the two",
            holds=lambda s: s.profile is None or s.resource is None,
            field=".resource",
        ),
        Rule(
            cel="!has(self.topology) || !has(self.topology.blocks) "
            "|| self.topology.blocks.all(b, b.members < 1 || self.members % b.members == 0)",
            message="topology.blocks: the members of every block must divide spec.members; correct one of them",
            holds=lambda s: s.topology is None or all(s.members % block.members == 0 for block in s.topology.blocks),
            field=".topology.blocks",
        ),
        Rule(
            cel="!has(self.topology) || !has(self.topology.shape) "
            f"|| {SHAPE_PRODUCT} == self.members * self.cardsPerMember",
            message="topology.shape: its product must be members * cardsPerMember; correct one of them",
            holds=lambda s: s.topology is None or s.topology.shape is None or prod(s.topology.shape) == s.cards,
            field=".topology.shape",
        ),
        *(
            immutable(name, remedy=_RECREATE)
            for name in ("members", "cardsPerMember", "profile", "resource", "precision", "topology", "objective")
        ),
    )


class PlacementRun(StatusModel):
    """Members in one supernode, in compact form. For each node in order and each card set in order there is one member;
    ranks are consecutive."""

    ranks: str = Field(description='Ranks of the members, such as "0-47".')
    nodes: str = Field(description='Names of the nodes, such as "sn0-n[000-047]".')
    cards: tuple[str, ...] = Field(description='Card sets each node gives, one per member on it, such as ["0-15"].')
    supernode: str = Field(description="Name of the SuperNode the nodes belong to.")


class Estimate(StatusModel):
    """How long collectives over all cards of the group would take on an idle fabric, by the profile's numbers."""

    all_reduce_microseconds: int = Field(description="An all-reduce of 256 MiB.")
    all_to_all_microseconds: int = Field(description="An all-to-all in which each card sends 64 MiB.")


class CardGroupStatus(StatusModel):
    """What the group holds, or why it holds nothing."""

    observed_generation: int = Field(default=0, description="Generation of the spec this status was made from.")
    conditions: Annotated[tuple[Condition, ...], Unique("type")] = Field(
        default=(),
        description="Ready, Reconciling, Stalled, Allocated.",
    )
    phase: GroupPhase | None = Field(default=None, description="Summary of the conditions.")
    profile: str | None = Field(default=None, description="Name of the profile the group was placed on.")
    placement: tuple[PlacementRun, ...] = Field(default=(), description="Which member has which cards, in rank order.")
    spares: tuple[PlacementRun, ...] = Field(
        default=(), description="Which cards topology.spares holds; spares are numbered as members are."
    )
    spans: Mapping[str, int] = Field(default_factory=dict, description="Domains the members touch, by level name.")
    minimal: Mapping[str, int] = Field(
        default_factory=dict,
        description="The fewest domains any legal placement could have touched then, by level name.",
    )
    proven: bool | None = Field(default=None, description="Whether minimal is exact; otherwise it is a lower bound.")
    estimate: Estimate | None = Field(
        default=None,
        description="What the placement means for collectives; absent where the profile lacks a bandwidth it takes.",
    )
    allocated_at: str | None = Field(
        default=None, description="When the cards were allocated.", json_schema_extra={"format": "date-time"}
    )
    waiting_since: str | None = Field(
        default=None, description="Since when the group waits for cards.", json_schema_extra={"format": "date-time"}
    )


class CardGroup(ApiModel):
    """A claim for a group of cards, as a PersistentVolumeClaim is for a disk."""

    api_version: Literal["supernode.io/v1alpha1"] = API_VERSION
    kind: Literal["CardGroup"] = "CardGroup"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: CardGroupSpec = Field(description="What the group claims.")
    status: CardGroupStatus = Field(
        default_factory=CardGroupStatus, description="What the group holds; written by the operator."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="size(self.metadata.name) <= 63",
            message="metadata.name has more than 63 characters; shorten it, pods carry it as a label",
            holds=lambda o: len(o.metadata.name) <= 63,
        ),
    )
