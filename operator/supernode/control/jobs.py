"""Carries out what :func:`supernode.control.job.decide` says, one training job at a time."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from supernode.api.conditions import Reason
from supernode.api.trainingjob import TrainingJob
from supernode.cluster import resources
from supernode.cluster.errors import Conflict, Invalid, NotFound
from supernode.cluster.events import EventRecorder, Reference
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer, raise_first
from supernode.control.allocator import Allocator
from supernode.control.caches import Caches
from supernode.control.creation import Creation
from supernode.control.fleet import FleetState
from supernode.control.job import decide
from supernode.control.jobreader import JobReader
from supernode.control.jobstatus import first_start
from supernode.control.jobview import GroupView, JobView, Notice, Step
from supernode.control.observer import Observer
from supernode.control.obstacles import Obstacles
from supernode.control.pauses import Pauses
from supernode.control.records import Custom, Key
from supernode.control.status import difference
from supernode.control.turns import TURN_SECONDS

Job = Custom[TrainingJob]

PROGRESS_DELAY = 0.25
"""Seconds until a job is looked at because pods of it were created, bound or started: so they are seen together."""

DELAY_PER_POD = 0.0002
"""Seconds longer for each of its pods, all of which a look at a job goes through: a fortieth of the loop's time."""

INTERIM_FACTOR = 2
"""Such delays between two statuses of a job that only tell how many of its pods run by now."""


class JobController:
    """Reconciles training jobs by key. Errors of the API server surface to the caller, who tries the key again."""

    def __init__(
        self,
        session: Session,
        writer: Writer,
        caches: Caches,
        state: FleetState,
        allocator: Allocator,
        recorder: EventRecorder,
        observer: Observer,
    ) -> None:
        self._session = session
        self._writer = writer
        self._caches = caches
        self._state = state
        self._allocator = allocator
        self._recorder = recorder
        self._observer = observer
        self._obstacles = Obstacles()
        self._reader = JobReader(caches, state, allocator, self._obstacles)
        self._creation = Creation(
            session, writer, caches, state.devices, self._reader, self._obstacles, record=self._record
        )
        self._interim: dict[str, float] = {}
        self._behind = Pauses()

    async def reconcile(self, key: Key) -> float | None:
        """Bring one job a step further; seconds until it must be looked at again, ``None`` if only events matter."""
        job = self._caches.jobs.store.get(key)
        if job is None:
            return None
        view = self._reader.view(job)
        await asyncio.sleep(0)  # with thousands of pods, this and the next are a slice each
        step = decide(view)
        if step.avoid is not None:
            self._state.node_refuses(step.avoid)
        if not step.create_ranks or view.group is None:
            return await self._take(job, view, step)
        if not self._still(key, view.group):
            return 0.0
        if not self._reader.is_turn_of(view.group, step.create_ranks):
            return TURN_SECONDS
        with self._allocator.arriving(key, view.group.uid), self._reader.turn_of(view.group, step.create_ranks):
            return await self._take(job, view, step)

    async def _take(self, job: Job, view: JobView, step: Step) -> float | None:
        status_first = step.removes or step.remembers
        # Nobody should wait for a status before getting pods.
        if not status_first and not await self._creation.create(job, view, step):
            return await self._look_again(job)
        if step.interim and (pause := self._pause(job)) > 0:
            return pause
        self._interim.pop(job.uid, None)
        if step.status is not None and not await self._write_status(job, step):
            return self._behind.failed(job.uid)
        if status_first:
            await self._delete(job, view, step)
            if not await self._creation.create(job, view, step):
                return await self._look_again(job)
        return step.again_after

    def _still(self, key: Key, seen: GroupView) -> bool:
        """Whether a group has its cards as it was seen: within a turn of the loop the allocator may let it go."""
        now = self._reader.group(key)
        return now is not None and (now.uid, now.deleting, now.members) == (seen.uid, seen.deleting, seen.members)

    def progress_delay(self, key: Key) -> float:
        """Seconds until a job is to be looked at because some of its pods merely went on their way."""
        return PROGRESS_DELAY + DELAY_PER_POD * self._caches.pods.store.count("job", key)

    def _pause(self, job: Job) -> float:
        """Seconds until an interim status may be written: progress is told of in steps, not pod by pod."""
        now = time.monotonic()
        return self._interim.setdefault(job.uid, now + INTERIM_FACTOR * self.progress_delay(job.key)) - now

    def forget(self, uid: str) -> None:
        """A job is gone: forget what was learnt of it."""
        self._obstacles.forget(uid)
        self._reader.forget(uid)
        self._interim.pop(uid, None)
        self._behind.succeeded(uid)

    # Writing.

    async def _write_status(self, job: Job, step: Step) -> bool:
        """Whether the status is as the step has it; False where the cache is behind: what it is told next decides."""
        assert step.status is not None
        patch = difference(job.status, step.status)
        if not patch:
            return True
        body = {"metadata": {"resourceVersion": job.resource_version}, "status": patch}
        try:
            written = await self._session.merge_patch(resources.TRAININGJOBS, job.key, body, subresource="status")
        except (Conflict, NotFound):
            return False
        except Invalid as problem:
            note = f"the API server takes no status of this job: {problem.message}"
            for notice in (*step.notices, Notice(Reason.INVALID_SPEC, note, warning=True)):
                self._record(job, notice)
            raise
        self._behind.succeeded(job.uid)
        self._caches.jobs.put(written)
        for notice in step.notices:
            self._record(job, notice)
        self._measure(job, step.status, patch)
        return True

    def _record(self, job: Job, notice: Notice) -> None:
        about = Reference(resources.TRAININGJOBS, *job.key, job.uid)
        self._recorder.record(about, str(notice.reason), notice.message, action="Reconcile", warning=notice.warning)

    def _measure(self, job: Job, status: dict[str, Any], patch: dict[str, Any]) -> None:
        if (started := first_start(job.status, status)) is not None:
            self._observer.job_running((datetime.now(UTC) - started).total_seconds())
        if (restarts := patch.get("restarts")) is not None:
            self._observer.restarted(restarts - job.status.get("restarts", 0))

    async def _delete(self, job: Job, view: JobView, step: Step) -> None:
        targets = [(pod.key, pod.uid) for pod in step.delete_pods]
        raise_first(await self._writer.delete_many(job.key, resources.PODS, targets), NotFound, Conflict)
        if step.delete_group and view.group is not None:
            await self._ignoring_absence(self._session.delete(resources.CARDGROUPS, job.key, uid=view.group.uid))
        if step.delete_job:
            removal = self._session.delete(resources.TRAININGJOBS, job.key, uid=job.uid, propagation="Background")
            await self._ignoring_absence(removal)

    @staticmethod
    async def _ignoring_absence(deletion: Any) -> None:
        try:
            await deletion
        except (NotFound, Conflict):
            return

    async def _look_again(self, job: Job) -> float | None:
        """Decide anew with what was just learnt, and say so; seconds until the job must be looked at again."""
        current = self._caches.jobs.store.get(job.key)
        if current is None:
            return None
        step = decide(self._reader.view(current))
        if step.status is not None and not await self._write_status(current, step):
            return self._behind.failed(current.uid)
        return step.again_after
