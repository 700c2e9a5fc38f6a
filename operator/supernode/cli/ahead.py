"""Groups that wait in the fleet already: those who fit take their cards first, for the others nodes may be held."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from supernode.api.cardgroup import CardGroupSpec
from supernode.cli.inventory import Snapshot
from supernode.control.grouping import Group
from supernode.control.holds import Holds
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.control.planner import Ask, Planner, decide
from supernode.control.waiting import Turn, Waiting, ask_of, turn_of, waiting_since
from supernode.placement import Placement, Refusal
from supernode.topology.fleet import Fleet

PATIENCE: Final = Patience()
"""How long groups have waited before nodes are held for them: as the operator has it unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What stands at one moment. fleet: as whoever is next finds it. groups: those who wait, by name, with their turns.
    queue: who of them fits and has not had its turn yet, in order; those asked for are not in it."""

    fleet: Fleet
    holds: Holds
    moment: datetime
    groups: Mapping[str, tuple[Group, Turn]]
    queue: tuple[tuple[Turn, Ask], ...]

    def reach(self, name: str, spec: CardGroupSpec) -> tuple[Turn, Ask, Ahead]:
        """The turn of a group, what it asks for by then, and what those before it leave: all who wait, unless it waits
        itself."""
        namespace, _, last = name.partition("/")
        created, since = self.moment, self.moment
        if (waits := self.groups.get(name)) is not None:
            group, (_, created, _) = waits
            since = waiting_since(group)
        turn = (-spec.priority, created, (namespace, last))
        ask, _ = ask_of(spec, since, self.moment)
        return turn, ask, self._before(turn if waits else None)

    def _before(self, turn: Turn | None) -> Ahead:
        """Once those have their cards whose turn comes before this one, where it is None all."""
        fleet, refused = self.fleet, set[Ask]()
        behind = tuple(entry for entry in self.queue if turn is not None and entry[0] >= turn)
        for earlier, ask in self.queue[: len(self.queue) - len(behind)]:
            answer = decide(self.holds.open_to(fleet, earlier), ask) if ask not in refused else None
            if isinstance(answer, Placement):
                fleet = fleet.take(answer.held)
            else:
                refused.add(ask)
        return replace(self, fleet=fleet, queue=tuple(entry for entry in behind if entry[1] not in refused))

    def decide(self, turn: Turn, ask: Ask) -> Placement | Refusal:
        """What the operator would answer now."""
        answer = decide(self.holds.open_to(self.fleet, turn), ask)
        return self.holds.explained(answer, turn, self.fleet) if isinstance(answer, Refusal) else answer

    def taken(self, answer: Placement) -> Ahead:
        """After the next one has got this."""
        return replace(self, fleet=self.fleet.take(answer.held))


def who_is_ahead(snapshot: Snapshot, moment: datetime, asked: Collection[str] = ()) -> Ahead:
    """Decide for those who wait as the operator does, by their turn, and find what is held for whom at this moment.

    asked: names of groups that are asked for. Those of them that wait take no cards before they are.
    """
    waiting, holds = Waiting(), Holds(PATIENCE)
    groups = {"/".join(group.key): (group, turn_of(group, snapshot.jobs.get(group.key))) for group in snapshot.waiting}
    for group, turn in groups.values():
        waiting.put(group, turn, moment, 0.0)
    for _, line in waiting.queue():
        answer = decide(snapshot.fleet, line.ask)
        if isinstance(answer, Refusal):
            waiting.refused(line, answer, snapshot.fleet, (0, 0))
    if snapshot.waiting:
        asyncio.run(_review(holds, snapshot.fleet, waiting, moment))
    fitting = [(line.turn_of(key), line.ask) for _, line in waiting.queue() for key in line.groups]
    queue = sorted((entry for entry in fitting if "/".join(entry[0][2]) not in asked), key=lambda entry: entry[0])
    return Ahead(snapshot.fleet, holds, moment, groups, tuple(queue))


async def _review(holds: Holds, fleet: Fleet, waiting: Waiting, moment: datetime) -> None:
    """One review looks for some holds only, and says when there are more to look for."""
    heads, planner = waiting.heads(), Planner(Observer())
    while await holds.review(fleet, heads, planner, moment, 0.0) == 0.0:
        pass
