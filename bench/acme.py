"""A day of mixed load in the proportions of the Acme clusters (`acme.json`, CC-BY-4.0), scaled to 100 000 cards.

Sizes are drawn by the share of jobs; those of a node and more are multiplied, smaller ones stay. A third of the jobs
larger than a rack are then made some other number of nodes, since the trace has little but powers of two. The mean run
time of a size follows from its shares of jobs and of card time; around it, run times are log-normal with sigma 1, and
none is longer than a day. Jobs are drawn until they ask for `load` times what the fleet has in a day; they arrive at
random moments of it, apart from a backlog that waits at its start.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from bench.fleets import CARDS

DAY = 86_400.0
SIGMA = 1.0
BACKLOG = 0.2
"""Share of the jobs that wait when the day begins, so that most of it is spent in saturation."""

SCALE = {"Seren": 16, "Kalos": 8}
"""What sizes of a node and more are multiplied by: Seren has 2288 cards, Kalos mostly pre-training."""


@dataclass(frozen=True, slots=True)
class Job:
    """run and arrival are seconds."""

    number: int
    cards: int
    run: float
    arrival: float


@dataclass(frozen=True)
class Mix:
    """One cluster's proportions. shares: size to its share of jobs; card_time: size to its share of card time."""

    name: str
    shares: dict[int, float]
    card_time: dict[int, float]
    mean_run: float

    @classmethod
    def load(cls, name: str) -> Mix:
        cluster = json.loads(Path(__file__).with_name("acme.json").read_text())["clusters"][name]
        shares = _steps(cluster["jobsBySize"])
        card_time = dict.fromkeys(shares, 0.0)
        for size, share in _steps(cluster["cardTimeBySize"]).items():
            card_time[min(known for known in shares if known >= size)] += share
        return cls(name, shares, card_time, cluster["meanRunSeconds"])

    @cached_property
    def runs(self) -> dict[int, float]:
        """Mean run time in seconds by size of the trace; the mean over all jobs is the trace's."""
        unit = self.mean_run / sum(share / size for size, share in self.card_time.items())
        return {size: unit * self.card_time[size] / size / share for size, share in self.shares.items()}

    def cards(self, size: int) -> int:
        """Cards asked for by a job that has `size` in the trace."""
        return size * SCALE[self.name] if size >= CARDS else size

    def jobs(self, fleet_cards: int, load: float, rack_cards: int, seed: int) -> list[Job]:
        """The day's jobs in order of arrival."""
        rng = random.Random(f"{self.name} {seed}")
        drawn, work = [], 0.0
        while work < load * fleet_cards * DAY:
            cards, run = self._draw(rng, rack_cards)
            drawn.append((min(cards, fleet_cards), run))
            work += drawn[-1][0] * run
        moments = sorted(0.0 if rng.random() < BACKLOG else rng.uniform(0, DAY) for _ in drawn)
        return [Job(i, *job, moment) for i, (job, moment) in enumerate(zip(drawn, moments, strict=True))]

    def _draw(self, rng: random.Random, rack_cards: int) -> tuple[int, float]:
        """Cards and seconds of one job."""
        size = rng.choices(list(self.shares), list(self.shares.values()))[0]
        cards = self.cards(size)
        if cards > rack_cards and rng.random() < 1 / 3:
            cards = CARDS * max(1, round(cards / CARDS * rng.uniform(0.75, 1.25)))
        run = self.runs[size] * rng.lognormvariate(-SIGMA * SIGMA / 2, SIGMA)
        return _legal(cards), min(max(run, 1.0), DAY)


def _steps(points: list[list[float]]) -> dict[int, float]:
    """Size to its share, from a cumulative curve in percent."""
    rising = [(0, 0.0), *((int(size), share) for size, share in points)]
    shares = {size: (share - before) / 100 for (_, before), (size, share) in pairwise(rising) if share > before}
    total = math.fsum(shares.values())
    return {size: share / total for size, share in shares.items()}


def _legal(cards: int) -> int:
    """Whole nodes from a node on."""
    return cards if cards <= CARDS else -(-cards // CARDS) * CARDS
