"""Where the API server is and how to prove who we are, read by the official client from where it always reads it.

That client is imported only here and only when credentials are loaded: where kopf has not done so anyway, as in the
command line, its import takes 0.4 s and 36 MiB.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from supernode.cluster.errors import NoCluster

REFRESH_SECONDS = 60.0
"""Age at which the token is read again; projected tokens are rotated long before they expire."""

RELOAD_PAUSE_SECONDS = 5.0
"""Shortest time between two loads caused by 401, so that revoked credentials do not run a plug-in per request."""

log = logging.getLogger(__name__)

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Credentials:
    """The server's URL, the TLS context, and an ``Authorization`` header that is kept fresh.

    `load` returns a filled ``kubernetes.client.Configuration``; it is called again when the server refuses the token.
    """

    def __init__(self, load: Callable[[], Any], *, namespace: str = "default") -> None:
        self._load = load
        self._configuration = load()
        self._read_at = time.monotonic()
        self._renewal: asyncio.Task[None] | None = None
        self._header: str | None = self._configuration.get_api_key_with_prefix("BearerToken")
        self._certificate = (self._configuration.cert_file, self._configuration.key_file)
        self.namespace = namespace
        self.server: str = self._configuration.host.rstrip("/")
        self.proxy = _proxy_of(self._configuration)
        self.server_hostname: str | None = self._configuration.tls_server_name
        self.ssl = self._ssl_context()

    def _ssl_context(self) -> ssl.SSLContext | bool:
        if not self.server.startswith("https"):
            return True
        try:
            context = ssl.create_default_context(cafile=self._configuration.ssl_ca_cert or None)
            if self._configuration.verify_ssl is False:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self._configuration.cert_file:
                context.load_cert_chain(self._configuration.cert_file, self._configuration.key_file)
        except (OSError, ssl.SSLError) as error:
            raise NoCluster(f"cannot use the certificates configured for {self.server}: {error}") from error
        return context

    async def headers(self) -> dict[str, str]:
        """The authentication headers of the next request; reads token files and runs plug-ins when they are due."""
        if time.monotonic() - self._read_at > REFRESH_SECONDS:
            await self._renew(self._refresh)
        return self._headers()

    async def replaced(self, refused: dict[str, str]) -> bool:
        """After a 401 with the headers `refused`: load everything anew; True when there are other headers to try."""
        if self._headers() == refused and time.monotonic() - self._read_at > RELOAD_PAUSE_SECONDS:
            await self._renew(self._reload)
        return self._headers() != refused

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._header} if self._header else {}

    async def _renew(self, read: Callable[[], None]) -> None:
        """Wait for one renewal, also if it is under way already; it goes on when who waits for it gives up."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renewed(read))
        await asyncio.shield(self._renewal)

    async def _renewed(self, read: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(read)
        except Exception as error:  # a plug-in may raise anything; the server judges the credentials we still have
            log.warning("cannot renew the credentials for %s, keeping the present ones: %s", self.server, error)
        self._read_at = time.monotonic()

    def _refresh(self) -> None:
        self._header = self._configuration.get_api_key_with_prefix("BearerToken")
        if not isinstance(self.ssl, ssl.SSLContext):
            return
        if self._configuration.ssl_ca_cert:  # authorities are rotated too; those trusted so far stay so
            self.ssl.load_verify_locations(self._configuration.ssl_ca_cert)
        certificate = (self._configuration.cert_file, self._configuration.key_file)
        if certificate != self._certificate:
            self.ssl.load_cert_chain(*certificate)
            self._certificate = certificate

    def _reload(self) -> None:
        self._configuration = self._load()
        self._refresh()


def _proxy_of(configuration: Any) -> str | None:
    """The proxy on the way to the server, None for none; raises NoCluster for one of a kind that cannot be used."""
    from kubernetes.client.rest import should_bypass_proxies

    proxy: str | None = configuration.proxy
    if not proxy or should_bypass_proxies(configuration.host, configuration.no_proxy or ""):
        return None
    if _is_loopback(configuration.host) and proxy in getproxies().values():
        return None  # as kubectl, which takes a proxy to loopback from a kubeconfig only
    if not proxy.lower().startswith(("http://", "https://")):
        # The rest of the URL is not told: it may hold a password.
        scheme = f"{proxy.partition('://')[0]}://" if "://" in proxy else "a URL without a scheme"
        raise NoCluster(
            f"cannot use the proxy configured for {configuration.host}: {scheme} is not supported; "
            "give an http:// or https:// proxy, or name the server in NO_PROXY"
        )
    return proxy


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def from_kubeconfig(path: Path | None = None, context: str | None = None) -> Credentials:
    """Credentials of a kubeconfig's context (default: its current one); `path` None follows ``KUBECONFIG``.

    Raises NoCluster, naming the file, when it is missing or broken.
    """
    from kubernetes import client, config
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    files = str(path) if path else os.environ.get("KUBECONFIG") or str(_default_kubeconfig())
    namespace = "default"

    def load() -> Any:
        nonlocal namespace
        configuration = client.Configuration()
        try:
            config.load_kube_config(files, context=context, client_configuration=configuration, persist_config=False)
            chosen = KubeConfigLoader(KubeConfigMerger(files).config, active_context=context).current_context
            namespace = chosen["context"].get("namespace") or "default"
        except Exception as error:  # the client raises what its YAML, base64 and plug-in code happens to raise
            raise NoCluster(f"cannot use the kubeconfig {files}: {error}") from error
        return configuration

    credentials = Credentials(load)
    credentials.namespace = namespace
    return credentials


def _default_kubeconfig() -> Path:
    try:
        return Path.home() / ".kube" / "config"
    except RuntimeError:  # a numbered user of a container has no home
        return Path(".kube") / "config"


def in_cluster() -> Credentials:
    """Credentials of the pod's service account. Raises NoCluster outside a pod or without a mounted token."""
    from kubernetes import client, config

    def load() -> Any:
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except Exception as error:
            raise NoCluster(f"cannot use the pod's service account: {error}") from error
        return configuration

    namespace = _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.is_file() else "default"
    return Credentials(load, namespace=namespace)


def find(kubeconfig: Path | None = None, context: str | None = None) -> Credentials:
    """The credentials kubectl would use: `kubeconfig`, ``KUBECONFIG``, ``~/.kube/config``, the pod's service account.

    The last only where no context is asked for, either. Raises NoCluster.
    """
    named = kubeconfig is not None or context is not None or bool(os.environ.get("KUBECONFIG"))
    if not named and os.environ.get("KUBERNETES_SERVICE_HOST") and not _default_kubeconfig().is_file():
        return in_cluster()
    return from_kubeconfig(kubeconfig, context)
