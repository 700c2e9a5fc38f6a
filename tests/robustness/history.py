"""What happened on the server, told by its own watches: every version of every object, in the order of revisions."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from testbed.client import ApiClient
from testbed.errors import ApiError

Json = dict[str, Any]
Key = tuple[str, str]

ASK_AGAIN_SECONDS = 0.2

CUSTOM = "/apis/supernode.io/v1alpha1"
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "Pod": "/api/v1/pods",
    "Service": "/api/v1/services",
    "SuperNodeProfile": f"{CUSTOM}/supernodeprofiles",
    "SuperNode": f"{CUSTOM}/supernodes",
    "CardGroup": f"{CUSTOM}/cardgroups",
    "TrainingJob": f"{CUSTOM}/trainingjobs",
}
"""The collections that are followed, by kind."""


@dataclass(frozen=True, slots=True)
class Event:
    """One version of one object. All kinds lie in one etcd, so that revisions order events of different kinds too."""

    revision: int
    kind: str
    key: Key
    obj: Json | None
    """``None``: it was deleted."""


def key_of(obj: Json) -> Key:
    """Namespace ("" for cluster-scoped objects) and name."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def revision_of(obj: Json) -> int:
    """The resourceVersion as the number it is."""
    return int(obj["metadata"]["resourceVersion"])


class History:
    """``objects`` are the latest versions told, by kind and key; ``events`` those that nobody has taken yet.

    A definition that is changed makes the server forget the history of its kind. Only with ``may_miss`` does a new list
    follow; else it is an error, as what happened between is not known.
    """

    def __init__(self, api: ApiClient) -> None:
        self.objects: dict[str, dict[Key, Json]] = {kind: {} for kind in PATHS}
        self.events: list[Event] = []
        self.may_miss = False
        self._api = api
        self._reached: dict[str, int] = {}
        self._news = asyncio.Event()

    @asynccontextmanager
    async def recording(self) -> AsyncIterator["History"]:
        """Follow the server from now on; what is there already comes as the first events."""
        followers = []
        for kind, path in PATHS.items():
            page = await self._list(path)
            for obj in page["items"]:
                self._take(kind, "ADDED", obj)
            self._reached[kind] = revision_of(page)
            followers.append(asyncio.create_task(self._follow(kind, path), name=f"history of {kind}"))
        try:
            yield self
        finally:
            for follower in followers:
                follower.cancel()
            for follower in followers:
                with suppress(asyncio.CancelledError):
                    await follower

    async def wait(self, what: str, probe: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Wait until ``probe`` gives something true, which is returned.

        It is asked at every event, and now and then without one: not all that is waited for is an event.
        """
        try:
            async with asyncio.timeout(seconds):
                while not (found := probe()):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(ASK_AGAIN_SECONDS):
                            await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"after {seconds:.0f} s still not: {what}\n{self.overview()}") from None
        return found

    async def take(self) -> list[Event]:
        """All events up to now, in the order of revisions, which are then forgotten."""
        pages = {kind: await self._list(path) for kind, path in PATHS.items()}
        for kind, page in pages.items():
            await self.wait(f"every {kind} is told", lambda kind=kind, page=page: self._has(kind, page))  # type: ignore[misc]
        complete = min(revision_of(page) for page in pages.values())
        self.events.sort(key=lambda event: event.revision)
        taken = [event for event in self.events if event.revision <= complete]
        self.events = self.events[len(taken) :]
        return taken

    def every(self, kind: str, namespace: str | None = None) -> list[Json]:
        """The latest versions of one kind's objects."""
        return [obj for key, obj in self.objects[kind].items() if namespace in (None, key[0])]

    def overview(self) -> str:
        """What a person would look at when a test fails."""
        lines = []
        for kind in ("TrainingJob", "CardGroup", "SuperNode", "Pod"):
            for key, obj in sorted(self.objects[kind].items()):
                status, meta = obj.get("status", {}), obj["metadata"]
                told = {c["type"]: f"{c['status']} {c.get('message')}" for c in status.get("conditions", ())}
                facts = [status.get("phase"), meta.get("deletionTimestamp") and "deleting", meta.get("finalizers")]
                about = told.get("Allocated") or told.get("Ready", "")
                lines.append(" ".join(str(f) for f in (kind, *key, *facts, status.get("ledger"), about) if f))
        return "\n".join(lines)

    async def _list(self, path: str) -> Json:
        while True:
            try:
                return await self._api.request("GET", path)
            except ApiError as error:
                if error.status != 429:  # a definition just made is not served at once
                    raise
                await asyncio.sleep(0.1)

    async def _follow(self, kind: str, path: str) -> None:
        while True:
            try:
                async for event in self._api.watch(path, str(self._reached[kind])):
                    self._take(kind, event["type"], event["object"])
            except ApiError as error:
                if error.status == 410 and not self.may_miss:
                    raise
                await asyncio.sleep(0.2)  # the API server may be away: that is part of some tests
                if error.status == 410:
                    await self._begin_anew(kind, path)

    async def _begin_anew(self, kind: str, path: str) -> None:
        page = await self._list(path)
        listed = {key_of(obj): obj for obj in page["items"]}
        for obj in [obj for key, obj in self.objects[kind].items() if key not in listed]:
            self._take(kind, "DELETED", {"metadata": {**obj["metadata"], **page["metadata"]}})
        for obj in listed.values():
            self._take(kind, "MODIFIED", obj)
        self._reached[kind] = revision_of(page)

    def _take(self, kind: str, happened: str, obj: Json) -> None:
        revision = revision_of(obj)
        self._reached[kind] = max(revision, self._reached.get(kind, 0))
        if happened == "BOOKMARK":
            return
        key = key_of(obj)
        if happened == "DELETED":
            self.objects[kind].pop(key, None)
        else:
            self.objects[kind][key] = obj
        self.events.append(Event(revision, kind, key, None if happened == "DELETED" else obj))
        self._news.set()
        self._news.clear()

    def _has(self, kind: str, page: Json) -> bool:
        """Whether all up to a list is told; what was listed may have changed or gone since."""
        if self._reached[kind] > revision_of(page):
            return True
        listed = {key_of(obj): revision_of(obj) for obj in page["items"]}
        known = self.objects[kind]
        there = all(key in known and revision_of(known[key]) >= revision for key, revision in listed.items())
        return there and all(key in listed or revision_of(known[key]) > revision_of(page) for key in known)


def of_kinds(objects: dict[str, dict[Key, Json]]) -> Iterable[Json]:
    """The objects of all kinds in one row, each with its kind, which lists leave out."""
    return ({"kind": kind, **obj} for kind, found in objects.items() for obj in found.values())
