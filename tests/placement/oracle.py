"""Brute force: every way to spread a group over the nodes of a small fleet, straight from the rules' definitions.

Shares nothing with the search but the data types. Usable up to about eight nodes.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations, pairwise

from supernode.placement import Request
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Level, NodeMake, Profile


def is_aligned(cards: Sequence[int], make: NodeMake) -> bool:
    """Whether a card set obeys the alignment rule at every level inside the node."""
    for level, size in enumerate(make.sizes[:-1]):
        touched = {card // size for card in cards}
        if len(cards) <= size:
            if len(touched) > 1:
                return False
            continue
        if level in make.rings:
            outer = make.sizes[level + 1]
            parts = [[card for card in cards if card // outer == parent] for parent in {c // outer for c in cards}]
            if not all(_over_rings(part, size, outer) for part in parts):
                return False
            if any(len(part) % size for part in parts if len(part) > size):
                continue
        whole = [domain for domain in touched if sum(card // size == domain for card in cards) == size]
        if len(touched) != -(-len(cards) // size) or len(touched) - len(whole) > 1:
            return False
    return True


def _over_rings(cards: Sequence[int], size: int, outer: int) -> bool:
    """Whether the cards in one domain made of rings lie in one ring, are whole rings, or are alike in each ring."""
    rings = {card // size: {c % size for c in cards if c // size == card // size} for card in cards}
    if len(cards) <= size:
        return len(rings) == 1
    if len(cards) % size == 0:
        return all(len(places) == size for places in rings.values())
    return len(rings) == outer // size and len({frozenset(places) for places in rings.values()}) == 1


@lru_cache(maxsize=100_000)
def node_counts(free: int, cards: int, make: NodeMake, blocks: tuple[tuple[int, int], ...]) -> frozenset[int]:
    """Every number of members a node can take.

    blocks: (size of a domain, members) per level inside the node that blocks name.
    """
    available = [card for card in range(make.sizes[-1]) if free >> card & 1]
    sets = [chosen for chosen in combinations(available, cards) if is_aligned(chosen, make)]
    return frozenset(len(chosen) for chosen in _disjoint(sets, 0, ()) if _blocks_hold(chosen, blocks))


@lru_cache(maxsize=100_000)
def spares_beside(ranks: int, free: int, cards: int, make: NodeMake, blocks: tuple[tuple[int, int], ...]) -> int:
    """The most further members a node takes beside this many ranks, which alone keep the blocks."""
    available = [card for card in range(make.sizes[-1]) if free >> card & 1]
    sets = [chosen for chosen in combinations(available, cards) if is_aligned(chosen, make)]
    for family in sorted(_disjoint(sets, 0, ()), key=len, reverse=True):
        if any(_blocks_hold(chosen, blocks) for chosen in combinations(family, ranks)):
            return len(family) - ranks
    raise AssertionError(f"{ranks} ranks do not fit at all")


def _disjoint(
    sets: Sequence[tuple[int, ...]], start: int, chosen: tuple[tuple[int, ...], ...]
) -> Iterator[tuple[tuple[int, ...], ...]]:
    yield chosen
    used = {card for one in chosen for card in one}
    for index in range(start, len(sets)):
        if used.isdisjoint(sets[index]):
            yield from _disjoint(sets, index + 1, (*chosen, sets[index]))


def _blocks_hold(chosen: tuple[tuple[int, ...], ...], blocks: tuple[tuple[int, int], ...]) -> bool:
    for size, members in blocks:
        homes = [{card // size for card in one} for one in chosen]
        if any(len(home) > 1 for home in homes):
            return False
        counts: dict[int, int] = {}
        for home in homes:
            counts[min(home)] = counts.get(min(home), 0) + 1
        if any(count % members for count in counts.values()):
            return False
    return True


def minimal(fleet: Fleet, request: Request, profile: Profile) -> dict[str, int] | None:
    """The lexicographic minimum of the spans, outermost level first, or None when nothing is legal."""
    best = least(fleet, request, profile)
    return None if best is None else dict(zip((level.name for level in _outer(profile)), best[0], strict=True))


def least(fleet: Fleet, request: Request, profile: Profile) -> tuple[tuple[int, ...], int] | None:
    """(the least vector of spans, the fewest wholly free nodes any placement with that vector takes), or None."""
    best: tuple[tuple[int, ...], int] | None = None
    views = fleet.of_profile(profile.name)
    nodes = [(view, node) for view in views for node in view.nodes]
    options = [_options(view, node, request, profile) for view, node in nodes]
    for counts in _spreads(options, request.members):
        used = [(view, node, count) for (view, node), count in zip(nodes, counts, strict=True) if count]
        if _legal(used, request, profile):
            vector = tuple(len(_shares(used, level)) for level in _outer(profile))
            whole = sum(node.free == node.all_cards for _, node, _ in used)
            best = (vector, whole) if best is None else min(best, (vector, whole))
    return best


def _options(view: SuperNodeView, node: Node, request: Request, profile: Profile) -> list[int]:
    if view.cordoned or not node.schedulable:
        return [0]
    return sorted(node_counts(node.healthy & ~node.taken, *_inside(request, profile)))


def _inside(request: Request, profile: Profile) -> tuple[int, NodeMake, tuple[tuple[int, int], ...]]:
    """What a request asks for inside a node, as `node_counts` takes it."""
    blocks = tuple(
        (profile.level(block.level).cards, block.members)
        for block in request.blocks
        if profile.level(block.level) in profile.inner
    )
    if request.required is not None and profile.level(request.required) in profile.inner:
        blocks = (*blocks, (profile.level(request.required).cards, request.members))
    return request.cards_per_member, profile.node_make, blocks


def _spreads(options: Sequence[Sequence[int]], total: int) -> Iterator[tuple[int, ...]]:
    if not options:
        if total == 0:
            yield ()
        return
    for count in options[0]:
        if count <= total:
            for rest in _spreads(options[1:], total - count):
                yield (count, *rest)


Used = list[tuple[SuperNodeView, Node, int]]


def _outer(profile: Profile) -> list[Level]:
    """The node and the levels above it, outer to inner."""
    return [*reversed(profile.above), profile.level("node")]


def _shares(used: Used, level: Level) -> dict[str, int]:
    """Members per domain of a level, touched domains only."""
    shares: dict[str, int] = {}
    for view, node, count in used:
        name = view.domains(node)[level.name]
        shares[name] = shares.get(name, 0) + count
    return shares


def _legal(used: Used, request: Request, profile: Profile) -> bool:
    if profile.whole_nodes_across_nodes and len(used) > 1 and request.cards_per_member != profile.cards_per_node:
        return False
    for block in request.blocks:
        level = profile.level(block.level)
        if level not in profile.inner and any(share % block.members for share in _shares(used, level).values()):
            return False
    if request.required is not None:
        level = profile.level(request.required)
        if level not in profile.inner and len(_shares(used, level)) > 1:
            return False
    for name, most in request.max_span.items():
        if len(_shares(used, profile.level(name))) > most:
            return False
    return _reserve_kept(used) and _rings_kept(used, request, profile) and _spares_fit(used, request, profile)


def _spares_fit(used: Used, request: Request, profile: Profile) -> bool:
    """Whether each domain of the spares' level that holds ranks holds its spares too, the reserve kept."""
    if request.spares is None:
        return True
    if profile.whole_nodes_across_nodes and request.cards_per_member != profile.cards_per_node:
        return False
    for level, child in pairwise(_outer(profile)):
        if level.fabric in ("ring", "torus") and request.cards >= child.cards:
            return False  # a part of a ring, in which no other node can take a member's place
    within = _within(request, profile)
    inside = _inside(request, profile)
    ranks = {node.name: count for _, node, count in used}
    for view in {id(view): view for view, _, _ in used}.values():
        left: dict[str, list[tuple[Node, int]]] = {
            view.domains(node)[within.name]: [] for node in view.nodes if node.name in ranks
        }
        for node in view.nodes:
            domain = view.domains(node)[within.name]
            if domain in left and node.schedulable:
                free = node.healthy & ~node.taken
                left[domain].append((node, spares_beside(ranks.get(node.name, 0), free, *inside)))
        if not _spares_fit_reserve(view, list(left.values()), set(ranks), request.spares.members):
            return False
    return True


def _within(request: Request, profile: Profile) -> Level:
    assert request.spares is not None
    level = profile.level(request.spares.within or request.required or "supernode")
    return profile.level("node") if level in profile.inner else level


def _spares_fit_reserve(
    view: SuperNodeView, domains: list[list[tuple[Node, int]]], ranked: set[str], spares: int
) -> bool:
    """Tries every set of wholly free nodes without ranks that the reserve allows to be broken for spares."""
    whole = {node.name for node in view.nodes if _wholly_free(node)}
    useful = [node.name for nodes in domains for node, room in nodes if node.name in whole - ranked and room]
    most = len(useful) if not view.reserve else len(whole) - view.reserve - len(whole & ranked)
    for broken in combinations(useful, max(0, min(most, len(useful)))):
        shut = whole - ranked - set(broken)
        if all(sum(room for node, room in nodes if node.name not in shut) >= spares for nodes in domains):
            return True
    return False


def _wholly_free(node: Node) -> bool:
    return node.cards > 0 and node.schedulable and not node.taken and node.healthy == node.all_cards


def _reserve_kept(used: Used) -> bool:
    for view in {id(view): view for view, _, _ in used}.values():
        free = {node.name for node in view.nodes if _wholly_free(node)}
        taken = {node.name for owner, node, _ in used if owner is view} & free
        if taken and len(free) - len(taken) < view.reserve:
            return False
    return True


def _rings_kept(used: Used, request: Request, profile: Profile) -> bool:
    """Rings above the node, whose children have no position labels: a run of whole children, or whole rings."""
    for index in range(profile.node_index + 1, len(profile.levels)):
        level, child = profile.levels[index], profile.levels[index - 1]
        if level.fabric != "ring":
            continue
        shares, inner = _shares(used, level), _shares(used, child)
        views = {id(view): view for view, _, _ in used}.values()
        nodes = {name: [n for v in views for n in v.nodes if v.domains(n)[level.name] == name] for name in shares}
        if request.cards < child.cards:
            return len(inner) == 1
        if request.cards > level.cards:
            if any(share * request.cards_per_member != level.cards for share in shares.values()):
                return False
            if any(len(nodes[name]) * profile.cards_per_node != level.cards for name in shares):
                return False
            continue
        if len(shares) > 1 or any(share * request.cards_per_member != child.cards for share in inner.values()):
            return False
        return len(inner) == 1 or _is_run(used, nodes[next(iter(shares))], level)
    return True


def _is_run(used: Used, nodes: Sequence[Node], level: Level) -> bool:
    """Whether the used nodes are neighbours in a ring that has all its nodes, taken as a circle."""
    taken = {node.name for _, node, _ in used}
    circle = "".join("x" if node.name in taken else "." for node in nodes)
    return len(nodes) == level.fan_out and "x" * len(taken) in circle * 2
