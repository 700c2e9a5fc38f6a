"""What docs/adr/0009-no-pod-groups-yet.md rests on."""

from pathlib import Path

import pytest

from supernode.cluster.errors import NotFound
from supernode.cluster.resources import PODS
from supernode.cluster.session import Session
from testbed.bed import Bed

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio]

ADR = Path(__file__).parents[2] / "docs" / "adr" / "0009-no-pod-groups-yet.md"


async def test_pod_groups_are_off_by_default(bed: Bed) -> None:
    """When this fails, the decision is to be taken anew."""
    assert ADR.exists()
    pod = {
        "metadata": {"name": "grouped", "namespace": "default"},
        "spec": {"schedulingGroup": {"podGroupName": "g"}, "containers": [{"name": "c", "image": "example.invalid/c"}]},
    }
    async with Session.connect(bed.kubeconfig) as session:
        with pytest.raises(NotFound):
            await session.request("GET", "/apis/scheduling.k8s.io/v1beta1")
        answer = await session.request("POST", PODS.path("default"), params={"dryRun": "All"}, body=pod)
    assert "schedulingGroup" not in answer["spec"]
