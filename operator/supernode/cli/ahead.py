"""Groups that wait in the fleet already: those who fit take their cards first, for the others nodes may be held."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from supernode.api.cardgroup import CardGroupSpec
from supernode.cli.inventory import Snapshot
from supernode.control.grouping import request_for
from supernode.control.holds import Holds
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.control.planner import Ask, Planner, decide
from supernode.control.records import Key
from supernode.control.waiting import Turn, Waiting, turn_of
from supernode.placement import Placement, Refusal
from supernode.topology.fleet import Fleet

HOLD_AFTER: Final = Patience().hold_after
"""Seconds a group has waited before nodes are held for it: what the operator does unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What stands at one moment. fleet: after those who wait and fit. turns: of those who go on waiting, by name."""

    fleet: Fleet
    holds: Holds
    turns: dict[str, Turn]
    moment: datetime

    def decide(self, fleet: Fleet, name: str, spec: CardGroupSpec, *, patient: bool = True) -> Placement | Refusal:
        """What the operator would answer a group that comes now, or that waits already and is asked for again.

        patient: while it waits for its preferred level.
        """
        namespace, _, last = name.partition("/")
        turn = self.turns.get(name) or (-spec.priority, self.moment, (namespace, last))
        answer = decide(self.holds.open_to(fleet, turn), _ask(name, spec, patient=patient))
        return self.holds.explained(answer, turn, fleet) if isinstance(answer, Refusal) else answer


def _ask(name: str, spec: CardGroupSpec, *, patient: bool) -> Ask:
    preferred = spec.topology.preferred if spec.topology and patient else None
    return Ask(request_for(name, spec), (preferred.level, preferred.wait) if preferred else None)


def who_is_ahead(snapshot: Snapshot, moment: datetime) -> Ahead:
    """Decide for those who wait as the operator does, by their turn, and find what is held for whom at this moment."""
    waiting, holds = Waiting(), Holds(HOLD_AFTER)
    for group in snapshot.waiting:
        waiting.put(group, moment, 0.0)
    for _, line in waiting.queue():
        answer = decide(snapshot.fleet, line.ask)
        if isinstance(answer, Refusal):
            waiting.refused(line, answer, snapshot.fleet, (0, 0))
    if snapshot.waiting:
        asyncio.run(_review(holds, snapshot.fleet, waiting, moment))
    fleet, placed = _placed(snapshot.fleet, holds, waiting)
    turns = {"/".join(group.key): turn_of(group) for group in snapshot.waiting if group.key not in placed}
    return Ahead(fleet, holds, turns, moment)


async def _review(holds: Holds, fleet: Fleet, waiting: Waiting, moment: datetime) -> None:
    """One review looks for some holds only, and says when there are more to look for."""
    heads, planner = waiting.heads(), Planner(Observer())
    while await holds.review(fleet, heads, planner, moment, 0.0) == 0.0:
        pass


def _placed(fleet: Fleet, holds: Holds, waiting: Waiting) -> tuple[Fleet, set[Key]]:
    """The fleet after those who fit beside what is held, and who they are."""
    placed: set[Key] = set()
    queue = waiting.queue()
    while queue:
        turn, line = heapq.heappop(queue)
        answer = decide(holds.open_to(fleet, turn), line.ask)
        if isinstance(answer, Refusal):
            waiting.refused(line, answer, fleet, (0, 0))
            continue
        fleet = fleet.take(answer.held)
        placed.add(turn[2])
        waiting.forget(turn[2])
        if (following := waiting.turn(line)) is not None:
            heapq.heappush(queue, (following, line))
    return fleet, placed
