"""Repair: the smallest legal move after hardware failed under a group. Pure and deterministic, like `plan`.

The steps, smallest first: nothing moves; spares replace the failed members; free cards do; blocks that lost a member
move whole, the innermost ones first, then those around them; the whole group is placed again. Members that do not move
keep their cards, ranks keep their order, and every rule that held for the placement holds afterwards, except that a
repair may use what supernodes keep in reserve for it.

Why each step is decided exactly: block sizes divide each other, so a failed member belongs to one innermost block that
has survivors, and must come back into the domain of these; everything inside that block, up to the failed *unit*,
failed with it. A unit fills one slot of its own size in its domain, wherever it lies there, and takes exactly one from
the units further out. So units can be placed one after the other, inner domains first, each as near as it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from operator import attrgetter

from supernode.api.cardgroup import RepairStep
from supernode.placement.plan import decide, plan, task_of
from supernode.placement.request import Block, Request
from supernode.placement.result import Placement, Refusal
from supernode.placement.shape import Task
from supernode.placement.spares import choose_spares
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Member, Node

MAX_TRIES = 512
"""Choices of further domains that `maxSpan` would still allow, tried before a step counts as impossible."""

Works = Callable[[Member], bool]
"""Whether a seat's node and cards work."""

Masks = dict[str, int]
"""Node name to cards (bitmask)."""


@dataclass(frozen=True, slots=True)
class Repair:
    """step: the smallest that is possible. members, spares: all of them afterwards. missing: spares asked for and not
    to be had. proven: false when a budget ended the search for a smaller step."""

    step: RepairStep
    members: tuple[Member, ...]
    spares: tuple[Member, ...] = ()
    missing: int = 0
    proven: bool = True

    def moved(self, before: Iterable[Member]) -> list[tuple[Member, Member]]:
        """Members whose cards are others than before, as (before, after)."""
        return [(old, new) for old, new in zip(before, self.members, strict=True) if old[1:4] != new[1:4]]


def repair(
    fleet: Fleet, request: Request, members: Sequence[Member], spares: Sequence[Member], works: Works
) -> Repair | Refusal:
    """The smallest step that makes the group whole, or why none does. fleet: with the group's cards taken."""
    home = next((view for member in members if (view := fleet.supernodes.get(member.supernode)) is not None), None)
    task = None if home is None else task_of(fleet, request, home.profile)
    if task is None or isinstance(task, Refusal):
        return _again(fleet, request, members, spares)
    site = _Site(fleet, task, tuple(members), tuple(spares), works)
    broken = frozenset(member.rank for member in members if not works(member))
    if not broken:
        return site.finished(RepairStep.RESTART, {})
    for step, ranks in site.steps(broken):
        assigned = site.assign(ranks, spares_only=step is RepairStep.SPARE)
        if assigned is not None:
            return site.finished(step, assigned)
    outcome = _again(fleet, request, members, spares)
    return replace(outcome, proven=outcome.proven and site.proven)


def _again(fleet: Fleet, request: Request, members: Sequence[Member], spares: Sequence[Member]) -> Repair | Refusal:
    """The whole group placed anew: without all its spares, then out of the reserve, if there is no other way."""
    freed = fleet.release(fleet.known((*members, *spares)))
    answer = plan(freed, request)
    if isinstance(answer, Placement):
        return Repair(RepairStep.GROUP, answer.members, answer.spares, 0, answer.proven)
    bare = replace(request, spares=None)
    open_ = Fleet([_without_reserve(view) for view in freed.supernodes.values()], freed.profiles)
    for snapshot in (freed, open_):
        placed = decide(snapshot, bare)
        if placed is not None:
            task = task_of(fleet, request, fleet.profiles[placed.profile])
            if isinstance(task, Refusal):
                return task
            found, missing = _spares_beside(freed.take(placed.members), task, placed.members, ())
            return Repair(RepairStep.GROUP, placed.members, found, missing, placed.proven)
    return answer


def _without_reserve(view: SuperNodeView) -> SuperNodeView:
    return SuperNodeView(view.name, view.profile, view.nodes, cordoned=view.cordoned, reserve=0)


def _spares_beside(
    fleet: Fleet, task: Task, members: Sequence[Member], present: Sequence[Member]
) -> tuple[tuple[Member, ...], int]:
    """The present spares that still lie where they should, and more where some are missing; and how many are not to be
    had. fleet: with the cards of members and present spares taken."""
    if not task.shape.spares:
        return (), 0
    found: list[Member] = []
    missing = 0
    within = task.profile.levels[task.shape.within].name
    homes = {member.domains.get(within) for member in members}
    for name, ranks in groupby(sorted(members, key=attrgetter("supernode")), key=attrgetter("supernode")):
        here = [spare for spare in present if spare.supernode == name and spare.domains.get(within) in homes]
        known = fleet.known(ranks)
        more, short = choose_spares(fleet.supernodes[name], task.shape, known, here) if known else ([], 0)
        found += [*here, *more]
        missing += short
    return tuple(spare._replace(rank=number) for number, spare in enumerate(found)), missing


@dataclass(frozen=True, slots=True)
class _Region:
    """Where units must lie: a domain of a level (by index) of one supernode, or anywhere. cards: of each node there."""

    index: int
    supernode: str | None = None
    domain: str | None = None
    cards: int = -1


@dataclass
class _Site:
    """One group under repair. blocks: (level index, members), inner to outer, the whole group last if it must lie in
    one domain. bounds: level name to the most domains of it. proven: no budget ended a search."""

    fleet: Fleet
    task: Task
    members: tuple[Member, ...]
    spares: tuple[Member, ...]
    works: Works
    proven: bool = True
    blocks: list[tuple[int, int]] = field(init=False)
    bounds: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        profile, steps, count = self.task.profile, self.task.shape.steps, len(self.members)
        self.blocks = [(at, size) for at, size in enumerate(steps) if size > (steps[at - 1] if at else 1)]
        top = len(profile.levels) - 1
        if self.task.most_supernodes == 1 and steps[top] < count:
            self.blocks.append((top, count))
        most = [(top, self.task.most_supernodes)] if (self.task.most_supernodes or 1) > 1 else []
        self.bounds = {profile.level_names[at]: limit for at, limit in (*most, *reversed(self.task.spans)) if limit}
        self.views = {view.name: view for view in self.fleet.of_profile(profile.name)}
        levels = (
            replace(level, fabric="switch") if at > profile.node_index else level
            for at, level in enumerate(profile.levels)
        )
        self.plain = replace(
            profile,
            levels=tuple(levels),
            reserve=0,
            block_multiple=1,
            whole_nodes_across_nodes=False,
            match_positions=False,
        )

    def steps(self, broken: Set[int]) -> Iterator[tuple[RepairStep, Set[int]]]:
        """Steps short of placing the whole group again, smallest first, each with the ranks that it moves."""
        if self.task.box is not None or self.task.shape.whole:
            return
        yield RepairStep.SPARE, broken
        if len(broken) == len(self.members):
            return
        yield RepairStep.FREE, broken
        before = broken
        for _, size in self.blocks:
            ranks = frozenset(
                rank for first in {rank // size for rank in broken} for rank in range(first * size, (first + 1) * size)
            )
            if size < len(self.members) and ranks != before:
                yield RepairStep.BLOCK, ranks
                before = ranks

    def assign(self, ranks: Set[int], *, spares_only: bool) -> dict[int, Member] | None:
        """Seats for these ranks by every rule, or None when there are none."""
        spare, free = self._masks(ranks, spares_only=spares_only)
        found = self._assign(ranks, dict(spare), dict(free))
        if found is None or self._in_bounds(found):
            return found
        for among in self._choices(ranks, free or spare):
            found = self._assign(ranks, _only(spare, among), _only(free, among))
            if found is not None:
                return found
        return None

    def _masks(self, ranks: Set[int], *, spares_only: bool) -> tuple[Masks, Masks]:
        """What spares hold, and all that may be given: these, what is free, and what these ranks leave behind."""
        spare: Masks = {}
        free: Masks = {}
        for seat in self.spares:
            if self._usable(seat):
                spare[seat.node] = spare.get(seat.node, 0) | seat.cards
        if not spares_only:
            for view in self.views.values():
                free |= {node.name: node.free for node in view.nodes if node.free and not view.cordoned}
            left = [self.members[rank] for rank in ranks if self._usable(self.members[rank])]
            for seat in (*self.spares, *left):
                if self._usable(seat):
                    free[seat.node] = free.get(seat.node, 0) | seat.cards
        return spare, free

    def _usable(self, seat: Member) -> bool:
        """Whether a seat of the group can be given to another of its members."""
        view = self.views.get(seat.supernode)
        known = view is not None and seat.node in view.layout.index
        return view is not None and known and view.node(seat.node).schedulable and self.works(seat)

    # The bounds of maxSpan.

    def _in_bounds(self, found: Mapping[int, Member]) -> bool:
        after = [found.get(member.rank, member) for member in self.members]
        return all(len({member.domains.get(name) for member in after}) <= most for name, most in self.bounds.items())

    def _choices(self, ranks: Set[int], masks: Masks) -> Iterator[frozenset[str]]:
        """The sets of nodes within the domains that survivors touch and as many more as each bound allows, which have
        cards enough for these ranks; the roomiest first."""
        stay = [member for member in self.members if member.rank not in ranks]
        touched = [(level, most, {member.domains.get(level) for member in stay}) for level, most in self.bounds.items()]
        homes = {
            node.name: view.domains(node) for view in self.views.values() for node in view.nodes if node.name in masks
        }
        room = {name: masks[name].bit_count() // self.task.shape.cards for name in homes}
        for tries, nodes in enumerate(_within(list(homes), homes, room, touched, len(ranks))):
            if tries == MAX_TRIES:
                self.proven = False
                return
            if nodes:
                yield frozenset(nodes)

    # Seats for failed units.

    def _assign(self, ranks: Set[int], spare: Masks, free: Masks) -> dict[int, Member] | None:
        found: dict[int, Member] = {}
        for (region, size), starts in self._units(ranks).items():
            if region is None:
                return None
            for masks in (spare, free):
                starts = self._near_first(starts, size, region, masks, (spare, free), found)
            if starts:
                return None
        return found

    def _units(self, ranks: Set[int]) -> dict[tuple[_Region | None, int], list[int]]:
        """First ranks of the failed units, by where they must lie and their size, inner regions first."""
        found: dict[int, dict[tuple[_Region | None, int], list[int]]] = {}
        done = -1
        for rank in sorted(ranks):
            if rank <= done:
                continue
            order, size, region = self._unit(rank, ranks)
            done = rank // size * size + size - 1
            found.setdefault(order, {}).setdefault((region, size), []).append(done + 1 - size)
        return {key: starts for order in sorted(found) for key, starts in found[order].items()}

    def _unit(self, rank: int, ranks: Set[int]) -> tuple[int, int, _Region | None]:
        """How far out the innermost block lies of which some stay; the size of what failed whole inside it; and where
        that must come back, None when it is not known."""
        size = 1
        for order, (index, members) in enumerate(self.blocks):
            first = rank // members * members
            stays = next((mate for mate in range(first, first + members) if mate not in ranks), None)
            if stays is not None:
                return order, size, self._region(index, self.members[stays])
            size = members
        return len(self.blocks), size, _Region(len(self.task.profile.levels))

    def _region(self, index: int, mate: Member) -> _Region | None:
        """The domain of a level in which a member lies that stays; None when that is not known."""
        profile = self.task.profile
        name = profile.level_names[max(index, profile.node_index)]
        if name not in mate.domains:
            return None
        if index >= profile.node_index:
            return _Region(index, mate.supernode, mate.domains[name])
        size = profile.levels[index].cards
        start = (mate.cards.bit_length() - 1) // size * size
        return _Region(index, mate.supernode, mate.domains[name], (1 << size) - 1 << start)

    def _near_first(
        self,
        starts: list[int],
        size: int,
        region: _Region,
        masks: Masks,
        every: tuple[Masks, Masks],
        found: dict[int, Member],
    ) -> list[int]:
        """Give units seats as near to where they were as there are any; the units that got none."""
        profile = self.task.profile
        inner = max((index for index, members in self.blocks if members <= size), default=0)
        left = starts
        for index in range(max(profile.node_index + 1, inner), min(region.index, len(profile.levels))):
            name = profile.level_names[index]
            homes: dict[tuple[str, str], list[int]] = {}
            for start in left:
                old = self.members[start]
                if name in old.domains:
                    homes.setdefault((old.supernode, old.domains[name]), []).append(start)
            for (supernode, home), some in homes.items():
                self._fill(some, size, _Region(index, supernode, home), masks, every, found)
            left = [start for start in left if start not in found]
        self._fill(left, size, region, masks, every, found)
        return [start for start in left if start not in found]

    def _fill(
        self,
        starts: list[int],
        size: int,
        region: _Region,
        masks: Masks,
        every: tuple[Masks, Masks],
        found: dict[int, Member],
    ) -> None:
        """Give seats to as many of these units as the region has room for."""
        ground = self._ground(region, masks) if starts else None
        if ground is None:
            return
        fits, most = 0, len(starts)
        count, best = most, None
        while fits < most:
            answer = decide(ground, self._request(count, size))
            if answer is not None:
                fits, best = count, answer
            else:
                most = count - 1
            count = -(-(fits + most) // 2)
        for at, seat in enumerate(best.members if best else ()):
            rank = starts[at // size] + at % size
            found[rank] = seat._replace(rank=rank)
            for of in every:
                if seat.node in of:
                    of[seat.node] &= ~seat.cards

    def _request(self, units: int, size: int) -> Request:
        names = self.task.profile.level_names
        blocks = tuple(Block(names[index], members) for index, members in self.blocks if members <= size)
        return Request("repair", units * size, self.task.shape.cards, blocks=blocks)

    def _ground(self, region: _Region, masks: Masks) -> Fleet | None:
        """The cards of a region that masks name, as a fleet of its own; None where there are none."""
        views = []
        level = self.task.profile.level_names[max(region.index, self.task.profile.node_index)] if region.domain else ""
        for view in self.views.values():
            if region.supernode in (None, view.name):
                nodes = [
                    Node(node.name, node.cards, cards, path=node.path)
                    for node in view.nodes
                    if (cards := masks.get(node.name, 0) & region.cards)
                    and (region.domain is None or view.domains(node)[level] == region.domain)
                ]
                views += [SuperNodeView(view.name, self.plain, nodes)] if nodes else []
        return Fleet(views, [self.plain]) if views else None

    # The outcome.

    def finished(self, step: RepairStep, assigned: Mapping[int, Member]) -> Repair:
        """The repair with these ranks on their new seats, and spares beside."""
        members = tuple(assigned.get(member.rank, member) for member in self.members)
        used: Masks = {}
        for seat in assigned.values():
            used[seat.node] = used.get(seat.node, 0) | seat.cards
        kept = [seat for seat in self.spares if self.works(seat) and not seat.cards & used.get(seat.node, 0)]
        freed = self.fleet.release(self.fleet.known((*self.members, *self.spares)))
        taken = freed.take(freed.known((*members, *kept)))
        spares, missing = _spares_beside(taken, self.task, members, kept)
        return Repair(step, members, spares, missing, self.proven)


def _within(
    nodes: Sequence[str],
    homes: Mapping[str, Mapping[str, str]],
    room: Mapping[str, int],
    touched: Sequence[tuple[str, int, Set[str | None]]],
    needed: int,
) -> Iterator[Sequence[str]]:
    """Of these nodes, those in the domains of each level that are touched already and in as many more as its bound
    allows, for each choice of these that has room for the members needed; nothing where a choice leads nowhere.

    homes: domains by level. room: members that each node takes at most. touched: (level, most domains, those touched),
    the outermost first.
    """
    if not touched:
        yield nodes
        return
    (level, most, near), *inner = touched
    there: dict[str, list[str]] = {}
    for node in nodes:
        there.setdefault(homes[node][level], []).append(node)
    reached = {home: sum(room[node] for node in of) for home, of in there.items()}
    kept = [home for home in there if home in near]
    others = sorted(there.keys() - near, key=lambda home: (-reached[home], home))
    more, lacking = min(most - len(near), len(others)), needed - sum(reached[home] for home in kept)
    for chosen in roomy([reached[home] for home in others], more, lacking):
        inside = [node for home in (*kept, *(others[at] for at in chosen)) for node in there[home]]
        alive = False
        for choice in _within(inside, homes, room, inner, needed):
            alive = True
            yield choice
        if not alive:
            yield ()


def roomy(room: Sequence[int], count: int, needed: int) -> Iterator[Sequence[int]]:
    """The choices of `count` indices that together have the room needed, in lexicographic order. room: descending.

    Where the next indices have too little room, those after them have, so no choice is looked at in vain.
    """
    reach = [0, *accumulate(room)]
    if count < 0 or reach[count] < needed:
        return
    chosen = list(range(count))
    while True:
        yield tuple(chosen)
        held = sum(room[at] for at in chosen)
        for place in reversed(range(count)):
            held -= room[chosen[place]]
            first, left = chosen[place] + 1, count - place
            if first + left <= len(room) and held + reach[first + left] - reach[first] >= needed:
                chosen[place:] = range(first, first + left)
                break
        else:
            return


def _only(masks: Masks, nodes: Set[str]) -> Masks:
    return {node: cards for node, cards in masks.items() if node in nodes}
