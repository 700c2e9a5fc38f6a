"""What acts while this operator leads: allocator, job workers, Events. Made for each term anew: nothing outlives it."""

import asyncio
import logging
import time
from typing import Any

from supernode.api.errors import SupernodeError
from supernode.api.trainingjob import JobPhase
from supernode.cluster.errors import NamespaceTerminating
from supernode.cluster.events import EventRecorder
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control.allocator import Allocator
from supernode.control.caches import Caches
from supernode.control.figures import LeaderFigures
from supernode.control.fleet import FleetState
from supernode.control.groups import now
from supernode.control.jobs import JobController
from supernode.control.nodehealth import stranded
from supernode.control.observer import Observer
from supernode.control.patience import Patience
from supernode.control.queue import WorkQueue
from supernode.control.records import Custom, Key, PodRecord
from supernode.topology.deviceinfo import CardReport, reported_node
from supernode.topology.devices import Claim, Slice, TaintRule
from supernode.topology.discovery import NodeFacts

_log = logging.getLogger(__name__)

WORKERS = 16
"""Jobs reconciled side by side; each mostly waits for the API server, whose load the writer bounds. More do harm: with
64, the gangs of a storm come up together instead of one after the other, each tells three times how far it is, and all
take a tenth to a quarter longer. Six or ten are as good."""


class Leader:
    """Drives groups and jobs by filled caches, whose changes it is told of, until it is cancelled."""

    def __init__(
        self,
        session: Session,
        writer: Writer,
        caches: Caches,
        observer: Observer,
        *,
        identity: str,
        term: int,
        patience: Patience,
    ) -> None:
        self._queue: WorkQueue[Key] = WorkQueue()
        self._recorder = EventRecorder(session, instance=identity)
        self._caches = caches
        self._observer = observer
        self.writer = writer
        self.state = FleetState(caches, patience.device_grace)
        self.allocator = Allocator(
            session,
            writer,
            caches,
            self.state,
            self._recorder,
            observer,
            self._queue.add,
            term=term,
            patience=patience,
        )
        self._jobs = JobController(session, writer, caches, self.state, self.allocator, self._recorder, observer)

    # The cluster's changes, as the caches report them.

    def node_changed(self, key: Key, old: NodeFacts | None, new: NodeFacts | None) -> None:
        """A node came, went or changed."""
        self.state.node_changed(old, new)
        self.allocator.wake()
        if old is None or new is None:
            for group in self.state.ledgers.groups_on(key[1]):
                self._queue.add(group)
        elif old.ready != new.ready:
            for pod in self._caches.pods.store.by_index("node", key[1]):
                if pod.deleting:
                    self._stranding(pod)
                elif pod.job is not None:
                    self._queue.add((pod.key[0], pod.job))

    def pod_changed(self, _key: Key, old: PodRecord | None, new: PodRecord | None) -> None:
        """A pod came, went or changed."""
        if self.state.pod_changed(old, new):
            self.allocator.wake()
        for pod in (old, new):
            if pod is None:
                continue
            if pod.job is not None:
                job = (pod.key[0], pod.job)
                if _is_progress(new):
                    self._queue.add_after(job, self._jobs.progress_delay(job))
                else:
                    self._queue.add(job)
            if pod.group_key is not None and (new is None or new.finished):
                self.allocator.group_touched(pod.group_key)
        if new is not None and stranded((new,), self._caches.nodes.store):
            self._stranding(new)

    def _stranding(self, pod: PodRecord) -> None:
        """A pod cannot end any more, or can again: those whom it holds up say so."""
        if pod.job is not None:
            self._queue.add((pod.key[0], pod.job))
        if pod.group_key is not None:
            self.allocator.group_touched(pod.group_key)

    def service_changed(self, key: Key, _old: str | None, _new: str | None) -> None:
        """A job's Service came or went."""
        self._queue.add(key)

    def profile_changed(self, _key: Key, old: Custom[Any] | None, new: Custom[Any] | None) -> None:
        """A profile came, went or was written."""
        if self.state.profile_changed(old, new):
            self.allocator.claims_changed()
        else:
            self.allocator.wake()

    def supernode_changed(self, key: Key, old: Custom[Any] | None, new: Custom[Any] | None) -> None:
        """A SuperNode came, went or was written."""
        self.state.supernode_changed(key[1])
        if old is not None and new is None:
            self.allocator.supernode_gone(old)
        if old is None or new is None:
            self.allocator.claims_changed()
        else:
            self.allocator.wake()

    def group_changed(self, key: Key, _old: Custom[Any] | None, _new: Custom[Any] | None) -> None:
        """A CardGroup came, went or was written."""
        self.allocator.group_touched(key)
        self._queue.add(key)

    def job_changed(self, key: Key, old: Custom[Any] | None, new: Custom[Any] | None) -> None:
        """A TrainingJob came, went or was written."""
        if old is not None and new is None:
            self._jobs.forget(old.uid)
        self._queue.add(key)

    def slice_changed(self, _key: Key, old: Slice | None, new: Slice | None) -> None:
        """A driver published devices of a node, or took them back."""
        self.state.slices_changed({part.node for part in (old, new) if part is not None})
        self.allocator.wake()

    def claim_changed(self, _key: Key, old: Claim | None, new: Claim | None) -> None:
        """A claim got devices or gave them back."""
        if self.state.claim_changed(old, new):
            self.allocator.wake()

    def taint_rule_changed(self, _key: Key, old: TaintRule | None, new: TaintRule | None) -> None:
        """Somebody barred devices, or let them free."""
        pools = {rule.pool for rule in (old, new) if rule is not None}
        if None in pools:
            self.devices_read()
            return
        self.state.slices_changed({part.node for pool in pools if pool for part in self._caches.slices_in(pool)})
        self.allocator.wake()

    def devices_read(self) -> None:
        """What drivers publish is known now, or must be looked at anew."""
        self.state.all_devices_changed()
        self.allocator.wake()

    def reports_read(self) -> None:
        """What device plugins report has been read, or may not be read."""
        self.state.reports_read()
        self.allocator.wake()

    def report_changed(self, key: Key, _old: CardReport | None, _new: CardReport | None) -> None:
        """A device plugin named other cards of a node than before."""
        self.state.report_changed(reported_node(key[1]))
        self.allocator.wake()

    # Life.

    async def run(self) -> None:
        """Until cancelled; raises Deposed when another operator leads."""
        await self.state.refresh()  # a job looked at before its ledger is read would seem to have lost its cards
        for key in self._caches.jobs.store:
            self._queue.add(key)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recorder.run(), name="events")
            tasks.create_task(self.allocator.run(), name="allocator")
            for number in range(WORKERS):
                tasks.create_task(self._work(), name=f"jobs-{number}")

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(0)  # a key that is ready and needs no request would not let others run
            key = await self._queue.get()
            started = time.perf_counter()
            failed = False
            try:
                again = await self._jobs.reconcile(key)
            except NamespaceTerminating:
                self._queue.done(key)  # nothing can be made there any more; the job's own deletion comes as an event
            except SupernodeError as problem:
                failed, delay = True, self._queue.failed(key)
                _log.warning("TrainingJob %s/%s: %s; tries again in %.1f s", *key, problem, delay)
            except Exception:
                failed, delay = True, self._queue.failed(key)
                _log.exception("TrainingJob %s/%s failed in an unforeseen way; tries again in %.1f s", *key, delay)
            else:
                self._queue.done(key)
                if again is not None:
                    self._queue.add_after(key, again)
            self._observer.reconciled("TrainingJob", time.perf_counter() - started, failed)

    def figures(self) -> LeaderFigures:
        """What it knows now."""
        return LeaderFigures(
            fleet=self.state.fleet,
            unassigned={profile: len(nodes) for profile, nodes in self.state.discovery.unassigned.items()},
            jobs={phase: self._caches.jobs.store.count("phase", phase) for phase in JobPhase},
            waiting=self.allocator.waiting,
            hopeful=self.allocator.hopeful(),
            moment=now(),
            silence=time.monotonic() - self.allocator.last_pass,
            queued=len(self._queue),
            write_limit=self.writer.limit,
            writes_waiting=self.writer.waiting,
            events_dropped=self._recorder.dropped,
        )


def _is_progress(new: PodRecord | None) -> bool:
    """Whether a pod merely went on its way, which asks for nothing to be done but telling it."""
    return new is not None and not new.finished and not new.deleting and not new.blocked
