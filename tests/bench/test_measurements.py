"""What the measurements stand on: the peers' rules, the load, and how figures are held against expectations."""

from itertools import islice
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from bench.acme import DAY, SCALE, Mix
from bench.day import Asked, Peer, drive
from bench.figures import Expectations, Figure, report
from bench.fleets import CARDS, T384
from bench.optimum import minimal
from bench.peers import best_fit, first_fit
from bench.plots import draw_growth
from bench.render import GROUPS, measure
from bench.spans import SETTINGS, Setting, draws
from bench.tree import Ints, Slices, Tree
from supernode.placement import Placement


def faults(tree: Tree, counts: Ints | None, members: int, slices: Slices) -> list[str]:
    """What is wrong with members per node."""
    if counts is None:
        return ["no place found where there is one"]
    found = []
    if counts.sum() != members or (counts > tree.caps).any() or (counts < 0).any():
        found.append("not as many members as asked, or more than is free")
    for level in range(tree.levels):
        if (counts % dict(slices).get(level, 1)).any():
            found.append(f"slices straddle at level {level}")
        if level + 1 < tree.levels:
            counts = tree.gather(counts, level)
    return found


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_best_fit_is_legal_and_never_below_the_minimum(setting: Setting) -> None:
    for _, tree, members in islice(draws(setting, Random(3)), 30):
        counts = best_fit(tree, members, setting.level, required=setting.required, slices=setting.slices)
        assert faults(tree, counts, members, setting.slices) == []
        least = minimal(tree, members, setting.slices)
        assert counts is not None
        assert least is not None
        assert least <= tree.spans(counts)


def test_floors_are_lower_bounds() -> None:
    for _, tree, members in islice(draws(SETTINGS[0], Random(4)), 30):
        least = minimal(tree, members)
        assert least is not None
        assert all(floor <= count for floor, count in zip(tree.floors(members), least, strict=True))


def test_peers_by_hand() -> None:
    """Two supernodes of two racks of two nodes; the digits are what is free."""
    tree = Tree(np.array([1, 2, 4, 0, 3, 3, 1, 0]), (np.repeat(np.arange(4), 2), np.repeat(np.arange(2), 2)))
    assert first_fit(tree, 4) is not None
    assert first_fit(tree, 4).tolist() == [1, 2, 1, 0, 0, 0, 0, 0]  # type: ignore[union-attr]
    assert first_fit(tree, 15) is None
    assert best_fit(tree, 4, 1).tolist() == [0, 0, 4, 0, 0, 0, 0, 0]  # type: ignore[union-attr]
    assert best_fit(tree, 6, 1).tolist() == [0, 0, 0, 0, 3, 3, 0, 0]  # type: ignore[union-attr]
    assert best_fit(tree, 7, 1, required=True) is None
    assert best_fit(tree, 14, 1).sum() == 14  # type: ignore[union-attr]
    assert minimal(tree, 14) == (2, 4, 6)


@pytest.mark.parametrize("name", SCALE)
def test_the_load_asks_for_what_it_says(name: str) -> None:
    mix = Mix.load(name)
    jobs = mix.jobs(100_000, 1.2, 32, seed=1)
    asked = sum(job.cards * job.run for job in jobs) / (100_000 * DAY)
    assert 1.2 <= asked < 1.3
    assert [job.arrival for job in jobs] == sorted(job.arrival for job in jobs)
    assert all(job.cards <= CARDS or job.cards % CARDS == 0 for job in jobs)
    assert sum(mix.shares[size] * mix.runs[size] for size in mix.shares) == pytest.approx(mix.mean_run)
    assert jobs == mix.jobs(100_000, 1.2, 32, seed=1)


def test_a_day_gives_back_what_it_takes() -> None:
    jobs = Mix.load("Seren").jobs(99_840, 0.02, 32, seed=2)
    peer = Peer(T384, "best fit")
    day = drive(peer, jobs, T384, 3 * DAY)
    assert day.started == len(jobs)
    assert peer.free.cards.sum() == 99_840


@pytest.mark.parametrize(("spans", "counted"), [((1, 4, 4), 1), ((1, 4, 5), 0), ((2, 2, 4), 0)])
def test_a_day_takes_no_answer_at_its_word(spans: tuple[int, int, int], counted: int) -> None:
    """Four racks with room for one, or one rack with room for three: each level's own floor is 1, 2 and 4."""
    caps = np.array([1, 0, 1, 0, 1, 0, 1, 0, 2, 1, 0, 0, 0, 0, 0, 0])
    tree = Tree(caps, (np.repeat(np.arange(8), 2), np.repeat(np.arange(2), 4)))
    told = dict(zip(("supernode", "rack", "node"), spans, strict=True))
    asked = Asked()
    asked.compare(tree, 4, cast(Placement, SimpleNamespace(spans=told, minimal=told)))
    assert asked.minimal == counted


def test_a_missed_limit_is_told_from_a_missed_aim(capsys: pytest.CaptureFixture[str]) -> None:
    known = Expectations(
        {
            "machine": {"yardstickMs": 5.0},
            "figures": {
                "ratio": {"most": 1.1, "seen": 1.0, "aim": 1.0},
                "time": {"most": 2.0, "seen": 1.5},
            },
        }
    )
    assert report([Figure("ratio", 1.05), Figure("time", 3.0, "ms"), Figure("other", 7)], known, yardstick_ms=10.0)
    assert "kept, aim not reached" in capsys.readouterr().out
    assert not report([Figure("time", 3.0, "ms")], known, yardstick_ms=5.0)
    assert "MISSED" in capsys.readouterr().out


def test_the_growth_plot(tmp_path: Path) -> None:
    path = draw_growth([Figure("growth: 8 cards of 10000: p50", 0.2, "ms")], tmp_path)
    assert path.read_bytes().count(b"<svg") == 1


def test_what_a_group_is_told_is_measured_against_expectations() -> None:
    known = Expectations.load()
    figures = measure("ascend-a2", GROUPS["ascend-a2"], rounds=1)
    assert all(known.of(figure.name) and figure.value > 0 for figure in figures)
