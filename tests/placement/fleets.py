"""Small, uneven, half-used fleets and requests for them."""

from collections.abc import Sequence
from math import prod

from hypothesis import strategies as st

from supernode.placement import Block, Request, Spares
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Level, Profile


def profile_of(
    name: str,
    *levels: tuple[str, int],
    fabrics: dict[str, str] | None = None,
    dims: dict[str, tuple[int, ...]] | None = None,
    positions: tuple[str, ...] = (),
    **rules: object,
) -> Profile:
    """A profile from (level, fanOut) pairs, inner to outer."""
    sizes = [prod(fan_out for _, fan_out in levels[: i + 1]) for i in range(len(levels))]
    built = tuple(
        Level(
            level,
            fan_out,
            size,
            fabric=(fabrics or {}).get(level, "switch"),
            dims=(dims or {}).get(level, ()),
            node_label=f"label/{level}",
            position_label=f"at/{level}" if level in positions else None,
        )
        for (level, fan_out), size in zip(levels, sizes, strict=True)
    )
    return Profile(name, "example.com/card", built, **rules)  # type: ignore[arg-type]


SHAPES: list[tuple[tuple[str, int], ...]] = [
    (("node", 4), ("rack", 3), ("supernode", 4)),
    (("package", 2), ("node", 2), ("rack", 4), ("supernode", 4)),
    (("package", 2), ("board", 2), ("node", 2), ("supernode", 6)),
    (("ring", 3), ("node", 2), ("rack", 3), ("supernode", 3)),
    (("node", 2), ("rack", 2), ("row", 2), ("supernode", 3)),
    (("package", 2), ("node", 3)),
]


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    levels = draw(st.sampled_from(SHAPES))
    rules = {
        "whole_nodes_across_nodes": draw(st.booleans()) and draw(st.booleans()),
        "reserve": draw(st.sampled_from([0, 0, 0, 1, 2])),
    }
    fabrics = {"rack": draw(st.sampled_from(["switch", "mesh", "none", "switch", "ring"]))}
    return profile_of("p", *levels, fabrics=fabrics, **rules)


@st.composite
def views(draw: st.DrawFn, profile: Profile, index: int, room: int) -> SuperNodeView:
    """A supernode of up to `room` nodes, its inner domains uneven; all but the first may have lost theirs."""
    name = f"sn-{index}"
    nodes = []
    count = draw(st.integers(min(2, room), room)) if profile.above else 1
    if index and draw(st.integers(0, 7)) == 7:
        count = 0
    if not profile.above and draw(st.integers(0, 7)) == 7:
        nodes.append(Node(f"{name}-{draw(st.sampled_from(['gone', 'was']))}", 0, 0, 0b11, schedulable=False))
    for number in range(count):
        path: list[str] = [name] if profile.above else []
        for level in reversed(profile.above[:-1]):
            path.append(f"{path[-1]}/{draw(st.integers(0, min(2, level.fan_out)))}")
        nodes.append(draw(node_states(profile, f"{name}-n{number}", tuple(path))))
    cordoned = draw(st.integers(0, 14)) == 14
    return SuperNodeView(name, profile, nodes, cordoned=cordoned)


@st.composite
def node_states(draw: st.DrawFn, profile: Profile, name: str, path: tuple[str, ...]) -> Node:
    cards = profile.cards_per_node - draw(st.sampled_from([0, 0, 0, 0, 1]))
    full = (1 << cards) - 1
    taken = draw(st.sampled_from([0, 0, 0, 0, 0, full, full & 0b11, full & 0b100, draw(st.integers(0, full))]))
    healthy = full & ~draw(st.sampled_from([0, 0, 0, 0, 0, 1, draw(st.integers(0, full))]))
    return Node(name, cards, healthy, taken, draw(st.integers(0, 15)) != 15, path)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    profile = draw(profiles())
    room, found = 8, []
    for index in range(draw(st.integers(1, 4))):
        if room > 0:
            found.append(draw(views(profile, index, min(room, 6))))
            room -= len(found[-1].nodes)
    return Fleet(found, [profile])


@st.composite
def requests(draw: st.DrawFn, profile: Profile) -> Request:
    cards = draw(st.sampled_from([1, 1, 2, profile.cards_per_node, profile.cards_per_node, 3]))
    cards = min(cards, profile.cards_per_node)
    names = list(profile.level_names)
    blocks, size = [], 1
    for name in names if draw(st.booleans()) else []:
        if draw(st.integers(0, 2)) == 0:
            size *= draw(st.sampled_from([1, 2, 2, 3]))
            blocks.append(Block(name if name != names[-1] else draw(st.sampled_from([name, "supernode"])), size))
    members = size * draw(st.integers(1, max(1, 8 // size)))
    required = draw(st.sampled_from([*[None] * 12, *names, "supernode"]))
    outer = names[profile.node_index :]
    max_span = {name: draw(st.integers(2, 4)) for name in outer if draw(st.integers(0, 4)) == 0}
    held = draw(spares(outer))
    return Request("r", members, cards, required=required, blocks=tuple(blocks), max_span=max_span, spares=held)


def spares(levels: Sequence[str]) -> st.SearchStrategy[Spares | None]:
    """For a third of the requests, mostly one."""
    within = st.sampled_from([None, *levels, "supernode"])
    return st.one_of(st.none(), st.none(), st.builds(Spares, st.sampled_from([1, 1, 2]), within))


@st.composite
def scattered(draw: st.DrawFn) -> tuple[Fleet, Request]:
    """A supernode whose free nodes lie one per rack beside denser ones, with bounds on spans and reserves that bind."""
    profile = profile_of("p", ("node", 2), ("rack", 3), ("supernode", 6), reserve=draw(st.sampled_from([0, 0, 1, 2])))
    found = []
    for index in range(draw(st.integers(2, 3))):
        racks = draw(st.integers(1, 2)) if index else 4
        nodes = []
        for number in range(draw(st.integers(2, 4))):
            taken = draw(st.sampled_from([0, 0, 0b01, 0b11]))
            rack = draw(st.integers(0, racks - 1)) if index else number
            nodes.append(Node(f"sn-{index}-n{number}", 2, 0b11, taken, path=(f"sn-{index}", f"sn-{index}/{rack}")))
        found.append(SuperNodeView(f"sn-{index}", profile, nodes))
    spans = {level: draw(st.integers(1, 4)) for level in draw(st.sets(st.sampled_from(["rack", "node", "rack"])))}
    members, cards = draw(st.integers(2, 6)), draw(st.sampled_from([1, 2]))
    held = draw(spares(["node", "rack", "rack"]))
    return Fleet(found, [profile]), Request("r", members, cards, max_span=spans, spares=held)
