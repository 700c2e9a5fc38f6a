"""A request resolved against a profile: what the search needs to know, or the rule the request breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from math import lcm

from supernode.api.conditions import Reason
from supernode.placement.request import Block, Request, Spares
from supernode.placement.result import Refusal
from supernode.placement.shapes import IllegalShapeError, Need, box_need, check_joined, check_several, no_torus
from supernode.topology.cards import Packing, legal_sizes, packing
from supernode.topology.profile import Profile, UnknownLevel


@dataclass(frozen=True)
class Shape:
    """What makes two requests alike for one supernode: it keys what views remember.

    cards: per member. steps: for each level of the profile, inner to outer, the members in one domain come in multiples
    of this; each divides the next. whole: indices of ring or torus levels whose domains are given whole or not at all.
    spares: single members, bound by no block, that each domain of level `within` (an index) holds besides its ranks.
    """

    profile: Profile
    cards: int
    steps: tuple[int, ...]
    whole: frozenset[int] = frozenset()
    spares: int = 0
    within: int = 0

    @cached_property
    def loose(self) -> Packing:
        """Of single members: what is left to spares."""
        return packing(self.profile.node_make, self.cards)

    @property
    def spares_in_top(self) -> bool:
        """Whether the spares of a group may lie anywhere in its supernode; also where it has none."""
        return not self.spares or self.within == len(self.profile.levels) - 1

    @cached_property
    def packing(self) -> Packing:
        make = self.profile.node_make
        return packing(make, self.cards, self.steps[: len(make.sizes)])

    @property
    def whole_nodes(self) -> bool:
        """Whether each member is a whole node."""
        return self.cards == self.profile.cards_per_node

    @cached_property
    def per_node(self) -> int:
        """Members of one node where nodes are given whole; 0 where a node may be shared, be it by spares."""
        members = self.steps[self.profile.node_index]
        shared = members * self.cards != self.profile.cards_per_node or (self.spares > 0 and members > 1)
        return 0 if shared else members

    @cached_property
    def above(self) -> tuple[int, ...]:
        """Indices of the levels above the node, inner to outer."""
        return tuple(range(self.profile.node_index + 1, len(self.profile.levels)))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.profile.name, self.cards, self.steps, self.whole, self.spares, self.within))

    def without(self, level: int) -> Shape:
        """The same with no blocks at this level or further out, and without spares."""
        bound = self.steps[level - 1] if level else 1
        return replace(self, steps=tuple(min(step, bound) for step in self.steps), spares=0, within=0)


@dataclass(frozen=True, slots=True)
class Task:
    """A request for one profile, free of rule violations.

    spans: (level index, most domains) for levels from the node up to the one below the outermost. most_supernodes: the
    most outermost domains, or None. tightest: index of the level that messages name when enough is free but lies apart.
    box: the part of a ring or torus that it takes, if it does; then no search is needed.
    """

    request: Request
    shape: Shape
    spans: tuple[tuple[int, int], ...]
    most_supernodes: int | None
    tightest: int
    box: Need | None = None

    @property
    def profile(self) -> Profile:
        return self.shape.profile


def resolve(request: Request, profile: Profile, largest: Callable[[int], int]) -> Task | Refusal:
    """The task, or the refusal naming the rule, the field and the remedy.

    largest: level index to the cards of the largest real domain of that level; asked only beyond the nominal size.
    """
    try:
        return _resolve(request, profile, largest)
    except UnknownLevel as error:
        return refuse(Reason.UNKNOWN_LEVEL, f"{error}; name one of them", level=error.level)
    except IllegalShapeError as error:
        return refuse(Reason.ILLEGAL_SHAPE, str(error))
    except _BrokenRuleError as error:
        return error.refusal


def refuse(reason: Reason, message: str, *, level: str | None = None) -> Refusal:
    """A refusal that waiting cannot change."""
    return Refusal(reason, message, level, stalled=True)


class _BrokenRuleError(Exception):
    """Carries the refusal out of the checks; never leaves this module."""

    def __init__(self, reason: Reason, message: str, level: str | None = None) -> None:
        super().__init__(message)
        self.refusal = refuse(reason, message, level=level)


def _resolve(request: Request, profile: Profile, largest: Callable[[int], int]) -> Task:
    _check_numbers(request)
    _check_member(request, profile)
    top = len(profile.levels) - 1
    blocks = _checked_blocks(request, profile)
    spans = _checked_spans(request, profile)
    together = [(index, block.members) for index, block in blocks]
    together += [(index, request.members) for index, limit in spans.items() if limit == 1]
    together += [(index, request.members) for index in _required(request, profile)]
    _check_nominal(request, profile, together, largest)
    own = dict.fromkeys(range(top + 1), 1)
    for index, members in together:
        if index < top or members < request.members:
            own[index] = max(own[index], members)
    most = 1 if (top, request.members) in together else spans.get(top)
    whole, at = _grid_rules(request, profile, own)
    _whole_node_rules(request, profile, own)
    steps = tuple(accumulate((own[index] for index in range(top + 1)), lcm))
    box = None if at is None else _box(request, profile, at, steps, spans)
    loose = tuple((i, n) for i, n in sorted(spans.items()) if i < top and 1 < n < request.members)
    tightest = _tightest(request, profile, together, spans)
    if whole:
        tightest = max(tightest, max(whole) + bool(request.shape))
    shape = Shape(profile, request.cards_per_member, steps, whole)
    if request.spares is not None:
        within = _checked_spares(request.spares, request, shape, max(whole, default=at))
        shape = replace(shape, spares=request.spares.members, within=within)
        tightest = tightest if _required(request, profile) else max(tightest, within)
    return Task(request, shape, loose, most, tightest, box)


def _tightest(request: Request, profile: Profile, together: list[tuple[int, int]], spans: dict[int, int]) -> int:
    """The level named as failed when enough is free but lies apart: the required one, else the outermost bound."""
    if required := _required(request, profile):
        return min(required)
    binding = [index for index, limit in spans.items() if limit < request.members]
    return max([profile.node_index, *binding, *(index for index, _ in together)])


def _required(request: Request, profile: Profile) -> list[int]:
    """The levels of which one domain must hold the whole group, whatever else it asks for."""
    return [profile.level_index(level) for level in (request.required, request.preferred) if level is not None]


def _check_numbers(request: Request) -> None:
    if request.members < 1 or request.cards_per_member < 1:
        raise _BrokenRuleError(
            Reason.INVALID_SPEC,
            f"members is {request.members} and cardsPerMember {request.cards_per_member}; both must be at least 1",
        )
    for block in request.blocks:
        if block.members < 1:
            raise _BrokenRuleError(Reason.INVALID_SPEC, f"blocks: members of level {block.level} must be at least 1")
    for level, limit in request.max_span.items():
        if limit < 1:
            raise _BrokenRuleError(Reason.INVALID_SPEC, f"maxSpan: {level} is {limit}; it must be at least 1")


def _check_member(request: Request, profile: Profile) -> None:
    cards, most = request.cards_per_member, profile.cards_per_node
    if cards > most:
        raise _BrokenRuleError(
            Reason.ILLEGAL_MEMBER_SIZE,
            f"cardsPerMember is {cards}, but a node of profile {profile.name} has {most} cards; ask for at most {most}",
        )
    legal = legal_sizes(profile)
    if cards not in legal:
        raise _BrokenRuleError(
            Reason.ILLEGAL_MEMBER_SIZE,
            f"cardsPerMember is {cards}; profile {profile.name} allows {', '.join(map(str, legal))} cards per member: "
            f"use one of them",
        )


def _checked_blocks(request: Request, profile: Profile) -> list[tuple[int, Block]]:
    """Blocks by level index, inner to outer."""
    blocks = sorted(((profile.level_index(block.level), block) for block in request.blocks), key=lambda pair: pair[0])
    inner: Block | None = None
    for position, (index, block) in enumerate(blocks):
        if position and blocks[position - 1][0] == index:
            raise _BrokenRuleError(
                Reason.INVALID_SPEC, f"blocks names level {block.level} twice; keep one entry", block.level
            )
        if request.members % block.members:
            raise _BrokenRuleError(
                Reason.BLOCKS_DO_NOT_DIVIDE,
                f"blocks of {block.members} members per {block.level} do not divide the {request.members} members; "
                f"use a divisor of {request.members}",
                block.level,
            )
        if inner is not None and block.members % inner.members:
            raise _BrokenRuleError(
                Reason.BLOCKS_DO_NOT_DIVIDE,
                f"blocks of {inner.members} members per {inner.level} do not divide the blocks of {block.members} per "
                f"{block.level}; make the outer a multiple of the inner",
                block.level,
            )
        if block.members * request.cards_per_member % profile.block_multiple:
            raise _BrokenRuleError(
                Reason.BLOCKS_DO_NOT_DIVIDE,
                f"blocks per {block.level} have {block.members * request.cards_per_member} cards; profile "
                f"{profile.name} wants multiples of {profile.block_multiple}: change blocks or cardsPerMember",
                block.level,
            )
        inner = block
    return blocks


def _checked_spans(request: Request, profile: Profile) -> dict[int, int]:
    spans: dict[int, int] = {}
    for level, limit in request.max_span.items():
        index = profile.level_index(level)
        if index < profile.node_index:
            raise _BrokenRuleError(
                Reason.INVALID_SPEC,
                f"maxSpan: {level} lies inside the node, where alignment fixes what a member touches; "
                f"name node or a level above it, or use blocks",
                level,
            )
        spans[index] = min(limit, spans.get(index, limit))
    return spans


def _checked_spares(spares: Spares, request: Request, shape: Shape, grid: int | None) -> int:
    """The index of the level whose domains hold spares. grid: of the ring or torus that the group takes a part of."""
    profile = shape.profile
    if spares.members < 1:
        raise _BrokenRuleError(Reason.INVALID_SPEC, "spares: members must be at least 1, or leave spares out")
    if grid is not None:
        level = profile.levels[grid]
        raise _BrokenRuleError(
            Reason.ILLEGAL_SHAPE,
            f"spares: the group takes part of a {level.name}, whose fabric is {level.fabric}, and no single member can "
            f"take the place of one there; leave spares out",
            level.name,
        )
    if profile.whole_nodes_across_nodes and not shape.whole_nodes:
        raise _BrokenRuleError(
            Reason.WHOLE_NODES_ONLY,
            f"spares: profile {profile.name} gives whole nodes only across nodes, so that a spare of "
            f"{request.cards_per_member} cards elsewhere could replace nothing; leave spares out, or set "
            f"cardsPerMember to {profile.cards_per_node}",
            "node",
        )
    if spares.within is None:
        required = len(profile.levels) - 1 if request.required is None else profile.level_index(request.required)
        return max(required, profile.node_index)
    within = profile.level_index(spares.within)
    if within < profile.node_index:
        raise _BrokenRuleError(
            Reason.INVALID_SPEC,
            f"spares: within is {spares.within}, which lies inside the node and fails with it; name a level above",
            spares.within,
        )
    return within


def _check_nominal(
    request: Request, profile: Profile, asked: list[tuple[int, int]], largest: Callable[[int], int]
) -> None:
    """(level index, members together) that no domain could hold by the profile's, or the largest real, size."""
    for index, members in asked:
        level = profile.levels[index]
        cards, size = members * request.cards_per_member, level.cards
        if cards > size and cards > (size := max(size, largest(index))):
            wider = "name a wider level" if level is not profile.outermost else "let the group take more than one"
            raise _BrokenRuleError(
                Reason.NEVER_FITS,
                f"needs {members} members of {request.cards_per_member} cards ({cards} cards) in one {level.name}, but "
                f"a {level.name} of profile {profile.name} has {size} cards; ask for less or {wider}",
                level.name,
            )


def _grid_rules(request: Request, profile: Profile, own: dict[int, int]) -> tuple[frozenset[int], int | None]:
    """Rings and tori above the node that are given whole, and the one that a box is taken of.

    Up to a child of such a domain, the group stays in one child; up to the domain, it is a box of whole children;
    beyond, it takes whole domains.
    """
    whole: set[int] = set()
    for index, level in enumerate(profile.levels):
        if index <= profile.node_index or level.tree_like:
            continue
        child = profile.levels[index - 1]
        if child.cards <= request.cards <= level.cards:
            return frozenset(), index
        if request.cards < child.cards:
            own[index - 1] = lcm(own[index - 1], request.members)
            break
        whole.add(index)
    for index in whole:
        check_several(request, profile, index)
        own[index] = lcm(own[index], profile.levels[index].cards // request.cards_per_member)
    if request.shape and not whole:
        raise no_torus(request, profile)
    if request.shape:
        joining = max(whole) + 1
        check_joined(request, profile, joining - 1)
        own[joining] = lcm(own[joining], request.members)
    return frozenset(whole), None


def _box(request: Request, profile: Profile, index: int, steps: tuple[int, ...], spans: dict[int, int]) -> Need:
    """The box that the group takes of a domain of this level; blocks and spans further in follow from it."""
    need = box_need(request, profile, index)
    node, cards = profile.node_index, request.cards_per_member
    if profile.cards_per_node % cards:
        raise IllegalShapeError(
            f"cardsPerMember is {cards}, but of a {profile.levels[index].name} only whole nodes of "
            f"{profile.cards_per_node} cards are given; use a divisor of {profile.cards_per_node}"
        )
    full = packing(profile.node_make, cards, steps[: node + 1]).capacity(profile.all_cards)
    held = [full * cards, *(level.cards for level in profile.levels[node + 1 : index])]
    for at, (level, room) in enumerate(zip(profile.levels[node:index], held, strict=True), start=node):
        if room < level.cards or level.cards // cards % steps[at]:
            raise _BrokenRuleError(
                Reason.BLOCKS_DO_NOT_DIVIDE,
                f"a {profile.levels[index].name} is given in whole {level.name} domains of {level.cards // cards} "
                f"members, which the blocks inside them do not divide; change blocks or cardsPerMember",
                level.name,
            )
        touched = request.cards // level.cards
        if touched > spans.get(at, touched):
            raise _BrokenRuleError(
                Reason.NEVER_FITS,
                f"takes {touched} {level.name} domains of one {profile.levels[index].name}, but maxSpan allows "
                f"{spans[at]}; raise it or ask for less",
                level.name,
            )
    return need


def _whole_node_rules(request: Request, profile: Profile, own: dict[int, int]) -> None:
    cards, node = request.cards_per_member, profile.node_index
    if not profile.whole_nodes_across_nodes or cards == profile.cards_per_node:
        return
    steps = tuple(accumulate((own[index] for index in range(node + 1)), lcm))
    empty = profile.all_cards
    if packing(profile.node_make, cards, steps).capacity(empty) < request.members:
        raise _BrokenRuleError(
            Reason.WHOLE_NODES_ONLY,
            f"{request.members} members of {cards} cards need more than one node, and profile {profile.name} gives "
            f"whole nodes only across nodes; set cardsPerMember to {profile.cards_per_node}",
            "node",
        )
    own[node] = request.members
