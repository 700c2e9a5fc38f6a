"""Makes what a job's pods need before they are there, and the pods' manifests.

Files of the group are made from its placement and, for a rank table, from what the vendor's device plugin publishes on
its nodes. Caches keep only whether there is anything; the rest is read when needed: for a whole fleet it would fill
the memory.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from supernode.api.conditions import Reason
from supernode.api.errors import SupernodeError
from supernode.api.trainingjob import TrainingJob
from supernode.cluster import resources
from supernode.cluster.errors import AlreadyExists, ApiError, NotFound
from supernode.cluster.resources import key_of
from supernode.cluster.session import Session
from supernode.cluster.store import Store
from supernode.cluster.writer import Writer
from supernode.control.devices import DeviceState
from supernode.control.jobview import Notice
from supernode.control.records import Key, PodRecord
from supernode.control.slices import Slices
from supernode.topology.discovery import NodeFacts
from supernode.workload import (
    LAUNCHERS,
    AddressesMissing,
    GroupFiles,
    PlacedGroup,
    contradicted,
    has_rank_table,
    render_claims,
    render_files,
    render_pod,
    render_ssh_secret,
    server_of,
)
from supernode.workload.files import object_name

Json = dict[str, Any]


class NameTaken(SupernodeError):  # noqa: N818 - what it says of the object
    """An object of a name that the job needs is somebody else's; the text names it."""


class Launch:
    """Turns placed groups into manifests. Used by many jobs side by side."""

    def __init__(self, writer: Writer, nodes: Store[NodeFacts], devices: DeviceState) -> None:
        self._writer = writer
        self._nodes = nodes
        self._devices = devices

    async def prepare(
        self, group: PlacedGroup, ranks: Sequence[int], running: Sequence[PodRecord]
    ) -> tuple[Callable[[int], Json], list[Notice]]:
        """(what renders the pod of one of these ranks, what the user should know). All they mount is there on return.

        Thousands of pods are rendered one by one as they are created: all at once would delay the first and fill the
        memory. What is wrong with a template is wrong for every rank.

        running: the group's other pods; the files they have mounted are renewed. Raises ApiError, `InvalidSpec` when
        the template cannot be run, `DevicesMissing` when devices cannot be claimed at the moment, and `NameTaken`.
        """
        key = (group.job.metadata.namespace or "", group.job.metadata.name)
        files, notices = await self._files(group)
        claims, clock, slices = dict[int, list[Json]](), time.time_ns(), Slices()
        if rule := group.profile.pinning.devices:
            for rank in ranks:
                claims[rank] = render_claims(group, rank, self._devices.values(group.members[rank].node, rule))
                await slices.turn()

        def render(rank: int) -> Json:
            return render_pod(group, rank, files, predicate_time_ns=clock, claims=claims.get(rank, ()))

        first = render(ranks[0])  # raises; kept, because most jobs of a storm have few pods and many have one
        if not running and (names := contradicted(group, files)):
            text = f"the template sets {', '.join(names)} to other values than the group's; the template's count"
            notices.append(Notice(Reason.ENVIRONMENT_OVERRIDDEN, text, warning=True))
        await self._provide(key, group.job, files, running)
        await self._claim(key, group, [claim for of_rank in claims.values() for claim in of_rank])
        return lambda rank: first if rank == ranks[0] else render(rank), notices

    async def _claim(self, key: Key, group: PlacedGroup, claims: Sequence[Json]) -> None:
        """Create the claims. One of the name that is there already is this group's from before, or a stranger's."""
        results = await self._writer.create_many(key, resources.RESOURCECLAIMS, claims)
        for claim, result in zip(claims, results, strict=True):
            if isinstance(result, AlreadyExists):
                [result] = await self._writer.run(key, [partial(_read_claim, key_of(claim))])
                if isinstance(result, dict) and not _owned_by(result, group.uid):
                    raise NameTaken(
                        f"ResourceClaim {claim['metadata']['name']} exists and is not this job's; delete it"
                    )
            if isinstance(result, ApiError):
                raise result

    async def _files(self, group: PlacedGroup) -> tuple[GroupFiles, list[Notice]]:
        if not has_rank_table(group):
            return render_files(group), []
        try:
            nodes = await self._read(group)
            return await asyncio.to_thread(_with_rank_table, group, nodes), []
        except AddressesMissing as problem:
            return render_files(group), [Notice(Reason.RANK_TABLE_MISSING, f"no rank table: {problem}", warning=True)]

    async def _read(self, group: PlacedGroup) -> list[Json]:
        """The nodes of all members. Where one is known to publish nothing, none need be asked."""
        names = list(dict.fromkeys(member.node for member in group.members))
        for name in names:
            if (facts := self._nodes.get(("", name))) is not None and not facts.tells_addresses:
                raise AddressesMissing.on(name)
        found = await self._writer.run(("nodes", group.uid), [partial(_read_node, name) for name in names])
        for name, answer in zip(names, found, strict=True):
            if isinstance(answer, NotFound):
                raise AddressesMissing(f"node {name} does not exist any more")
            if isinstance(answer, ApiError):
                raise answer
        return [answer for answer in found if isinstance(answer, dict)]

    async def _provide(self, key: Key, job: TrainingJob, files: GroupFiles, running: Sequence[PodRecord]) -> None:
        """Create the objects; those that are there already hold the same, by their name."""
        stale = {pod.files for pod in running if pod.files} - {files.digest}
        renewed = [partial(_renew, key[0], object_name(job, digest), files) for digest in sorted(stale)]
        secrets = [await asyncio.to_thread(_key_pair, job)] if LAUNCHERS[job.spec.runtime].ssh else []
        results = [
            *await self._writer.create_many(key, resources.CONFIGMAPS, files.config_maps() if files.names else []),
            *await self._writer.create_many(key, resources.SECRETS, secrets),
            *await self._writer.run(key, renewed),
        ]
        for result in results:
            if isinstance(result, ApiError) and not isinstance(result, AlreadyExists | NotFound):
                raise result


def _with_rank_table(group: PlacedGroup, nodes: Sequence[Json]) -> GroupFiles:
    """A second of work for the largest groups, so it is done beside the event loop."""
    return render_files(group, {node["metadata"]["name"]: server_of(node) for node in nodes})


async def _read_claim(key: Key, session: Session) -> Json:
    return await session.get(resources.RESOURCECLAIMS, key)


def _owned_by(obj: Json, uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences", ()))


async def _read_node(name: str, session: Session) -> Json:
    return await session.get(resources.NODES, ("", name))


async def _renew(namespace: str, name: str, files: GroupFiles, session: Session) -> Json:
    return await session.merge_patch(resources.CONFIGMAPS, (namespace, name), {"data": dict(files.plain)})


def _key_pair(job: TrainingJob) -> Json:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return render_ssh_secret(job, private.decode(), public.decode() + "\n")
