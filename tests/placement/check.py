"""Whether a placement keeps every rule, checked member by member and rank by rank."""

from supernode.placement import Placement, Request
from supernode.topology.fleet import Fleet
from supernode.topology.ranges import card_indices
from tests.placement.oracle import is_aligned


def violations(fleet: Fleet, request: Request, placement: Placement) -> list[str]:
    """Every broken rule in words; empty when the placement is legal and its report true."""
    profile = fleet.profiles[placement.profile]
    members = placement.members
    found = []
    if [member.rank for member in members] != list(range(request.members)):
        found.append("ranks are not 0 to members - 1 in order")
    held: dict[tuple[str, str], int] = {}
    for member in members:
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
    for view in fleet.supernodes.values():
        free = [node for node in view.nodes if node.wholly_free]
        taken = [node for node in free if (view.name, node.name) in held]
        if taken and len(free) - len(taken) < view.reserve:
            found.append(f"the reserve of {view.name} is broken")
    return found


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
