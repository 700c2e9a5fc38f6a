"""What a request says about topology: the same part of a CardGroup and of a TrainingJob."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from supernode.api.base import ApiModel, Duration, LevelName, Rule, Unique
from supernode.api.quantities import parse_duration


class Objective(StrEnum):
    """What a placement is good at, where the fewest domains leave a choice."""

    BANDWIDTH = "bandwidth"
    LATENCY = "latency"


SHAPE_PRODUCT = (
    "(" + " * ".join(f"(size(self.topology.shape) > {i} ? self.topology.shape[{i}] : 1)" for i in range(4)) + ")"
)
"""CEL for the cards of `topology.shape`."""


class Preferred(ApiModel):
    """A level the group would rather not leave, and how long it waits before it does."""

    level: LevelName = Field(description="Level whose one domain should hold the whole group.")
    wait: Duration = Field(
        default="10m",
        description="How long the group waits for such a domain before it takes a wider placement: 90s, 1h30m.",
    )

    @property
    def wait_seconds(self) -> int:
        """`wait` in seconds."""
        return parse_duration(self.wait)


class Block(ApiModel):
    """A run of consecutive ranks that must lie in one domain of a level."""

    level: LevelName = Field(description="Level whose one domain holds each block.")
    members: int = Field(
        ge=1,
        le=131072,
        description="Consecutive ranks per block; divides the number of members. The first block starts at rank 0.",
    )


class Spares(ApiModel):
    """More members than run, held near the others. They take no failed member's place by themselves yet."""

    members: int = Field(
        ge=1, le=4096, description="Spare members of each domain of `within` that holds members of the group."
    )
    within: LevelName | None = Field(
        default=None,
        description="Level of these domains, `node` or above. Absent: the required level, else `supernode`.",
    )


class Topology(ApiModel):
    """Where the members may lie relative to each other. Levels are named as in the profile; `supernode` always means
    the outermost one."""

    required: LevelName | None = Field(
        default=None, description="The whole group lies in one domain of this level, or waits."
    )
    preferred: Preferred | None = Field(
        default=None, description="The whole group lies in one domain of this level if one comes free in time."
    )
    blocks: Annotated[tuple[Block, ...], Field(max_length=8), Unique("level")] = Field(
        default=(),
        description="Runs of consecutive ranks that each lie in one domain, one entry per level.",
    )
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(min_length=1, max_length=4)] | None = (
        Field(
            default=None,
            description="Extents in cards of the box of a torus that the group takes, such as [4, 4, 8]; their product "
            "is the group's cards. Ranks run along the last axis first. Absent: the most cube-like box that is free.",
        )
    )
    max_span: Annotated[Mapping[str, Annotated[int, Field(ge=1, le=131072)]], Field(max_length=8)] = Field(
        default_factory=dict, description="The most domains of a level the whole group may touch, by level name."
    )
    spares: Spares | None = Field(
        default=None,
        description="Members held with as many cards each as the others and no pods. `kubectl supernode plan --repair` "
        "tells whose place they would take; the operator itself does not put them there yet: it places the whole group "
        "again, and they go with it.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.maxSpan) || self.maxSpan.all(l, l.matches('^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$'))",
            message="maxSpan has a key that is no level name; use the names of the profile's levels, such as rack",
            holds=lambda t: all(re.fullmatch(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?", level) for level in t.max_span),
            field=".maxSpan",
        ),
    )
