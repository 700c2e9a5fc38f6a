"""Records what this version writes as `golden/NAME.json`, for `test_upgrade.py` of later ones:

PYTHONPATH=.:operator:tests/robustness python tests/robustness/record_golden.py NAME
"""

import json
import sys
from pathlib import Path

from grounds import add_pinned, prepared
from history import CUSTOM, Json
from world import World
from world import world as new_world

from testbed.bed import Bed
from testbed.client import run

KINDS = {
    "TrainingJob": f"{CUSTOM}/namespaces/NAMESPACE/trainingjobs",
    "CardGroup": f"{CUSTOM}/namespaces/NAMESPACE/cardgroups",
    "ConfigMap": "/api/v1/namespaces/NAMESPACE/configmaps",
    "Secret": "/api/v1/namespaces/NAMESPACE/secrets",
    "Service": "/api/v1/namespaces/NAMESPACE/services",
    "Pod": "/api/v1/namespaces/NAMESPACE/pods",
    "SuperNode": f"{CUSTOM}/supernodes",
}
"""Where objects of each kind lie, in the order in which they can be created again."""

SPARES = {"spares": {"members": 1}}
JOBS: dict[str, Json] = {
    "part": {"replicas": 3, "cards": 2, "runtime": "mpi"},
    "wide": {"replicas": 18, "cards": 4, "runtime": "pytorch", "topology": SPARES},
    "pinned": {"replicas": 4, "cards": 4, "profile": "ascend-a3-384"},
    "ended": {"replicas": 2, "cards": 1, "annotations": {"testbed.supernode.io/run-seconds": "1"}},
    "paused": {"replicas": 2, "cards": 1, "suspend": True},
    "waits": {"replicas": 32, "cards": 4},
}
PHASES = {"ended": "Succeeded", "paused": "Suspended", "waits": "Pending"}
"""Others run."""


async def _fill(world: World) -> None:
    await world.operator()
    bare = {"metadata": {"name": "bare"}, "spec": {"members": 2, "cardsPerMember": 2, "profile": "nvidia-nvl72"}}
    kind = {"apiVersion": "supernode.io/v1alpha1", "kind": "CardGroup"}
    await world.api.request("POST", KINDS["CardGroup"].replace("NAMESPACE", world.namespace), kind | bare)
    await world.wait("the bare group has its cards", lambda: f"{world.namespace}/bare" in world.holders())
    for name, job in JOBS.items():
        await world.submit(name, **job)
        await world.phase(name, PHASES.get(name, "Running"), 60)
    await world.settled()


async def _record(bed: Bed, file: Path) -> None:
    async with new_world(bed) as world:
        await _fill(world)
        found: dict[str, list[Json]] = {}
        for kind, path in KINDS.items():
            page = await world.api.request("GET", path.replace("NAMESPACE", world.namespace))
            mine = [obj for obj in page["items"] if obj["metadata"]["name"] != "kube-root-ca.crt"]
            for obj in mine:
                obj["metadata"].pop("managedFields", None)
                if kind == "Secret":
                    obj["data"] = dict.fromkeys(obj["data"], "")  # no key belongs into a repository
            found[kind] = mine
        text = json.dumps(found, sort_keys=True).replace(world.namespace, "NAMESPACE")
        file.write_text(text + "\n")  # noqa: ASYNC240 (a small local file)


def main() -> None:
    """Start a cluster, fill it, write the file."""
    file = Path(__file__).parent / "golden" / f"{sys.argv[1]}.json"
    with prepared() as bed:
        add_pinned(bed)
        run(_record(bed, file))
    print(f"{file}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
