"""The session: what it sends, which error each refusal becomes, and what it dares to send twice."""

import asyncio
import json
import os
import socket
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp.base_protocol import BaseProtocol
from cluster_helpers import lease
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client import Configuration
from kubernetes.config import incluster_config
from yarl import URL

from supernode.cluster import credentials, transport
from supernode.cluster.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NoCluster,
    NotAName,
    NotFound,
    Stalled,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    error_from_status,
)
from supernode.cluster.resources import LEASES, NODES, PODS, SUPERNODES, Resource
from supernode.cluster.session import Session
from supernode.cluster.wire import lines
from testbed.faults import CutWatch, Delay, DropReply, FailAfter, HalfOpen, Refuse
from testbed.proxy import Proxy

SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)


@pytest.mark.parametrize(
    ("resource", "where", "path"),
    [
        (PODS, {}, "/api/v1/pods"),
        (PODS, {"namespace": "a"}, "/api/v1/namespaces/a/pods"),
        (PODS, {"namespace": "a", "name": "p"}, "/api/v1/namespaces/a/pods/p"),
        (NODES, {"name": "n", "subresource": "status"}, "/api/v1/nodes/n/status"),
        (SUPERNODES, {"name": "s"}, "/apis/supernode.io/v1alpha1/supernodes/s"),
    ],
)
def test_paths(resource: Resource, where: dict[str, str], path: str) -> None:
    assert resource.path(**where) == path


@pytest.mark.parametrize(
    ("resource", "where"),
    [(PODS, {"name": "p"}), (NODES, {"namespace": "a"}), (PODS, {"namespace": "a", "subresource": "status"})],
)
def test_paths_that_cannot_exist(resource: Resource, where: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=resource.plural):
        resource.path(**where)


@pytest.mark.parametrize(
    "text", ["", "..", ".", "a/b", "x/../../../b/configmaps/c", "a?b", "a#b", "a%2Fb", "a..b", "A", "a ", "a\n", "ä"]
)
async def test_what_is_no_name_is_never_sent(text: str) -> None:
    """Annotations and such are what users write; in a path it would lead to another object, or to all of them."""
    async with Session(credentials.Credentials(lambda: Configuration(host="http://127.0.0.1:1"))) as session:
        for request in (
            session.get(PODS, ("a", text)),
            session.merge_patch(PODS, ("a", text), {}),
            session.delete(PODS, ("a", text)),
            session.get(NODES, ("", text)),
            *([session.list(PODS, text), session.create(PODS, {"metadata": {"namespace": text}})] if text else ()),
        ):
            with pytest.raises(NotAName, match="is no name"):
                await request


@pytest.mark.parametrize("name", ["a", "0", "node-1.example.com", "a" * 63, "llama-9b1906ff71"])
def test_names_are_taken_as_they_are(name: str) -> None:
    assert PODS.path("team-a", name).endswith(f"/namespaces/team-a/pods/{name}")


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", BadRequest),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (405, "MethodNotAllowed", ApiError),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Gone),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", TooManyRequests),
        (500, "InternalError", Unavailable),
        (504, "Timeout", Unavailable),
    ],
)
def test_errors_by_code(code: int, reason: str, kind: type[ApiError]) -> None:
    error = error_from_status(code, {"message": "m", "reason": reason, "details": {"name": "x"}})
    assert type(error) is kind
    assert (error.status, error.reason, str(error), error.details) == (code, reason, "m", {"name": "x"})


def test_a_pause_may_come_in_the_body() -> None:
    error = error_from_status(429, {"details": {"retryAfterSeconds": 7}})
    assert isinstance(error, TooManyRequests)
    assert error.retry_after == 7


@given(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b""))), st.data())
def test_lines_do_not_depend_on_how_they_are_cut(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in sent) + b"unfinished"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    parts = [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]

    async def read() -> list[bytes]:
        reader = _reader()

        async def feed() -> None:
            for part in parts:
                reader.feed_data(part)
                await asyncio.sleep(0)
            reader.feed_eof()

        feeding = asyncio.create_task(feed())
        received = [line async for line in lines(reader)]
        await feeding
        return received

    assert asyncio.run(read()) == sent


def _reader() -> aiohttp.StreamReader:
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    return aiohttp.StreamReader(protocol, 1 << 21, loop=loop)


async def test_lines_that_are_there_let_others_have_their_turn() -> None:
    reader, turns = _reader(), 0
    reader.feed_data(b"x" * 99 + b"\n" + 9999 * (b"y" * 99 + b"\n"))
    reader.feed_eof()

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert len([line async for line in lines(reader)]) == 10_000
    task.cancel()
    assert turns >= 7  # of a megabyte in chunks of 128 KiB


@pytest.mark.cluster
async def test_an_object_through_its_life(session: Session, namespace: str) -> None:
    key = (namespace, "a")
    created = await session.create(LEASES, lease(namespace, "a"))
    assert await session.get(LEASES, key) == created
    with pytest.raises(AlreadyExists):
        await session.create(LEASES, lease(namespace, "a"))

    held = await session.merge_patch(LEASES, key, {"spec": {"holderIdentity": "me"}})
    patched = await session.merge_patch(LEASES, key, {"metadata": {"labels": {"x": "1"}}})
    assert patched["spec"] == held["spec"] == {"holderIdentity": "me"}
    stale = {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"], "labels": {"x": "2"}}}
    with pytest.raises(Conflict):
        await session.merge_patch(LEASES, key, stale)
    with pytest.raises(Invalid):
        await session.merge_patch(LEASES, key, {"metadata": {"labels": {"not a label": "2"}}})

    with pytest.raises(Conflict):
        await session.delete(LEASES, key, uid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(Conflict):
        await session.delete(LEASES, key, resource_version=created["metadata"]["resourceVersion"])
    await session.delete(LEASES, key, uid=created["metadata"]["uid"], propagation="Background")
    with pytest.raises(NotFound) as caught:
        await session.get(LEASES, key)
    assert caught.value.details["name"] == "a"


@pytest.mark.cluster
async def test_lists_come_in_pages(session: Session, namespace: str) -> None:
    for name in "abcde":
        await session.create(LEASES, lease(namespace, name, kind="vowel" if name in "ae" else "consonant"))
    names: list[str] = []
    token = None
    while True:
        page = await session.list(LEASES, namespace, limit=2, continue_=token)
        names += [item["metadata"]["name"] for item in page["items"]]
        if not (token := page["metadata"].get("continue")):
            break
    assert names == list("abcde")
    vowels = await session.list(LEASES, namespace, label_selector="kind=vowel", field_selector="metadata.name=a")
    assert [item["metadata"]["name"] for item in vowels["items"]] == ["a"]


@pytest.mark.cluster
async def test_refusals_of_the_real_server(session: Session, namespace: str, bed: Any, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        await session.create(PODS, {"metadata": {"namespace": namespace, "name": "p"}, "spec": {"containers": []}})
    assert "spec.containers" in [cause["field"] for cause in caught.value.details["causes"]]
    with pytest.raises(BadRequest):
        await session.list(PODS, label_selector="=")
    weak = bearer_kubeconfig(bed, tmp_path / "weak", token=await service_account_token(session, namespace, "weak"))
    async with Session.connect(weak) as nobody:
        with pytest.raises(Forbidden, match='cannot list resource "nodes"'):
            await nobody.list(NODES)
    async with Session.connect(bearer_kubeconfig(bed, tmp_path / "wrong", token="wrong")) as stranger:
        with pytest.raises(Unauthorized):
            await stranger.list(NODES)


@pytest.mark.cluster
async def test_every_answer_is_counted(proxy: Proxy, namespace: str, tmp_path: Path) -> None:
    counted: Counter[tuple[str, str, int]] = Counter()
    proxy.inject("create", "leases", Refuse(429, retry_after=0))
    proxy.inject("patch", "leases", DropReply())
    async with Session.connect(
        proxy.kubeconfig(tmp_path / "kubeconfig"), on_response=lambda *answer: counted.update([answer])
    ) as session:
        await session.create(LEASES, lease(namespace, "a"))
        with pytest.raises(Unavailable):
            await session.merge_patch(LEASES, (namespace, "a"), {})
        with pytest.raises(NotFound):
            await session.get(LEASES, (namespace, "b"))
        async with session.stream(LEASES, namespace, params={"timeoutSeconds": "1"}) as events:
            assert [json.loads(event)["type"] async for event in events] == ["ADDED"]
        await session.request("GET", "/version")
    assert counted == {
        ("create", "leases", 429): 1,
        ("create", "leases", 201): 1,
        ("patch", "leases", 0): 1,
        ("get", "leases", 404): 1,
        ("watch", "leases", 200): 1,
        ("get", "", 200): 1,
    }


@pytest.mark.cluster
async def test_a_throttled_request_is_sent_again_when_asked_to(proxy: Proxy, proxied: Session, namespace: str) -> None:
    proxy.inject("create", "leases", Refuse(429, retry_after=1))
    began = asyncio.get_running_loop().time()
    await proxied.create(LEASES, lease(namespace, "a"))
    assert asyncio.get_running_loop().time() - began >= 1
    proxy.inject("create", "leases", Refuse(429, retry_after=5))
    with pytest.raises(TooManyRequests) as caught:
        await proxied.unretried.create(LEASES, lease(namespace, "b"))
    assert caught.value.retry_after == 5
    proxy.inject("get", "leases", Refuse(429, retry_after=100))
    with pytest.raises(TooManyRequests):
        await proxied.get(LEASES, (namespace, "a"))


@pytest.mark.cluster
@pytest.mark.parametrize("fault", [DropReply(), FailAfter(500), FailAfter(504)], ids=["dropped", "500", "504"])
async def test_a_write_that_may_have_been_applied_is_never_repeated(
    proxy: Proxy, proxied: Session, namespace: str, fault: DropReply | FailAfter
) -> None:
    key = (namespace, "a")
    proxy.inject("create", "leases", fault)
    proxy.inject("patch", "leases", fault)
    proxy.inject("delete", "leases", fault)
    with pytest.raises(Unavailable) as caught:
        await proxied.create(LEASES, lease(namespace, "a"))
    assert caught.value.maybe_applied
    with pytest.raises(Unavailable):
        await proxied.merge_patch(LEASES, key, {"spec": {"holderIdentity": "me"}})
    assert (await proxied.get(LEASES, key))["spec"]["holderIdentity"] == "me"
    with pytest.raises(Unavailable):
        await proxied.delete(LEASES, key)
    assert [call.verb for call in proxy.calls if call.writes] == ["create", "patch", "delete"]


@pytest.mark.cluster
async def test_a_read_is_repeated_when_its_connection_breaks(proxy: Proxy, proxied: Session) -> None:
    proxy.inject("list", "nodes", DropReply(), times=2)
    await proxied.list(NODES, limit=1)
    assert [call.verb for call in proxy.calls] == ["list"] * 3


@pytest.mark.cluster
async def test_a_slow_server_is_given_up_on(proxy: Proxy, tmp_path: Path, namespace: str) -> None:
    proxy.inject("create", "leases", Delay(60))
    async with Session.connect(proxy.kubeconfig(tmp_path / "kubeconfig"), timeout=0.2) as session:
        with pytest.raises(Unavailable) as caught:
            await session.create(LEASES, lease(namespace, "a"))
    assert caught.value.maybe_applied


@pytest.mark.cluster
async def test_a_long_limit_is_kept_to_the_moment_too(proxy: Proxy, proxied: Session) -> None:
    """Left to itself aiohttp rounds what is over five seconds up to the next full one."""
    proxy.inject("list", "nodes", HalfOpen())
    await asyncio.sleep(1.05 - asyncio.get_running_loop().time() % 1)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await proxied.within(5.1).list(NODES, limit=1)
    assert 5.0 < time.monotonic() - began < 5.6


@pytest.mark.cluster
async def test_a_refused_connection_is_tried_until_the_server_is_back(bed: Any, tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    proxy = Proxy(bed.url, bed.admin_token, port=port)
    proxy.url = f"http://127.0.0.1:{port}"
    async with Session.connect(proxy.kubeconfig(tmp_path / "kubeconfig")) as session:
        with pytest.raises(Unavailable) as caught:
            await session.request("GET", "/version", timeout=0.5)
        assert not caught.value.maybe_applied
        waiting = asyncio.create_task(session.request("GET", "/version"))
        await asyncio.sleep(0.3)
        async with proxy:
            assert (await waiting)["major"] == "1"


@pytest.mark.cluster
async def test_watches_break_with_an_error(proxy: Proxy, proxied: Session, namespace: str) -> None:
    await proxied.create(LEASES, lease(namespace, "a"))

    async def watched(fault: CutWatch | HalfOpen) -> list[str]:
        proxy.inject("watch", "leases", fault)
        async with proxied.stream(LEASES, namespace, params={}, idle_timeout=0.3) as events:
            return [json.loads(event)["object"]["metadata"]["name"] async for event in events]

    with pytest.raises(Unavailable):
        await watched(CutWatch())
    assert await watched(CutWatch(cleanly=True)) == []
    with pytest.raises(Stalled):
        await watched(HalfOpen(after_events=1))


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No configuration found"), ("{", "flow"), ("clusters: []", "current-context")],
    ids=["missing", "no YAML", "incomplete"],
)
def test_a_bad_kubeconfig_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NoCluster, match=said) as caught:
        Session.connect(path)
    assert str(path) in str(caught.value)


SERVER = "https://10.96.0.1:6443"
PROXY = "http://user:secret@proxy.example.com:3128"


@pytest.mark.parametrize("server", ["https://localhost:6443", "https://127.0.7.1:6443", "https://[::1]:6443"])
@pytest.mark.parametrize(("proxy_url", "used"), [(None, None), ("http://tunnel:3128", "http://tunnel:3128")])
def test_a_proxy_to_loopback_is_taken_from_a_kubeconfig_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, proxy_url: str | None, used: str | None
) -> None:
    set_proxies(monkeypatch, {"HTTPS_PROXY": PROXY})
    kubeconfig = proxy_kubeconfig(tmp_path / "kubeconfig", proxy_url, server)
    assert credentials.from_kubeconfig(kubeconfig).proxy == used


@pytest.mark.parametrize(
    ("environment", "proxy_url", "used"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": PROXY}, None, PROXY),
        ({"HTTP_PROXY": PROXY}, None, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com,.svc"}, None, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "localhost,10.96.0.0/12,.svc"}, None, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None, None),
        ({}, PROXY, PROXY),
        ({"NO_PROXY": "10.96.0.1"}, PROXY, None),
        ({"NO_PROXY": "10.96.0.1"}, "socks5://127.0.0.1:1080", None),
    ],
)
def test_the_way_through_a_proxy_is_that_of_the_official_client(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    proxy_url: str | None,
    used: str | None,
) -> None:
    set_proxies(monkeypatch, environment)
    assert credentials.from_kubeconfig(proxy_kubeconfig(tmp_path / "kubeconfig", proxy_url)).proxy == used


@pytest.mark.parametrize(
    ("proxy_url", "said"), [("socks5://user:secret@127.0.0.1:1080", "socks5://"), ("proxy:3128", "without a scheme")]
)
def test_a_proxy_of_another_kind_is_refused_with_what_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy_url: str, said: str
) -> None:
    set_proxies(monkeypatch, {})
    with pytest.raises(NoCluster, match=f"{said} is not supported; give an http:// or https:// proxy") as caught:
        credentials.from_kubeconfig(proxy_kubeconfig(tmp_path / "kubeconfig", proxy_url))
    assert "secret" not in str(caught.value)


async def test_a_watch_does_not_wait_for_a_proxy_that_takes_the_connection_and_says_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_proxies(monkeypatch, {})
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kubeconfig = proxy_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{silent.getsockname()[1]}")
        async with asyncio.timeout(5), Session.connect(kubeconfig) as session:
            with pytest.raises(Unavailable, match="the watch of nodes broke"):
                async with session.stream(NODES, params={}):
                    pass


def set_proxies(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """The proxies of the environment, and no others."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def proxy_kubeconfig(path: Path, proxy_url: str | None, server: str = SERVER) -> Path:
    cluster = {"server": server, **({"proxy-url": proxy_url} if proxy_url else {})}
    config = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_outside_a_pod_there_is_no_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(NoCluster, match="service account"):
        credentials.in_cluster()


@pytest.mark.cluster
async def test_who_borrows_the_connections_may_close_what_it_got(session: Session) -> None:
    lent = await session.lend()
    async with lent.get(f"{session.server}/api/v1/nodes", params={"limit": "1"}) as response:
        assert response.status == 200
    await lent.close()
    await session.list(NODES, limit=1)


@pytest.mark.cluster
async def test_the_environment_names_the_kubeconfig(bed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(bed.kubeconfig))
    async with Session.connect() as session:
        assert session.namespace == "default"
        assert (await session.request("GET", "/version"))["major"] == "1"


@pytest.mark.cluster
@pytest.mark.parametrize("in_pod", [False, True], ids=["token file", "service account"])
async def test_a_token_that_is_refused_is_read_again(
    session: Session, namespace: str, bed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_pod: bool
) -> None:
    token, server = tmp_path / "token", URL(bed.url)
    token.write_text("expired")
    monkeypatch.setattr(credentials, "RELOAD_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(bed.certificate))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(server.host))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    kubeconfig = None if in_pod else bearer_kubeconfig(bed, tmp_path / "kubeconfig", tokenFile=str(token))
    async with Session.connect(kubeconfig) as rotating:
        with pytest.raises(Unauthorized):
            await who_is(rotating)
        token.write_text(await service_account_token(session, namespace, "fresh"))
        assert await who_is(rotating) == f"system:serviceaccount:{namespace}:fresh"


@pytest.mark.cluster
async def test_a_plug_in_provides_tokens_while_they_last(
    session: Session, namespace: str, bed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, plugin = tmp_path / "token", tmp_path / "plugin"
    plugin.write_text(f"#!{sys.executable}\n" + PLUGIN.format(token=str(token)))
    plugin.chmod(0o755)
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    token.write_text(await service_account_token(session, namespace, "first"))
    async with Session.connect(bearer_kubeconfig(bed, tmp_path / "kubeconfig", exec=command)) as plugged:
        assert await who_is(plugged) == f"system:serviceaccount:{namespace}:first"
        token.write_text(await service_account_token(session, namespace, "second"))
        assert await who_is(plugged) == f"system:serviceaccount:{namespace}:first"
        monkeypatch.setattr(credentials, "REFRESH_SECONDS", 0.0)
        assert await who_is(plugged) == f"system:serviceaccount:{namespace}:second"


@pytest.mark.cluster
async def test_a_plug_in_that_hangs_holds_nobody_longer_than_asked(
    session: Session, namespace: str, bed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, hang, plugin = tmp_path / "token", tmp_path / "hang", tmp_path / "plugin"
    plugin.write_text(f"#!{sys.executable}\n" + HANGING.format(hang=str(hang)) + PLUGIN.format(token=str(token)))
    plugin.chmod(0o755)
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    token.write_text(await service_account_token(session, namespace, "first"))
    async with Session.connect(bearer_kubeconfig(bed, tmp_path / "kubeconfig", exec=command)) as plugged:
        hang.touch()
        monkeypatch.setattr(credentials, "REFRESH_SECONDS", 0.0)
        monkeypatch.setattr(transport, "CONNECT_SECONDS", 1.0)
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"credentials for .* were not renewed") as caught:
            await plugged.within(0.5).create(LEASES, lease(namespace, "a"))
        assert not caught.value.maybe_applied
        with pytest.raises(Unavailable, match=r"credentials for .* were not renewed"):
            async with plugged.stream(LEASES, namespace, params={}):
                pass
        assert time.monotonic() - began < 5
        hang.unlink()
        assert await who_is(plugged) == f"system:serviceaccount:{namespace}:first"


HANGING = """
import pathlib, time
until = time.monotonic() + 20
while pathlib.Path({hang!r}).exists() and time.monotonic() < until:
    time.sleep(0.05)
"""

PLUGIN = """
import json, pathlib
status = {{"token": pathlib.Path({token!r}).read_text(), "expirationTimestamp": "2020-01-01T00:00:00Z"}}
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
"""


async def service_account_token(session: Session, namespace: str, name: str) -> str:
    await session.create(SERVICE_ACCOUNTS, {"metadata": {"namespace": namespace, "name": name}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = SERVICE_ACCOUNTS.path(namespace, name, "token")
    return str((await session.request("POST", path, body=request))["status"]["token"])


async def who_is(session: Session) -> str:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await session.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
    return str(answer["status"]["userInfo"]["username"])


def bearer_kubeconfig(bed: Any, path: Path, **user: object) -> Path:
    """The bed's kubeconfig with other credentials."""
    config = yaml.safe_load(Path(bed.kubeconfig).read_text())
    for entry in config["users"]:
        entry["user"] = user
    path.write_text(yaml.safe_dump(config))
    return path
