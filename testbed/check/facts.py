"""What the objects of the API server say, as far as the check needs it, in types of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from testbed.check.devices import Devices
from testbed.check.places import cell, placed

Json = dict[str, Any]
Cards = frozenset[int]

NODE = "node"
_UNKNOWN = re.compile(r"(|-\d+|4294967295|unknown|none)", re.IGNORECASE)
_NODE_RUN = re.compile(r"(.*)\[(\d+)-(\d+)\](.*)")
_OUT_OF_SERVICE = re.compile(
    r"(node\.kubernetes\.io|node\.cloudprovider\.kubernetes\.io|karpenter\.sh)/|ToBeDeletedByClusterAutoscaler"
)
"""Keys of taints that no toleration opens a node with."""


def numbers(text: str) -> list[int]:
    """``"0-2,7"`` as ``[0, 1, 2, 7]``. Raises ValueError."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.strip().partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def node_names(text: str) -> list[str]:
    """``"a-n[08-10],b"`` as ``["a-n08", "a-n09", "a-n10", "b"]``."""
    found: list[str] = []
    for part in filter(None, text.split(",")):
        if match := _NODE_RUN.fullmatch(part):
            before, first, last, after = match.groups()
            found += [f"{before}{n:0{len(first)}d}{after}" for n in range(int(first), int(last) + 1)]
        else:
            found.append(part)
    return found


@dataclass(frozen=True, slots=True)
class Seat:
    """One member: its node, and its cards as indices within the node."""

    node: str
    cards: Cards


Seats = dict[int, Seat]
"""Members by rank."""


def seats(runs: Iterable[Json]) -> Seats:
    """The members behind the runs of a ledger entry or of a placement. Raises ValueError when they do not add up."""
    found: Seats = {}
    for run in runs:
        places = [Seat(node, frozenset(numbers(text))) for node in node_names(run["nodes"]) for text in run["cards"]]
        for rank, seat in zip(numbers(run["ranks"]), places, strict=True):
            if rank in found:
                raise ValueError(f"rank {rank} stands twice")
            found[rank] = seat
    return found


def ledger_entry(line: str) -> Json:
    """A line of a ledger as ``group``, ``uid`` and the ``runs`` of members and of ``spares``. Raises ValueError."""
    group, uid, *held = line.split(" ")
    runs: list[Json] = []
    spares: list[Json] = []
    for text in held:
        ranks, rest = text.removeprefix("+").split("@")
        nodes, cards = rest.split(":")
        (spares if text[0] == "+" else runs).append({"ranks": ranks, "nodes": nodes, "cards": cards.split("/")})
    return {"group": group, "uid": uid, "runs": runs, **({"spares": spares} if spares else {})}


def ledger_entries(supernode: Json) -> list[Json]:
    """The entries of a SuperNode's ledger; what an earlier version wrote, objects, says nothing any more."""
    lines = (supernode.get("status") or {}).get("ledger", ())
    return [ledger_entry(line) for line in lines if isinstance(line, str)]


def ledger_line(entry: Json) -> str:
    """Inverse of `ledger_entry`."""
    runs = [("", run) for run in entry["runs"]] + [("+", run) for run in entry.get("spares", ())]
    held = [f"{sign}{run['ranks']}@{run['nodes']}:{'/'.join(run['cards'])}" for sign, run in runs]
    return " ".join([entry["group"], entry["uid"], *held])


@dataclass(frozen=True, slots=True)
class Level:
    """A level of a profile; ``cards`` is what one domain of it nominally has."""

    name: str
    cards: int
    label: str | None
    fabric: str = "switch"
    grid: tuple[int, ...] = ()
    """Children along each axis of a ring or torus."""
    position: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """The parts of a SuperNodeProfile that say what is legal and where nodes lie."""

    name: str
    resource: str
    inner: tuple[Level, ...]
    """The levels inside the node, inner to outer."""
    node: Level
    outer: tuple[Level, ...]
    """The levels around the node, inner to outer; the last one is the supernode."""
    member_sizes: tuple[int, ...]
    whole_nodes: bool
    reserve: int
    selector: Mapping[str, str]
    tolerations: tuple[Json, ...]
    """What pods on its nodes tolerate: the taint named like the resource, and what the spec says."""
    pinning: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    rings: bool
    """Whether a level around the node is a ring or a torus."""
    per_package: int = 1
    """Cards that fail together."""

    @classmethod
    def of(cls, obj: Json) -> Profile:
        """From a SuperNodeProfile object."""
        spec = obj["spec"]
        sizes = [prod(level["fanOut"] for level in spec["levels"][: i + 1]) for i in range(len(spec["levels"]))]
        levels = [
            Level(
                level["name"],
                size,
                level.get("nodeLabel"),
                level.get("fabric", "switch"),
                (level["fanOut"],) if level.get("fabric") == "ring" else tuple(level.get("dims", ())),
                level.get("positionLabel"),
            )
            for level, size in zip(spec["levels"], sizes, strict=True)
        ]
        at = [level.name for level in levels].index(NODE)
        allocation = spec.get("allocation", {})
        return cls(
            name=obj["metadata"]["name"],
            resource=spec["card"]["resource"],
            inner=tuple(levels[:at]),
            node=levels[at],
            outer=tuple(levels[at + 1 :]),
            member_sizes=tuple(allocation.get("memberSizes", ())),
            whole_nodes=allocation.get("wholeNodesAcrossNodes", False),
            reserve=allocation.get("reserve", 0),
            selector=spec.get("nodeSelector", {}),
            tolerations=(
                {"key": spec["card"]["resource"], "operator": "Exists", "effect": "NoSchedule"},
                *spec.get("tolerations", ()),
            ),
            pinning=spec.get("pinning", {}),
            shapes=tuple(map(tuple, allocation.get("shapes", ()))),
            rings=any(level.get("fabric") in ("ring", "torus") for level in spec["levels"][at + 1 :]),
            per_package=spec["card"].get("perPackage", 1),
        )

    @property
    def nests(self) -> tuple[tuple[int, int], ...]:
        """Per level inside the node, inner to outer: the cards of a domain, and of the one around it if it is a ring,
        else 0."""
        around = (*self.inner, self.node)[1:]
        return tuple((i.cards, o.cards if i.fabric == "ring" else 0) for i, o in zip(self.inner, around, strict=True))

    @property
    def counted(self) -> tuple[str, ...]:
        """The levels that spans are counted in, outermost first, down to the node."""
        return (*(level.name for level in reversed(self.outer)), NODE)

    def below(self, at: int) -> str:
        """The level of the children of ``outer[at]``."""
        return self.outer[at - 1].name if at else NODE

    def unit(self, at: int) -> tuple[int, ...]:
        """Cards along each axis of a child of the torus ``outer[at]``; ones where the levels do not say."""
        grids = [level.grid for level in (*self.inner, self.node, *self.outer[:at])]
        axes = len(self.outer[at].grid)
        if any(len(grid) != axes for grid in grids) or self.outer[at].fabric != "torus":
            return (1,) * axes
        return tuple(map(prod, zip(*grids, strict=True)))

    def level(self, name: str) -> str:
        """The level a request means: ``supernode`` is always the outermost."""
        return self.counted[0] if name == "supernode" else name

    def matches(self, node: Json) -> bool:
        """Whether a Node has this shape."""
        if self.selector:
            return selects(self.selector, node)
        return int(node["status"].get("capacity", {}).get(self.resource, 0)) > 0


@dataclass(frozen=True, slots=True)
class Host:
    """A node in its place: ``domains`` gives its domain at every counted level."""

    name: str
    profile: Profile
    supernode: str
    domains: Mapping[str, tuple[str, ...]]
    cards: int
    working: Cards
    """All but the cards that failed."""
    offered: int
    """How many cards its device plugin offers."""
    open: bool
    """Whether new pods may be put here."""
    cells: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)
    """Its place, or that of the domain it is in, at every level whose children have positions."""

    @classmethod
    def of(cls, node: Json, profile: Profile, supernode: str) -> Host:
        """From a Node object, whose labels say where inside its supernode it lies."""
        name, labels = node["metadata"]["name"], node["metadata"].get("labels", {})
        path: tuple[str, ...] = (supernode,)
        domains = {profile.counted[0]: path}
        for level in reversed(profile.outer[:-1]):
            value = labels.get(level.label or "", "").strip()
            # Alone where its label does not say: the "/" keeps it apart from every value a label can have.
            path = (*path, f"/{name}" if _UNKNOWN.fullmatch(value) else value)
            domains[level.name] = path
        domains[NODE] = (name,)
        count = min(int(node["status"].get("capacity", {}).get(profile.resource, 0)), profile.node.cards)
        cells = {lv.name: cell(labels.get(lv.position, "").strip(), lv.grid) for lv in profile.outer if lv.position}
        offered = int(node["status"].get("allocatable", {}).get(profile.resource, 0))
        working = _working(node, count, offered)
        return cls(name, profile, supernode, domains, count, working, offered, _open(node, profile), cells)

    @property
    def healthy(self) -> Cards:
        """The cards of packages in which none has failed."""
        size = self.profile.per_package
        broken = {card // size for card in range(self.cards) if card not in self.working}
        return frozenset(card for card in self.working if card // size not in broken)


def _working(node: Json, count: int, offered: int) -> Cards:
    """All cards but those the annotation names and, where more are not allocatable, the highest others."""
    named = set(numbers(node["metadata"].get("annotations", {}).get("supernode.io/unhealthy-cards", "")))
    left = [card for card in range(count) if card not in named]
    return frozenset(left[:offered])


def _open(node: Json, profile: Profile) -> bool:
    spec = node.get("spec", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
    barred = any(
        taint["effect"] in ("NoSchedule", "NoExecute")
        and (_OUT_OF_SERVICE.match(taint["key"]) or not any(_tolerates(t, taint) for t in profile.tolerations))
        for taint in spec.get("taints", ())
    )
    return ready and not barred and not spec.get("unschedulable", False)


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("operator") != "Exists" and toleration.get("value", "") != taint.get("value", ""):
        return False
    return all(toleration.get(part) in (None, taint[part]) for part in ("key", "effect"))


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that has not failed. It holds cards or claims to, unless it has ended."""

    namespace: str
    name: str
    job: str | None
    group: str | None
    group_uid: str | None
    rank: int | None
    node: str | None
    phase: str | None
    pins: frozenset[str]
    """The nodes that its required affinity admits by name."""
    cards: Cards
    """The cards its annotation names; empty without one."""
    requests: Mapping[str, int]
    """Extended resources, summed over its containers."""
    annotations: Mapping[str, str]
    environment: Mapping[str, str]
    claims: tuple[str, ...] = ()
    """The ResourceClaims it uses."""

    @property
    def title(self) -> str:
        return f"pod {self.namespace}/{self.name}"

    @property
    def running(self) -> bool:
        return self.phase == "Running"

    @property
    def ended(self) -> bool:
        return self.phase == "Succeeded"

    @classmethod
    def of(cls, obj: Json) -> Pod | None:
        """From a Pod object; None for one that has failed. Raises ValueError on malformed cards."""
        meta, spec = obj["metadata"], obj["spec"]
        phase = obj.get("status", {}).get("phase")
        if phase == "Failed":
            return None
        labels, annotations = meta.get("labels", {}), meta.get("annotations", {})
        rank = labels.get("supernode.io/rank")
        requests: dict[str, int] = {}
        for container in spec["containers"]:
            for name, amount in container.get("resources", {}).get("requests", {}).items():
                if "/" in name:
                    requests[name] = requests.get(name, 0) + int(amount)
        return cls(
            meta["namespace"],
            meta["name"],
            labels.get("supernode.io/job"),
            labels.get("supernode.io/group"),
            annotations.get("supernode.io/group-uid"),
            None if rank is None else int(rank),
            spec.get("nodeName"),
            phase,
            _pins(spec),
            frozenset(numbers(annotations.get("supernode.io/cards", ""))),
            requests,
            annotations,
            {v["name"]: v.get("value", "") for c in spec["containers"] for v in c.get("env", ())},
            tuple(
                claim["resourceClaimName"] for claim in spec.get("resourceClaims", ()) if "resourceClaimName" in claim
            ),
        )


def _pins(spec: Json) -> frozenset[str]:
    """The nodes that the required node affinity admits by name; empty when a term leaves the node open."""
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", ())
    admitted: set[str] = set()
    for term in terms:
        fields = [f for f in term.get("matchFields", ()) if f["key"] == "metadata.name" and f["operator"] == "In"]
        if not fields:
            return frozenset()
        admitted |= set.intersection(*(set(field["values"]) for field in fields))
    return frozenset(admitted)


def selects(selector: Mapping[str, str], node: Json) -> bool:
    """Whether a Node carries all of these labels."""
    labels = node["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in selector.items())


class Cluster:
    """Everything that is checked, sorted by what it is."""

    def __init__(self, objects: Iterable[Json]) -> None:
        kinds: dict[str, list[Json]] = {}
        for obj in objects:
            kinds.setdefault(obj["kind"], []).append(obj)
        self.jobs = kinds.get("TrainingJob", [])
        self.groups = kinds.get("CardGroup", [])
        self.supernodes = {obj["metadata"]["name"]: obj for obj in kinds.get("SuperNode", ())}
        self.profiles = {obj["metadata"]["name"]: Profile.of(obj) for obj in kinds.get("SuperNodeProfile", ())}
        pods = [pod for obj in kinds.get("Pod", ()) if (pod := Pod.of(obj))]
        self.pods = [pod for pod in pods if not pod.ended]
        self.ended = [pod for pod in pods if pod.ended]
        kinds_of_devices = ("ResourceSlice", "DeviceTaintRule", "ResourceClaim")
        self.devices = Devices(*(kinds.get(kind, ()) for kind in kinds_of_devices))
        self.hosts = {host.name: host for host in placed(self._hosts(kinds.get("Node", ())))}

    def _hosts(self, nodes: Iterable[Json]) -> Iterable[Host]:
        """Each node in the supernode that selects it: hand-written before discovered, then the older, then by name."""
        order = sorted(
            self.supernodes.values(),
            key=lambda obj: (
                "supernode.io/discovered" in obj["metadata"].get("labels", {}),
                obj["metadata"].get("creationTimestamp", ""),
                obj["metadata"]["name"],
            ),
        )
        profiles = sorted(self.profiles.values(), key=lambda profile: (-len(profile.selector), profile.name))
        for node in nodes:
            profile = next((profile for profile in profiles if profile.matches(node)), None)
            if profile is None:
                continue
            for supernode in order:
                spec = supernode["spec"]
                if spec["profile"] == profile.name and selects(spec["nodeSelector"], node):
                    rule = profile.pinning.get("devices")
                    seen = self.devices.described(node, profile.resource, rule) if rule else node
                    yield Host.of(seen, profile, supernode["metadata"]["name"])
                    break
