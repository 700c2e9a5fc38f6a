"""The ledger of a large supernode stays far below what an API object may be, whatever realistic jobs come and go."""

import json
import random

import pytest

from bench.acme import Mix
from bench.fleets import CARDS, empty, profile
from supernode.placement import Placement, Request, plan
from supernode.topology.fleet import Fleet
from supernode.topology.ledger import LedgerEntry, by_supernode
from supernode.topology.node import Member

MESH = profile("mesh8192", 128, 8)
LIMIT = 200_000
"""Bytes; an API object may have about 1.5 million."""


@pytest.mark.parametrize("cluster", ["Seren", "Kalos"])
def test_the_ledger_of_8192_cards_is_small(cluster: str) -> None:
    """Jobs as the traces run side by side: each size as often as its share of jobs times its mean run time says."""
    mix = Mix.load(cluster)
    rng = random.Random(cluster)
    sizes = list(mix.shares)
    weights = [mix.shares[size] * mix.runs[size] for size in sizes]
    fleet: Fleet = empty(MESH, 1)
    running: dict[str, tuple[Member, ...]] = {}
    most = 0
    for number in range(4000):
        cards = min(rng.choices(sizes, weights)[0], 1024)
        each = min(cards, CARDS)
        name = f"team-{number % 40}/pretrain-{number}"
        answer = plan(fleet, Request(name, -(-cards // each), each))
        if isinstance(answer, Placement):
            fleet = fleet.take(answer.members)
            running[name] = answer.members
        while running and (not isinstance(answer, Placement) and rng.random() < 0.7):
            fleet = fleet.release(running.pop(rng.choice(list(running))))
        if number % 100 == 99:
            most = max(most, _size(running))
    assert most > 5_000, "there was something to write down"
    assert most < LIMIT


def _size(running: dict[str, tuple[Member, ...]]) -> int:
    uid = "0f6b2c3a-9a51-4b0e-8a4e-3f1f6f0f8f11"
    entries = [
        LedgerEntry(name, uid, tuple(runs)).text
        for name, members in running.items()
        for runs in by_supernode(members).values()
    ]
    return len(json.dumps(entries, separators=(",", ":")))
