"""SuperNodeProfile: the shape of a supernode type, as data."""

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from supernode.api.base import (
    NODE_SELECTOR_KEYS,
    ApiModel,
    LabelKey,
    LabelValue,
    LevelName,
    ObjectMeta,
    Precision,
    Quantity,
    ResourceName,
    Rule,
    StatusModel,
    Unique,
)
from supernode.api.conditions import Condition
from supernode.api.names import API_VERSION, LEVEL_NODE, LEVEL_SUPERNODE, OWN_VARIABLES
from supernode.api.pinning import VARIABLE_PATTERN, Pinning
from supernode.api.tolerations import Toleration

MAX_LEVELS = 8
MAX_CARDS_PER_NODE = 1024

Shape = Annotated[tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(min_length=1, max_length=4)]
MemberSize = Annotated[int, Field(ge=1, le=MAX_CARDS_PER_NODE)]

# Within these bounds the estimates of the largest group that may be asked for are integers that JSON can hold. The
# lower one is exclusive because the API server compares an integer with a bound's whole part, and 0 must not pass.
Bandwidth = Annotated[float, Field(gt=0.001, le=1_000_000)]
Latency = Annotated[float, Field(ge=0, le=1_000_000)]


class Fabric(StrEnum):
    """How the children of a level's domain are joined."""

    SWITCH = "switch"
    MESH = "mesh"
    RING = "ring"
    TORUS = "torus"
    NONE = "none"


class RankTableFormat(StrEnum):
    """Formats of HCCL's rank table."""

    V1_0 = "1.0"
    V1_2 = "1.2"
    V2_0 = "2.0"


class CardReports(StrEnum):
    """What device plugins write about single cards, beside counting them."""

    MIND_CLUSTER = "mindcluster"


class Card(ApiModel):
    """One schedulable device: what the node's extended resource counts."""

    resource: ResourceName = Field(
        description="Extended resource of the node that counts the cards, such as nvidia.com/gpu. With pinning by "
        "claims nodes need not have it; templates still say by it which container gets the cards.",
    )
    per_package: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Cards that share a package and fail together, such as the 2 dies of an Atlas A3: none of them is "
        "given away while one is unhealthy.",
    )
    memory: Quantity | None = Field(
        default=None, description="Memory of one card, such as 64Gi; for people, placement does not use it."
    )
    precisions: Annotated[tuple[Precision, ...], Field(max_length=32), Unique()] = Field(
        default=(),
        description="Number formats the card computes in, such as bf16 or fp8; a request's precision is one of them. "
        "Absent: only for requests that name no precision.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!self.resource.startsWith('requests.') && !self.resource.contains('kubernetes.io/')",
            message="resource begins with requests. or is of kubernetes.io, as no device plugin's does; name the one "
            "that the nodes have, such as nvidia.com/gpu",
            holds=lambda c: not c.resource.startswith("requests.") and "kubernetes.io/" not in c.resource,
            field=".resource",
        ),
    )


def _dims_product(level: "Level") -> bool:
    return level.dims is None or math.prod(level.dims) == level.fan_out


class Level(ApiModel):
    """One ring of the hierarchy."""

    name: LevelName = Field(description="Name of the level, such as rack. `node` is the Kubernetes node.")
    fan_out: int = Field(
        ge=1,
        le=65536,
        description="Nominal children of one domain: domains of the level before, or cards on the first level.",
    )
    fabric: Fabric = Field(
        default=Fabric.SWITCH,
        description="How the children are joined; none is a domain of failure or power only.",
    )
    dims: Annotated[tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(min_length=1, max_length=4)] | None = (
        Field(default=None, description="Extents of a torus in children, such as [4, 4, 4]; their product is fanOut.")
    )
    bandwidth: Bandwidth | None = Field(
        default=None, description="Bandwidth between cards of one domain, in GB/s per card and direction."
    )
    latency: Latency | None = Field(default=None, description="Latency between cards of one domain, in microseconds.")
    node_label: LabelKey | None = Field(
        default=None,
        description="Node label whose value names the domain. Every level outside the node has one, no other does.",
    )
    position_label: LabelKey | None = Field(
        default=None,
        description="Node label with the place of the node's child in its ring or torus, counted from 0: a number, or "
        "one per axis of dims, such as 1-0-3. Absent: children lie in the natural order of their names, and a domain "
        "that lacks one is given whole children singly only.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.dims) == (self.fabric == 'torus')",
            message="dims belongs to fabric torus and to no other; set both or neither",
            holds=lambda level: (level.dims is not None) == (level.fabric is Fabric.TORUS),
            field=".fabric",
        ),
        Rule(
            cel="!has(self.positionLabel) || self.fabric == 'ring' || self.fabric == 'torus'",
            message="positionLabel belongs to fabric ring or torus; remove it or correct fabric",
            holds=lambda level: level.position_label is None or level.fabric in (Fabric.RING, Fabric.TORUS),
            field=".positionLabel",
        ),
        Rule(
            cel="!has(self.positionLabel) || has(self.nodeLabel)",
            message="positionLabel belongs to levels outside the node, which have a nodeLabel; remove it",
            holds=lambda level: level.position_label is None or level.node_label is not None,
            field=".positionLabel",
        ),
        Rule(
            cel="!has(self.dims) || self.fanOut == "
            + " * ".join(f"(size(self.dims) > {i} ? self.dims[{i}] : 1)" for i in range(4)),
            message="fanOut must be the product of dims; correct one of them",
            holds=_dims_product,
            field=".fanOut",
        ),
    )


class Uplink(ApiModel):
    """The network above the outermost level."""

    bandwidth: Bandwidth | None = Field(
        default=None, description="Bandwidth between supernodes, in GB/s per card and direction."
    )
    latency: Latency | None = Field(default=None, description="Latency between supernodes, in microseconds.")


class Allocation(ApiModel):
    """What the machine allows a group to take."""

    member_sizes: Annotated[tuple[MemberSize, ...], Field(max_length=64), Unique()] = Field(
        default=(), description="Legal numbers of cards per member. Empty: any number from 1 to the cards of a node."
    )
    whole_nodes_across_nodes: bool = Field(
        default=False, description="A group that needs more than one node takes whole nodes only."
    )
    match_positions: bool = Field(
        default=False,
        description="On several nodes, members take cards at the same positions where that costs no domain: rails.",
    )
    shapes: Annotated[tuple[Shape, ...], Field(max_length=64)] = Field(
        default=(),
        description="Boxes in cards that may be taken of one torus, each turned as it fits and aligned to multiples of "
        "its own extents, so that it wraps round no axis; beside them the whole torus. Empty: any box, which may wrap.",
    )
    block_multiple: int = Field(
        default=1, ge=1, le=65536, description="The cards of every block are a multiple of this number."
    )
    reserve: int = Field(
        default=0, ge=0, le=65536, description="Wholly free nodes each supernode keeps back for repairs."
    )


class Health(ApiModel):
    """Who says which cards of a node do not work, beside the node itself."""

    reports: CardReports | None = Field(
        default=None,
        description="Which reports on single cards are read. mindcluster: the ConfigMaps mindx-dl-deviceinfo-NODE in "
        "kube-system of Ascend's device plugin. Absent: none; of a node that offers fewer cards than it has, the "
        "highest are then taken for those that failed.",
    )
    avoid_network_faults: bool = Field(
        default=True,
        description="Cards whose network these reports call unhealthy get nothing new. false: they are used as any "
        "other, for machines whose cards have no network besides the one inside the supernode.",
    )


def _level(index: int) -> str:
    return f"self.levels[{index}]"


def _product(index: int = 0) -> str:
    """CEL for the cards of one node: fanOut from `index` on, up to and including node."""
    if index == MAX_LEVELS:
        return "1"
    level = _level(index)
    return (
        f"(size(self.levels) <= {index} ? 1 : {level}.fanOut * "
        f"({level}.name == '{LEVEL_NODE}' ? 1 : {_product(index + 1)}))"
    )


def _inside(index: int) -> str:
    """CEL for: the level at `index` is node or lies inside it."""
    return "!(" + (" || ".join(f"{_level(i)}.name == '{LEVEL_NODE}'" for i in range(index)) or "false") + ")"


def _each(rule: Callable[[int], str]) -> str:
    """CEL for: the rule holds at every level."""
    return " && ".join(f"(size(self.levels) <= {i} || {rule(i)})" for i in range(MAX_LEVELS))


_CARDS_PER_NODE = _product()
_CARDS = "(" + " * ".join(f"(size(self.levels) <= {i} ? 1 : {_level(i)}.fanOut)" for i in range(MAX_LEVELS)) + ")"


class SuperNodeProfileSpec(ApiModel):
    """The shape of a supernode type. `fanOut` is nominal: real domains above the node may be smaller and uneven. Cards
    that a node does not have although it should count as unhealthy."""

    description: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="What machine this is, and which numbers are assumptions."
    )
    sources: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=32)] = Field(
        default=(), description="Where the numbers come from."
    )
    card: Card = Field(description="What one card is.")
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=MAX_LEVELS), Unique("name")] = Field(
        description="The hierarchy, inner to outer. Exactly one level is called node; the last one is the supernode.",
    )
    uplink: Uplink | None = Field(default=None, description="The network between supernodes.")
    node_selector: Annotated[Mapping[str, LabelValue], Field(max_length=16)] = Field(
        default_factory=dict,
        description="Labels of the nodes that have this shape. Empty: every node that offers the card's resource.",
    )
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = Field(
        default=(),
        description="Taints that do not keep jobs off these nodes, beside the NoSchedule taint whose key is the card's "
        "resource: every pod that runs on them gets these tolerations. Those of a job's own template open no node.",
    )
    allocation: Allocation = Field(default_factory=Allocation, description="What the machine allows a group to take.")
    pinning: Pinning = Field(default_factory=Pinning, description="How a pod is told which cards are its own.")
    health: Health = Field(default_factory=Health, description="Who says which cards do not work.")
    environment: Annotated[Mapping[str, Annotated[str, Field(max_length=1024)]], Field(max_length=32)] = Field(
        default_factory=dict,
        description="Variables of every worker on this machine, such as NCCL_CROSS_NIC of a network with rails. They "
        "may refer to the operator's, as $(SUPERNODE_RANK) does. What the template or the operator itself sets wins.",
    )
    rank_table: RankTableFormat | None = Field(
        default=None,
        description="Format of the HCCL rank table that groups of more than one member get, made from what the "
        "vendor's device plugin publishes on the nodes: 1.0 servers, 1.2 servers in supernodes, 2.0 network layers. "
        "Absent: none.",
    )

    @property
    def _node_index(self) -> int:
        return next((i for i, level in enumerate(self.levels) if level.name == LEVEL_NODE), len(self.levels) - 1)

    @property
    def cards_per_node(self) -> int:
        """Nominal cards of one node: the product of fanOut up to and including the level `node`."""
        return math.prod(level.fan_out for level in self.levels[: self._node_index + 1])

    @property
    def nodes_per_supernode(self) -> int:
        """Nominal nodes of one supernode: the product of fanOut outside the level `node`."""
        return math.prod(level.fan_out for level in self.levels[self._node_index + 1 :])

    rules: ClassVar[tuple[Rule, ...]] = (
        NODE_SELECTOR_KEYS,
        Rule(
            cel=f"!has(self.environment) || self.environment.all(v, v.matches('{VARIABLE_PATTERN}') "
            f"&& !v.startsWith('{OWN_VARIABLES}'))",
            message="environment: a name is no variable's, or begins with SUPERNODE_, as the operator's do; rename it",
            holds=lambda s: all(
                re.fullmatch(VARIABLE_PATTERN, name, re.A) and not name.startswith(OWN_VARIABLES)
                for name in s.environment
            ),
            field=".environment",
        ),
        Rule(
            cel=f"self.levels.exists_one(l, l.name == '{LEVEL_NODE}')",
            message="levels must have exactly one level called node, the Kubernetes node; name it so",
            holds=lambda s: sum(level.name == LEVEL_NODE for level in s.levels) == 1,
            field=".levels",
        ),
        Rule(
            cel=f"!self.levels.exists(l, l.name == '{LEVEL_SUPERNODE}') "
            f"|| self.levels[size(self.levels) - 1].name == '{LEVEL_SUPERNODE}'",
            message="levels: only the last (outermost) may be called supernode; order inner to outer, or rename it",
            holds=lambda s: all(level.name != LEVEL_SUPERNODE for level in s.levels[:-1]),
            field=".levels",
        ),
        Rule(
            cel=_each(lambda i: f"!has({_level(i)}.nodeLabel) || !{_inside(i)}"),
            message="levels: node and the levels inside it must not have a nodeLabel; remove it",
            holds=lambda s: all(level.node_label is None for level in s.levels[: s._node_index + 1]),
            field=".levels",
        ),
        Rule(
            cel=_each(lambda i: f"has({_level(i)}.nodeLabel) || {_inside(i)}"),
            message="levels: every level outside node needs a nodeLabel, the node label that names the domain; add it",
            holds=lambda s: all(level.node_label is not None for level in s.levels[s._node_index + 1 :]),
            field=".levels",
        ),
        Rule(
            cel="!has(self.allocation.shapes) || self.allocation.shapes.all(s, "
            "self.levels.exists(l, has(l.dims) && size(l.dims) == size(s)))",
            message="allocation.shapes needs a level of fabric torus with as many dims as each shape has; correct one",
            holds=lambda s: all(
                any(level.dims is not None and len(level.dims) == len(shape) for level in s.levels)
                for shape in s.allocation.shapes
            ),
            field=".allocation.shapes",
        ),
        Rule(
            cel="self.levels.all(l, !has(l.nodeLabel) "
            "|| self.levels.exists_one(m, has(m.nodeLabel) && m.nodeLabel == l.nodeLabel))",
            message="levels: two levels have the same nodeLabel; give each level its own label",
            holds=lambda s: (
                len(labels := [level.node_label for level in s.levels if level.node_label]) == len(set(labels))
            ),
            field=".levels",
        ),
        Rule(
            cel=f"{_CARDS_PER_NODE} <= {MAX_CARDS_PER_NODE}",
            message=f"levels: a node has at most {MAX_CARDS_PER_NODE} cards (product of fanOut up to node); "
            "lower a fanOut",
            holds=lambda s: s.cards_per_node <= MAX_CARDS_PER_NODE,
            field=".levels",
        ),
        Rule(
            cel=f"!has(self.card.perPackage) || self.card.perPackage < 1 "
            f"|| {_CARDS_PER_NODE} % self.card.perPackage == 0",
            message="card.perPackage must divide the cards of a node (product of fanOut up to node); correct one",
            holds=lambda s: s.cards_per_node % s.card.per_package == 0,
            field=".card.perPackage",
        ),
        Rule(
            cel="!has(self.allocation.memberSizes) || size(self.allocation.memberSizes) == 0 "
            f"|| self.allocation.memberSizes.max() <= {_CARDS_PER_NODE}",
            message="allocation.memberSizes exceeds the cards of a node (product of fanOut up to node); remove it",
            holds=lambda s: all(size <= s.cards_per_node for size in s.allocation.member_sizes),
            field=".allocation.memberSizes",
        ),
        Rule(
            cel="!has(self.allocation.reserve) || self.allocation.reserve == 0 "
            f"|| self.allocation.reserve * {_CARDS_PER_NODE} < {_CARDS}",
            message="allocation.reserve must be less than the nodes of a supernode, or nothing can be placed; lower it",
            holds=lambda s: s.allocation.reserve < s.nodes_per_supernode,
            field=".allocation.reserve",
        ),
    )


class SuperNodeProfileStatus(StatusModel):
    """What the cluster has of this type."""

    observed_generation: int = Field(default=0, description="Generation of the spec this status was made from.")
    conditions: Annotated[tuple[Condition, ...], Unique("type")] = Field(
        default=(),
        description="Ready, Reconciling, Stalled.",
    )
    super_nodes: int = Field(default=0, description="SuperNodes of this profile.")
    nodes: int = Field(default=0, description="Nodes that match this profile and belong to a SuperNode.")
    unassigned_nodes: int = Field(
        default=0, description="Nodes that match this profile and belong to no SuperNode; the condition Ready says why."
    )


class SuperNodeProfile(ApiModel):
    """The shape of a supernode type, as data: levels, links, and what may be allocated."""

    api_version: Literal["supernode.io/v1alpha1"] = API_VERSION
    kind: Literal["SuperNodeProfile"] = "SuperNodeProfile"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: SuperNodeProfileSpec = Field(description="The shape; written by people.")
    status: SuperNodeProfileStatus = Field(
        default_factory=SuperNodeProfileStatus, description="What the cluster has; written by the operator."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="size(self.metadata.name) <= 63",
            message="metadata.name has more than 63 characters; shorten it",
            holds=lambda o: len(o.metadata.name) <= 63,
        ),
    )
