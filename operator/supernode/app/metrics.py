"""The metrics of a running operator. Base units; no label per card, pod or job: those are read with kubectl."""

import asyncio
from collections.abc import Callable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, disable_created_metrics

from supernode import __version__
from supernode.app.gauges import Gauges
from supernode.cluster.elector import Elector
from supernode.control.draft import RepairKind
from supernode.control.engine import Engine
from supernode.control.observer import Observer

Encode = Callable[[CollectorRegistry], bytes]
"""Writes the text of all metrics of a registry."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # else a series more for each counter, which nobody reads

_DECISIONS = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30)
_RECONCILES = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30)
_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_WAITS = (0.1, 0.5, 1, 5, 30, 60, 300, 1800, 7200, 28800, 86400)
_SIZES = ((1, "1"), (8, "2-8"), (64, "9-64"), (512, "65-512"))
_LARGEST = "513+"


def size_class(members: int) -> str:
    """The label of a group's size in members: ``1``, ``2-8``, ``9-64``, ``65-512`` or ``513+``."""
    return next((label for most, label in _SIZES if members <= most), _LARGEST)


class Metrics(Observer):
    """Turns the engine's measurements into Prometheus metrics in ``registry``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges: Gauges | None = None
        ProcessCollector(registry=self.registry)
        build = Info("supernode_build", "The version of the operator.", registry=self.registry)
        build.info({"version": __version__})
        self._decision = Histogram(
            "supernode_decision_seconds",
            "Time of one placement decision, by outcome.",
            ["outcome"],
            buckets=_DECISIONS,
            registry=self.registry,
        )
        self._excess = Counter(
            "supernode_span_excess_total",
            "Domains touched beyond the minimum, summed over allocated groups, by level.",
            ["level"],
            registry=self.registry,
        )
        self._spans = Counter(
            "supernode_span_domains_total",
            "Domains touched, summed over allocated groups, by level.",
            ["level"],
            registry=self.registry,
        )
        self._wait = Histogram(
            "supernode_group_wait_seconds",
            "Time from asking for cards to having them, by size class in members.",
            ["size"],
            buckets=_WAITS,
            registry=self.registry,
        )
        self._running = Histogram(
            "supernode_job_start_seconds",
            "Time from when a job got its cards until all its pods ran on them for the first time.",
            buckets=_WAITS,
            registry=self.registry,
        )
        self._reconcile = Histogram(
            "supernode_reconcile_seconds",
            "Time of one reconcile, by kind.",
            ["kind"],
            buckets=_RECONCILES,
            registry=self.registry,
        )
        self._failures = Counter(
            "supernode_reconcile_failures_total", "Reconciles that failed, by kind.", ["kind"], registry=self.registry
        )
        self._restarts = Counter(
            "supernode_job_restarts_total", "Times that failed pods of a job were replaced.", registry=self.registry
        )
        self._conflicts = Counter(
            "supernode_ledger_conflicts_total",
            "Ledger swaps that did not succeed and were tried again.",
            registry=self.registry,
        )
        self._deposed = Counter(
            "supernode_terms_lost_total",
            "Terms that ended because another operator had taken the ledgers.",
            registry=self.registry,
        )
        self._repairs = Counter(
            "supernode_ledger_repairs_total",
            "Ledger entries that were not as they must be and were mended, by kind.",
            ["kind"],
            registry=self.registry,
        )
        self._requests = Counter(
            "supernode_api_requests_total",
            "Requests to the API server, by verb, resource and HTTP status (0: no answer).",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self._lag = Histogram(
            "supernode_loop_lag_seconds",
            "How much later than asked the event loop came back to a task that asks twenty times a second.",
            buckets=_LAGS,
            registry=self.registry,
        )
        self._busy = Histogram(
            "supernode_loop_busy_seconds",
            "The part of supernode_loop_lag_seconds in which the loop was busy itself, not without a core.",
            buckets=_LAGS,
            registry=self.registry,
        )
        self._begin()

    def _begin(self) -> None:
        """Let series whose labels are known begin at 0: what one that begins at 1 counted first is no increase."""
        for kind in get_args(RepairKind):
            self._repairs.labels(kind)
        self._reconcile.labels("TrainingJob")
        self._failures.labels("TrainingJob")
        for _, size in _SIZES:
            self._wait.labels(size)
        self._wait.labels(_LARGEST)

    def watch(self, engine: Engine, elector: Elector) -> None:
        """Also export what the engine knows at the moment of a scrape."""
        self._gauges = Gauges(engine, elector)
        self.registry.register(self._gauges)

    async def text(self, encode: Encode) -> bytes:
        """All metrics of this moment, written in a thread: hundreds of supernodes make thousands of samples, and the
        loop has watches to serve."""
        if self._gauges is not None:
            self._gauges.take()
        return await asyncio.to_thread(encode, self.registry)

    def decided(self, outcome: str, seconds: float) -> None:
        self._decision.labels(outcome).observe(seconds)

    def allocated(self, members: int, waited: float, spans: dict[str, int], minimal: dict[str, int]) -> None:
        self._wait.labels(size_class(members)).observe(max(0.0, waited))
        for level, count in spans.items():
            self._spans.labels(level).inc(count)
            self._excess.labels(level).inc(max(0, count - minimal.get(level, count)))

    def ledger_conflict(self) -> None:
        self._conflicts.inc()

    def deposed(self) -> None:
        self._deposed.inc()

    def ledger_repaired(self, kind: RepairKind) -> None:
        self._repairs.labels(kind).inc()

    def reconciled(self, kind: str, seconds: float, failed: bool) -> None:
        self._reconcile.labels(kind).observe(seconds)
        if failed:
            self._failures.labels(kind).inc()

    def restarted(self, times: int) -> None:
        self._restarts.inc(times)

    def job_running(self, seconds: float) -> None:
        self._running.observe(max(0.0, seconds))

    def requested(self, verb: str, resource: str, code: int) -> None:
        self._requests.labels(verb, resource, str(code)).inc()

    def loop_lag(self, seconds: float, busy: float) -> None:
        self._lag.observe(seconds)
        self._busy.observe(busy)
