"""Fleet files: which nodes a test bed has, described by pools of supernodes of a profile (docs/testbed.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from testbed.errors import FleetError
from testbed.paths import PROJECT

PROFILES = PROJECT / "examples" / "profiles"
OUTERMOST = "supernode"
"""In requests and in fleets the outermost level goes by this name, whatever the profile calls it."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True, frozen=True)


def _indices(value: object) -> object:
    """Numbers and ranges "a-b" (both ends included) as one sorted tuple of numbers."""
    if not isinstance(value, list | tuple):
        return value
    found: set[int] = set()
    for entry in value:
        if isinstance(entry, int) and not isinstance(entry, bool) and entry >= 0:
            found.add(entry)
        elif isinstance(entry, str) and (match := re.fullmatch(r"(\d+)-(\d+)", entry)):
            first, last = int(match[1]), int(match[2])
            if last < first:
                raise ValueError(f'the range "{entry}" runs backwards; write "{last}-{first}"')
            found.update(range(first, last + 1))
        else:
            raise ValueError(f'{entry!r} is no index; write a number from 0 or a range such as "4-7"')
    return tuple(sorted(found))


Indices = Annotated[tuple[int, ...], BeforeValidator(_indices)]


class Taint(_Model):
    """A taint on nodes; the effect is one of Kubernetes' three."""

    nodes: Indices
    key: str = Field(min_length=1)
    value: str = ""
    effect: str = Field("NoSchedule", pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$")


class Irregular(_Model):
    """What is not as the profile says in some supernodes of a pool. Nodes are counted from 0 within a supernode."""

    supernodes: Indices | None = None
    """Which supernodes of the pool, from 0; all of them by default."""
    nodes: int | None = Field(None, ge=1)
    """The number of node places, where it differs from the pool's."""
    without: Indices = ()
    """Places with no node: not delivered, or removed."""
    cordoned: Indices = ()
    not_ready: Indices = ()
    unhealthy_cards: dict[int, Indices] = Field(default_factory=dict)
    """Cards marked unhealthy, by node."""
    taints: tuple[Taint, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    """Extra labels (templates as in the pool); an empty value removes the label."""


class Pool(_Model):
    """Supernodes of one profile."""

    profile: str | dict[str, Any]
    """A name in examples/profiles, a path relative to the fleet file, or a SuperNodeProfile written out."""
    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?$")
    """The beginning of the node names: ``<name>-<supernode>-n<node>``."""
    supernodes: int = Field(1, ge=1, le=100_000)
    nodes: int | None = Field(None, ge=1, le=100_000)
    """Nodes per supernode; by default as many as the profile's levels give."""
    first_id: int | None = Field(None, ge=0)
    """The id of the first supernode; by default the next one free among the pools with the same label."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of every node, as templates; they come before those derived from the profile."""
    capacity: dict[str, str] = Field(default_factory=lambda: {"cpu": "192", "memory": "2Ti", "pods": "110"})
    """What a node has beside its cards, as Kubernetes quantities."""
    irregular: tuple[Irregular, ...] = ()

    @field_validator("capacity", mode="after")
    @classmethod
    def _pods_are_possible(cls, value: dict[str, str]) -> dict[str, str]:
        return {"cpu": "192", "memory": "2Ti", "pods": "110"} | value

    @model_validator(mode="after")
    def _supernodes_exist(self) -> Self:
        for number, entry in enumerate(self.irregular):
            if entry.supernodes and entry.supernodes[-1] >= self.supernodes:
                raise ValueError(
                    f"irregular[{number}].supernodes names supernode {entry.supernodes[-1]}, but the pool {self.name} "
                    f"has only 0 to {self.supernodes - 1}"
                )
        return self


class _Level(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)
    name: str
    fan_out: int = Field(ge=1)
    fabric: str = "switch"
    dims: tuple[int, ...] = ()
    node_label: str | None = None
    position_label: str | None = None

    def position(self, child: int) -> str:
        """What the position label says of the child with this number, counted row by row."""
        numbers: list[int] = []
        for extent in reversed(self.dims or (self.fan_out,)):
            child, number = divmod(child, extent)
            numbers.insert(0, number)
        return "-".join(map(str, numbers))


class _Card(BaseModel):
    resource: str


class Devices(BaseModel):
    """Which devices of a DRA driver are the cards."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)
    driver: str
    device_class: str
    index_attribute: str | None = None
    name_pattern: str | None = None
    select_attribute: str | None = None


class _Pinning(BaseModel):
    devices: Devices | None = None


class Profile(BaseModel):
    """The part of a SuperNodeProfile's spec that nodes show; the rest is the operator's business and ignored here."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)
    card: _Card
    levels: list[_Level] = Field(min_length=1)
    node_selector: dict[str, str] = Field(default_factory=dict)
    pinning: _Pinning = _Pinning()

    @model_validator(mode="after")
    def _has_a_node(self) -> Self:
        if [level.name for level in self.levels].count("node") != 1:
            raise ValueError("exactly one level must be called node")
        return self

    @property
    def _node_at(self) -> int:
        return [level.name for level in self.levels].index("node")

    @property
    def cards_per_node(self) -> int:
        return prod(level.fan_out for level in self.levels[: self._node_at + 1])

    @property
    def outer(self) -> list[_Level]:
        """The levels around the node, from the inside out; empty where each node is its own supernode."""
        return self.levels[self._node_at + 1 :]

    @property
    def nodes_per_supernode(self) -> int:
        return prod(level.fan_out for level in self.outer)


@dataclass(frozen=True, slots=True)
class PlannedPool:
    """A pool with its profile loaded and its supernode ids settled."""

    pool: Pool
    profile: Profile
    first_id: int


class Fleet(_Model):
    """A whole fleet file."""

    description: str = ""
    pools: tuple[Pool, ...] = Field(min_length=1)
    _folder: Path = PROJECT

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [pool.name for pool in self.pools]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the pool name {twice[0]!r} is used twice; node names would collide")
        return self

    @classmethod
    def load(cls, path: Path) -> Fleet:
        """Read a fleet file. Raises FleetError that names the field."""
        try:
            content = yaml.safe_load(path.read_text())
        except OSError as error:
            raise FleetError(
                f"the fleet {path} cannot be read: {error.strerror}; examples are in examples/fleets"
            ) from error
        except yaml.YAMLError as error:
            raise FleetError(f"the fleet {path} is no YAML: {error}") from error
        return cls.parse(content, path.parent, str(path))

    @classmethod
    def parse(cls, content: object, folder: Path = PROJECT, source: str = "the fleet") -> Fleet:
        """A fleet from parsed YAML; profile paths are relative to ``folder``. Raises FleetError as ``load`` does."""
        try:
            fleet = cls.model_validate(content)
        except ValidationError as error:
            raise FleetError(f"{source}: {_explain(error)}") from error
        fleet._folder = folder
        return fleet

    def planned(self) -> Iterator[PlannedPool]:
        """Each pool with its profile and the id of its first supernode. Raises FleetError."""
        taken: dict[str | None, list[tuple[int, int, str]]] = {}
        for pool in self.pools:
            profile = _profile(pool, self._folder)
            label = profile.outer[-1].node_label if profile.outer else None
            used = taken.setdefault(label, [])
            first = pool.first_id if pool.first_id is not None else max((end for _, end, _ in used), default=0)
            for begin, end, other in used:
                if label and first < end and begin < first + pool.supernodes:
                    raise FleetError(
                        f"pools {other} and {pool.name} both use supernode ids {max(first, begin)} and up in the label "
                        f"{label}; leave firstId out or set it to {max(end for _, end, _ in used)}"
                    )
            used.append((first, first + pool.supernodes, pool.name))
            yield PlannedPool(pool, profile, first)


def _profile(pool: Pool, folder: Path) -> Profile:
    where, content = f"the profile of pool {pool.name}", pool.profile
    if isinstance(content, str):
        named = PROFILES / f"{content}.yaml"
        file = named if named.exists() else folder / content
        where = f"the profile {file} of pool {pool.name}"
        if not file.is_file():
            known = ", ".join(sorted(path.stem for path in PROFILES.glob("*.yaml")))
            raise FleetError(f"pools: {pool.name}: profile: there is no {content!r}; use a path or one of: {known}")
        try:
            content = yaml.safe_load(file.read_text())
        except yaml.YAMLError as error:
            raise FleetError(f"{where} is no YAML: {error}") from error
    try:
        return Profile.model_validate(content.get("spec", content) if isinstance(content, dict) else content)
    except ValidationError as error:
        raise FleetError(f"{where}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_url=False):
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
        remedy = " (docs/testbed.md lists the fields)" if problem["type"] == "extra_forbidden" else ""
        problems.append(f"{where or 'the file'}: {problem['msg']}{remedy}")
    return "; ".join(problems)
