"""The gauges of what the engine knows at the moment of a scrape, so that they cannot drift from it."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from supernode.cluster.elector import Elector
from supernode.control.engine import Engine
from supernode.control.figures import Figures, LeaderFigures
from supernode.placement import fragmentation, largest_block
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
            yield from _of_fleet(figures.leader.fleet)
            yield _unassigned(figures.leader)


def _of_replica(figures: Figures) -> Iterable[Metric]:
    """What every replica tells, standing by or not."""
    yield GaugeMetricFamily("supernode_ready", "Whether all caches are filled.", float(figures.ready))
    leads = float(figures.leader is not None)
    yield GaugeMetricFamily("supernode_leader", "Whether this replica leads.", leads)
    size = GaugeMetricFamily("supernode_cache_objects", "Objects in a cache.", labels=["resource"])
    for cache in figures.caches:
        size.add_metric([cache.resource], cache.objects)
    yield size


def _of_work(leader: LeaderFigures) -> Iterable[Metric]:
    yield GaugeMetricFamily("supernode_groups_waiting", "Groups that wait for cards.", leader.waiting)
    yield GaugeMetricFamily("supernode_queue_depth", "Jobs that wait for a worker.", leader.queued)
    yield GaugeMetricFamily("supernode_writer_concurrency", "Writes allowed side by side.", leader.write_limit)


def _of_fleet(fleet: Fleet) -> Iterable[Metric]:
    names = ["supernode", "profile"]
    cards = GaugeMetricFamily("supernode_cards", "Cards of a supernode, by state.", labels=[*names, "state"])
    blocks = GaugeMetricFamily(
        "supernode_largest_block_cards", "Largest block that fits into one domain.", labels=[*names, "level"]
    )
    shares = GaugeMetricFamily(
        "supernode_fragmentation_ratio", "Share of free cards outside the largest block.", labels=names
    )
    reserve = GaugeMetricFamily(
        "supernode_reserve_nodes", "Wholly free nodes of the reserve that are still there.", labels=names
    )
    spares = GaugeMetricFamily(
        "supernode_spare_cards", "Allocated cards that groups hold for their repair.", labels=names
    )
    for view in fleet.supernodes.values():
        key = [view.name, view.profile.name]
        taken = sum((node.taken & node.all_cards).bit_count() for node in view.nodes)
        healthy = sum((node.healthy & node.all_cards).bit_count() for node in view.nodes)
        total = sum(node.cards for node in view.nodes)
        for state, count in (("total", total), ("healthy", healthy), ("allocated", taken), ("free", view.free_cards)):
            cards.add_metric([*key, state], count)
        for level, largest in largest_block(view).items():
            blocks.add_metric([*key, level], largest)
        shares.add_metric(key, fragmentation(view) / 100)
        reserve.add_metric(key, min(view.reserve, view.wholly_free))
        spares.add_metric(key, _spare_cards(view))
    yield from (cards, blocks, shares, reserve, spares)


def _spare_cards(view: SuperNodeView) -> int:
    return sum(seat.cards.bit_count() for entry in view.ledger for seat in entry.spare_seats())


def _unassigned(leader: LeaderFigures) -> Metric:
    text = "Nodes of a profile that are in no supernode."
    unassigned = GaugeMetricFamily("supernode_unassigned_nodes", text, labels=["profile"])
    for profile, nodes in leader.unassigned.items():
        unassigned.add_metric([profile], nodes)
    return unassigned
