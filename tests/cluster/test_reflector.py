"""The reflector against a real API server, with everything between them that goes wrong."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cluster_helpers import CRDS, lease, until, until_served

from supernode.cluster.errors import NotFound
from supernode.cluster.reflector import Reflector
from supernode.cluster.resources import LEASES, RESOURCECLAIMS, JsonObject, Key, Resource, key_of
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from testbed.faults import CutWatch, EditEvents, Fault, HalfOpen, HoldEvents, Pause, Refuse, WatchError
from testbed.proxy import Call, Proxy

pytestmark = pytest.mark.cluster

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role", namespaced=True)
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", namespaced=True)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)

Record = tuple[str, str]


def convert(obj: JsonObject) -> Record:
    """Holder and resourceVersion of a lease."""
    return obj.get("spec", {}).get("holderIdentity", ""), obj["metadata"]["resourceVersion"]


class Mirror:
    """What somebody knows who only listens to changes."""

    def __init__(self) -> None:
        self.records: dict[Key, Any] = {}
        self.changes: list[tuple[Key, Any, Any]] = []

    def __call__(self, key: Key, old: Any, new: Any) -> None:
        assert self.records.get(key) == old
        self.changes.append((key, old, new))
        self.records.pop(key, None) if new is None else self.records.update({key: new})


@asynccontextmanager
async def reflected(session: Session, namespace: str, **options: Any) -> AsyncIterator[tuple[Reflector[Any], Mirror]]:
    """A running reflector of the namespace's leases, and what was heard from it."""
    mirror = Mirror()
    options = {"resource": LEASES, "convert": convert, "rng": lambda: 0.0, **options}
    reflector = Reflector(session, on_change=mirror, namespace=namespace, **options)
    running = asyncio.create_task(reflector.run())
    try:
        yield reflector, mirror
        assert not running.done()
        assert dict(reflector.store.items()) == mirror.records
    finally:
        running.cancel()
        await asyncio.wait([running])


async def agrees(reflector: Reflector[Any], session: Session, namespace: str) -> None:
    """Wait until the reflector holds just what the server has."""
    listed = await session.list(reflector.resource, namespace)
    truth = {key_of(obj): convert(obj) for obj in listed["items"]}
    try:
        await until(lambda: dict(reflector.store.items()) == truth)
    except TimeoutError:
        assert dict(reflector.store.items()) == truth


async def create(session: Session, namespace: str, *names: str) -> None:
    for name in names:
        await session.create(LEASES, lease(namespace, name))


async def hold(session: Session, namespace: str, name: str, holder: str) -> JsonObject:
    return await session.merge_patch(LEASES, (namespace, name), {"spec": {"holderIdentity": holder}})


async def churn(session: Session, namespace: str) -> None:
    """One of each change: add, modify, delete, delete and create anew."""
    await create(session, namespace, "new")
    await hold(session, namespace, "a", "churn")
    await session.delete(LEASES, (namespace, "b"))
    await session.delete(LEASES, (namespace, "c"))
    await create(session, namespace, "c")


def new_kind() -> tuple[Resource, JsonObject]:
    """A kind that nobody has ever had, and its CustomResourceDefinition."""
    group = f"g{uuid.uuid4().hex[:8]}.example.com"
    things = Resource(group, "v1", "things", "Thing", namespaced=False)
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    definition: JsonObject = {
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "scope": "Cluster",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    return things, definition


@asynccontextmanager
async def defined(session: Session, definition: JsonObject) -> AsyncIterator[None]:
    await session.create(CRDS, definition)
    try:
        yield
    finally:
        await session.delete(CRDS, ("", definition["metadata"]["name"]))


def is_watch_list(call: Call) -> bool:
    return "sendInitialEvents" in call.query


@pytest.fixture(params=["watch list", "pages"])
def initial(request: pytest.FixtureRequest, proxy: Proxy) -> str:
    """Both ways to list: a server with WatchList, and one that refuses it."""
    if request.param == "pages":
        proxy.inject("watch", "leases", Refuse(422), times=None, when=is_watch_list)
    return str(request.param)


async def test_it_holds_what_the_server_has(proxy: Proxy, proxied: Session, namespace: str, initial: str) -> None:
    await create(proxied, namespace, *"abcde")
    async with reflected(proxied, namespace, page_size=2) as (reflector, mirror):
        await asyncio.wait_for(reflector.synced.wait(), 10)
        assert len(reflector.store) == 5
        await churn(proxied, namespace)
        await agrees(reflector, proxied, namespace)
        assert sorted(name for (_, name), old, _ in mirror.changes if old is None) == [*sorted("abcde" + "c"), "new"]
        assert sorted(name for (_, name), _, new in mirror.changes if new is None) == ["b", "c"]
        assert time.monotonic() - reflector.last_activity < 5
        assert (reflector.relists, reflector.errors) == (1, 0)
    pages = [call for call in proxy.calls if call.verb == "list" and "limit" in call.query]
    assert len(pages) == (3 if initial == "pages" else 0)


async def test_selectors_and_indices(proxied: Session, namespace: str) -> None:
    for name, colour in [("a", "red"), ("b", "red"), ("c", "blue")]:
        await proxied.create(LEASES, lease(namespace, name, colour=colour))
    indices = {"holder": lambda record: [record[0]] if record[0] else []}
    async with reflected(proxied, namespace, label_selector="colour=red", indices=indices) as (reflector, _):
        await reflector.synced.wait()
        assert [name for _, name in reflector.store] == ["a", "b"]
        await hold(proxied, namespace, "b", "me")
        await until(lambda: len(reflector.store.by_index("holder", "me")) == 1)
        await proxied.merge_patch(LEASES, (namespace, "a"), {"metadata": {"labels": {"colour": "blue"}}})
        await until(lambda: (namespace, "a") not in reflector.store)


async def test_an_expired_page_starts_the_list_again(proxy: Proxy, proxied: Session, namespace: str) -> None:
    proxy.inject("watch", "leases", Refuse(422), times=None, when=is_watch_list)
    proxy.inject("list", "leases", Refuse(410), when=lambda call: "continue" in call.query)
    await create(proxied, namespace, *"abcde")
    async with reflected(proxied, namespace, page_size=2) as (reflector, _):
        await reflector.synced.wait()
        assert len(reflector.store) == 5
        lists = [call.query.get("limit") for call in proxy.calls if call.verb == "list"]
        assert lists == ["2", "2", None], "after an expired page it asks for everything at once"


async def test_a_deletion_no_watch_told_is_noticed(
    proxy: Proxy, proxied: Session, namespace: str, initial: str
) -> None:
    deletions_lost = EditEvents(lambda event: [] if event["type"] == "DELETED" else [event])
    proxy.inject("watch", "leases", deletions_lost, when=lambda call: is_watch_list(call) == (initial == "watch list"))
    await create(proxied, namespace, *"abc")
    async with reflected(proxied, namespace) as (reflector, mirror):
        await reflector.synced.wait()
        await until(lambda: sum(call.verb == "watch" for call in proxy.calls) == (1 if initial == "watch list" else 2))
        await proxied.delete(LEASES, (namespace, "b"))
        await create(proxied, namespace, "d")
        await until(lambda: (namespace, "d") in reflector.store)
        assert (namespace, "b") in reflector.store
        proxy.inject("watch", "leases", WatchError(410), when=lambda call: not is_watch_list(call))
        proxy.sever()
        await agrees(reflector, proxied, namespace)
        assert ((namespace, "b"), None) in [(key, new) for key, _, new in mirror.changes]
        assert reflector.relists >= 2


@pytest.mark.parametrize(
    "fault",
    [
        CutWatch(after_events=2),
        CutWatch(after_events=2, cleanly=True),
        WatchError(500, after_events=2),
        WatchError(429, after_events=2),
        HalfOpen(after_events=2),
        WatchError(410, after_events=2),
    ],
    ids=["cut mid-line", "ended mid-line", "error 500", "error 429", "half-open", "error 410"],
)
async def test_a_spoilt_watch_loses_nothing(
    proxy: Proxy, proxied: Session, session: Session, namespace: str, fault: Fault
) -> None:
    await create(session, namespace, *"abc")
    async with reflected(proxied, namespace, idle_timeout=1.0) as (reflector, _):
        await reflector.synced.wait()
        proxy.inject("watch", "leases", fault, times=2)
        proxy.sever()
        await churn(session, namespace)
        await agrees(reflector, session, namespace)
        if fault != WatchError(410, after_events=2):
            assert reflector.relists == 1, "a watch that breaks is resumed, not started anew"


@pytest.mark.parametrize("code", [429, 500, 410])
async def test_refusals_are_outlived(
    proxy: Proxy, proxied: Session, session: Session, namespace: str, initial: str, code: int
) -> None:
    await create(session, namespace, *"abc")
    proxy.inject("list", "leases", Refuse(code, retry_after=0))
    proxy.inject("watch", "leases", Refuse(code, retry_after=0), when=lambda call: not is_watch_list(call))
    if initial == "watch list":
        proxy.inject("watch", "leases", Refuse(code, retry_after=0), when=is_watch_list)
    async with reflected(proxied, namespace) as (reflector, _):
        await reflector.synced.wait()
        proxy.sever()
        await churn(session, namespace)
        await agrees(reflector, session, namespace)


async def test_retry_after_is_honoured(proxy: Proxy, proxied: Session, namespace: str) -> None:
    proxy.inject("watch", "leases", Refuse(429, retry_after=2))
    began = time.monotonic()
    async with reflected(proxied, namespace) as (reflector, _):
        await reflector.synced.wait()
        assert time.monotonic() - began >= 2


async def test_backoff_grows_and_the_server_may_be_away(
    proxy: Proxy, proxied: Session, session: Session, namespace: str
) -> None:
    await create(session, namespace, *"abc")
    async with reflected(proxied, namespace) as (reflector, _):
        await reflector.synced.wait()
        proxy.unreachable = True
        proxy.sever()
        await churn(session, namespace)
        await asyncio.sleep(2)
        assert 2 <= reflector.errors <= 5
        proxy.heal()
        await agrees(reflector, session, namespace)
        assert reflector.relists == 1


@pytest.mark.parametrize("program", ["apiserver", "etcd"])
async def test_the_control_plane_goes_and_comes_back(session: Session, bed: Any, namespace: str, program: str) -> None:
    await create(session, namespace, *"abc")
    async with reflected(session, namespace) as (reflector, _):
        await reflector.synced.wait()
        await asyncio.to_thread(getattr(bed, f"stop_{program}"))
        await asyncio.sleep(1)
        assert len(reflector.store) == 3
        await asyncio.to_thread(getattr(bed, f"start_{program}"))
        await churn(session, namespace)
        await agrees(reflector, session, namespace)


@pytest.mark.parametrize("restored", [False, True], ids=["same history", "restored from a backup"])
async def test_a_silent_watch_is_opened_anew(
    proxy: Proxy, proxied: Session, session: Session, namespace: str, restored: bool
) -> None:
    async with reflected(proxied, namespace, idle_timeout=1.0) as (reflector, _):
        await reflector.synced.wait()
        if restored:
            reflector.store.passed(1_000_000_000)
        proxy.inject("watch", "leases", HoldEvents())
        proxy.sever()
        await create(session, namespace, "a")
        await agrees(reflector, session, namespace)
        await until(lambda: reflector.relists == (2 if restored else 1))


async def test_a_resource_of_which_there_is_no_news_is_heard_of(proxy: Proxy, proxied: Session, namespace: str) -> None:
    async with reflected(proxied, namespace, idle_timeout=0.5) as (reflector, _):
        await reflector.synced.wait()
        proxy.inject("watch", "leases", HoldEvents(), times=None)
        proxy.sever()
        await asyncio.sleep(3)
        assert time.monotonic() - reflector.last_activity < 2


async def test_events_may_come_twice_and_late(proxy: Proxy, proxied: Session, session: Session, namespace: str) -> None:
    earlier: list[JsonObject] = []

    def repeat(event: JsonObject) -> list[JsonObject]:
        earlier.append(event)
        return [event, *([old for old in earlier if old["type"] != "DELETED"] if event["type"] != "BOOKMARK" else [])]

    async with reflected(proxied, namespace) as (reflector, mirror):
        await reflector.synced.wait()
        proxy.inject("watch", "leases", EditEvents(repeat))
        proxy.sever()
        await create(session, namespace, "a")
        await hold(session, namespace, "a", "me")
        await hold(session, namespace, "a", "you")
        await until(lambda: len(mirror.changes) == 3)
        await agrees(reflector, session, namespace)
        assert [new[0] for _, _, new in mirror.changes] == ["", "me", "you"]


async def test_own_writes_are_seen_at_once(proxy: Proxy, proxied: Session, session: Session, namespace: str) -> None:
    lagging = HoldEvents()
    await create(session, namespace, *"ab")
    async with reflected(proxied, namespace) as (reflector, mirror):
        await reflector.synced.wait()
        proxy.inject("watch", "leases", lagging)
        proxy.sever()
        await until(lambda: sum(call.verb == "watch" for call in proxy.calls) == 2)
        first = await hold(session, namespace, "a", "first")
        second = await hold(session, namespace, "a", "second")
        assert reflector.put(second)
        assert not reflector.put(first)
        assert reflector.store.get((namespace, "a")) == convert(second)
        await hold(session, namespace, "b", "late")
        await session.delete(LEASES, (namespace, "b"))
        heard = len(mirror.changes)
        lagging.release.set()
        await agrees(reflector, session, namespace)
        assert [key for key, _, _ in mirror.changes[heard:] if key == (namespace, "a")] == []


async def test_long_lines_pass(proxied: Session, namespace: str) -> None:
    data = '"' * 900_000
    async with reflected(
        proxied, namespace, resource=CONFIG_MAPS, convert=lambda obj: len(obj.get("data", {}).get("long", ""))
    ) as (reflector, _):
        await reflector.synced.wait()
        await proxied.create(
            CONFIG_MAPS, {"metadata": {"namespace": namespace, "name": "long"}, "data": {"long": data}}
        )
        await until(lambda: reflector.store.get((namespace, "long")) == len(data))


async def test_the_servers_own_expiry(session: Session) -> None:
    """A revision from before the server's memory, such as after a long sleep of this process.

    Of a kind that is new the server remembers nothing from before it was defined.
    """
    things, definition = new_kind()
    async with defined(session, definition):
        await until_served(session, things)
        for name in "abc":
            await session.create(things, {"metadata": {"name": name}})
        async with reflected(session, "", resource=things) as (reflector, _):
            await reflector.synced.wait()
        reflector.store.revision = 1
        again = asyncio.create_task(reflector.run())
        await until(lambda: reflector.relists == 2)
        again.cancel()
        await asyncio.wait([again])
        assert reflector.errors == 0
        await agrees(reflector, session, "")


async def test_a_server_without_marked_bookmarks(proxy: Proxy, proxied: Session, namespace: str) -> None:
    """Servers before WatchList ignore the unknown parameter: their bookmarks do not end the initial events."""

    def unmark(event: JsonObject) -> list[JsonObject]:
        if event["type"] == "BOOKMARK":
            event["object"]["metadata"].pop("annotations", None)
        return [event]

    proxy.inject("watch", "leases", EditEvents(unmark), when=is_watch_list)
    await create(proxied, namespace, *"abc")
    async with reflected(proxied, namespace) as (reflector, _):
        await asyncio.wait_for(reflector.synced.wait(), 10)
        assert len(reflector.store) == 3
        assert any(call.verb == "list" for call in proxy.calls)


async def test_first_objects_that_the_server_never_completes_come_in_pages(
    proxy: Proxy, proxied: Session, namespace: str
) -> None:
    """As its watch cache does in a storm: the answer ends properly, before the bookmark."""
    await create(proxied, namespace, *"abc")
    proxy.inject("watch", "leases", CutWatch(after_events=2, cleanly=True), times=None, when=is_watch_list)
    async with reflected(proxied, namespace) as (reflector, _):
        await asyncio.wait_for(reflector.synced.wait(), 10)
        assert len(reflector.store) == 3
        assert reflector.errors == 1
        assert sum(map(is_watch_list, proxy.calls)) == 1


@pytest.mark.usefixtures("initial")
async def test_a_restored_server_is_taken_over(
    proxied: Session, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    await create(proxied, namespace, *"ab")
    async with reflected(proxied, namespace) as (reflector, _):
        reflector.store.put({"metadata": {"namespace": namespace, "name": "a", "resourceVersion": "1000000000"}})
        reflector.store.passed(1_000_000_000)
        await asyncio.wait_for(reflector.synced.wait(), 10)
        await hold(proxied, namespace, "a", "after")
        await agrees(reflector, proxied, namespace)
    assert "its data was restored" in caplog.text


@pytest.mark.usefixtures("initial")
async def test_a_server_restored_with_a_bumped_revision_is_taken_over(
    proxied: Session, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """etcd restored with --bump-revision: lists are ahead of all that was seen, objects are as old as the backup."""
    await create(proxied, namespace, *"abc")
    lost = await hold(proxied, namespace, "c", "later")
    async with reflected(proxied, namespace) as (reflector, _):
        metadata = {"namespace": namespace, "name": "a", "resourceVersion": lost["metadata"]["resourceVersion"]}
        reflector.store.put({"metadata": metadata, "spec": {"holderIdentity": "lost"}})
        await asyncio.wait_for(reflector.synced.wait(), 10)
        await agrees(reflector, proxied, namespace)
    assert "its data was restored" in caplog.text


async def test_a_deletion_amid_the_first_list_is_one(proxy: Proxy, proxied: Session, namespace: str) -> None:
    def gone_at_once(event: JsonObject) -> list[JsonObject]:
        if event["type"] != "BOOKMARK":
            return [event]
        version = event["object"]["metadata"]["resourceVersion"]
        gone = {"metadata": {"namespace": namespace, "name": "gone", "resourceVersion": version}}
        return [{"type": "ADDED", "object": gone}, {"type": "DELETED", "object": gone}, event]

    proxy.inject("watch", "leases", EditEvents(gone_at_once), when=is_watch_list)
    await create(proxied, namespace, *"ab")
    async with reflected(proxied, namespace) as (reflector, _):
        await asyncio.wait_for(reflector.synced.wait(), 10)
        assert [name for _, name in reflector.store] == ["a", "b"]
        await create(proxied, namespace, "gone")
        await agrees(reflector, proxied, namespace)


async def test_a_list_beside_the_watch_that_arrives_late_changes_nothing(
    proxy: Proxy, proxied: Session, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    await create(proxied, namespace, *"ab")
    async with reflected(proxied, namespace) as (reflector, mirror):
        await asyncio.wait_for(reflector.synced.wait(), 10)
        pause = Pause(applied=True)
        proxy.inject("list", "leases", pause)
        reading = asyncio.create_task(reflector.read_again())
        await asyncio.wait_for(pause.reached.wait(), 10)
        await proxied.delete(LEASES, (namespace, "b"))
        await create(proxied, namespace, "c")
        await until(lambda: (namespace, "c") in reflector.store)
        heard = len(mirror.changes)
        pause.release.set()
        await asyncio.wait_for(reading, 10)
        assert mirror.changes[heard:] == []
        await agrees(reflector, proxied, namespace)
    assert "its data was restored" not in caplog.text


async def test_a_list_amid_the_first_objects_of_a_watch_loses_nothing(
    proxy: Proxy, proxied: Session, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As when a term begins while the watch is being opened anew; the watch's objects are newer or older than it."""
    await create(proxied, namespace, *"abc")
    opening, held = Pause(), HoldEvents()
    proxy.inject("watch", "leases", opening)
    async with reflected(proxied, namespace) as (reflector, _):
        await asyncio.wait_for(opening.reached.wait(), 10)
        await reflector.read_again()
        await churn(proxied, namespace)
        opening.release.set()
        await agrees(reflector, proxied, namespace)
    proxy.inject("watch", "leases", held)
    async with reflected(proxied, namespace) as (reflector, _):
        await until(lambda: len([call for call in proxy.calls if call.verb == "watch"]) > 1)
        await proxied.delete(LEASES, (namespace, "a"))
        await reflector.read_again()
        await create(proxied, namespace, "d")
        held.release.set()
        await until(lambda: (namespace, "d") in reflector.store)
        await agrees(reflector, proxied, namespace)
    assert "its data was restored" not in caplog.text


async def test_a_resource_that_is_not_installed_yet(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    things, definition = new_kind()
    async with reflected(session, "", resource=things, convert=lambda obj: obj["metadata"]["uid"]) as (reflector, _):
        await until(lambda: reflector.errors >= 1)
        assert "not served; waiting until it is installed or enabled" in caplog.text
        assert not reflector.synced.is_set()
        async with defined(session, definition):
            await asyncio.wait_for(reflector.synced.wait(), 20)
            await session.create(things, {"metadata": {"name": "a"}})
            await until(lambda: ("", "a") in reflector.store)
        await until(lambda: len(reflector.store) == 0)


@pytest.fixture
async def reader(session: Session, bed: Any, namespace: str, tmp_path: Path) -> AsyncIterator[tuple[Proxy, Session]]:
    """A session of a service account that may do nothing yet, and the proxy it goes through."""
    await session.create(SERVICE_ACCOUNTS, {"metadata": {"namespace": namespace, "name": "reader"}})
    path = SERVICE_ACCOUNTS.path(namespace, "reader", "token")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (await session.request("POST", path, body=body))["status"]["token"]
    async with (
        Proxy(bed.url, token) as proxy,
        Session.connect(proxy.kubeconfig(tmp_path / "reader")) as reader,
    ):
        yield proxy, reader


async def grant_leases(session: Session, namespace: str, *names: str) -> None:
    """Let the reader list and watch the leases of these names; without names all of them."""
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["list", "watch"]}
    metadata = {"namespace": namespace, "name": "reader"}
    await session.create(ROLES, {"metadata": metadata, "rules": [{**rule, "resourceNames": names}]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    subject = {"kind": "ServiceAccount", **metadata}
    await session.create(ROLE_BINDINGS, {"metadata": metadata, "roleRef": role, "subjects": [subject]})


async def test_missing_rights_are_named_and_waited_for(
    session: Session, reader: tuple[Proxy, Session], namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with reflected(reader[1], namespace) as (reflector, _):
        await until(lambda: reflector.errors >= 1)
        assert "grant the verbs list and watch on leases.coordination.k8s.io" in caplog.text
        await grant_leases(session, namespace)
        await asyncio.wait_for(reflector.synced.wait(), 20)


async def test_a_silent_watch_of_one_name_is_opened_anew_by_who_may_see_no_other(
    session: Session, reader: tuple[Proxy, Session], namespace: str
) -> None:
    """As the Lease, of which the chart's Role grants the name."""
    proxy, reading = reader
    await create(session, namespace, *"ab")
    await grant_leases(session, namespace, "a")
    async with reflected(reading, namespace, field_selector="metadata.name=a", idle_timeout=1.0) as (reflector, mirror):
        await asyncio.wait_for(reflector.synced.wait(), 20)
        refused = len(proxy.forbidden)  # until the server has heard of the Role
        proxy.inject("watch", "leases", HoldEvents())
        proxy.sever()
        await hold(session, namespace, "a", "me")
        await until(lambda: mirror.records[namespace, "a"][0] == "me")
        assert len(proxy.forbidden) == refused


async def test_an_unreadable_object_holds_up_no_other(session: Session, namespace: str) -> None:
    def picky(obj: JsonObject) -> Record:
        if obj["metadata"]["name"] == "poison":
            raise ValueError("poison")
        return convert(obj)

    await create(session, namespace, "a", "poison", "z")
    async with reflected(session, namespace, convert=picky) as (reflector, _):
        await reflector.synced.wait()
        assert [name for _, name in reflector.store] == ["a", "z"]


@pytest.mark.parametrize("when", ["before the list", "amid the watch"])
@pytest.mark.parametrize("what", ["nested deeply", "half of a pair", "no text"])
async def test_what_the_server_takes_is_taken_in(
    proxy: Proxy, proxied: Session, namespace: str, initial: str, when: str, what: str
) -> None:
    """The server takes objects that fast decoders refuse; neither one of them nor any other is missed."""
    proxy.inject("watch", "resourceclaims", Refuse(422), times=None if initial == "pages" else 0, when=is_watch_list)
    opaque = {"nested deeply": b'{"a":[' * 1000 + b"]}" * 1000, "half of a pair": b'"\\ud800"', "no text": b'"\xff"'}
    await create_claim(proxied, namespace, "a")
    if when == "before the list":
        await create_claim(proxied, namespace, "b", opaque[what])
    async with reflected(proxied, namespace, resource=RESOURCECLAIMS, convert=driver_of) as (reflector, _):
        await asyncio.wait_for(reflector.synced.wait(), 10)
        if when == "amid the watch":
            await create_claim(proxied, namespace, "b", opaque[what])
        await create_claim(proxied, namespace, "c")
        await until(lambda: (namespace, "c") in reflector.store)
        assert {name: record for (_, name), record in reflector.store.items()} == dict.fromkeys("abc", "example.com")
        assert (reflector.relists, reflector.errors) == (1, 0)


async def create_claim(session: Session, namespace: str, name: str, opaque: bytes = b"1") -> None:
    """A ResourceClaim whose driver is given a parameter, which no encoder of ours could write."""
    opaque_ = {"driver": "example.com", "parameters": {"given": "OPAQUE"}}
    exactly = {"deviceClassName": "example.com"}
    claim = {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"devices": {"requests": [{"name": "r", "exactly": exactly}], "config": [{"opaque": opaque_}]}},
    }
    text = json.dumps(claim).encode().replace(b'"OPAQUE"', opaque)
    http = await session.lend()
    async with (
        http,
        http.post(
            session.server + RESOURCECLAIMS.path(namespace), data=text, headers={"Content-Type": "application/json"}
        ) as answer,
    ):
        assert answer.status == 201, await answer.text()


def driver_of(claim: JsonObject) -> str:
    return str(claim["spec"]["devices"]["config"][0]["opaque"]["driver"])


class NoJson(Fault):
    """Cuts the event of one addition short, whenever it is told."""

    async def lines(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in lines:
            yield b'{"type":"ADDED","obj\n' if b'"ADDED"' in line and b'"name":"b"' in line else line


async def test_a_line_that_is_no_json_is_passed_by_a_list(proxy: Proxy, proxied: Session, namespace: str) -> None:
    """No API server sends one; a watch resumed where it was would meet it again."""
    proxy.inject("watch", "leases", Refuse(422), times=None, when=is_watch_list)
    proxy.inject("watch", "leases", NoJson(), times=None, when=lambda call: not is_watch_list(call))
    await create(proxied, namespace, "a")
    async with reflected(proxied, namespace) as (reflector, _):
        await reflector.synced.wait()
        await create(proxied, namespace, "b")
        await agrees(reflector, proxied, namespace)


async def test_storms_are_kept_up_with(session: Session, namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    writer = Writer(session)
    async with reflected(session, namespace) as (reflector, mirror):
        await reflector.synced.wait()
        await writer.create_many("storm", LEASES, [lease(namespace, f"l{number:04}") for number in range(500)])
        await until(lambda: len(reflector.store) == 500)
        await writer.delete_many("storm", LEASES, [(key, None) for key in list(reflector.store)])
        await until(lambda: len(reflector.store) == 0)
        assert len(mirror.changes) == 1000
        assert reflector.relists == 1
    with pytest.raises(NotFound):
        await session.get(LEASES, (namespace, "l0000"))
