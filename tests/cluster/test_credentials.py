"""Which cluster is meant, by the rules of kubectl: contexts of kubeconfigs, and the pod's service account."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes.client import Configuration

from supernode.cluster import credentials
from supernode.cluster.errors import NoCluster, Unavailable
from supernode.cluster.session import Session

CONTEXTS = {
    "one": {"cluster": "one", "user": "u", "namespace": "research"},
    "two": {"cluster": "two", "user": "u"},
    "broken": {"cluster": "none", "user": "u"},
}


def kubeconfig(path: Path, **changed: Any) -> Path:
    """Two clusters and three contexts, of which `broken` has no cluster; None takes a part away."""
    clusters = [{"name": name, "cluster": {"server": f"http://{name}.example.com"}} for name in ("one", "two")]
    config = {
        "clusters": clusters,
        "contexts": [{"name": name, "context": context} for name, context in CONTEXTS.items()],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "current-context": "one",
        **changed,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({name: part for name, part in config.items() if part is not None}))
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in a pod."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


@pytest.mark.parametrize("current", [None, "", "gone", "broken", "one"])
@pytest.mark.parametrize(("context", "namespace"), [("one", "research"), ("two", "default")])
def test_a_named_context_needs_no_current_one(
    tmp_path: Path, current: str | None, context: str, namespace: str
) -> None:
    path = kubeconfig(tmp_path / "config", **{"current-context": current})
    found = credentials.find(path, context)
    assert (found.server, found.namespace) == (f"http://{context}.example.com", namespace)


@pytest.mark.parametrize(
    ("current", "context"), [(None, None), ("", None), ("gone", None), ("broken", None), ("one", "gone")]
)
def test_what_names_no_cluster_is_told_with_the_file(tmp_path: Path, current: str | None, context: str | None) -> None:
    path = kubeconfig(tmp_path / "config", **{"current-context": current})
    with pytest.raises(NoCluster, match=f"cannot use the kubeconfig {path}"):
        credentials.find(path, context)


def test_in_a_pod_a_kubeconfig_and_a_context_come_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoCluster, match="service account"):
        credentials.find()
    with pytest.raises(NoCluster, match="cannot use the kubeconfig"):
        credentials.find(context="two")
    kubeconfig(home / ".kube" / "config")
    assert credentials.find().server == "http://one.example.com"
    assert credentials.find(context="two").server == "http://two.example.com"
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(home / "other", **{"current-context": "two"})))
    assert credentials.find().server == "http://two.example.com"


def test_in_a_pod_nobody_needs_a_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(_: type[Path]) -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", classmethod(homeless))
    monkeypatch.chdir(home)
    with pytest.raises(NoCluster, match="service account"):
        credentials.find()


async def test_a_new_authority_is_trusted_once_its_certificate_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a cluster rotates its own: in a pod the file has both for a while, then the new one."""
    tls, trusted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), tmp_path / "ca.crt"

    def rotate(name: str) -> None:
        tls.load_cert_chain(self_signed(tmp_path / name))
        trusted.write_bytes((tmp_path / name).read_bytes())

    rotate("first")
    async with served(tls) as url:
        configuration = Configuration(host=url)
        configuration.ssl_ca_cert = str(trusted)
        async with Session(credentials.Credentials(lambda: configuration), timeout=0.5) as session:
            await session.request("GET", "/version")
            rotate("second")
            with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await session.request("GET", "/version")
            monkeypatch.setattr(credentials, "REFRESH_SECONDS", 0.0)
            await session.request("GET", "/version")


@asynccontextmanager
async def served(tls: ssl.SSLContext) -> AsyncIterator[str]:
    """A server with these certificates that answers {} and then closes the connection; its URL."""

    async def answer(_: web.BaseRequest) -> web.Response:
        response = web.json_response({})
        response.force_close()
        return response

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def self_signed(path: Path) -> Path:
    """A certificate of 127.0.0.1, its own authority, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, path.name)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, kind, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, kind, plain))
    return path
