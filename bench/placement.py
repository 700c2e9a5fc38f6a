"""Processor time of decisions on fleets of about 100 000 cards, half used and in steady churn.

    python bench/placement.py [--decisions N]

Each decision sees the few supernodes that the last ones changed. Prints, per fleet and size of the group, the median
and 99th percentile of `plan`, and the first decision of that size.
"""

import argparse
import random
import statistics
import time
from collections import deque
from collections.abc import Iterable

from supernode.placement import Placement, Request, plan
from supernode.topology.fleet import Fleet, Member, Node, SuperNodeView
from supernode.topology.profile import Level, Profile

SIZES = (1, 2, 4, 8, 16, 32, 48, 64, 128, 256, 512)
WEIGHTS = (20, 15, 15, 15, 10, 8, 5, 4, 4, 2, 2)


def profile(name: str, racks: int, per_rack: int, cards: int, reserve: int) -> Profile:
    node = Level("node", cards, cards)
    rack = Level("rack", per_rack, per_rack * cards, node_label="rack")
    top = Level("supernode", racks, racks * per_rack * cards, node_label="supernode")
    return Profile(name, "example.com/card", (node, rack, top), whole_nodes_across_nodes=True, reserve=reserve)


def fleet(shape: Profile, supernodes: int, rng: random.Random) -> Fleet:
    """Half of the nodes are taken, in stretches of a rack or less."""
    full = (1 << shape.cards_per_node) - 1
    rack, top = shape.above
    views = []
    for index in range(supernodes):
        name = f"sn-{index}"
        nodes = [
            Node(
                f"{name}-n{r * rack.fan_out + n:04d}",
                shape.cards_per_node,
                full,
                full if rng.random() < 0.5 else 0,
                path=(name, f"{name}/r{r}"),
            )
            for r in range(top.fan_out)
            for n in range(rack.fan_out)
        ]
        views.append(SuperNodeView(name, shape, nodes))
    return Fleet(views, [shape])


def churn(state: Fleet, shape: Profile, decisions: int, rng: random.Random) -> dict[int, list[float]]:
    """Place groups from the mix and release the oldest, sixty at most running; seconds per decision by size."""
    spent: dict[int, list[float]] = {size: [] for size in SIZES}
    running: deque[tuple[Member, ...]] = deque()
    for number in range(decisions):
        size = rng.choices(SIZES, WEIGHTS)[0]
        request = Request(f"g{number}", size, shape.cards_per_node)
        start = time.process_time()
        outcome = plan(state, request)
        spent[size].append(time.process_time() - start)
        if isinstance(outcome, Placement):
            state = state.take(outcome.members)
            running.append(outcome.members)
        while running and (not isinstance(outcome, Placement) or len(running) > 60):
            state = state.release(running.popleft())
            outcome = plan(state, request)
    return spent


def report(title: str, spent: dict[int, list[float]]) -> None:
    print(title)
    rows: list[tuple[str, list[float]]] = [(f"{size} nodes", times) for size, times in spent.items()]
    rows.append(("all", [seconds for times in spent.values() for seconds in times]))
    for label, times in rows:
        if len(times) > 2:
            warm = sorted(times[1:])
            print(f"  {label:>10}: p50 {ms(statistics.median(warm))}  p99 {ms(percentile(warm))}  first {ms(times[0])}")


def percentile(ordered: list[float], share: float = 0.99) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ms(seconds: float) -> str:
    return f"{seconds * 1000:8.3f} ms"


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=600)
    decisions = parser.parse_args(None if arguments is None else list(arguments)).decisions
    for title, shape, supernodes in (
        ("T384: 260 x 48 nodes", profile("t384", 12, 4, 8, 2), 260),
        ("T15488: 6 x 1936 nodes", profile("t15488", 242, 8, 8, 0), 6),
    ):
        rng = random.Random(7)
        report(title, churn(fleet(shape, supernodes, rng), shape, decisions, rng))


if __name__ == "__main__":
    main()
