"""The fleet as an immutable snapshot: nodes, supernodes and what is free in them.

Changing something makes a new snapshot that shares everything else. What a decision computes about one supernode is
remembered on its view, so a changed supernode costs only itself.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from supernode.topology.census import STATE, Census, Kind, Layout
from supernode.topology.ledger import LedgerEntry
from supernode.topology.node import Member, Node, order_of
from supernode.topology.profile import Profile
from supernode.topology.ranges import natural_key

T = TypeVar("T")

MEMO_LIMIT = 256
"""Things remembered per view; the oldest go first."""

FEW = 64
"""So many new supernodes are put in their places one by one; to sort ten thousand takes a tenth of a second."""


def _emptied(node: Node) -> Node:
    return Node(node.name, node.cards, node.all_cards, path=node.path, at=node.at)


class SuperNodeView:
    """One supernode at one moment. Immutable; compare by identity.

    nodes are in depth-first order, by position and then by name. reserve: wholly free nodes it keeps back. cordoned: it
    gives nothing new. ledger: which groups hold its cards, for those who explain; what is free is in the nodes alone.
    """

    def __init__(
        self,
        name: str,
        profile: Profile,
        nodes: Iterable[Node],
        *,
        cordoned: bool = False,
        reserve: int | None = None,
        ledger: Iterable[LedgerEntry] = (),
    ) -> None:
        self._set(
            name,
            profile,
            tuple(sorted(nodes, key=order_of)),
            cordoned,
            profile.reserve if reserve is None else reserve,
        )
        self.ledger = tuple(ledger)
        self.layout, self.census  # noqa: B018 - what every decision reads is made here, once, not by the first of them

    def _set(self, name: str, profile: Profile, nodes: tuple[Node, ...], cordoned: bool, reserve: int) -> None:
        self.name = name
        self.profile = profile
        self.nodes = nodes
        self.cordoned = cordoned
        self.reserve = reserve
        self._memo: dict[Hashable, Any] = {}
        self._empty: dict[bool, SuperNodeView] = {}

    def __repr__(self) -> str:
        return f"SuperNodeView({self.name!r}, {self.profile.name!r}, {len(self.nodes)} nodes)"

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.nodes, len(self.profile.above))

    @cached_property
    def census(self) -> Census:
        """The nodes by what is free in them."""
        states = list(map(STATE, self.nodes))
        kinds: dict[Kind, int] = {}
        numbers = {
            state: kinds.setdefault(Kind.of(node), len(kinds))
            for state, node in dict(zip(states, self.nodes, strict=True)).items()
        }
        return Census(kinds, np.array([numbers[state] for state in states], np.intp))

    @cached_property
    def wholly_free(self) -> int:
        """How many nodes are wholly free: what the reserve is counted in."""
        return sum(count for kind, count in self.census.counts() if kind.wholly_free)

    @property
    def usable(self) -> int:
        """How many wholly free nodes may be taken: those beyond the reserve."""
        return max(0, self.wholly_free - self.reserve)

    @cached_property
    def free_cards(self) -> int:
        """Healthy free cards on schedulable nodes, cordoned or not."""
        return sum(count * kind.free.bit_count() for kind, count in self.census.counts())

    @cached_property
    def unreserved_cards(self) -> int:
        """Free cards outside the reserve, supposing that it keeps the smallest wholly free nodes."""
        kept, left = 0, self.reserve
        for cards, count in sorted((k.free.bit_count(), count) for k, count in self.census.counts() if k.wholly_free):
            kept += cards * min(left, count)
            left -= min(left, count)
        return self.free_cards - kept

    def node(self, name: str) -> Node:
        """Raises KeyError for a node of another supernode."""
        return self.nodes[self.layout.index[name]]

    def domains(self, node: Node) -> Mapping[str, str]:
        """Level name to domain name, for the node level and each above it."""
        return self.domains_at([self.layout.index[node.name]])[0]

    def domains_at(self, nodes: Sequence[int]) -> list[Mapping[str, str]]:
        """`domains` of several nodes, by index."""
        known = self.layout.domains
        levels = self.profile.level_names[self.profile.node_index :]
        for at in [at for at in nodes if at not in known]:
            node = self.nodes[at]
            known[at] = dict(zip(levels, (node.name, *node.path[::-1]), strict=True))
        return [known[at] for at in nodes]

    def holders(self, cards: Mapping[str, int]) -> dict[str, int]:
        """Group (`namespace/name`) to how many of these cards (node name to bitmask) it holds by the ledger."""
        held: dict[str, int] = {}
        for entry in self.ledger:
            count = sum((cards.get(seat.node, 0) & seat.cards).bit_count() for seat in entry.seats())
            if count:
                held[entry.group] = held.get(entry.group, 0) + count
        return held

    def with_nodes(
        self,
        changed: Mapping[str, Node],
        *,
        cordoned: bool | None = None,
        reserve: int | None = None,
        ledger: tuple[LedgerEntry, ...] | None = None,
    ) -> SuperNodeView:
        """The same supernode with some nodes in another state; names and paths must not change. O(nodes).

        cordoned, reserve, ledger: absent to keep them.
        """
        index = self.layout.index
        nodes = list(self.nodes)
        same_size = True
        for name, node in changed.items():
            same_size = same_size and nodes[index[name]].cards == node.cards
            nodes[index[name]] = node
        view = self._copy(tuple(nodes), self.cordoned if cordoned is None else cordoned)
        if ledger is not None:
            view.ledger = ledger
        if reserve is not None:
            view.reserve = reserve
        if same_size and view.reserve == self.reserve:
            view._empty = self._empty
        if "census" in self.__dict__:
            view.__dict__["census"] = self.census.changed({index[name]: node for name, node in changed.items()})
        return view

    def take(self, cards: Mapping[str, int]) -> SuperNodeView:
        """The same supernode after the given cards (node name to bitmask) were given to someone."""
        return self.with_nodes(
            {name: replace(n := self.node(name), taken=n.taken | mask) for name, mask in cards.items()}
        )

    def release(self, cards: Mapping[str, int]) -> SuperNodeView:
        """The same supernode after the given cards (node name to bitmask) were handed back."""
        return self.with_nodes(
            {name: replace(n := self.node(name), taken=n.taken & ~mask) for name, mask in cards.items()}
        )

    def holding(self, names: Iterable[str]) -> SuperNodeView:
        """The same supernode with what is free of these nodes kept for another request."""
        return self.with_nodes({name: replace(self.node(name), held=True) for name in names})

    def emptied(self, *, keep_reserve: bool = True) -> SuperNodeView:
        """What the supernode would be with every card healthy and free, every node schedulable, and not cordoned."""
        if keep_reserve not in self._empty:
            nodes = (
                node
                if node.wholly_free and not node.taken  # a ledger may book cards that a node has no longer
                else _emptied(node)
                for node in self.nodes
            )
            view = self._copy(tuple(nodes), cordoned=False)
            view.reserve = self.reserve if keep_reserve else 0
            self._empty[keep_reserve] = view
        return self._empty[keep_reserve]

    def _copy(self, nodes: tuple[Node, ...], cordoned: bool) -> SuperNodeView:
        view = SuperNodeView.__new__(SuperNodeView)
        view._set(self.name, self.profile, nodes, cordoned, self.reserve)
        view.ledger = self.ledger
        view.__dict__["layout"] = self.layout
        return view

    def remembers(self, key: Hashable) -> bool:
        """Whether `memo` has a value for this key."""
        return key in self._memo

    def memo(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value remembered under key, made on first use. Holds MEMO_LIMIT keys. Threads may share it: at worst two
        make the same value."""
        memo = self._memo
        known: T | None = memo.get(key)
        if known is not None:
            return known
        if len(memo) >= MEMO_LIMIT:
            memo.pop(next(iter(list(memo)), None), None)
        value = memo[key] = make()
        return value


class Fleet:
    """Every supernode and profile known at one moment. Immutable.

    shared: what decisions remember from one snapshot to its successors; each entry must check which views changed.
    """

    __slots__ = ("_fixed", "_places", "_views", "profiles", "shared", "supernodes")

    def __init__(
        self, supernodes: Iterable[SuperNodeView] = (), profiles: Iterable[Profile] | Mapping[str, Profile] = ()
    ) -> None:
        self._fill(sorted(supernodes, key=_in_order), profiles)

    def _fill(self, ordered: Iterable[SuperNodeView], profiles: Iterable[Profile] | Mapping[str, Profile]) -> None:
        known = dict(profiles) if isinstance(profiles, Mapping) else {profile.name: profile for profile in profiles}
        supernodes: dict[str, SuperNodeView] = {}
        self._views: dict[str, list[SuperNodeView]] = {}
        self._places: dict[str, tuple[str, int]] = {}
        for view in ordered:
            known.setdefault(view.profile.name, view.profile)
            alike = self._views.setdefault(view.profile.name, [])
            self._places[view.name] = (view.profile.name, len(alike))
            alike.append(view)
            supernodes[view.name] = view
        self.supernodes: MappingProxyType[str, SuperNodeView] = MappingProxyType(supernodes)
        self.profiles: Mapping[str, Profile] = MappingProxyType(dict(sorted(known.items())))
        self._fixed: dict[str, tuple[int, ...]] = {}
        self.shared: dict[Hashable, Any] = {}

    def of_profile(self, profile: str) -> Sequence[SuperNodeView]:
        """The supernodes of one profile, in natural order of their names."""
        return self._views.get(profile, ())

    def has_profile(self, profile: str) -> bool:
        """Whether any supernode is of this profile."""
        return self.domain_counts(profile)[0] > 0

    def replace(self, *views: SuperNodeView) -> Fleet:
        """The fleet with these supernodes in another state. Raises KeyError for one it does not know."""
        for view in views:
            if view.name not in self._places:
                raise KeyError(f"supernode {view.name} is not in this fleet")
        supernodes: dict[str, SuperNodeView] = self.supernodes.copy()  # dict() of a proxy takes ten times as long
        if any(view.profile.name != self._places[view.name][0] for view in views):
            supernodes.update((view.name, view) for view in views)
            return self.succeeded_by(supernodes.values(), self.profiles)
        same = all(view.layout is supernodes[view.name].layout for view in views)
        alike = dict(self._views)
        for profile in {view.profile.name for view in views}:
            alike[profile] = alike[profile].copy()
        for view in views:
            profile, at = self._places[view.name]
            supernodes[view.name] = alike[profile][at] = view
        fleet = Fleet.__new__(Fleet)
        fleet._views, fleet._places = alike, self._places
        fleet.supernodes = MappingProxyType(supernodes)
        fleet.profiles = self.profiles
        fleet._fixed = self._fixed if same else {}
        fleet.shared = self.shared
        return fleet

    def succeeded_by(self, supernodes: Iterable[SuperNodeView], profiles: Mapping[str, Profile]) -> Fleet:
        """A later snapshot, of any supernodes; what decisions remember of views that are in both is kept."""
        given = {view.name: view for view in supernodes}
        ordered = [given.pop(name) for name in self.supernodes if name in given]
        if len(given) > FEW:
            ordered = sorted((*ordered, *given.values()), key=_in_order)
        else:
            for view in given.values():
                insort(ordered, view, key=_in_order)
        fleet = Fleet.__new__(Fleet)
        fleet._fill(ordered, profiles)
        fleet.shared = self.shared
        return fleet

    def domain_counts(self, profile: str) -> tuple[int, ...]:
        """How many domains of the level node and each above it the supernodes of a profile have together."""
        if profile not in self._fixed:
            views = self.of_profile(profile)
            above = ((len(view.layout.names[i]) for view in views) for i in range(len(self.profiles[profile].above)))
            self._fixed[profile] = (sum(len(view.nodes) for view in views), *map(sum, above))
        return self._fixed[profile]

    def take(self, members: Iterable[Member]) -> Fleet:
        """The fleet after these members were placed."""
        return self.replace(
            *(self.supernodes[name].take(cards) for name, cards in _cards_by_supernode(members).items())
        )

    def release(self, members: Iterable[Member]) -> Fleet:
        """The fleet after these members handed their cards back."""
        return self.replace(
            *(self.supernodes[name].release(cards) for name, cards in _cards_by_supernode(members).items())
        )


def _in_order(view: SuperNodeView) -> tuple[tuple[int, int, str], ...]:
    return natural_key(view.name)


def _cards_by_supernode(members: Iterable[Member]) -> dict[str, dict[str, int]]:
    cards: dict[str, dict[str, int]] = {}
    for member in members:
        nodes = cards.setdefault(member.supernode, {})
        nodes[member.node] = nodes.get(member.node, 0) | member.cards
    return cards
