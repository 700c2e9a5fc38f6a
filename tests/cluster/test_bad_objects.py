"""Bad objects are refused by the real API server, by a message that names the field and says what to do.

The tables are in `bad_objects/`; `tests/api/test_bad_manifests.py` puts the same objects before `parse`.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from cluster_helpers import install_crds
from object_tables import TABLES, merged, rows

from supernode.cluster.errors import ApiError
from supernode.cluster.resources import CARDGROUPS, SUPERNODEPROFILES, SUPERNODES, TRAININGJOBS
from supernode.cluster.session import Session
from testbed.bed import Bed

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parents[2]
RESOURCES = {resource.kind: resource for resource in (CARDGROUPS, SUPERNODEPROFILES, SUPERNODES, TRAININGJOBS)}
PROFILES = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "examples/profiles").glob("*.yaml"))]
STRICT_DRY_RUN = {"dryRun": "All", "fieldValidation": "Strict"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(bed: Bed) -> AsyncIterator[Session]:
    """A session with the CRDs applied and every table's base created."""
    async with Session.connect(bed.kubeconfig) as session:
        await install_crds(session, *RESOURCES.values())
        created = []
        for table in TABLES:
            resource = RESOURCES[table["base"]["kind"]]
            created.append((resource, await session.create(resource, table["base"])))
        yield session
        for resource, obj in created:
            await session.delete(resource, (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))


async def refusal(session: Session, method: str, path: str, body: dict[str, Any]) -> str:
    with pytest.raises(ApiError) as caught:
        await session.request(method, path, params=STRICT_DRY_RUN, body=body)
    assert caught.value.status in (400, 422), caught.value
    return caught.value.message


@pytest.mark.parametrize(("base", "row"), rows("cases"))
async def test_the_api_server_refuses(session: Session, base: dict[str, Any], row: dict[str, Any]) -> None:
    """Nothing bad is stored, and the message helps."""
    obj = merged(base, row["patch"])
    message = await refusal(session, "POST", RESOURCES[base["kind"]].path(base["metadata"].get("namespace")), obj)
    for text in (*row["expect"], *row.get("server", ())):
        assert text in message


@pytest.mark.parametrize(("base", "row"), rows("changes"))
async def test_the_api_server_refuses_the_change(session: Session, base: dict[str, Any], row: dict[str, Any]) -> None:
    """What is fixed at creation stays."""
    path = RESOURCES[base["kind"]].path(base["metadata"].get("namespace"), base["metadata"]["name"])
    stored = await session.request("GET", path)
    message = await refusal(session, "PUT", path, merged(stored, row["patch"]))
    for text in row["expect"]:
        assert text in message


@pytest.mark.parametrize(("base", "row"), rows("allowed"))
async def test_the_api_server_takes_the_change(session: Session, base: dict[str, Any], row: dict[str, Any]) -> None:
    """What may change does."""
    path = RESOURCES[base["kind"]].path(base["metadata"].get("namespace"), base["metadata"]["name"])
    stored = await session.request("GET", path)
    await session.request("PUT", path, params=STRICT_DRY_RUN, body=merged(stored, row["patch"]))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile["metadata"]["name"])
async def test_the_api_server_takes_the_profiles(session: Session, profile: dict[str, Any]) -> None:
    """Every profile that ships passes the schema and the rules."""
    await session.request("POST", SUPERNODEPROFILES.path(), params=STRICT_DRY_RUN, body=profile)
