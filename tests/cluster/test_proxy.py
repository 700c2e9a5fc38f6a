"""The fault-injecting proxy: transparent by itself, and each fault as it says."""

import asyncio
import json

import pytest
from cluster_helpers import NAMESPACES, lease

from supernode.cluster.errors import Conflict, Forbidden, NotFound, Unavailable
from supernode.cluster.resources import LEASES, NODES
from supernode.cluster.session import Session
from testbed.faults import Delay, DropRequest, HalfOpen, Pause, Refuse
from testbed.proxy import Call, Proxy


@pytest.mark.parametrize(
    ("method", "path", "query", "call"),
    [
        ("GET", "/api/v1/nodes", {}, ("list", "nodes", "", "")),
        ("GET", "/api/v1/nodes", {"watch": "true"}, ("watch", "nodes", "", "")),
        ("GET", "/api/v1/namespaces/a", {}, ("get", "namespaces", "", "a")),
        ("PUT", "/api/v1/namespaces/a/finalize", {}, ("update", "namespaces/finalize", "", "a")),
        ("POST", "/api/v1/namespaces/a/pods", {}, ("create", "pods", "a", "")),
        ("PATCH", "/api/v1/namespaces/a/pods/p/status", {}, ("patch", "pods/status", "a", "p")),
        ("DELETE", "/apis/supernode.io/v1alpha1/supernodes/s", {}, ("delete", "supernodes", "", "s")),
        ("DELETE", "/api/v1/namespaces/a/pods", {}, ("deletecollection", "pods", "a", "")),
        ("GET", "/version", {}, ("list", "", "", "")),
    ],
)
def test_calls_are_read_off_the_url(
    method: str, path: str, query: dict[str, str], call: tuple[str, str, str, str]
) -> None:
    assert Call.of(method, path, query) == Call(*call, query)


@pytest.mark.cluster
async def test_without_faults_it_is_transparent(
    session: Session, proxy: Proxy, proxied: Session, namespace: str
) -> None:
    created = await proxied.create(LEASES, lease(namespace, "a"))
    assert await session.get(LEASES, (namespace, "a")) == await proxied.get(LEASES, (namespace, "a")) == created
    with pytest.raises(NotFound, match='"b" not found'):
        await proxied.get(LEASES, (namespace, "b"))
    async with proxied.stream(LEASES, namespace, params={"timeoutSeconds": "1"}) as lines:
        assert [json.loads(line)["object"] async for line in lines] == [created]
    assert [call.verb for call in proxy.calls] == ["create", "get", "get", "watch"]
    assert [call.writes for call in proxy.calls] == [True, False, False, False]


@pytest.mark.cluster
async def test_faults_that_hit_nothing_and_rights_that_are_missing_are_told(
    proxy: Proxy, proxied: Session, namespace: str
) -> None:
    proxy.inject("get", "leases", Refuse(500), nth=2, times=None)
    proxy.inject("delete", "leases", Refuse(500), may_miss=True)
    proxy.inject("create", "leases", Refuse(403))
    with pytest.raises(Forbidden):
        await proxied.create(LEASES, lease(namespace, "a"))
    await proxied.create(LEASES, lease(namespace, "a"))
    await proxied.get(LEASES, (namespace, "a"))
    assert proxy.missed == ["call 2 of get leases for Refuse(code=500, reason='', retry_after=None, field=''): 1 came"]
    proxy.heal()
    assert len(proxy.missed) == 1, "it stays a mistake when it is over"
    assert proxy.forbidden == [], "what was injected is no missing right"


@pytest.mark.cluster
async def test_faults_hit_the_calls_they_name(proxy: Proxy, proxied: Session, namespace: str) -> None:
    proxy.inject("create", "leases", Refuse(409), nth=2, when=lambda call: call.namespace == namespace)
    await proxied.create(LEASES, lease(namespace, "a"))
    await proxied.list(NODES, limit=1)
    with pytest.raises(Conflict):
        await proxied.create(LEASES, lease(namespace, "b"))
    await proxied.create(LEASES, lease(namespace, "b"))
    proxy.inject("*", "*", DropRequest(), times=None)
    with pytest.raises(Unavailable):
        await proxied.create(LEASES, lease(namespace, "c"))
    proxy.heal()
    with pytest.raises(NotFound):
        await proxied.get(LEASES, (namespace, "c"))


@pytest.mark.cluster
@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
async def test_a_call_can_be_stopped_where_a_test_wants_it(
    session: Session, proxy: Proxy, proxied: Session, namespace: str, applied: bool
) -> None:
    pause = Pause(applied=applied)
    proxy.inject("create", "leases", pause)
    creating = asyncio.create_task(proxied.create(LEASES, lease(namespace, "a")))
    await asyncio.wait_for(pause.reached.wait(), 10)
    assert len((await session.list(LEASES, namespace))["items"]) == (1 if applied else 0)
    pause.release.set()
    assert (await creating)["metadata"]["name"] == "a"


@pytest.mark.cluster
async def test_delays_and_silence(proxy: Proxy, proxied: Session) -> None:
    loop = asyncio.get_running_loop()
    proxy.inject("list", "nodes", Delay(0.3))
    began = loop.time()
    await proxied.list(NODES, limit=1)
    assert loop.time() - began >= 0.3
    proxy.inject("get", "namespaces", HalfOpen())
    with pytest.raises(Unavailable, match="Timeout"):
        await proxied.request("GET", NAMESPACES.path(name="default"), timeout=0.3)


@pytest.mark.cluster
async def test_an_unreachable_server_answers_nobody(proxy: Proxy, proxied: Session, namespace: str) -> None:
    proxy.unreachable = True
    with pytest.raises(Unavailable):
        await proxied.create(LEASES, lease(namespace, "a"))
    proxy.heal()
    await proxied.create(LEASES, lease(namespace, "a"))
