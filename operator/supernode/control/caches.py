"""Every cache of the engine: one reflector for each kind it reads, and who is told of changes."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from supernode.api import names
from supernode.api.cardgroup import CardGroup
from supernode.api.profile import SuperNodeProfile
from supernode.api.reading import parse_stored
from supernode.api.supernode import SuperNode
from supernode.api.trainingjob import JobPhase, TrainingJob
from supernode.cluster import resources
from supernode.cluster.reflector import Reflector
from supernode.cluster.resources import Resource
from supernode.cluster.session import Session
from supernode.control.records import (
    Custom,
    Key,
    PodRecord,
    controller_of,
    convert_node,
    convert_pod,
    custom_converter,
)
from supernode.topology.deviceinfo import (
    ALL_WELL,
    LABEL_SELECTOR,
    NAME_PREFIX,
    NAMESPACE,
    CardReport,
    DeviceInfoError,
    read_config_map,
)
from supernode.topology.devices import Claim, Slice, TaintRule, read_claim, read_slice, read_taint_rule
from supernode.topology.discovery import NodeFacts

DEVICES_PATIENCE = 10.0
"""Seconds that a start waits for what drivers publish, without which nodes seem to have no cards, and for what device
plugins report of single cards."""

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who wants to know of changes. ``old`` is ``None`` for an added object, ``new`` for a deleted one."""

    def node_changed(self, key: Key, old: NodeFacts | None, new: NodeFacts | None) -> None: ...
    def pod_changed(self, key: Key, old: PodRecord | None, new: PodRecord | None) -> None: ...
    def service_changed(self, key: Key, old: str | None, new: str | None) -> None: ...
    def profile_changed(
        self, key: Key, old: Custom[SuperNodeProfile] | None, new: Custom[SuperNodeProfile] | None
    ) -> None: ...
    def supernode_changed(self, key: Key, old: Custom[SuperNode] | None, new: Custom[SuperNode] | None) -> None: ...
    def group_changed(self, key: Key, old: Custom[CardGroup] | None, new: Custom[CardGroup] | None) -> None: ...
    def job_changed(self, key: Key, old: Custom[TrainingJob] | None, new: Custom[TrainingJob] | None) -> None: ...
    def slice_changed(self, key: Key, old: Slice | None, new: Slice | None) -> None: ...
    def claim_changed(self, key: Key, old: Claim | None, new: Claim | None) -> None: ...
    def taint_rule_changed(self, key: Key, old: TaintRule | None, new: TaintRule | None) -> None: ...
    def devices_read(self) -> None: ...
    def reports_read(self) -> None: ...
    def report_changed(self, key: Key, old: CardReport | None, new: CardReport | None) -> None: ...


OnChange = Callable[[Key, Any, Any], None]


class Caches:
    """What the engine knows of the cluster. Pods are indexed by ``node``, by the node they are ``arriving`` at, by
    ``group`` and by ``job``; jobs by ``phase``; slices by ``node`` and ``pool``, claims by ``pool``.

    ``listener`` is told of changes from when it is set. What drivers for Dynamic Resource Allocation publish is read
    from when a profile pins by claims: a cluster may not serve it, and a large one has much of it. Reports of device
    plugins are read from when a profile asks for them, and only those are kept that name a card.
    """

    def __init__(self, session: Session) -> None:
        self.listener: Listener | None = None
        self._by_claims = asyncio.Event()
        self._reports_wanted = asyncio.Event()
        self._unread: set[str] = set()

        def read_profile(obj: dict[str, Any]) -> SuperNodeProfile:
            profile = parse_stored(SuperNodeProfile, obj)
            if profile.spec.pinning.devices is not None:
                self._by_claims.set()
            if profile.spec.health.reports is not None:
                self._reports_wanted.set()
            return profile

        def reflector(
            resource: Resource, convert: Callable[..., Any], tell: Callable[[Listener], OnChange], **options: Any
        ) -> Any:
            def on_change(key: Key, old: Any, new: Any) -> None:
                if self.listener is not None:
                    tell(self.listener)(key, old, new)

            return Reflector(session, resource, convert=convert, on_change=on_change, **options)

        self.nodes: Reflector[NodeFacts] = reflector(resources.NODES, convert_node, lambda who: who.node_changed)
        self.pods: Reflector[PodRecord] = reflector(
            resources.PODS, convert_pod, lambda who: who.pod_changed, indices=_POD_INDICES
        )
        self.services: Reflector[str] = reflector(
            resources.SERVICES, _controller_uid, lambda who: who.service_changed, label_selector=names.LABEL_JOB
        )
        self.profiles: Reflector[Custom[SuperNodeProfile]] = reflector(
            resources.SUPERNODEPROFILES,
            custom_converter(read_profile),
            lambda who: who.profile_changed,
        )
        self.supernodes: Reflector[Custom[SuperNode]] = reflector(
            resources.SUPERNODES, custom_converter(partial(parse_stored, SuperNode)), lambda who: who.supernode_changed
        )
        self.groups: Reflector[Custom[CardGroup]] = reflector(
            resources.CARDGROUPS, custom_converter(partial(parse_stored, CardGroup)), lambda who: who.group_changed
        )
        self.jobs: Reflector[Custom[TrainingJob]] = reflector(
            resources.TRAININGJOBS,
            custom_converter(partial(parse_stored, TrainingJob)),
            lambda who: who.job_changed,
            indices={"phase": _phase},
        )

        self.slices: Reflector[Slice] = reflector(
            resources.RESOURCESLICES, read_slice, lambda who: who.slice_changed, indices=_SLICE_INDICES
        )
        self.claims: Reflector[Claim] = reflector(
            resources.RESOURCECLAIMS, read_claim, lambda who: who.claim_changed, indices=_CLAIM_INDICES
        )
        self.taint_rules: Reflector[TaintRule] = reflector(
            resources.DEVICETAINTRULES, read_taint_rule, lambda who: who.taint_rule_changed
        )
        self.reports: Reflector[CardReport] = reflector(
            resources.CONFIGMAPS,
            self._read_report,
            lambda who: who.report_changed,
            namespace=NAMESPACE,
            label_selector=LABEL_SELECTOR,
        )

    def always(self) -> tuple[Reflector[Any], ...]:
        """The reflectors that every cluster needs."""
        return (self.nodes, self.pods, self.services, self.profiles, self.supernodes, self.groups, self.jobs)

    def followed(self) -> tuple[Reflector[Any], ...]:
        """The reflectors that run; those of what not every cluster serves, or lets be read, once they have read it."""
        devices = (self.slices, self.claims) if self._by_claims.is_set() else ()
        optional = (self.taint_rules, self.reports)
        return (*self.always(), *devices, *(reflector for reflector in optional if reflector.synced.is_set()))

    def filled(self) -> list[Reflector[Any]]:
        """The reflectors whose first list has ended."""
        every = (*self.always(), self.slices, self.claims, self.taint_rules, self.reports)
        return [reflector for reflector in every if reflector.synced.is_set()]

    async def synced(self) -> None:
        """Wait until each cache that every cluster needs has been filled once; where a profile pins by claims, those of
        devices too, but not for ever: a cluster that does not serve them has other machines. Reports of device plugins,
        where a profile asks for them, are waited for as well, unless the operator may not read them.
        """
        await asyncio.gather(*(reflector.synced.wait() for reflector in self.always()))
        needed = []
        if self._by_claims.is_set():
            needed += [self.slices.synced.wait(), self.claims.synced.wait()]
        if self._reports_wanted.is_set():
            needed.append(self.reports.settled.wait())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEVICES_PATIENCE):
                await asyncio.gather(*needed)

    def unsynced(self) -> list[str]:
        """The resources, of those that every cluster needs, whose first list has not ended."""
        return [reflector.resource.plural for reflector in self.always() if not reflector.synced.is_set()]

    # What drivers and device plugins publish, as `supernode.control.devices` reads it.

    @property
    def complete(self) -> bool:
        """Whether slices and claims have been read."""
        return self.slices.synced.is_set() and self.claims.synced.is_set()

    def slices_on(self, node: str) -> list[Slice]:
        """The slices of one node."""
        return self.slices.store.by_index("node", node)

    def slices_in(self, pool: str) -> list[Slice]:
        """The slices of pools of this name; drivers may use the same."""
        return self.slices.store.by_index("pool", pool)

    def claims_in(self, pool: str) -> list[Claim]:
        """The claims that have devices of pools of this name."""
        return self.claims.store.by_index("pool", pool)

    def barring(self) -> Iterable[TaintRule]:
        """Every rule that bars devices."""
        return self.taint_rules.store.values()

    def report_on(self, node: str) -> CardReport | None:
        """What a node's device plugin reports, where it names a card."""
        return self.reports.store.get((NAMESPACE, NAME_PREFIX + node)) if len(self.reports.store) else None

    def _read_report(self, config_map: dict[str, Any]) -> CardReport | None:
        """None for one that names no card, as nearly all do, or that cannot be read."""
        name = config_map["metadata"]["name"]
        try:
            report = read_config_map(config_map)
        except DeviceInfoError as problem:
            self._tell_of(name, f"is not read: its {problem}")
            return None
        if report.passed_over:
            more = f" and {len(report.passed_over) - 1} more" if len(report.passed_over) > 1 else ""
            self._tell_of(name, f"names what is no whole card, which is passed over: {report.passed_over[0]}{more}")
        else:
            self._unread.discard(name)
        return None if report == ALL_WELL else report

    def _tell_of(self, report: str, problem: str) -> None:
        """Once, until it is in order again: it is written anew every few minutes."""
        if report not in self._unread:
            self._unread.add(report)
            _log.warning("ConfigMap %s/%s %s", NAMESPACE, report, problem)

    async def follow_reports(self) -> None:
        """From when a profile asks for them, keep the cache of what device plugins report; until cancelled."""
        await self._reports_wanted.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reports.run(), name=f"reflector-{self.reports.resource.plural}")
            await self.reports.settled.wait()
            if self.listener is not None:
                self.listener.reports_read()

    async def follow_devices(self) -> None:
        """From when a profile pins by claims, keep the caches of devices; until cancelled."""
        await self._by_claims.wait()
        async with asyncio.TaskGroup() as tasks:
            for reflector in (self.slices, self.claims, self.taint_rules):
                tasks.create_task(reflector.run(), name=f"reflector-{reflector.resource.plural}")
            # Taint rules are no API of every version that has the rest.
            await asyncio.gather(self.slices.synced.wait(), self.claims.synced.wait())
            if self.listener is not None:
                self.listener.devices_read()


def _controller_uid(service: dict[str, Any]) -> str:
    return controller_of(service["metadata"]) or ""


def _phase(job: Custom[TrainingJob]) -> Iterator[str]:
    yield job.status.get("phase") or JobPhase.PENDING


def _by_node(pod: PodRecord) -> Iterator[str]:
    if pod.node:
        yield pod.node


def _arriving(pod: PodRecord) -> Iterator[str]:
    if pod.pinned and not pod.admitted and not pod.blocked:
        yield pod.pinned


def _by_group(pod: PodRecord) -> Iterator[Key]:
    if pod.group_key:
        yield pod.group_key


def _by_job(pod: PodRecord) -> Iterator[Key]:
    if pod.job:
        yield (pod.key[0], pod.job)


def _slice_node(part: Slice) -> Iterator[str]:
    yield part.node


def _slice_pool(part: Slice) -> Iterator[str]:
    yield part.pool


def _claimed_pools(claim: Claim) -> set[str]:
    return {pool for _, pool, _ in claim.devices}


_POD_INDICES = {"node": _by_node, "arriving": _arriving, "group": _by_group, "job": _by_job}
_SLICE_INDICES = {"node": _slice_node, "pool": _slice_pool}
_CLAIM_INDICES = {"pool": _claimed_pools}
