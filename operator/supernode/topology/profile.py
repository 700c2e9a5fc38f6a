"""The shape of a supernode type as the core sees it: levels, sizes and allocation rules, frozen and indexed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from math import prod
from operator import mul
from typing import TYPE_CHECKING

from supernode.api.errors import SupernodeError
from supernode.api.tolerations import TaintEffect
from supernode.topology.taints import Toleration

if TYPE_CHECKING:
    from supernode.api.pinning import Devices
    from supernode.api.profile import Health as HealthSpec
    from supernode.api.profile import SuperNodeProfileSpec

NODE = "node"
"""The level that is the Kubernetes node, in every profile."""

SUPERNODE = "supernode"
"""In a request this always means the profile's outermost level, whatever it is called there."""


class UnknownLevel(SupernodeError, LookupError):  # noqa: N818 - the name of the condition reason
    """A level name that the profile does not have."""

    def __init__(self, level: str, profile: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"profile {profile} has no level {level!r}; its levels, inner to outer, are {', '.join(known)}"
        )
        self.level = level
        self.profile = profile
        self.known = known


@dataclass(frozen=True, slots=True)
class Level:
    """One ring of the hierarchy.

    cards: nominal cards in one domain of this level. bandwidth_gbps: gigabytes per second per card and direction.
    latency_us: microseconds. node_label: the node label whose value names the domain; None inside the node.
    position_label: the node label whose value says where in the domain's grid the node's child lies.
    """

    name: str
    fan_out: int
    cards: int
    fabric: str = "switch"
    dims: tuple[int, ...] = ()
    bandwidth_gbps: float | None = None
    latency_us: float | None = None
    node_label: str | None = None
    position_label: str | None = None

    @property
    def grid(self) -> tuple[int, ...]:
        """Children along each axis of a torus; a ring is a torus of one axis. Empty for other fabrics."""
        if self.fabric == "ring":
            return (self.fan_out,)
        return self.dims if self.fabric == "torus" else ()

    @property
    def tree_like(self) -> bool:
        """Whether any subset of the children is as good as any other of the same size."""
        return self.fabric not in ("ring", "torus")


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """Which devices of a DRA driver are cards: by an integer attribute, or by a name with `{index}` in it.

    select_attribute: by which claims name a device. Attributes are fully qualified, `domain/name`.
    """

    driver: str
    device_class: str
    index_attribute: str | None
    name_pattern: str | None
    select_attribute: str

    @classmethod
    def from_spec(cls, spec: Devices) -> DeviceRule:
        """From the validated API form."""

        def qualified(attribute: str | None) -> str | None:
            return attribute if attribute is None or "/" in attribute else f"{spec.driver}/{attribute}"

        index = qualified(spec.index_attribute)
        select = qualified(spec.select_attribute) or index
        assert select is not None
        return cls(spec.driver, spec.device_class, index, spec.name_pattern, select)

    @property
    def resource(self) -> str:
        """Under which the cards of a node are counted; no extended resource can be called so."""
        return f"{self.driver} {self.name_pattern or self.index_attribute}"


@dataclass(frozen=True, slots=True)
class Pinning:
    """How a pod is told which cards of its node it may use: mode annotation | env | dra | none; the key to write with
    the first two, the devices with dra."""

    mode: str = "none"
    key: str | None = None
    devices: DeviceRule | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Who else says which cards do not work. reports: format of what device plugins write, None where nothing is read.
    avoid_network_faults: cards that these call cut off from their network get nothing new either."""

    reports: str | None = None
    avoid_network_faults: bool = True

    @classmethod
    def from_spec(cls, spec: HealthSpec) -> Health:
        """From the validated API form."""
        return cls(str(spec.reports) if spec.reports else None, spec.avoid_network_faults)


@dataclass(frozen=True, slots=True)
class NodeMake:
    """What a node is made of.

    sizes: cards of one domain of each level inside the node and of the node itself, inner to outer. rings: which of
    these levels are rings. pair: the smallest legal member of more than one card.
    """

    sizes: tuple[int, ...]
    rings: frozenset[int] = frozenset()
    pair: int = 2

    def upto(self, level: int) -> NodeMake:
        """One domain of a level inside the node, as if it were the node."""
        return NodeMake(self.sizes[: level + 1], frozenset(ring for ring in self.rings if ring < level), self.pair)


@dataclass(frozen=True)
class Profile:
    """A supernode type. levels run inner to outer; exactly one is called `node`. tolerations: those of its spec."""

    name: str
    resource: str
    levels: tuple[Level, ...]
    per_package: int = 1
    precisions: tuple[str, ...] = ()
    member_sizes: tuple[int, ...] = ()
    whole_nodes_across_nodes: bool = False
    match_positions: bool = False
    block_multiple: int = 1
    shapes: tuple[tuple[int, ...], ...] = ()
    reserve: int = 0
    node_selector: Mapping[str, str] = field(default_factory=dict, hash=False)
    tolerations: tuple[Toleration, ...] = ()
    pinning: Pinning = Pinning()
    health: Health = Health()
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    rank_table: str | None = None
    uplink_bandwidth_gbps: float | None = None
    uplink_latency_us: float | None = None

    @classmethod
    def from_spec(cls, name: str, spec: SuperNodeProfileSpec) -> Profile:
        """The profile called `name` from its validated API form."""
        sizes = accumulate((level.fan_out for level in spec.levels), mul)
        levels = tuple(
            Level(
                name=level.name,
                fan_out=level.fan_out,
                cards=cards,
                fabric=str(level.fabric),
                dims=tuple(level.dims or ()),
                bandwidth_gbps=level.bandwidth,
                latency_us=level.latency,
                node_label=level.node_label,
                position_label=level.position_label,
            )
            for level, cards in zip(spec.levels, sizes, strict=True)
        )
        allocation, pinning, uplink = spec.allocation, spec.pinning, spec.uplink
        return cls(
            name=name,
            resource=spec.card.resource,
            levels=levels,
            per_package=spec.card.per_package,
            precisions=tuple(spec.card.precisions),
            member_sizes=tuple(sorted(set(allocation.member_sizes))),
            whole_nodes_across_nodes=allocation.whole_nodes_across_nodes,
            match_positions=allocation.match_positions,
            block_multiple=allocation.block_multiple,
            shapes=allocation.shapes,
            reserve=allocation.reserve,
            node_selector=dict(spec.node_selector),
            tolerations=tuple(map(Toleration.from_spec, spec.tolerations)),
            pinning=Pinning(
                str(pinning.mode), pinning.key, DeviceRule.from_spec(pinning.devices) if pinning.devices else None
            ),
            health=Health.from_spec(spec.health),
            environment=dict(spec.environment),
            rank_table=str(spec.rank_table) if spec.rank_table else None,
            uplink_bandwidth_gbps=uplink.bandwidth if uplink else None,
            uplink_latency_us=uplink.latency if uplink else None,
        )

    @cached_property
    def counted(self) -> str:
        """The name under which the cards of a node are counted: the extended resource, or a driver's devices."""
        return self.pinning.devices.resource if self.pinning.devices else self.resource

    @cached_property
    def tolerated(self) -> tuple[Toleration, ...]:
        """What every pod on it tolerates: first what the admission plugin ExtendedResourceToleration adds where it is
        on, for the taint of nodes that are kept for pods with cards. Pods with claims get it from nobody else."""
        return tuple(dict.fromkeys((Toleration(self.resource, effect=str(TaintEffect.NO_SCHEDULE)), *self.tolerations)))

    @cached_property
    def level_names(self) -> tuple[str, ...]:
        """Inner to outer."""
        return tuple(level.name for level in self.levels)

    @cached_property
    def node_index(self) -> int:
        """Index of the level `node`."""
        return self.level_names.index(NODE)

    @cached_property
    def cards_per_node(self) -> int:
        """Nominal cards of one node."""
        return self.levels[self.node_index].cards

    @cached_property
    def all_cards(self) -> int:
        """The cards (bitmask) of a node that has all of them."""
        return (1 << self.cards_per_node) - 1

    @cached_property
    def inner(self) -> tuple[Level, ...]:
        """Levels inside the node, inner to outer."""
        return self.levels[: self.node_index]

    @cached_property
    def node_make(self) -> NodeMake:
        """What its nodes are made of."""
        return NodeMake(
            tuple(level.cards for level in self.levels[: self.node_index + 1]),
            frozenset(index for index, level in enumerate(self.inner) if level.fabric == "ring"),
            next((size for size in self.member_sizes if size > 1), 2),
        )

    @cached_property
    def above(self) -> tuple[Level, ...]:
        """Levels above the node, inner to outer; empty when each node is its own supernode."""
        return self.levels[self.node_index + 1 :]

    def child_extents(self, index: int) -> tuple[int, ...]:
        """Cards along each axis of one child of a torus: of its levels' dims, the products. Empty if some have none."""
        grids = [level.dims for level in self.levels[:index]]
        if any(len(grid) != len(self.levels[index].dims) for grid in grids):
            return ()
        return tuple(prod(extents) for extents in zip(*grids, strict=True))

    @cached_property
    def outermost(self) -> Level:
        return self.levels[-1]

    def level_index(self, name: str) -> int:
        """Index into `levels`. `supernode` is always the outermost. Raises UnknownLevel."""
        if name == SUPERNODE:
            return len(self.levels) - 1
        try:
            return self.level_names.index(name)
        except ValueError:
            raise UnknownLevel(name, self.name, self.level_names) from None

    def level(self, name: str) -> Level:
        """Raises UnknownLevel."""
        return self.levels[self.level_index(name)]
