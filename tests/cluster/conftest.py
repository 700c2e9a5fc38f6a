"""What the tests of the API-server layer share: a namespace of their own, sessions, a proxy that injects faults."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cluster_helpers import NAMESPACES

from supernode.cluster.session import Session
from testbed.proxy import Proxy


@pytest.fixture
async def session(bed: Any) -> AsyncIterator[Session]:
    """A session straight to the API server."""
    async with Session.connect(bed.kubeconfig) as session:
        yield session


@pytest.fixture
async def namespace(session: Session) -> AsyncIterator[str]:
    """A namespace of the test's own."""
    name = f"cluster-{uuid.uuid4().hex[:10]}"
    await session.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    await session.delete(NAMESPACES, ("", name))


@pytest.fixture
async def proxy(bed: Any) -> AsyncIterator[Proxy]:
    """A fault-injecting proxy in front of the API server."""
    async with Proxy(bed.url, bed.admin_token) as proxy:
        yield proxy


@pytest.fixture
async def proxied(proxy: Proxy, tmp_path: Path) -> AsyncIterator[Session]:
    """A session through the proxy."""
    async with Session.connect(proxy.kubeconfig(tmp_path / "proxy.kubeconfig")) as session:
        yield session
