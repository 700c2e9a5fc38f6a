"""Reading a cluster: its fleet, and the objects the commands explain. Nothing is ever written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

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
        await self._add(inventory.add_profile, resources.SUPERNODEPROFILES, say)
        return inventory

    async def inventory(self, say: Say, *, pods: bool = True, groups: bool = False) -> Inventory:
        """What the fleet is made of; objects of ours that cannot be read are left out, and told.

        Without `pods` the cards that foreign pods hold count as free. With `groups` what these claim is read, too.
        Raises ApiError and NotThere.
        """
        inventory = await self.profiles(say)
        if groups:
            await self._add(inventory.add_group, resources.CARDGROUPS, say)
        await self._add(inventory.add_supernode, resources.SUPERNODES, say)
        async for body in self.every(resources.NODES):
            inventory.add_node(body)
        if pods:
            async for body in self.every(resources.PODS, field_selector=_HOLDING_CARDS):
                inventory.add_pod(body)
        if any(profile.pinning.devices for profile in inventory.profiles.values()):
            await self._add_devices(inventory)
        if any(profile.health.reports for profile in inventory.profiles.values()):
            await self._add_reports(inventory, say)
        return inventory

    async def _add_reports(self, inventory: Inventory, say: Say) -> None:
        try:
            async for body in self.every(resources.CONFIGMAPS, NAMESPACE, label_selector=LABEL_SELECTOR):
                with suppress(InvalidObject):  # as the operator has it: one that cannot be read says nothing
                    inventory.add_report(body)
        except Forbidden:
            say(f"may not read ConfigMaps in {NAMESPACE}: cards that only reports there call failed count as healthy")

    async def _add_devices(self, inventory: Inventory) -> None:
        async for body in self.every(resources.RESOURCESLICES):
            inventory.add_slice(body)
        async for body in self.every(resources.RESOURCECLAIMS):
            inventory.add_claim(body)
        try:
            async for body in self.every(resources.DEVICETAINTRULES):
                inventory.add_taint_rule(body)
        except NotThere:
            return  # no API of every version that has the others

    async def _add(self, add: Callable[[Json], str], resource: Resource, say: Say) -> None:
        async for body in self.every(resource):
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
                raise NotThere(
                    f"the cluster has no {resource}; install the operator or choose another context"
                ) from None
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


@asynccontextmanager
async def connect(kubeconfig: Path | None, context: str | None) -> AsyncIterator[Reader]:
    """A reader of the cluster that kubectl would take for these. Raises NoCluster."""
    async with Session.connect(kubeconfig, context=context, user_agent="kubectl-supernode") as session:
        yield Reader(session)
