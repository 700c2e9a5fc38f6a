"""Carries out what :func:`supernode.control.job.decide` says, one training job at a time."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from supernode.api.conditions import ConditionType, Reason
from supernode.api.trainingjob import TrainingJob
from supernode.cluster import resources
from supernode.cluster.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NamespaceTerminating,
    NotFound,
)
from supernode.cluster.events import EventRecorder, Reference
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control.allocator import Allocator
from supernode.control.caches import Caches
from supernode.control.conditions import is_true
from supernode.control.fleet import FleetState
from supernode.control.grouping import claim_for, group_for
from supernode.control.job import decide, finished
from supernode.control.jobstatus import first_start
from supernode.control.jobview import OBSTACLE_INTERVAL, GroupView, JobView, Notice, Obstacle, Step
from supernode.control.launch import Launch, NameTaken
from supernode.control.observer import Observer
from supernode.control.pauses import Pauses
from supernode.control.records import Custom, Key, PodRecord, convert_pod
from supernode.control.status import difference
from supernode.control.turns import Turns
from supernode.topology.fleet import Member
from supernode.topology.profile import Profile
from supernode.workload import LAUNCHERS, DevicesMissing, InvalidSpec, PlacedGroup, pod_name, render_service

_log = logging.getLogger(__name__)

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
        self._launch = Launch(writer, caches.nodes.store, state.devices)
        self._obstacles: dict[str, tuple[Obstacle, float]] = {}
        self._interim: dict[str, float] = {}
        self._lost_since: dict[str, float] = {}
        self._behind = Pauses()
        self._turns = Turns(partial(caches.pods.store.by_index, "arriving"))

    async def reconcile(self, key: Key) -> float | None:
        """Bring one job a step further; seconds until it must be looked at again, ``None`` if only events matter."""
        job = self._caches.jobs.store.get(key)
        if job is None:
            return None
        view = self._view(job)
        await asyncio.sleep(0)  # with thousands of pods, this and the next are a slice each
        step = decide(view)
        if step.avoid is not None:
            self._state.node_refuses(step.avoid)
        if not step.create_ranks or view.group is None:
            return await self._take(job, view, step)
        if not self._still(key, view.group):
            return 0.0
        with self._allocator.arriving(key, view.group.uid), self._turns.taken(self._confusable(view.group, step)):
            return await self._take(job, view, step)

    async def _take(self, job: Job, view: JobView, step: Step) -> float | None:
        # Nobody should wait for a status before getting pods.
        if not step.removes and not await self._create(job, view, step):
            return await self._look_again(job)
        if step.interim and (pause := self._pause(job)) > 0:
            return pause
        self._interim.pop(job.uid, None)
        if step.status is not None and not await self._write_status(job, step):
            return self._behind.failed(job.uid)
        if step.removes:
            await self._delete(job, view, step)
            if not await self._create(job, view, step):
                return await self._look_again(job)
        return step.again_after

    def _still(self, key: Key, seen: GroupView) -> bool:
        """Whether a group has its cards as it was seen: within a turn of the loop the allocator may let it go."""
        now = self._group_view(key)
        return now is not None and (now.uid, now.deleting, now.members) == (seen.uid, seen.deleting, seen.members)

    def progress_delay(self, key: Key) -> float:
        """Seconds until a job is to be looked at because some of its pods merely went on their way."""
        return PROGRESS_DELAY + DELAY_PER_POD * self._caches.pods.store.count("job", key)

    def _pause(self, job: Job) -> float:
        """Seconds until an interim status may be written: progress is told of in steps, not pod by pod."""
        now = time.monotonic()
        return self._interim.setdefault(job.uid, now + INTERIM_FACTOR * self.progress_delay(job.key)) - now

    def _view(self, job: Job) -> JobView:
        pods = self._caches.pods.store.by_index("job", job.key)
        group = self._group_view(job.key)
        members = (group.members if group else None) or ()
        lost = frozenset(m.node for m in members if ("", m.node) not in self._caches.nodes.store)
        return JobView(
            job=job,
            group=group,
            pods=tuple(pod for pod in pods if pod.owner_uid == job.uid),
            former=tuple(pod for pod in pods if pod.owner_uid not in (job.uid, None)),
            has_service=job.key in self._caches.services.store,
            outdated=group is not None and group.members is None and self._outdated(job),
            lost=lost,
            lost_for=self._lost_for(job, lost),
            obstacle=self._obstacle(job) or (self._claim_obstacle(job) if group is None else None),
            now=datetime.now(UTC),
            crowded=frozenset(p.pinned for p in pods if p.blocked and p.pinned and self._state.crowded(p.pinned)),
            unfit=self._unfit(members, pods),
            later=self._later(job, members, pods),
            away=frozenset(p.pinned for p in pods if p.blocked and p.pinned and self._state.offers_none(p.pinned)),
            stranded=self._state.stranded(pod for pod in pods if pod.owner_uid == job.uid),
        )

    def _lost_for(self, job: Job, lost: frozenset[str]) -> float:
        """Seconds since nodes of its members were first found to be gone, by this process."""
        if not lost:
            self._lost_since.pop(job.uid, None)
            return 0.0
        return time.monotonic() - self._lost_since.setdefault(job.uid, time.monotonic())

    def _later(self, job: Job, members: Sequence[Member], pods: Sequence[PodRecord]) -> frozenset[int]:
        """Ranks without a pod that have to wait for pods on their way, where a device plugin could confuse the two."""
        if not self._by_turns(members):
            return frozenset()
        there = {pod.rank for pod in pods}
        missing = [member for member in members if member.rank not in there]
        if job.model is not None and LAUNCHERS[job.model.spec.runtime].first_decides:
            missing.sort(key=lambda member: member.rank == 0)  # it waits for the others, so none may wait for it
        return self._turns.later(missing)

    def _confusable(self, group: GroupView, step: Step) -> list[Member]:
        """The members whose pods a step creates, where a device plugin could confuse them with others."""
        members, ranks = group.members or (), set(step.create_ranks)
        return [member for member in members if member.rank in ranks] if self._by_turns(members) else []

    def _by_turns(self, members: Sequence[Member]) -> bool:
        profile = self._profile_of(members[0]) if members else None
        return profile is not None and profile.pinning.mode == "annotation"

    def _unfit(self, members: Sequence[Member], pods: Sequence[PodRecord]) -> frozenset[int]:
        """Ranks whose pods wait for a scheduler that will never bind them, or would come to cards that do not work.
        Pods that run are left alone: they know best whether they can go on."""
        there = {pod.rank: pod for pod in pods}
        return frozenset(m.rank for m in members if self._is_unfit(m, there.get(m.rank)))

    def _is_unfit(self, member: Member, pod: PodRecord | None) -> bool:
        """Whether a member's pod, the one there is or the next one, cannot use its cards. Where the kubelet chooses the
        cards, the next pod may get others of its node."""
        profile = self._profile_of(member)
        mode = profile.pinning.mode if profile is not None else "none"
        if (pod is not None and pod.blocked) or (pod is None and mode == "dra"):
            return self._state.unfit(member.node, member.cards)
        return mode != "none" and (pod is None or pod.phase == "Failed") and self._state.ill(member.node, member.cards)

    def _obstacle(self, job: Job) -> Obstacle | None:
        """What the API server answered not long ago, until it is worth asking again."""
        obstacle, until = self._obstacles.get(job.uid, (None, 0.0))
        if obstacle is not None and not obstacle.final and until <= time.monotonic():
            del self._obstacles[job.uid]
            return None
        return obstacle

    def _met(self, job: Job, reason: Reason, message: str, *, final: bool = False) -> None:
        self._obstacles[job.uid] = (Obstacle(reason, message, final), time.monotonic() + OBSTACLE_INTERVAL / 2)

    def _claim_obstacle(self, job: Job) -> Obstacle | None:
        if job.model is None or job.deleting or finished(job.status):
            return None
        try:
            self._claim(job.model)
        except InvalidSpec as problem:
            return Obstacle(problem.reason, str(problem))
        except Exception as mistake:  # the job would be silent for ever
            return Obstacle(Reason.DECISION_FAILED, _mistaken("what it asks for", job, mistake))
        return None

    def _outdated(self, job: Job) -> bool:
        """Whether the job's group is stalled as it is, and its profile, edited since, makes another one of the job."""
        group = self._caches.groups.store.get(job.key)
        if (
            group is None
            or not is_true(group.status, ConditionType.STALLED)
            or group.model is None
            or job.model is None
        ):
            return False
        try:
            claim = claim_for(job.model, self._state.fleet)
        except InvalidSpec:
            return False
        return claim.model_copy(update={"priority": group.model.spec.priority}) != group.model.spec

    def _claim(self, job: TrainingJob) -> dict[str, Any]:
        """The CardGroup the job asks for."""
        return group_for(job, self._state.fleet)

    def forget(self, uid: str) -> None:
        """A job is gone: forget what was learnt of it."""
        self._obstacles.pop(uid, None)
        self._interim.pop(uid, None)
        self._lost_since.pop(uid, None)
        self._behind.succeeded(uid)

    def _group_view(self, key: Key) -> GroupView | None:
        group = self._caches.groups.store.get(key)
        if group is None:
            return None
        spec, members = group.model.spec if group.model else None, self._allocator.members_of(key, group.uid)
        return GroupView(
            uid=group.uid,
            owner_uid=group.owner_uid,
            deleting=group.deleting,
            priority=spec.priority if spec else None,
            size=spec.members if spec else len(members or ()),
            cards=spec.cards if spec else sum(member.cards.bit_count() for member in members or ()),
            status=group.status,
            members=members,
            created=group.created,
        )

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
        _raise_first(await self._writer.delete_many(job.key, resources.PODS, targets), NotFound, Conflict)
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

    async def _create(self, job: Job, view: JobView, step: Step) -> bool:
        """Make what the step says; False when the job met an obstacle, of which its status has to tell."""
        try:
            await self._create_all(job, view, step)
        except NamespaceTerminating:
            raise
        except Forbidden as problem:
            self._met(job, Reason.CREATION_FORBIDDEN, f"{problem.message}; it is tried again")
        return self._obstacle(job) is None

    async def _create_all(self, job: Job, view: JobView, step: Step) -> None:
        if step.set_priority is not None:
            body = {"spec": {"priority": step.set_priority}}
            self._caches.groups.put(await self._session.merge_patch(resources.CARDGROUPS, job.key, body))
        if step.create_group:
            await self._create_group(job)
        work = []
        if step.create_service:
            work.append(self._create_service(job))
        if step.create_ranks and view.group is not None and view.group.members is not None:
            work.append(self._create_pods(job, view, view.group, step.create_ranks))
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _create_group(self, job: Job) -> None:
        assert job.model is not None
        try:
            self._caches.groups.put(await self._session.create(resources.CARDGROUPS, self._claim(job.model)))
        except AlreadyExists:
            return  # an event of it is on its way, and with it this key
        except Invalid as problem:
            self._met(job, Reason.INVALID_SPEC, problem.message)

    async def _create_service(self, job: Job) -> None:
        assert job.model is not None
        try:
            self._caches.services.put(await self._session.create(resources.SERVICES, render_service(job.model)))
        except AlreadyExists:
            message = f"Service {job.key[1]} exists and is not this job's; its pods have no names in DNS"
            self._record(job, Notice(Reason.NAME_CONFLICT, message, warning=True))

    async def _create_pods(self, job: Job, view: JobView, group: GroupView, ranks: tuple[int, ...]) -> None:
        assert job.model is not None
        assert group.members is not None
        profile = self._profile_of(group.members[0])
        if profile is None:
            text = f"the profile of supernode {group.members[0].supernode} is missing, and with it what its pods need"
            self._met(job, Reason.PROFILE_MISSING, text)
            return
        claim = self._caches.groups.store.get(job.key)
        topology = claim.model.spec.topology if claim and claim.model else None
        placed = PlacedGroup(job.model, group.uid, profile, group.members, topology.blocks if topology else ())
        try:
            render, notices = await self._launch.prepare(placed, ranks, view.pods)
        except InvalidSpec as problem:
            self._met(job, problem.reason, str(problem), final=True)
            return
        except (DevicesMissing, NameTaken) as problem:
            reason = Reason.NAME_CONFLICT if isinstance(problem, NameTaken) else Reason.CARDS_FAILED
            self._met(job, reason, str(problem))
            return
        except ApiError:
            raise
        except Exception as mistake:  # the job would hold its cards and be silent for ever
            self._met(job, Reason.DECISION_FAILED, _mistaken("its pods", job, mistake))
            return
        for notice in notices:
            self._record(job, notice)

        async def create(rank: int, session: Session) -> None:
            self._caches.pods.put(await session.create(resources.PODS, render(rank)))

        results = await self._writer.run(job.key, [partial(create, rank) for rank in ranks])
        for rank, result in zip(ranks, results, strict=True):
            if isinstance(result, Invalid | BadRequest):
                text = f"the API server refuses the pod template: {result.message}"
                self._met(job, Reason.POD_REJECTED, text, final=True)
                return
            if isinstance(result, AlreadyExists):
                await self._adopt(job, pod_name(job.key[1], rank))
        _raise_first(results, AlreadyExists)

    def _profile_of(self, member: Member) -> Profile | None:
        view = self._state.fleet.supernodes.get(member.supernode)
        return view.profile if view else None

    async def _look_again(self, job: Job) -> float | None:
        """Decide anew with what was just learnt, and say so; seconds until the job must be looked at again."""
        current = self._caches.jobs.store.get(job.key)
        if current is None:
            return None
        step = decide(self._view(current))
        if step.status is not None and not await self._write_status(current, step):
            return self._behind.failed(current.uid)
        return step.again_after

    async def _adopt(self, job: Job, name: str) -> None:
        """A pod of this name is there already: ours from before, which the cache had not seen, or somebody else's."""
        try:
            found = await self._session.get(resources.PODS, (job.key[0], name))
        except NotFound:
            return
        self._caches.pods.put(found)
        record: PodRecord = convert_pod(found)
        if record.owner_uid not in (job.uid, None) and record.job == job.key[1]:
            return  # an earlier job's: it goes, and this key comes then
        if record.owner_uid != job.uid:
            message = f"pod {name} exists and is not this job's; delete it or rename the job"
            self._met(job, Reason.NAME_CONFLICT, message)


def _mistaken(what: str, job: Job, mistake: Exception) -> str:
    """Log what nobody foresaw; the words for the job's status."""
    _log.error("no decision about %s of job %s/%s", what, *job.key, exc_info=mistake)
    return f"the operator failed to make out {what} ({mistake!r}); report this with the operator's log"


def _raise_first(results: list[Any], *harmless: type[ApiError]) -> None:
    """Raise the first error that is none of ``harmless``, so that the key is tried again."""
    for result in results:
        if isinstance(result, ApiError) and not isinstance(result, harmless):
            raise result
