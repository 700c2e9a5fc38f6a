"""State written by an earlier version is taken over as it is: no pod is restarted, no card moves; nor is it when the
definitions are of a later one.

`golden/` holds objects as versions before this one left them, uids and all; a change of what is written adds a file,
which `record_golden.py` writes.
"""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
from definitions import loosened, newer, until_taken
from history import Json
from promises import Excuse
from record_golden import KINDS
from scenario import life
from world import World

from testbed.check.facts import ledger_entry

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("pinned")]
GOLDEN = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "golden").glob("*.json"))}
_SERVERS_OWN = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")


class _Restored:
    """Puts stored objects into a cluster, whose server gives them uids of its own."""

    def __init__(self, world: World, text: str) -> None:
        self._world = world
        self._text = text.replace("NAMESPACE", world.namespace)

    async def create(self, kind: str) -> None:
        """Create all objects of a kind with the statuses they had."""
        for number in range(len(json.loads(self._text).get(kind, ()))):
            stored: Json = json.loads(self._text)[kind][number]
            status, meta = stored.pop("status", None), stored["metadata"]
            uid = meta["uid"]
            stored["metadata"] = {key: value for key, value in meta.items() if key not in _SERVERS_OWN}
            if kind == "Service":
                stored["spec"].pop("clusterIPs", None)
            path = KINDS[kind].replace("NAMESPACE", self._world.namespace)
            created = await self._world.api.request("POST", path, stored)
            new = created["metadata"]["uid"]
            self._text = self._text.replace(uid, new).replace(uid[:8], new[:8])  # a name may have its beginning
            if kind in ("TrainingJob", "CardGroup"):
                own: Json = json.loads(self._text)[kind][number]
                await self._world.patch(kind, meta["name"], {"status": own["status"]}, subresource="status")
            elif kind == "Pod" and status and status["phase"] == "Succeeded":
                await self._world.patch(kind, meta["name"], {"status": status}, subresource="status")

    async def write_ledgers(self) -> None:
        """Give each supernode the status it had, whatever form it has today."""
        async with loosened(self._world):
            for supernode in json.loads(self._text)["SuperNode"]:
                name, status = supernode["metadata"]["name"], {"status": supernode["status"]}
                await until_taken(partial(self._world.patch, "SuperNode", name, status, subresource="status"))

    def ledgers(self) -> dict[str, list[Json]]:
        """What the ledgers say, by supernode, the entries by the names of their groups."""
        return {
            supernode["metadata"]["name"]: by_group(
                ledger_entry(entry) if isinstance(entry, str) else entry for entry in supernode["status"]["ledger"]
            )
            for supernode in json.loads(self._text)["SuperNode"]
        }


def by_group(entries: Iterable[Json]) -> list[Json]:
    """Entries of a ledger by the names of their groups."""
    return sorted(entries, key=lambda entry: entry["group"])


@pytest.mark.parametrize("golden", GOLDEN.values(), ids=GOLDEN)
async def test_the_state_of_an_earlier_version(world: World, golden: str) -> None:
    world.promises.excused.add(Excuse.LEDGERS_LOST)  # those of the first version are not read any more, but rebuilt
    stored = _Restored(world, golden)
    for kind in [*KINDS][:-1]:
        await stored.create(kind)
    await stored.write_ledgers()
    await world.wait("the pods run", lambda: all(pod["status"]["phase"] != "Pending" for pod in world.pods().values()))
    await world.broken()
    world.promises.broken.clear()  # what was put back came in no order that an operator would choose
    pods = {name: pod["metadata"]["uid"] for name, pod in world.pods().items()}
    phases = {job["metadata"]["name"]: job["status"]["phase"] for job in json.loads(golden)["TrainingJob"]}

    await world.operator()
    await world.settled()
    assert {name: pod["metadata"]["uid"] for name, pod in world.pods().items()} == pods
    ledgers = world.ledgers()
    assert {name: by_group(ledgers[name]) for name in stored.ledgers()} == stored.ledgers()
    assert {name: world.status(name)["phase"] for name in phases} == phases
    await world.delete("TrainingJob", "waits")  # it has waited so long that nodes are held for it
    await world.gone("waits")
    await world.edit("paused", suspend=False)
    await world.running("paused")
    for name in phases:
        await world.delete("TrainingJob", name)
        await world.gone(name)
    await world.settled()


async def test_definitions_newer_than_the_operator(world: World) -> None:
    """They add the default of a field that it does not know to every object that it reads."""
    world.history.may_miss = True
    first = await world.operator()
    await world.submit("runs", replicas=4)
    state = await world.running("runs")
    uids = {name: pod["metadata"]["uid"] for name, pod in world.pods().items()}
    async with newer(world, "later"):
        for kind in ("TrainingJob", "CardGroup"):
            await world.wait("it is read", lambda kind=kind: "later" in (world.get(kind, "runs") or {})["spec"])
        await world.settled()
        await world.end(first)
        await world.operator()
        await world.settled()
        assert await world.running("runs") == state
        assert {name: pod["metadata"]["uid"] for name, pod in world.pods().items()} == uids
        await life(world)
    await world.settled()
