"""Whether a placement keeps every rule, checked member by member and rank by rank."""

from collections import Counter
from itertools import permutations

from supernode.placement import Placement, Request
from supernode.topology.fleet import Fleet
from supernode.topology.profile import Profile
from supernode.topology.ranges import card_indices, natural_key
from tests.placement import oracle_box
from tests.placement.oracle import is_aligned


def violations(fleet: Fleet, request: Request, placement: Placement) -> list[str]:
    """Every broken rule in words; empty when the placement is legal and its report true."""
    profile = fleet.profiles[placement.profile]
    members = placement.members
    found = []
    if [member.rank for member in members] != list(range(request.members)):
        found.append("ranks are not 0 to members - 1 in order")
    held: dict[tuple[str, str], int] = {}
    for member in (*members, *placement.spares):
        view = fleet.supernodes[member.supernode]
        node = view.node(member.node)
        key = (member.supernode, member.node)
        cards = list(card_indices(member.cards))
        if view.profile is not profile or view.cordoned or not node.schedulable:
            found.append(f"rank {member.rank} lies where nothing may be given")
        if len(cards) != request.cards_per_member:
            found.append(f"rank {member.rank} has {len(cards)} cards")
        if member.cards & ~(node.healthy & ~node.taken) or member.cards & held.get(key, 0):
            found.append(f"rank {member.rank} has cards that are not free")
        if not is_aligned(cards, profile.node_make):
            found.append(f"rank {member.rank} is not aligned: {cards}")
        if member.domains != view.domains(node):
            found.append(f"rank {member.rank} names the wrong domains")
        held[key] = held.get(key, 0) | member.cards
    found += _blocks(request, placement, fleet)
    outer = [*reversed(profile.above), profile.level("node")]
    spans = {level.name: len({member.domains[level.name] for member in members}) for level in outer}
    if placement.spans != spans or list(placement.spans) != list(spans):
        found.append(f"spans say {placement.spans}, not {spans}")
    for name, most in request.max_span.items():
        if spans[profile.level(name).name] > most:
            found.append(f"maxSpan of {name} is broken")
    if profile.whole_nodes_across_nodes and spans["node"] > 1 and request.cards_per_member != profile.cards_per_node:
        found.append("several nodes, but not whole ones")
    found += _boxes(request, placement, fleet)
    for view in fleet.supernodes.values():
        free = [node for node in view.nodes if node.wholly_free]
        taken = [node for node in free if (view.name, node.name) in held]
        if taken and len(free) - len(taken) < view.reserve:
            found.append(f"the reserve of {view.name} is broken")
    return found + _spares(request, placement, profile)


def _spares(request: Request, placement: Placement, profile: Profile) -> list[str]:
    """Every domain of the spares' level that holds ranks holds just as many as are asked for, and no other any."""
    if request.spares is None:
        return ["spares that nobody asked for"] if placement.spares else []
    within = profile.level(request.spares.within or request.required or "supernode").name
    within = "node" if profile.level(within) in profile.inner else within
    ranked = {member.domains[within] for member in placement.members}
    held = Counter(spare.domains[within] for spare in placement.spares)
    if [spare.rank for spare in placement.spares] != list(range(len(placement.spares))):
        return ["spares are not numbered from 0"]
    return [] if held == dict.fromkeys(ranked, request.spares.members) else [f"spares lie in {held}, ranks in {ranked}"]


def _boxes(request: Request, placement: Placement, fleet: Fleet) -> list[str]:
    """Of rings and tori: a legal box of whole children, whole domains, or part of one child."""
    profile = fleet.profiles[placement.profile]
    for index in range(profile.node_index + 1, len(profile.levels)):
        level, child = profile.levels[index], profile.levels[index - 1]
        if level.fabric not in ("ring", "torus"):
            continue
        domains = {member.domains[level.name] for member in placement.members}
        children = {member.domains[child.name] for member in placement.members}
        if request.cards < child.cards:
            return [f"straddles {sorted(children)}"] if len(children) > 1 else []
        if request.cards > level.cards:
            if len(children) * child.cards != request.cards or len(domains) * level.cards != request.cards:
                return [f"takes parts of {sorted(domains)}"]
            continue
        if len(domains) > 1 or len(children) * child.cards != request.cards:
            return [f"takes {len(children)} children of {sorted(domains)}"]
        return _box(request, placement, fleet, index) if len(children) > 1 else []
    return []


def _box(request: Request, placement: Placement, fleet: Fleet, index: int) -> list[str]:
    profile = fleet.profiles[placement.profile]
    level, child = profile.levels[index], profile.levels[index - 1]
    dims = level.dims or (level.fan_out,)
    domain = placement.members[0].domains[level.name]
    order = dict.fromkeys(member.domains[child.name] for member in placement.members)
    cells = [_cell(fleet, profile, index, domain, name, dims) for name in order]
    unit = profile.child_extents(index) or (1,) * len(dims)
    listed = [shape for shape in profile.shapes if len(shape) == len(dims)]
    legal = oracle_box.legal_in_cards(dims, unit, listed or None)
    shapes = [extents for extents, taken in legal if taken == frozenset(cells)]
    if not shapes:
        return [f"{cells} is no legal box of {dims}"]
    offsets = [tuple((c - first) % dim for c, first, dim in zip(cell, cells[0], dims, strict=True)) for cell in cells]
    for extents in shapes:
        sides = [extent * one for extent, one in zip(extents, unit, strict=True)]
        for order in permutations(range(len(dims))):
            as_asked = (
                tuple(sides[axis] for axis in order) == request.shape
                if request.shape
                else order == tuple(range(len(dims)))
            )
            rows = [tuple(offset[axis] for axis in order) for offset in offsets]
            if as_asked and rows == sorted(rows):
                return []
    return [f"{cells} is not {request.shape}, or not in rows"]


def _cell(
    fleet: Fleet, profile: Profile, index: int, domain: str, child: str, dims: tuple[int, ...]
) -> tuple[int, ...]:
    """Where a child lies, by the positions of its nodes or by its turn among the names."""
    level, below = profile.levels[index], profile.levels[index - 1]
    nodes = [n for view in fleet.supernodes.values() for n in view.nodes if view.domains(n)[level.name] == domain]
    view = next(view for view in fleet.supernodes.values() if nodes[0] in view.nodes)
    mine = next(node for node in nodes if view.domains(node)[below.name] == child)
    if level.position_label is not None:
        place = mine.at[len(profile.levels) - 1 - index]
    else:
        place = sorted({view.domains(node)[below.name] for node in nodes}, key=natural_key).index(child)
    found: list[int] = []
    for extent in reversed(dims):
        place, number = divmod(place, extent)
        found.insert(0, number)
    return tuple(found)


def _blocks(request: Request, placement: Placement, fleet: Fleet) -> list[str]:
    profile = fleet.profiles[placement.profile]
    asked = [(block.level, block.members) for block in request.blocks]
    if request.required is not None:
        asked.append((request.required, request.members))
    found = []
    for name, size in asked:
        level = profile.level(name)
        for start in range(0, request.members, size):
            run = placement.members[start : start + size]
            if level in profile.inner:
                homes = {(m.node, card // level.cards) for m in run for card in card_indices(m.cards)}
            else:
                homes = {m.domains[level.name] for m in run}
            if len(homes) > 1:
                found.append(f"ranks {start} to {start + size - 1} straddle {sorted(homes)} of {name}")
    return found
