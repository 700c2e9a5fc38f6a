"""The smallest repair by brute force: every seat for every member that a step may move, checked by every rule."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from supernode.api.cardgroup import RepairStep
from supernode.placement import Request
from supernode.topology.fleet import Fleet
from supernode.topology.node import Member
from supernode.topology.profile import Profile
from supernode.topology.ranges import card_indices
from tests.placement import oracle
from tests.placement.oracle import is_aligned

Homes = Mapping[str, Mapping[str, str]]
Seat = tuple[str, int]
"""A node and cards (bitmask) of it."""


def smallest(
    fleet: Fleet, request: Request, members: Sequence[Member], spares: Sequence[Member], broken: set[int]
) -> RepairStep | None:
    """The smallest step for which there is any legal choice; None when there is none. fleet: with every failed card
    unhealthy or on a node that is not schedulable, and the group's cards taken."""
    profile = fleet.profiles["p"]
    if not broken:
        return RepairStep.RESTART
    sound = [(s.node, s.cards) for s in spares if _sound(fleet, s)]
    if _possible(fleet, request, members, broken, sound):
        return RepairStep.SPARE
    if len(broken) < len(members):
        if _possible(fleet, request, members, broken, _seats(fleet, request, profile, sound, [])):
            return RepairStep.FREE
        for size in sorted({size for _, size in _blocks(request, profile) if size < len(members)}):
            ranks = {r for b in {r // size for r in broken} for r in range(b * size, (b + 1) * size)}
            left = [(m.node, m.cards) for m in members if m.rank in ranks and _sound(fleet, m)]
            if _possible(fleet, request, members, ranks, _seats(fleet, request, profile, sound, left)):
                return RepairStep.BLOCK
    freed = fleet.release([*members, *spares])
    views = [type(v)(v.name, v.profile, v.nodes, cordoned=v.cordoned, reserve=0) for v in freed.supernodes.values()]
    bare = Request(**{**{f: getattr(request, f) for f in request.__slots__}, "spares": None})
    return RepairStep.GROUP if oracle.least(Fleet(views, freed.profiles), bare, profile) else None


def _sound(fleet: Fleet, seat: Member) -> bool:
    node = fleet.supernodes[seat.supernode].node(seat.node)
    return node.schedulable and not seat.cards & ~node.healthy


def _blocks(request: Request, profile: Profile) -> list[tuple[str, int]]:
    found = [(profile.level(block.level).name, block.members) for block in request.blocks]
    if request.required is not None:
        found.append((profile.level(request.required).name, request.members))
    if profile.whole_nodes_across_nodes and request.cards_per_member != profile.cards_per_node:
        found.append(("node", request.members))
    return [(level, size) for level, size in found if size > 1]


def _seats(fleet: Fleet, request: Request, profile: Profile, spares: list[Seat], left: list[Seat]) -> list[Seat]:
    """Every aligned set of cards that are free, spares', or left behind."""
    found = []
    for view in fleet.supernodes.values():
        for node in view.nodes:
            free = 0 if view.cordoned else node.free
            for name, cards in (*spares, *left):
                free |= cards if name == node.name else 0
            sets = combinations(card_indices(free), request.cards_per_member)
            found += [(node.name, sum(1 << c for c in one)) for one in sets if is_aligned(one, profile.node_make)]
    return found


def _possible(
    fleet: Fleet, request: Request, members: Sequence[Member], ranks: set[int], seats: Sequence[Seat]
) -> bool:
    profile = fleet.profiles["p"]
    homes = {node.name: view.domains(node) for view in fleet.supernodes.values() for node in view.nodes}
    stay = {m.rank: (m.node, m.cards) for m in members if m.rank not in ranks}

    def laid(order: list[int], taken: dict[int, Seat]) -> Iterator[dict[int, Seat]]:
        if not order:
            yield taken
            return
        for node, cards in seats:
            if all(other != node or not held & cards for other, held in taken.values()):
                after = {**taken, order[0]: (node, cards)}
                if _blocks_hold(after, request, profile, homes):
                    yield from laid(order[1:], after)

    return any(_spans_hold(found, request, profile, homes) for found in laid(sorted(ranks), stay))


def _blocks_hold(seats: dict[int, Seat], request: Request, profile: Profile, homes: Homes) -> bool:
    for name, size in _blocks(request, profile):
        level = profile.level(name)
        places: dict[int, set[object]] = {}
        for rank, (node, cards) in seats.items():
            inside = {(node, card // level.cards) for card in card_indices(cards)}
            places.setdefault(rank // size, set()).update(
                inside if level in profile.inner else {homes[node][level.name]}
            )
        if any(len(found) > 1 for found in places.values()):
            return False
    return True


def _spans_hold(seats: dict[int, Seat], request: Request, profile: Profile, homes: Homes) -> bool:
    return all(
        len({homes[node][profile.level(name).name] for node, _ in seats.values()}) <= most
        for name, most in request.max_span.items()
    )
