"""Reading a cluster: its fleet, and the objects the commands explain. Nothing is ever written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from supernode.api import names
from supernode.api.errors import InvalidObject
from supernode.cli.documents import Json
from supernode.cli.errors import NotThere
from supernode.cli.inventory import Inventory, Say
from supernode.cluster import resources
from supernode.cluster.errors import Forbidden, NotFound
from supernode.cluster.resources import Key, Resource
from supernode.cluster.session import Session
from supernode.topology.deviceinfo import LABEL_SELECTOR, NAMESPACE

_PAGE = 500
_HOLDING_CARDS = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
_WITHOUT: Final[Mapping[Resource, str]] = {
    resources.SUPERNODEPROFILES: "levels are told in the order of their names",
    resources.SUPERNODES: "domains of supernodes written by hand are not told",
    resources.NODES: "domains are not told",
    resources.PODS: "cards that pods without a CardGroup hold count as free",
    resources.CARDGROUPS: "groups that wait are not known, nor what those with cards claim",
    resources.TRAININGJOBS: "groups that wait are taken to be as old as they are, not as their jobs",
    resources.CONFIGMAPS: "cards that only reports of device plugins call failed count as healthy",
}
"""What an answer lacks that is given without a kind that must not be read."""


class Reader:
    """Reads one cluster."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def namespace(self) -> str:
        """The namespace of the context."""
        return self._session.namespace

    async def profiles(self, say: Say) -> Inventory:
        """An inventory of profiles alone; those that cannot be read are left out, and told."""
        inventory = Inventory()
        await self._if_allowed(
            resources.SUPERNODEPROFILES, self._add(inventory.add_profile, resources.SUPERNODEPROFILES, say), say
        )
        return inventory

    async def inventory(self, say: Say, *, groups: bool = False) -> Inventory:
        """What the fleet is made of; objects of ours that cannot be read are left out, and told.

        With `groups` what these claim and which of them wait is read, too. Raises ApiError and NotThere.
        """
        inventory = Inventory()
        await self._add(inventory.add_profile, resources.SUPERNODEPROFILES, say)
        await self._add_supernodes(inventory, say)
        await self._add(inventory.add_node, resources.NODES, say)
        await self._if_allowed(resources.PODS, self._add(inventory.add_pod, resources.PODS, say, _HOLDING_CARDS), say)
        if groups:
            await self._if_allowed(resources.CARDGROUPS, self._add(inventory.add_group, resources.CARDGROUPS, say), say)
            if inventory.groups:
                await self._if_allowed(resources.TRAININGJOBS, self._add_jobs(inventory), say)
        if any(profile.pinning.devices for profile in inventory.profiles.values()):
            await self._add_devices(inventory, say)
        if any(profile.health.reports for profile in inventory.profiles.values()):
            await self._if_allowed(resources.CONFIGMAPS, self._add_reports(inventory), say)
        return inventory

    async def layout(self, say: Say) -> Inventory:
        """Which nodes, supernodes and profiles there are, as far as they may be read; the rest is told."""
        inventory = await self.profiles(say)
        await self._if_allowed(resources.SUPERNODES, self._add_supernodes(inventory, say), say)
        await self._if_allowed(resources.NODES, self._add(inventory.add_node, resources.NODES, say), say)
        return inventory

    async def _add_jobs(self, inventory: Inventory) -> None:
        async for body in self.every(resources.TRAININGJOBS):
            inventory.add_job(body)

    async def _add_reports(self, inventory: Inventory) -> None:
        async for body in self.every(resources.CONFIGMAPS, NAMESPACE, label_selector=LABEL_SELECTOR):
            with suppress(InvalidObject):  # as the operator has it: one that cannot be read says nothing
                inventory.add_report(body)

    async def _if_allowed(self, resource: Resource, reading: Coroutine[object, object, None], say: Say) -> None:
        """Read what there is an answer without; who may not is told what the answer lacks."""
        try:
            await reading
        except Forbidden as problem:
            say(f"{_WITHOUT[resource]}: {problem.message}")

    async def _add_supernodes(self, inventory: Inventory, say: Say) -> None:
        async for body in self.every(resources.SUPERNODES):
            record = inventory.add_supernode(body)
            if record.error is not None:
                say(f"gives no new cards: {record.error}")

    async def _add_devices(self, inventory: Inventory, say: Say) -> None:
        await self._add(inventory.add_slice, resources.RESOURCESLICES, say)
        await self._add(inventory.add_claim, resources.RESOURCECLAIMS, say)
        with suppress(NotThere):  # no API of every version that has the others
            await self._add(inventory.add_taint_rule, resources.DEVICETAINTRULES, say)

    async def _add(
        self, add: Callable[[Json], str], resource: Resource, say: Say, field_selector: str | None = None
    ) -> None:
        async for body in self.every(resource, field_selector=field_selector):
            try:
                add(body)
            except InvalidObject as problem:
                say(f"left out: {problem}")

    async def every(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> AsyncIterator[Json]:
        """All objects of a kind, page by page. Raises ApiError, and NotThere where the cluster lacks the kind."""
        token = None
        while True:
            try:
                page = await self._session.list(
                    resource,
                    namespace,
                    limit=_PAGE,
                    continue_=token,
                    label_selector=label_selector,
                    field_selector=field_selector,
                )
            except NotFound:
                raise NotThere(f"the cluster has no {resource}; {_remedy(resource)}") from None
            for body in page["items"]:
                yield body
            token = page["metadata"].get("continue")
            if not token:
                return

    async def find(self, resource: Resource, key: Key) -> Json | None:
        """One object, or None."""
        try:
            return await self._session.get(resource, key)
        except NotFound:
            return None


def _remedy(resource: Resource) -> str:
    """What to do where a cluster lacks a kind."""
    if resource.group == names.GROUP:
        return "install the operator or choose another context"
    return "a profile that pins by claims needs Kubernetes 1.34 or newer"


@asynccontextmanager
async def connect(kubeconfig: Path | None, context: str | None) -> AsyncIterator[Reader]:
    """A reader of the cluster that kubectl would take for these. Raises NoCluster."""
    options = {"user_agent": "kubectl-supernode", "retries_refused": False}
    async with Session.connect(kubeconfig, context=context, **options) as session:
        yield Reader(session)
