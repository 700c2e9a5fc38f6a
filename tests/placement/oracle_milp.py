"""An integer programme that says what the best placement looks like, for fleets too large to enumerate.

Written from the rules' definitions and solved by HiGHS; shares nothing with the search but the data types. Per node an
integer (members on it) and a binary (touched or not), per domain above a binary, and one row per rule. The levels are
minimised one after the other, outermost first, each minimum then held fixed. Levels whose fabric is a ring or torus are
not modelled.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations

import highspy
from highspy.highs import highs_linear_expression, highs_var

from supernode.placement import Request
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Profile

Blocks = tuple[tuple[int, int], ...]
"""(cards of a domain inside the node, members that must lie in one)."""

_OPTIMAL = highspy.HighsModelStatus.kOptimal


def minimal(fleet: Fleet, request: Request, profile: Profile) -> dict[str, int] | None:
    """The lexicographic minimum of the spans, outermost level first, or None when nothing is legal."""
    model = _Model(fleet.of_profile(profile.name), request, profile)
    found = {}
    for level in (*reversed(profile.above), profile.level("node")):
        touched = sum_of(model.touched[level.name].values())
        model.highs.minimize(touched)
        if model.highs.getModelStatus() != _OPTIMAL:
            return None
        found[level.name] = round(model.highs.getObjectiveValue())
        model.highs.addConstr(touched <= found[level.name])
    return found


def sum_of(terms: Iterable[highs_var | highs_linear_expression]) -> highs_linear_expression:
    """A linear expression, also of no terms at all."""
    return highspy.Highs.qsum(terms, initial=highs_linear_expression())


def _solver() -> highspy.Highs:
    """A quiet solver on one thread that stops at the optimum and not near it."""
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.silent()
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("mip_rel_gap", 0.0)
    return highs


class _Model:
    """The rows of one request on one fleet. touched: level name to domain name to its binary."""

    def __init__(self, views: Sequence[SuperNodeView], request: Request, profile: Profile) -> None:
        self.highs = _solver()
        self.request = request
        self.profile = profile
        outer = [profile.level("node"), *profile.above]
        self.touched: dict[str, dict[str, highs_var]] = {level.name: {} for level in outer}
        self.members: dict[str, dict[str, list[highs_var]]] = {level.name: {} for level in outer}
        self.spares: dict[str, list[highs_var]] = {}
        self.within = profile.outermost.name
        if request.spares is not None:
            asked = profile.level(request.spares.within or request.required or "supernode").name
            self.within = asked if asked in self.touched else "node"
        for view in views:
            self._add_supernode(view)
        every = [amount for amounts in self.members["node"].values() for amount in amounts]
        self.highs.addConstr(sum_of(every) == request.members)
        self._add_bounds()
        self._add_blocks()
        self._keep_spares()

    def _add_supernode(self, view: SuperNodeView) -> None:
        wholly_free = []
        for node in view.nodes:
            most = 0 if view.cordoned else self._most(node)
            amount = self.highs.addIntegral(lb=0, ub=most)
            inner = None
            for level, domain in view.domains(node).items():
                if domain not in self.touched[level]:
                    self.touched[level][domain] = self.highs.addBinary()
                self.members[level].setdefault(domain, []).append(amount)
                binary = self.touched[level][domain]
                self.highs.addConstr(amount <= most * binary if inner is None else inner <= binary)
                inner = binary
            opened = self.touched["node"][node.name]
            if self.request.spares is not None and not view.cordoned:
                opened = self._add_spares(view, node, amount)
            if node.schedulable and node.taken == 0 and node.healthy == node.all_cards:
                wholly_free.append(opened)
        self.highs.addConstr(sum_of(wholly_free) <= max(0, len(wholly_free) - view.reserve))

    def _add_spares(self, view: SuperNodeView, node: Node, amount: highs_var) -> highs_var:
        """Spares beside the ranks of a node; a binary that says whether it is taken for either."""
        free = node.healthy & ~node.taken if node.schedulable else 0
        room = most_sets(free, self.request.cards_per_member, tuple(level.cards for level in self.profile.inner), ())
        spares, opened = self.highs.addIntegral(lb=0, ub=room), self.highs.addBinary()
        self.highs.addConstr(amount + spares <= room)
        self.highs.addConstr(spares <= room * opened)
        self.highs.addConstr(self.touched["node"][node.name] <= opened)
        self.spares.setdefault(view.domains(node)[self.within], []).append(spares)
        return opened

    def _keep_spares(self) -> None:
        for domain, found in self.spares.items():
            assert self.request.spares is not None
            held = self.request.spares.members * self.touched[self.within][domain]
            self.highs.addConstr(sum_of(found) >= held)

    def _most(self, node: Node) -> int:
        """The most members a node takes; what fits, fits also in smaller multiples of the largest block inside."""
        if not node.schedulable:
            return 0
        inner = {level.name: level.cards for level in self.profile.inner}
        asked = [(block.level, block.members) for block in self.request.blocks]
        if self.request.required is not None:
            asked.append((self.request.required, self.request.members))
        blocks = tuple((inner[level], members) for level, members in asked if level in inner)
        return most_sets(node.healthy & ~node.taken, self.request.cards_per_member, (*inner.values(),), blocks)

    def _add_bounds(self) -> None:
        request, profile = self.request, self.profile
        limits = [(profile.level(level).name, most) for level, most in request.max_span.items()]
        if request.required is not None:
            limits.append((profile.level(request.required).name, 1))
        if profile.whole_nodes_across_nodes and request.cards_per_member != profile.cards_per_node:
            limits.append(("node", 1 if request.spares is None else 0))  # such spares could replace nothing
        for level, most in limits:
            if level in self.touched:
                self.highs.addConstr(sum_of(self.touched[level].values()) <= most)

    def _add_blocks(self) -> None:
        for block in self.request.blocks:
            level = self.profile.level(block.level).name
            inside = [inner.name for inner in self.profile.inner]
            homes = self.members["node" if level in inside else level]
            for amounts in homes.values():
                number = self.highs.addIntegral(lb=0)
                self.highs.addConstr(sum_of(amounts) == block.members * number)


@lru_cache(maxsize=20_000)
def most_sets(free: int, cards: int, inner: tuple[int, ...], blocks: Blocks) -> int:
    """The most disjoint aligned sets of cards among the free ones of a node, blocks inside it kept."""
    available = [card for card in range(free.bit_length()) if free >> card & 1]
    sets = [chosen for chosen in combinations(available, cards) if aligned(chosen, inner)]
    sets = [chosen for chosen in sets if all(len({card // size for card in chosen}) == 1 for size, _ in blocks)]
    if not sets:
        return 0
    highs = _solver()
    taken = [highs.addBinary() for _ in sets]
    for card in available:
        highs.addConstr(sum_of([x for x, chosen in zip(taken, sets, strict=True) if card in chosen]) <= 1)
    for size, members in blocks:
        for domain in {chosen[0] // size for chosen in sets}:
            inside = [x for x, chosen in zip(taken, sets, strict=True) if chosen[0] // size == domain]
            number = highs.addIntegral(lb=0)
            highs.addConstr(sum_of(inside) == members * number)
    highs.maximize(sum_of(taken))
    return round(highs.getObjectiveValue())


def aligned(chosen: Sequence[int], inner: Sequence[int]) -> bool:
    """For each inner size: as many domains wholly as go into the set, and what is left in one more."""
    for size in inner:
        whole, rest = divmod(len(chosen), size)
        want = [size] * whole + [rest] * bool(rest)
        if sorted(Counter(card // size for card in chosen).values(), reverse=True) != want:
            return False
    return True
