"""Creates what a job needs: its CardGroup, its Service and its pods, and meets what stands in the way."""

import asyncio
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from supernode.api.conditions import ConditionType, Reason
from supernode.api.trainingjob import TrainingJob
from supernode.cluster import resources
from supernode.cluster.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Forbidden,
    Invalid,
    NamespaceTerminating,
    NotFound,
    Unavailable,
)
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer, raise_first
from supernode.control.caches import Caches
from supernode.control.conditions import find
from supernode.control.devices import DeviceState
from supernode.control.jobreader import JobReader
from supernode.control.jobview import GroupView, JobView, Notice, Step
from supernode.control.launch import Launch, NameTaken
from supernode.control.obstacles import Obstacles, is_mistake, mistaken
from supernode.control.records import Custom, PodRecord, controller_of, convert_pod
from supernode.workload import DevicesMissing, InvalidSpec, PlacedGroup, pod_name, render_service

Job = Custom[TrainingJob]
Render = Callable[[int], dict[str, Any]]

_NUMBER = re.compile(r"\d+")

_log = logging.getLogger(__name__)


class Creation:
    """Creates for one job at a time; ``record`` is told what the user should know of a job."""

    def __init__(
        self,
        session: Session,
        writer: Writer,
        caches: Caches,
        devices: DeviceState,
        reader: JobReader,
        obstacles: Obstacles,
        record: Callable[[Job, Notice], None],
    ) -> None:
        self._session = session
        self._writer = writer
        self._caches = caches
        self._reader = reader
        self._obstacles = obstacles
        self._record = record
        self._launch = Launch(writer, caches.nodes.store, devices)

    async def create(self, job: Job, view: JobView, step: Step) -> bool:
        """Make what the step says; False when the job met an obstacle, of which its status has to tell."""
        try:
            await self._create_all(job, view, step)
        except NamespaceTerminating:
            raise
        except (Forbidden, Invalid, BadRequest) as problem:
            text = f"{problem.message}; it is tried again"
            self._obstacles.meet(job.uid, Reason.CREATION_FORBIDDEN, text)
            if not _says(job, text):
                _log.warning("TrainingJob %s/%s: %s", *job.key, text)
        return self._obstacles.of(job.uid) is None

    async def _create_all(self, job: Job, view: JobView, step: Step) -> None:
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
        if step.set_priority is not None:  # last: it keeps no pod waiting where policies refuse it
            body = {"spec": {"priority": step.set_priority}}
            self._caches.groups.put(await self._session.merge_patch(resources.CARDGROUPS, job.key, body))

    async def _create_group(self, job: Job) -> None:
        assert job.model is not None
        try:
            self._caches.groups.put(await self._session.create(resources.CARDGROUPS, self._reader.claim(job.model)))
        except AlreadyExists:
            return  # an event of it is on its way, and with it this key
        except Invalid as problem:
            if not is_mistake(problem):
                raise
            self._obstacles.meet(job.uid, Reason.INVALID_SPEC, problem.message)

    async def _create_service(self, job: Job) -> None:
        assert job.model is not None
        try:
            self._caches.services.put(await self._session.create(resources.SERVICES, render_service(job.model)))
        except AlreadyExists:
            if await self._adopt_service(job):
                return
            message = f"Service {job.key[1]} exists and is not this job's, so its pods have no names in DNS; "
            self._obstacles.meet(job.uid, Reason.NAME_CONFLICT, message + "delete it or rename the job")

    async def _adopt_service(self, job: Job) -> bool:
        """Whether the Service of the job's name is its own, from before, which the cache had not seen."""
        namespace, name = job.key
        named = await self._session.list(resources.SERVICES, namespace, field_selector=f"metadata.name={name}", limit=1)
        ours = [service for service in named["items"] or () if controller_of(service["metadata"]) == job.uid]
        for service in ours:
            self._caches.services.put(service)
        return bool(ours)

    async def _create_pods(self, job: Job, view: JobView, group: GroupView, ranks: tuple[int, ...]) -> None:
        """Make the pods of these ranks; where the last ones were forbidden, the others once the first was taken."""
        first = 1 if _was_forbidden(job) else len(ranks)
        for some in (ranks[:first], ranks[first:]):
            if some and self._obstacles.of(job.uid) is None:
                await self._create_some(job, view, group, some)

    async def _create_some(self, job: Job, view: JobView, group: GroupView, ranks: tuple[int, ...]) -> None:
        render = await self._prepare(job, view, group, ranks)
        if render is None:
            return

        taken, refused = _was_taken(view), False

        async def create(rank: int, session: Session) -> None:
            nonlocal refused
            if refused:
                return  # what refuses one pod of a job refuses them all, and may be asked thousands of times
            try:
                self._caches.pods.put(await session.create(resources.PODS, render(rank), strict=not taken))
            except (Forbidden, Invalid, BadRequest):
                refused = True
                raise

        results = await self._writer.run(job.key, [partial(create, rank) for rank in ranks])
        if doubtful := [rank for rank, result in zip(ranks, results, strict=True) if _may_have_come(result)]:
            self._reader.doubt(group, doubtful)
        for rank, result in zip(ranks, results, strict=True):
            if isinstance(result, Invalid | BadRequest) and is_mistake(result) and not taken:
                text = f"the API server refuses the pod template: {result.message}"
                self._obstacles.meet(job.uid, Reason.POD_REJECTED, text, final=True)
                return
            if isinstance(result, AlreadyExists):
                await self._adopt(job, pod_name(job.key[1], rank))
        raise_first(results, AlreadyExists)

    async def _prepare(self, job: Job, view: JobView, group: GroupView, ranks: tuple[int, ...]) -> Render | None:
        """What renders the pods of these ranks, whose files are there; ``None`` where something stands in the way."""
        assert job.model is not None
        assert group.members is not None
        profile = self._reader.profile_of(group.members[0])
        if profile is None:
            text = f"the profile of supernode {group.members[0].supernode} is missing, and with it what its pods need"
            self._obstacles.meet(job.uid, Reason.PROFILE_MISSING, text)
            return None
        claim = self._caches.groups.store.get(job.key)
        topology = claim.model.spec.topology if claim and claim.model else None
        placed = PlacedGroup(job.model, group.uid, profile, group.members, topology.blocks if topology else ())
        try:
            render, notices = await self._launch.prepare(placed, ranks, view.pods)
        except InvalidSpec as problem:
            self._obstacles.meet(job.uid, problem.reason, str(problem), final=True)
            return None
        except (DevicesMissing, NameTaken) as problem:
            reason = Reason.NAME_CONFLICT if isinstance(problem, NameTaken) else Reason.CARDS_FAILED
            self._obstacles.meet(job.uid, reason, str(problem))
            return None
        except ApiError:
            raise
        except Exception as mistake:  # the job would hold its cards and be silent for ever
            self._obstacles.meet(job.uid, Reason.DECISION_FAILED, mistaken("its pods", job.key, mistake))
            return None
        for notice in notices:
            self._record(job, notice)
        return render

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
            self._obstacles.meet(job.uid, Reason.NAME_CONFLICT, message)


def _was_taken(view: JobView) -> bool:
    """Whether the API server took a pod of the template before, so that the template cannot be what is wrong."""
    return bool(view.pods) or view.job.status.get("templateTaken", False)


def _may_have_come(result: object) -> bool:
    """Whether a pod may be there although its creation seems to have failed."""
    return isinstance(result, Unavailable) and result.maybe_applied


def _was_forbidden(job: Job) -> bool:
    """Whether what the job needs was forbidden the last time, by its status."""
    return find(job.status, ConditionType.STALLED).get("reason") == Reason.CREATION_FORBIDDEN


def _says(job: Job, refusal: str) -> bool:
    """Whether a job's status tells of this refusal, be it of another pod of it or with other counts."""
    said = find(job.status, ConditionType.STALLED).get("message", "") if _was_forbidden(job) else ""
    return bool(said) and _NUMBER.sub("", refusal).startswith(_NUMBER.sub("", said))  # a condition cuts long ones
