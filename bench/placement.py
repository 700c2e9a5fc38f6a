"""Processor time of decisions on fleets of about 100 000 cards, half used, fragmented and in steady churn.

    python -m bench placement [--number DECISIONS]

Each decision sees the supernodes that the last ones changed, as in a running operator. Groups of 1, 2 and 4 cards are
one member; larger ones are whole nodes of 8, but for those `in halves of nodes`. A decision ends with its nodes and
spans; the members, each with its cards and domains, are made when they are asked for, which is measured apart. `share
of creating its pods` is its time over that of a client that creates a pod for each member and does nothing else.
`refused` are groups that must lie in one supernode or rack and are one node too large for
the best of them. The interpreter's full garbage collections, which walk the whole heap and come at any moment, are kept
out of the decisions and measured apart. `growth` asks the same of fleets of 10 000 to 1 000 000 cards.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
import tracemalloc
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from bench.figures import Figure, percentile
from bench.fleets import CARDS, SERVERS, SUPERNODES, T384, T15488, half_full
from supernode.placement import Block, Placement, Refusal, Request, plan
from supernode.topology.fleet import Fleet
from supernode.topology.node import Member
from supernode.topology.profile import Profile

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512, 1024, 2048, 4096, 8192, 15488)
"""Cards of the groups asked for."""

LARGE = 4096
"""Up to so many cards a decision has the tighter bar."""

PODS_A_SECOND = 270
"""Pods that the raw client of `python -m bench load` created in a second at best, 1 000 of them over 64 connections on
two cores like these. Until they are bound, pods need nearly twice as long."""

ENOUGH = 100
"""Decisions beyond which the 99th percentile is not just the slowest of all."""

BACKGROUND = (4, 8, 16, 32, 64, 128)
"""Cards of the groups that come and go between measured decisions."""

PARTS = (32, 128, 512, 4096, 8192)
"""Cards of the groups asked for in members of half a node, where these may span nodes."""

GROWTH_SIZES = (8, 64, 384, 4096)
GROWTH_CARDS = (10_000, 30_000, 100_000, 300_000, 1_000_000)


class Churn:
    """A fleet in which groups come and go: never more than `most` cards in groups of its own, the oldest go first."""

    def __init__(self, fleet: Fleet, most: int) -> None:
        self.fleet = fleet
        self.most = most
        self.held = 0
        self._running: deque[tuple[Member, ...]] = deque()

    def ask(self, request: Request) -> tuple[float, bool]:
        """Seconds of processor time of the decision, and whether it placed the group, which then stays."""
        while self._running and self.held + request.cards > self.most:
            members = self._running.popleft()
            self.held -= sum(member.cards.bit_count() for member in members)
            self.fleet = self.fleet.release(members)
        spent, outcome = timed(self.fleet, request)
        if isinstance(outcome, Placement):
            self.fleet = self.fleet.take(outcome.members)
            self.held += request.cards
            self._running.append(outcome.members)
        return spent, isinstance(outcome, Placement)


def timed(fleet: Fleet, request: Request) -> tuple[float, Placement | Refusal]:
    """Seconds of processor time of a decision, garbage collection aside, and the decision."""
    gc.disable()
    try:
        start = time.process_time()
        outcome = plan(fleet, request)
        return time.process_time() - start, outcome
    finally:
        gc.enable()


def request_of(cards: int, number: int, *, most: int = CARDS, **rules: object) -> Request:
    """A group of so many cards in members of up to `most`: by default whole nodes if it is not smaller than one."""
    each = min(cards, most)
    return Request(f"g{number}", cards // each, each, **rules)  # type: ignore[arg-type]


def times_of(churn: Churn, cards: int, rounds: int, rng: random.Random, most: int = CARDS) -> list[float]:
    """Seconds per decision of one size, two smaller groups coming between any two; the first is left out. most: cards
    of a member."""
    spent = []
    for turn in range(rounds + 1):
        for size in rng.sample(BACKGROUND, 2):
            churn.ask(request_of(size, turn))
        seconds, placed = churn.ask(request_of(cards, turn, most=most))
        assert placed, f"{cards} cards found no place on a fleet that is half empty"
        spent.append(seconds)
    return spent[1:]


def times_in_turn(churn: Churn, rounds: int, rng: random.Random) -> list[float]:
    """Seconds per decision when every round asks each size once, so that between two of a size most supernodes change;
    the first round is left out."""
    spent = []
    for turn in range(rounds + 1):
        for size in rng.sample(SIZES, len(SIZES)):
            seconds, _ = churn.ask(request_of(size, turn))
            if turn:
                spent.append(seconds)
    return spent


def times_refused(churn: Churn, rounds: int, rng: random.Random) -> list[float]:
    """Seconds per refusal, groups coming and going between them."""
    spent = []
    for turn in range(rounds):
        churn.ask(request_of(rng.choice(BACKGROUND), turn))
        seconds, outcome = timed(churn.fleet, _too_large(churn.fleet, rng.choice(("rack", "supernode"))))
        assert not isinstance(outcome, Placement), "a group larger than every domain was placed"
        spent.append(seconds)
    return spent


def _too_large(fleet: Fleet, level: str) -> Request:
    """One node more than the best domain of the level has wholly free, as nearly as its own size allows."""
    best = 0
    for view in fleet.supernodes.values():
        free = view.census.wholly_free
        bounds = view.layout.node_bounds[0] if level == "rack" else view.layout.node_bounds[-1]
        best = max(best, max(int(free[a:b].sum()) for a, b in pairwise(bounds)))
    return Request("refused", best + 1, CARDS, required=level)


def times_with_blocks(churn: Churn, rounds: int, rng: random.Random) -> list[float]:
    """Seconds per decision for groups in blocks: pairs of nodes in a rack, and four times as many in a supernode."""
    spent = []
    for turn in range(rounds + 1):
        churn.ask(request_of(rng.choice(BACKGROUND), turn))
        blocks = (Block("rack", 2), Block("supernode", 8))
        seconds, _ = churn.ask(request_of(rng.choice((128, 256, 512, 1024, 2048)), turn, blocks=blocks))
        spent.append(seconds)
    return spent[1:]


def times_of_members(fleet: Fleet, cards: int, rounds: int) -> list[float]:
    """Seconds to make the members of one placement, over and over."""
    spent = []
    for turn in range(rounds):
        outcome = plan(fleet, request_of(cards, turn))
        assert isinstance(outcome, Placement)
        start = time.process_time()
        assert outcome.members
        spent.append(time.process_time() - start)
    return spent


def kept_megabytes(shape: Profile) -> float:
    """What decisions keep for the next ones, after every size was asked for once, also in blocks and in one rack."""
    fleet = half_full(shape, SUPERNODES[shape.name], random.Random(7))
    for view in fleet.supernodes.values():
        assert len(view.census.each) == len(view.layout.index)
    tracemalloc.start()
    try:
        for number, size in enumerate(SIZES):
            plan(fleet, request_of(size, number))
        plan(fleet, request_of(512, 0, blocks=(Block("rack", 2), Block("supernode", 8))))
        plan(fleet, request_of(2 * shape.levels[1].cards, 0, required="rack"))
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / 1e6
    finally:
        tracemalloc.stop()


def measure_sizes(shape: Profile, churn: Churn, rounds: int, rng: random.Random) -> list[Figure]:
    """The figures of one fleet by size of the group."""
    first, _ = timed(churn.fleet, request_of(64, 0))
    figures = [Figure(f"placement: {shape.name}: first decision after a start", first * 1000, "ms")]
    by_size = {size: times_of(churn, size, rounds, rng) for size in SIZES}
    for size, times in by_size.items():
        figures += _figures(f"{shape.name}: {size} cards", times)
        share = percentile(times, 0.99) * PODS_A_SECOND / max(1, size // CARDS)
        figures.append(Figure(f"placement: {shape.name}: {size} cards: share of creating its pods", share))
    small = [seconds for size, times in by_size.items() if size <= LARGE for seconds in times]
    large = [seconds for size, times in by_size.items() if size > LARGE for seconds in times]
    figures += _figures(f"{shape.name}: up to {LARGE} cards", small)
    figures += _figures(f"{shape.name}: over {LARGE} cards", large)
    return figures + _figures(f"{shape.name}: every size in turn", times_in_turn(churn, rounds // 4, rng))


def measure(shape: Profile, rounds: int) -> list[Figure]:
    """The figures of one fleet of supernodes with racks."""
    rng = random.Random(7)
    churn = Churn(half_full(shape, SUPERNODES[shape.name], rng), 24_000)
    figures = measure_sizes(shape, churn, rounds, rng)
    figures.append(Figure(f"placement: {shape.name}: kept between decisions", kept_megabytes(shape), "MB"))
    making = times_of_members(churn.fleet, SIZES[-1], rounds)
    figures += _figures(f"{shape.name}: members of {SIZES[-1]} cards, made when asked for", making)
    start = time.process_time()
    gc.collect()
    figures.append(
        Figure(f"placement: {shape.name}: full garbage collection", (time.process_time() - start) * 1000, "ms")
    )
    figures += _figures(f"{shape.name}: with blocks", times_with_blocks(churn, rounds, rng))
    parts = Churn(half_full(replace(shape, whole_nodes_across_nodes=False), SUPERNODES[shape.name], rng), 24_000)
    for cards in PARTS:
        figures += _figures(f"{shape.name}: {cards} cards in halves of nodes", times_of(parts, cards, rounds, rng, 4))
    refused = times_refused(churn, rounds, rng)
    figures.append(
        Figure(f"placement: {shape.name}: refused: slowest, the first of its kind", max(refused) * 1000, "ms")
    )
    return figures + _figures(f"{shape.name}: refused", refused)


def _figures(name: str, times: Sequence[float]) -> list[Figure]:
    """The median, and the 99th percentile where enough was measured to have one."""
    figures = [Figure(f"placement: {name}: p50", statistics.median(times) * 1000, "ms")]
    if len(times) > ENOUGH:
        figures.append(Figure(f"placement: {name}: p99", percentile(times, 0.99) * 1000, "ms"))
    return figures


def growth(rounds: int) -> dict[int, dict[int, float]]:
    """Median milliseconds by cards of the fleet and cards of the group."""
    found = {}
    for cards in GROWTH_CARDS:
        rng = random.Random(7)
        supernodes = round(cards / T384.outermost.cards)
        churn = Churn(half_full(T384, supernodes, rng), cards // 4)
        sizes = [size for size in GROWTH_SIZES if size <= cards // 8]
        found[cards] = {size: statistics.median(times_of(churn, size, rounds, rng)) * 1000 for size in sizes}
    return found


def growth_figures(found: dict[int, dict[int, float]]) -> list[Figure]:
    """Each median, and how many times as long a decision takes at 1 000 000 cards as at 100 000."""
    figures = [
        Figure(f"growth: {size} cards of {cards}: p50", value, "ms")
        for cards, by_size in found.items()
        for size, value in by_size.items()
    ]
    ratios = {size: found[1_000_000][size] / found[100_000][size] for size in GROWTH_SIZES}
    return figures + [Figure(f"growth: {size} cards: 1 000 000 over 100 000", ratio) for size, ratio in ratios.items()]


def run(*, quick: bool = False, number: int | None = None) -> list[Figure]:
    """number: decisions per size."""
    rounds = number or (25 if quick else 120)
    figures = [figure for shape in (T384, T15488) for figure in measure(shape, rounds)]
    rng = random.Random(7)
    return figures + measure_sizes(
        SERVERS, Churn(half_full(SERVERS, SUPERNODES[SERVERS.name], rng), 24_000), rounds, rng
    )


def run_growth(*, quick: bool = False, number: int | None = None) -> list[Figure]:
    """number: decisions per size."""
    return growth_figures(growth(number or (25 if quick else 60)))
