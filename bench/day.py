"""A day of mixed load at 100 000 cards: how tightly jobs lie, and how much of the fleet is in use.

    python -m bench day [--number HOURS]

The load is `bench.acme` at 1.2 times the fleet. Jobs start in order of arrival; a look goes to the first forty waiting.
Three allocators each drive a day of their own over the same jobs: this project's, a hierarchical best fit and first fit
by index. On the way, whenever ours places a job larger than a rack, the two peers are asked the same on the same state.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

import numpy as np

from bench.acme import Job, Mix
from bench.figures import Figure
from bench.fleets import CARDS, SUPERNODES, T384, T15488, empty
from bench.optimum import minimal
from bench.peers import best_fit, first_fit
from bench.placement import request_of, timed
from bench.tree import Ints, Tree, tree_of
from supernode.placement import Placement
from supernode.topology.fleet import Fleet
from supernode.topology.node import Member
from supernode.topology.profile import Profile

LOOK = 40
LOAD = 1.2
RACK = 1
PEERS = ("best fit", "first fit")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job lies: cards[i] cards on the node of index nodes[i]. members: only of this project's allocator."""

    nodes: Ints
    cards: Ints
    supernodes: int
    members: tuple[Member, ...] = ()


@dataclass(slots=True)
class Free:
    """Free cards per node, and the tree that peers search."""

    tree: Tree
    cards: Ints

    @classmethod
    def of(cls, fleet: Fleet) -> Free:
        tree = tree_of(fleet, 1)
        return cls(tree, tree.caps.copy())

    def room(self, cards: int) -> Tree:
        """The tree in members of so many cards, whole nodes from a node on."""
        return self.tree.with_caps(self.cards // min(cards, CARDS))

    def holds(self, cards: int) -> bool:
        """Whether any rule could place it, topology aside."""
        return int((self.cards >= min(cards, CARDS)).sum()) * min(cards, CARDS) >= cards


class Allocator(Protocol):
    """What drives a day; `free` is kept by the caller."""

    free: Free

    def place(self, job: Job) -> Place | None: ...

    def release(self, place: Place) -> None: ...


class Ours:
    """This project's allocator, which also has the peers asked on its states."""

    def __init__(self, shape: Profile) -> None:
        self._fleet = empty(shape, SUPERNODES[shape.name])
        nodes = (node for view in self._fleet.supernodes.values() for node in view.nodes)
        self._index = {node.name: i for i, node in enumerate(nodes)}
        self._rack_cards = shape.levels[RACK].cards
        self.free = Free.of(self._fleet)
        self.spent: list[float] = []
        self.asked = Asked()
        self.unproven = 0

    def place(self, job: Job) -> Place | None:
        request = request_of(job.cards, job.number)
        seconds, outcome = timed(self._fleet, request)
        self.spent.append(seconds)
        if not isinstance(outcome, Placement):
            return None
        self.unproven += not outcome.proven
        if job.cards > self._rack_cards:
            self.asked.compare(self.free.room(job.cards), request.members, outcome)
        members = outcome.members
        self._fleet = self._fleet.take(members)
        nodes = np.array([self._index[member.node] for member in members], np.int64)
        cards = np.array([member.cards.bit_count() for member in members], np.int64)
        return Place(nodes, cards, outcome.spans["supernode"], members)

    def release(self, place: Place) -> None:
        self._fleet = self._fleet.release(place.members)


class Peer:
    """First fit or best fit."""

    def __init__(self, shape: Profile, rule: str) -> None:
        self.free = Free.of(empty(shape, SUPERNODES[shape.name]))
        self._rule = rule

    def place(self, job: Job) -> Place | None:
        each = min(job.cards, CARDS)
        tree = self.free.room(job.cards)
        counts = ask(self._rule, tree, job.cards // each)
        if counts is None:
            return None
        nodes = np.flatnonzero(counts)
        return Place(nodes, counts[nodes] * each, tree.spans(counts)[0])

    def release(self, place: Place) -> None:
        """Nothing is remembered beside `free`."""


def ask(rule: str, tree: Tree, members: int) -> Ints | None:
    """Members per node by a peer's rule; best fit prefers one node, then one rack, then one supernode."""
    return first_fit(tree, members) if rule == "first fit" else best_fit(tree, members, 0 if members == 1 else RACK)


@dataclass(slots=True)
class Asked:
    """Jobs larger than a rack, all three asked on the same state: (supernodes, racks) over each level's own floor.

    minimal: ours that are the exact minimum, by each level's own floor or else by `bench.optimum`, not by its own word.
    """

    over: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {rule: [] for rule in ("ours", *PEERS)})
    minimal: int = 0

    def compare(self, tree: Tree, members: int, placement: Placement) -> None:
        floors = tree.floors(members)
        vectors = {"ours": tuple(placement.spans.values())}
        for rule in PEERS:
            counts = ask(rule, tree, members)
            assert counts is not None, f"{rule} finds no place where there is one"
            vectors[rule] = tree.spans(counts)
        for rule, vector in vectors.items():
            self.over[rule].append((vector[0] / floors[0], vector[1] / floors[1]))
        self.minimal += vectors["ours"] == floors or vectors["ours"] == minimal(tree, members)


@dataclass(slots=True)
class Day:
    """What one allocator's day came to. over: supernodes of each job larger than a rack, over an empty fleet's."""

    started: int = 0
    saturated: float = 0.0
    allocated: float = 0.0
    over: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Cards allocated over all cards, the mean over the time in which jobs waited."""
        return self.allocated / self.saturated if self.saturated else float("nan")


def drive(allocator: Allocator, jobs: Sequence[Job], shape: Profile, until: float) -> Day:
    """One day. Everything that arrives before `until` seconds is tried; what has not begun by then does not count."""
    day, now = Day(), 0.0
    total = int(allocator.free.cards.sum())
    waiting: list[Job] = []
    ends: list[tuple[float, int, Place]] = []
    arrivals = iter(job for job in jobs if job.arrival < until)
    upcoming = next(arrivals, None)
    while True:
        later = min(ends[0][0] if ends else until, upcoming.arrival if upcoming else until, until)
        if waiting:
            day.saturated += later - now
            day.allocated += (later - now) * (1 - int(allocator.free.cards.sum()) / total)
        now = later
        if now >= until:
            return day
        while ends and ends[0][0] <= now:
            place = heapq.heappop(ends)[2]
            allocator.free.cards[place.nodes] += place.cards
            allocator.release(place)
        while upcoming and upcoming.arrival <= now:
            waiting.append(upcoming)
            upcoming = next(arrivals, None)
        for job, place in _start(allocator, waiting):
            heapq.heappush(ends, (now + job.run, job.number, place))
            day.started += 1
            day.waits.append(now - job.arrival)
            if job.cards > shape.levels[RACK].cards:
                day.over.append(place.supernodes / -(-job.cards // shape.outermost.cards))


def _start(allocator: Allocator, waiting: list[Job]) -> list[tuple[Job, Place]]:
    """Start what fits of the first jobs that wait, in their order."""
    started = []
    refused: set[int] = set()
    at = 0
    while at < min(LOOK, len(waiting)):
        job = waiting[at]
        place = None
        if job.cards not in refused and allocator.free.holds(job.cards):
            place = allocator.place(job)
        if place is None:
            refused.add(job.cards)
            at += 1
        else:
            allocator.free.cards[place.nodes] -= place.cards
            started.append((waiting.pop(at), place))
    return started


def figures_of(shape: Profile, mix: Mix, *, hours: float, seed: int = 5) -> list[Figure]:
    """One fleet and one mix: three days of the same jobs."""
    cards = SUPERNODES[shape.name] * shape.outermost.cards
    jobs = mix.jobs(cards, LOAD, shape.levels[RACK].cards, seed)
    ours = Ours(shape)
    days = {"ours": drive(ours, jobs, shape, hours * 3600)}
    for rule in PEERS:
        days[rule] = drive(Peer(shape, rule), jobs, shape, hours * 3600)
    name = f"day: {shape.name} {mix.name}"
    asked = ours.asked
    number = len(asked.over["ours"])
    figures = [
        Figure(f"{name}: jobs started", days["ours"].started),
        Figure(f"{name}: larger than a rack", number),
        Figure(f"{name}: of these at the minimum", asked.minimal / number),
        Figure(f"{name}: answers not proven", ours.unproven),
        Figure(f"{name}: decision p50", float(np.percentile(ours.spent, 50)) * 1000, "ms"),
        Figure(f"{name}: decision p99", float(np.percentile(ours.spent, 99)) * 1000, "ms"),
    ]
    for rule, over in asked.over.items():
        figures.append(Figure(f"{name}: same states: {rule}: supernodes / floor", fmean(s for s, _ in over)))
        figures.append(Figure(f"{name}: same states: {rule}: racks / floor", fmean(r for _, r in over)))
        figures.append(Figure(f"{name}: same states: {rule}: both at floor", fmean(s == r == 1 for s, r in over)))
    for rule, day in days.items():
        figures.append(Figure(f"{name}: own day: {rule}: allocation ratio at saturation", day.ratio))
        figures.append(Figure(f"{name}: own day: {rule}: supernodes / empty fleet's", fmean(day.over)))
        figures.append(Figure(f"{name}: own day: {rule}: mean wait in minutes", fmean(day.waits) / 60))
    return figures


def run(*, quick: bool = False, number: int | None = None) -> list[Figure]:
    """number: hours of the day, 24 by default; a quick run looks at 5."""
    hours = number or (5 if quick else 24)
    pairs = ((T384, "Seren"), (T15488, "Seren")) if quick else ((T384, "Seren"), (T15488, "Seren"), (T15488, "Kalos"))
    return [figure for shape, mix in pairs for figure in figures_of(shape, Mix.load(mix), hours=hours)]
