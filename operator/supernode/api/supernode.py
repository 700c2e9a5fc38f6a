"""SuperNode: one physical supernode, and the ledger of who holds its cards."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from supernode.api.base import (
    NODE_SELECTOR_KEYS,
    ApiModel,
    LabelValue,
    ObjectMeta,
    ObjectName,
    Rule,
    StatusModel,
    Unique,
)
from supernode.api.conditions import Condition
from supernode.api.names import API_VERSION


class SuperNodeSpec(ApiModel):
    """Which nodes form the supernode, and what it keeps back."""

    profile: ObjectName = Field(min_length=1, description="Name of the SuperNodeProfile that says its shape.")
    node_selector: Annotated[Mapping[str, LabelValue], Field(min_length=1, max_length=16)] = Field(
        description="Labels of exactly the nodes of this supernode, besides the profile's own nodeSelector."
    )
    cordoned: bool = Field(default=False, description="Give no new cards; groups that hold cards keep them.")
    reserve: Annotated[int, Field(ge=0, le=65536)] | None = Field(
        default=None, description="Wholly free nodes kept back for repairs, in place of the profile's reserve."
    )

    rules: ClassVar[tuple[Rule, ...]] = (NODE_SELECTOR_KEYS,)


class CardCounts(StatusModel):
    """Cards of the supernode by state."""

    total: int = Field(default=0, description="Cards the nodes have by their profile.")
    healthy: int = Field(default=0, description="Cards that may be used.")
    allocated: int = Field(default=0, description="Cards that groups or foreign pods hold.")
    free: int = Field(default=0, description="Healthy cards on schedulable nodes that nobody holds.")


class LargestBlock(StatusModel):
    """The largest group that fits now in one domain of a level."""

    level: str = Field(description="Name of the level.")
    cards: int = Field(description="Cards of the largest whole block that fits into one domain.")


class SuperNodeStatus(StatusModel):
    """What the supernode has and who holds it."""

    observed_generation: int = Field(default=0, description="Generation of the spec this status was made from.")
    conditions: Annotated[tuple[Condition, ...], Unique("type")] = Field(
        default=(),
        description="Ready, Reconciling, Stalled.",
    )
    nodes: int = Field(default=0, description="Nodes that belong to this supernode.")
    cards: CardCounts = Field(default_factory=CardCounts, description="Cards by state.")
    largest_block: Annotated[tuple[LargestBlock, ...], Unique("level")] = Field(
        default=(),
        description="The largest block that fits now, per level, inner to outer.",
    )
    fragmentation: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Share of the free cards, the reserve aside, outside the largest block, in percent.",
    )
    shape: str = Field(
        default="", description="Digest of the profile's resource and levels that the ledger was written under."
    )
    ledger: tuple[str, ...] = Field(
        default=(),
        description="Who holds which cards: the truth about allocation. A line for each CardGroup: its name, its uid, "
        "and runs RANKS@NODES:CARDS, a + before those of spares. For each node in order and each card set in order "
        '(parted by /) there is one member, as in "ml/llama 5f0c7a52-6e0f-4a53-a3c2-0a7a3a3f6c11 0-1@sn0-n[0-1]:0-15".',
    )
    term: int = Field(
        default=0,
        ge=0,
        description="Number of the term in which the ledger was last written; the leader of an earlier one cannot.",
    )


class SuperNode(ApiModel):
    """One physical supernode. Discovery makes it from node labels, or a person writes it."""

    api_version: Literal["supernode.io/v1alpha1"] = API_VERSION
    kind: Literal["SuperNode"] = "SuperNode"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: SuperNodeSpec = Field(description="Which nodes form the supernode.")
    status: SuperNodeStatus = Field(
        default_factory=SuperNodeStatus, description="What it has and who holds it; written by the operator."
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
