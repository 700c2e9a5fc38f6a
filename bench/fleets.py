"""Fleets of about 100 000 cards: many supernodes of 48 nodes, few of 1936, and plain servers."""

from __future__ import annotations

import random
from math import prod

from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Level, Profile

CARDS = 8
"""Cards of a node in every fleet measured here."""


def profile(name: str, racks: int, nodes: int, reserve: int = 0) -> Profile:
    """Supernodes of `racks` racks of `nodes` nodes; groups of several nodes take whole ones."""
    fan_outs = {"node": CARDS, "rack": nodes, "supernode": racks}
    sizes = [prod(list(fan_outs.values())[: i + 1]) for i in range(3)]
    levels = tuple(
        Level(level, fan_out, size, node_label=f"label/{level}")
        for (level, fan_out), size in zip(fan_outs.items(), sizes, strict=True)
    )
    return Profile(name, "example.com/card", levels, whole_nodes_across_nodes=True, reserve=reserve)


T384 = profile("t384", 12, 4)
T15488 = profile("t15488", 242, 8)
SERVERS = Profile("servers", "example.com/card", (Level("node", CARDS, CARDS),), whole_nodes_across_nodes=True)
SUPERNODES = {"t384": 260, "t15488": 6, "servers": 12_500}
"""How many supernodes of each profile come to about 100 000 cards."""


def empty(shape: Profile, supernodes: int) -> Fleet:
    """A fleet with everything free."""
    return Fleet([_supernode(shape, index, None) for index in range(supernodes)], [shape])


def half_full(shape: Profile, supernodes: int, rng: random.Random) -> Fleet:
    """Half of the nodes taken at random, and one in ten of the others partly used."""
    return Fleet([_supernode(shape, index, rng) for index in range(supernodes)], [shape])


def _supernode(shape: Profile, index: int, rng: random.Random | None) -> SuperNodeView:
    name = f"sn-{index}"
    full = (1 << shape.cards_per_node) - 1
    if not shape.above:
        return SuperNodeView(name, shape, [Node(name, CARDS, full, _taken(rng))])
    rack, top = shape.above
    nodes = [
        Node(f"{name}-n{r * rack.fan_out + n:04d}", CARDS, full, _taken(rng), path=(name, f"{name}/r{r}"))
        for r in range(top.fan_out)
        for n in range(rack.fan_out)
    ]
    return SuperNodeView(name, shape, nodes)


def _taken(rng: random.Random | None) -> int:
    if rng is None:
        return 0
    if rng.random() < 0.5:
        return (1 << CARDS) - 1
    return (1 << rng.randint(1, CARDS - 1)) - 1 if rng.random() < 0.1 else 0
