"""How often an answer is the exact minimum: random fragmented trees, the allocator beside a best-fit greedy.

    python -m bench spans [--number DRAWS]

Trees of 2-4 supernodes, 3-5 racks each, 4-8 nodes each, 8 cards per node, 30-95 % busy; a node's busy cards are drawn
from a U-shaped distribution (most nodes nearly full or nearly empty). Members have one card. Both are asked on the same
draws; the reference is the dynamic programme of `bench.optimum`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import log

from bench.figures import Figure
from bench.fleets import CARDS, profile
from bench.optimum import minimal
from bench.peers import best_fit
from bench.tree import Slices, Tree, tree_of
from supernode.placement import Block, Placement, Request, plan
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node

LEVELS = ("node", "rack", "supernode")
NODE, RACK, TOP = range(3)


@dataclass(frozen=True, slots=True)
class Setting:
    """What is asked. level: where a peer starts to look for one domain; required: it may not look further out."""

    name: str
    level: int
    required: bool = False
    slices: Slices = ()

    @property
    def step(self) -> int:
        return self.slices[-1][1] if self.slices else 1

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(Block(LEVELS[level], size) for level, size in self.slices)


SETTINGS = (
    Setting("preferred rack, no slice", RACK),
    Setting("required supernode, no slice", TOP, required=True),
    Setting("preferred supernode, slices of 16 in a rack", TOP, slices=((RACK, 16),)),
    Setting("preferred supernode, slices of 8 in a node", TOP, slices=((NODE, 8),)),
    Setting("required supernode, slices of 16 in a rack, 4 in a node", TOP, True, ((NODE, 4), (RACK, 16))),
    Setting("preferred supernode, slices of 32 in a rack, 8 in a node", TOP, slices=((NODE, 8), (RACK, 32))),
)


@dataclass(slots=True)
class Tally:
    """Sums over the draws of one setting."""

    draws: int = 0
    exact: int = 0
    by_floors: int = 0
    proven: int = 0
    peer_off: int = 0
    verdicts_differ: int = 0
    racks: list[int] = field(default_factory=lambda: [0, 0, 0])
    nodes: list[int] = field(default_factory=lambda: [0, 0, 0])


def fragmented(rng: random.Random) -> Fleet:
    """One tree of the study."""
    supernodes, racks, nodes = rng.randint(2, 4), rng.randint(3, 5), rng.randint(4, 8)
    busy = rng.uniform(0.3, 0.95)
    shape = replace(profile("tree", racks, nodes), whole_nodes_across_nodes=False)
    full = (1 << CARDS) - 1
    views = []
    for s in range(supernodes):
        name = f"sn-{s}"
        items = [
            Node(
                f"{name}-r{r}n{n}",
                CARDS,
                full,
                (1 << round(CARDS * rng.betavariate(1.2 * busy, 1.2 * (1 - busy)))) - 1,
                path=(name, f"{name}/r{r}"),
            )
            for r in range(racks)
            for n in range(nodes)
        ]
        views.append(SuperNodeView(name, shape, items))
    return Fleet(views, [shape])


def draws(setting: Setting, rng: random.Random) -> Iterator[tuple[Fleet, Tree, int]]:
    """Trees and sizes that fit them, sizes spread evenly over orders of magnitude."""
    while True:
        fleet = fragmented(rng)
        tree = tree_of(fleet, 1)
        room = _room(tree, setting) // setting.step
        if room:
            members = setting.step * min(room, int(2 ** rng.uniform(0, log(room + 1, 2))))
            yield fleet, tree, members


def _room(tree: Tree, setting: Setting) -> int:
    sizes = dict(setting.slices)
    room = tree.caps
    for level in range(tree.levels):
        room = room - room % sizes.get(level, 1)
        if level + 1 < tree.levels:
            room = tree.gather(room, level)
    return int(room.max() if setting.required else room.sum())


def study(setting: Setting, number: int, seed: int = 11) -> Tally:
    """The tally of so many draws."""
    rng = random.Random(f"{seed} {setting.name}")
    tally = Tally()
    for (fleet, tree, members), _ in zip(draws(setting, rng), range(number), strict=False):
        _compare(setting, fleet, tree, members, tally)
    return tally


def _compare(setting: Setting, fleet: Fleet, tree: Tree, members: int, tally: Tally) -> None:
    blocks = setting.slices
    if setting.required:
        blocks = (*(block for block in blocks if block[0] != setting.level), (setting.level, members))
    best = minimal(tree, members, blocks)
    required = LEVELS[setting.level] if setting.required else None
    answer = plan(fleet, Request("draw", members, 1, required=required, blocks=setting.blocks))
    peer = best_fit(tree, members, setting.level, required=setting.required, slices=setting.slices)
    tally.draws += 1
    tally.verdicts_differ += (peer is None) != (best is None)
    if best is None or not isinstance(answer, Placement) or peer is None:
        tally.exact += best is None and not isinstance(answer, Placement)
        return
    found, greedy = tuple(answer.spans.values()), tree.spans(peer)
    tally.exact += found == best and tuple(answer.minimal.values()) == best
    tally.proven += answer.proven
    tally.by_floors += found == tree.floors(members, blocks)
    tally.peer_off += greedy != best
    for sums, at in ((tally.racks, 1), (tally.nodes, 2)):
        for place, vector in enumerate((found, greedy, best)):
            sums[place] += vector[at]


def run(*, quick: bool = False, number: int | None = None) -> list[Figure]:
    """Shares are of the draws, ratios of sums over them."""
    number = number or (250 if quick else 2000)
    figures = []
    for setting in SETTINGS:
        tally = study(setting, number)
        named = {
            "at the exact minimum": tally.exact / tally.draws,
            "said to be proven": tally.proven / tally.draws,
            "proven by each level's own floor": tally.by_floors / tally.draws,
            "best fit not minimal": tally.peer_off / tally.draws,
            "best fit's verdict differs": tally.verdicts_differ / tally.draws,
            "racks, best fit / minimum": tally.racks[1] / tally.racks[2],
            "nodes, best fit / minimum": tally.nodes[1] / tally.nodes[2],
        }
        figures += [Figure(f"spans: {setting.name}: {name}", value) for name, value in named.items()]
    return figures
