"""The gauges of what the engine knows at the moment of a scrape, so that they cannot drift from it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from supernode.cluster.elector import Elector
from supernode.control.engine import Engine
from supernode.control.figures import Figures, LeaderFigures
from supernode.control.supernodes import cards_of
from supernode.placement import largest_block
from supernode.topology.fleet import Fleet, SuperNodeView


class Gauges(Collector):
    """Tells the figures that were taken last; nothing before the first.

    Those of the fleet and of work come from the leader alone, so that sums over all replicas are right.
    """

    def __init__(self, engine: Engine, elector: Elector) -> None:
        self._engine = engine
        self._elector = elector
        self._figures: Figures | None = None
        self._transitions: int | None = None

    def take(self) -> None:
        """Take the figures of this moment; to be called on the engine's loop, while nothing of it is half done."""
        self._figures = self._engine.figures()
        self._transitions = self._elector.lease.transitions if self._elector.lease is not None else None

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        figures = self._figures
        if figures is None:
            return
        yield from _of_replica(figures)
        if self._transitions is not None:
            text = "Times that the Lease went to another replica, as the Lease counts them."
            yield CounterMetricFamily("supernode_lease_transitions", text, self._transitions)
        if figures.leader is not None:
            yield from _of_work(figures.leader)
            yield from of_fleet(figures.leader.fleet)
            yield _unassigned(figures.leader)


def _of_replica(figures: Figures) -> Iterable[Metric]:
    """What every replica tells, standing by or not."""
    yield GaugeMetricFamily("supernode_ready", "Whether all caches are filled.", float(figures.ready))
    leads = float(figures.leader is not None)
    yield GaugeMetricFamily("supernode_leader", "Whether this replica leads.", leads)
    size = GaugeMetricFamily("supernode_cache_objects", "Objects in a cache.", labels=["resource"])
    age = GaugeMetricFamily(
        "supernode_cache_age_seconds",
        "Time since the API server last told anything of a resource; more than two minutes mean that it is not heard.",
        labels=["resource"],
    )
    relists = CounterMetricFamily(
        "supernode_reflector_relists", "Times a cache was filled by a list, by resource.", labels=["resource"]
    )
    errors = CounterMetricFamily(
        "supernode_reflector_errors", "Attempts to list or watch that failed, by resource.", labels=["resource"]
    )
    for cache in figures.caches:
        size.add_metric([cache.resource], cache.objects)
        age.add_metric([cache.resource], cache.age)
        relists.add_metric([cache.resource], cache.relists)
        errors.add_metric([cache.resource], cache.errors)
    yield from (size, age, relists, errors)


def _of_work(leader: LeaderFigures) -> Iterable[Metric]:
    jobs = GaugeMetricFamily("supernode_jobs", "Jobs, by phase.", labels=["phase"])
    for phase, count in leader.jobs.items():
        jobs.add_metric([phase], count)
    yield jobs
    yield GaugeMetricFamily("supernode_groups_waiting", "Groups that wait for cards.", leader.waiting)
    yield GaugeMetricFamily(
        "supernode_longest_wait_seconds",
        "How long the group has waited that waits longest for cards, of those that waiting can help.",
        leader.longest_wait(),
    )
    yield GaugeMetricFamily(
        "supernode_allocator_silence_seconds",
        "Time since the allocator finished a pass or a part of one, by which liveness judges.",
        leader.silence,
    )
    yield GaugeMetricFamily("supernode_queue_depth", "Jobs that wait for a worker.", leader.queued)
    yield GaugeMetricFamily("supernode_writer_concurrency", "Writes allowed side by side.", leader.write_limit)
    yield GaugeMetricFamily("supernode_writes_waiting", "Writes that wait for their turn.", leader.writes_waiting)
    text = "Events that were not posted: too many, too late, or refused."
    yield CounterMetricFamily("supernode_events_dropped", text, leader.events_dropped)


def of_fleet(fleet: Fleet) -> Iterable[Metric]:
    """The metrics of a fleet, whose supernodes of one node each are summed by profile."""
    names = ["supernode", "profile"]
    cards = GaugeMetricFamily("supernode_cards", "Cards, by state.", labels=[*names, "state"])
    blocks = GaugeMetricFamily(
        "supernode_largest_block_cards", "Largest block that fits into one domain, by level.", labels=[*names, "level"]
    )
    shares = GaugeMetricFamily(
        "supernode_fragmentation_ratio",
        "Share of the free cards, the reserve aside, that lie outside the largest block of their supernode.",
        labels=names,
    )
    reserve = GaugeMetricFamily(
        "supernode_reserve_nodes", "Wholly free nodes of the reserve that are still there.", labels=names
    )
    spares = GaugeMetricFamily(
        "supernode_spare_cards", "Allocated cards that groups hold for their repair.", labels=names
    )
    for key, stock in _stocks(fleet).items():
        for state, count in stock.cards.items():
            cards.add_metric([*key, state], count)
        for level, largest in stock.blocks.items():
            blocks.add_metric([*key, level], largest)
        shares.add_metric(key, stock.fragmentation)
        reserve.add_metric(key, stock.reserve)
        spares.add_metric(key, stock.spares)
    yield from (cards, blocks, shares, reserve, spares)


@dataclass(frozen=True, slots=True)
class _Stock:
    """What there is in a supernode, or in several.

    ``cards`` are by state, ``blocks`` the cards of the largest block by level, ``unreserved`` the free cards outside
    the reserve, ``together`` those of them that lie in the largest block of their supernode. ``reserve`` are nodes,
    ``spares`` cards.
    """

    cards: Mapping[str, int]
    blocks: Mapping[str, int]
    unreserved: int
    together: int
    reserve: int
    spares: int

    @classmethod
    def of(cls, view: SuperNodeView) -> Self:
        """Counted once for each view, which does not change: most stay the same from one scrape to the next."""
        return view.memo("stock", lambda: cls._counted(view))

    @classmethod
    def _counted(cls, view: SuperNodeView) -> Self:
        blocks = largest_block(view)
        return cls(
            cards=cards_of(view),
            blocks=blocks,
            unreserved=view.unreserved_cards,
            together=min(view.unreserved_cards, blocks[view.profile.outermost.name]),
            reserve=min(view.reserve, view.wholly_free),
            spares=sum(seat.cards.bit_count() for entry in view.ledger for seat in entry.spare_seats()),
        )

    @classmethod
    def sum(cls, parts: Sequence[Self]) -> Self:
        """That of several supernodes of one profile."""
        return cls(
            cards={state: sum(part.cards[state] for part in parts) for state in parts[0].cards},
            blocks={level: max(part.blocks[level] for part in parts) for level in parts[0].blocks},
            unreserved=sum(part.unreserved for part in parts),
            together=sum(part.together for part in parts),
            reserve=sum(part.reserve for part in parts),
            spares=sum(part.spares for part in parts),
        )

    @property
    def fragmentation(self) -> float:
        """Share of the free cards, the reserve aside, outside the largest block of their supernode."""
        return 1 - self.together / self.unreserved if self.unreserved else 0.0


def _stocks(fleet: Fleet) -> dict[tuple[str, str], _Stock]:
    """By supernode and profile. Supernodes that are one node each have no name here but are summed by profile: there
    may be ten thousand of them, and a scrape has no label per node."""
    stocks = {}
    for name, profile in fleet.profiles.items():
        views = fleet.of_profile(name)
        if profile.above:
            stocks.update({(view.name, name): _Stock.of(view) for view in views})
        elif views:
            stocks["", name] = _Stock.sum([_Stock.of(view) for view in views])
    return stocks


def _unassigned(leader: LeaderFigures) -> Metric:
    text = "Nodes of a profile that are in no supernode."
    unassigned = GaugeMetricFamily("supernode_unassigned_nodes", text, labels=["profile"])
    for profile, nodes in leader.unassigned.items():
        unassigned.add_metric([profile], nodes)
    return unassigned
