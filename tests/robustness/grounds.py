"""The cluster that tests of robustness share: two NVL72 racks, and for some files a supernode of another kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from history import CUSTOM
from world import hold_nothing_back

from testbed import bed as testbed
from testbed import nodes
from testbed.bed import Bed
from testbed.client import connect, run
from testbed.fleet import Fleet
from testbed.installation import install

FLEET = Path(__file__).parent / "fleet.yaml"


PINNED = Fleet.parse({"pools": [{"name": "a3", "profile": "ascend-a3-384", "supernodes": 1, "nodes": 4}]})
"""A supernode beside the others whose pods are pinned to their cards by annotations, and so created in turns."""


@contextmanager
def prepared() -> Iterator[Bed]:
    """The cluster, with the operator's charts applied and its supernodes discovered."""
    with testbed.start(fleet=FLEET, audit=False) as bed:
        install(bed)
        # The garbage collector looks for new kinds every half minute; a new one knows them at once.
        bed.stop_program("kube-controller-manager")
        bed.start_program("kube-controller-manager")
        run(hold_nothing_back(bed, supernodes=2))
        yield bed


def add_pinned(bed: Bed) -> None:
    """Give the cluster a third supernode."""
    nodes.apply(bed.kubeconfig, PINNED, lambda _: None)
    run(hold_nothing_back(bed, supernodes=3))


def remove_pinned(bed: Bed) -> None:
    """Undo this."""
    run(_remove_pinned(bed))


async def _remove_pinned(bed: Bed) -> None:
    async with connect(bed.kubeconfig) as api:
        for node in nodes.render(PINNED):
            await api.request("DELETE", f"/api/v1/nodes/{node['metadata']['name']}")
        for supernode in (await api.request("GET", f"{CUSTOM}/supernodes"))["items"]:
            if supernode["spec"]["profile"] == "ascend-a3-384":
                await api.request("DELETE", f"{CUSTOM}/supernodes/{supernode['metadata']['name']}")
