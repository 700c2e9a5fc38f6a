"""A random walk: users, hardware, the network and operators do what they like; now and then all is left to calm down.

The seed decides what is done; how it meets what the servers do at that moment differs from run to run. At every calm no
promise may have been broken at any revision, nothing may be written any more, and no job may wait that has room.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import draws
from fairness import wait_although_they_fit
from history import Json
from promises import Excuse
from replica import Replica
from world import World

from supernode.control.patience import Patience
from testbed.faults import HoldEvents
from testbed.nodes import READY, UNHEALTHY

STEPS_BETWEEN_CALMS = (10, 40, 160)
"""How many steps may lie between two calms: few tell what went wrong, many let faults meet."""

PATIENCE = Patience(hold_after=2.0, device_grace=1.0)
"""Seconds instead of minutes, so that nodes are held within a walk."""

_MOST_JOBS = 12


class Walk:
    """``steps`` have been made so far; ``trace`` says which."""

    def __init__(self, world: World, seed: int) -> None:
        self.steps = 0
        self.trace: list[str] = []
        self._world = world
        self._space = world.namespace
        self._dice = random.Random(seed)
        self._jobs = 0
        self._harmed: set[str] = set()
        self._gone: dict[str, Json] = {}
        self._doomed: World | None = None
        self._holds: list[HoldEvents] = []

    async def run(self, steps: int) -> None:
        """Walk so many steps, with a calm now and then and at the end."""
        await self._start()
        try:
            while self.steps < steps:
                for _ in range(min(self._dice.choice(STEPS_BETWEEN_CALMS), steps - self.steps)):
                    await self._step()
                await self._calm()
        finally:
            await self.heal_nodes()

    async def _start(self) -> Replica:
        replica = await self._world.replica()
        replica.start(elected=True, patience=PATIENCE)
        return replica

    async def _step(self) -> None:
        self.steps += 1
        action: Callable[[], Awaitable[str]] = self._dice.choices(*_weighted(self))[0]
        self.trace.append(f"{self.steps}: {await action()}")
        if self._dice.random() < 0.25:
            await asyncio.sleep(self._dice.random() * 0.2)

    # Users.

    def _names(self) -> list[str]:
        return sorted(name for space, name in self._world.history.objects["TrainingJob"] if space == self._space)

    async def submit(self) -> str:
        """A job of up to 24 members."""
        if len(self._names()) >= _MOST_JOBS:
            return await self.delete_job()
        self._jobs += 1
        name, job = f"job-{self._jobs}", draws.job(self._dice)
        await self._world.submit(name, **job)
        return f"submit {name} {job}"

    async def delete_job(self) -> str:
        """A job is deleted."""
        if not (names := self._names()):
            return "nothing to delete"
        name = self._dice.choice(names)
        await self._world.delete("TrainingJob", name)
        return f"delete {name}"

    async def edit(self) -> str:
        """A job is suspended, resumed or given another priority."""
        if not (names := self._names()):
            return "nothing to edit"
        name = self._dice.choice(names)
        change = self._dice.choice(({"suspend": True}, {"suspend": False}, {"priority": self._dice.randrange(3)}))
        await self._world.try_patch("TrainingJob", name, {"spec": change})
        return f"edit {name} {change}"

    async def delete_pod(self) -> str:
        """A pod is lost."""
        if not (pods := sorted(self._world.pods())):
            return "no pod to delete"
        name = self._dice.choice(pods)
        await self._world.delete("Pod", name)
        return f"delete pod {name}"

    async def delete_group(self) -> str:
        """Somebody deletes a group that a job has."""
        groups = [name for space, name in self._world.history.objects["CardGroup"] if space == self._space]
        if not groups:
            return "no group to delete"
        name = self._dice.choice(sorted(groups))
        await self._world.delete("CardGroup", name)
        return f"delete group {name}"

    async def doom_namespace(self) -> str:
        """A namespace of its own gets a job; or the namespace is deleted with it."""
        if self._doomed is None:
            self._doomed = await self._world.neighbour()
            await self._doomed.submit("doomed", **draws.job(self._dice))
            return f"a job in {self._doomed.namespace}"
        name, self._doomed = self._doomed.namespace, None
        await self._world.api.request("DELETE", f"/api/v1/namespaces/{name}")
        return f"delete namespace {name}"

    async def delete_supernode(self) -> str:
        """A supernode is deleted, and its ledger with it; it is discovered again."""
        names = sorted(name for _, name in self._world.history.objects["SuperNode"])
        if not names:
            return "no supernode to delete"
        await self._world.broken()  # what was until now is judged without the excuse
        self._world.promises.excused.add(Excuse.LEDGERS_LOST)
        name = self._dice.choice(names)
        await self._world.delete("SuperNode", name)
        return f"delete supernode {name}"

    # Hardware.

    async def harm_node(self) -> str:
        """A node is cordoned, falls silent, has a broken card, or is deleted."""
        node = self._dice.choice(sorted(name for _, name in self._world.history.objects["Node"]))
        kind = self._dice.choice(("cordon", "silent", "card", "gone"))
        self._harmed.add(node)
        match kind:
            case "cordon":
                await self._world.try_patch("Node", node, {"spec": {"unschedulable": True}})
            case "silent":
                await self._world.try_patch("Node", node, {"metadata": {"annotations": {READY: "Unknown"}}})
            case "card":
                await self._world.try_patch("Node", node, {"metadata": {"annotations": {UNHEALTHY: "1"}}})
            case "gone" if node not in self._gone:
                self._gone[node] = self._world.history.objects["Node"]["", node]
                await self._world.delete("Node", node)
        return f"{kind} {node}"

    async def heal_nodes(self) -> str:
        """Every node is there and well again."""
        healed: Json = {"metadata": {"annotations": {READY: None, UNHEALTHY: None}}, "spec": {"unschedulable": None}}
        for node in self._gone.values():
            await self._world.put_back(node)
        self._gone.clear()
        for name in sorted(self._harmed):
            await self._world.patch("Node", name, healed)
        self._harmed.clear()
        return "heal nodes"

    # The network and the API server.

    def _one(self) -> Replica:
        return self._dice.choice(self._world.replicas)

    async def spoil_writes(self) -> str:
        """Some writes fail, or seem to."""
        what = draws.writes(self._dice)
        self._inject(self._one(), what)
        return f"spoil {what.verb} {what.resource} {what.nth}+{what.times}: {what.fault}"

    async def spoil_watches(self) -> str:
        """Some watches break, fall silent, or tell late or twice."""
        what, replica = draws.watches(self._dice), self._one()
        if isinstance(what.fault, HoldEvents):
            self._holds.append(what.fault)
        self._inject(replica, what)
        if self._dice.random() < 0.5:
            replica.proxy.sever()
        return f"spoil watches of {what.resource}: {what.fault}"

    @staticmethod
    def _inject(replica: Replica, what: draws.Spoilt) -> None:
        """It may be that no such request comes until the next calm."""
        replica.proxy.inject(
            what.verb, what.resource, what.fault, nth=what.nth, times=what.times, when=what.takes, may_miss=True
        )

    async def part(self) -> str:
        """An operator cannot reach the server any more; or can again."""
        replica = self._one()
        replica.proxy.unreachable = not replica.proxy.unreachable
        if replica.proxy.unreachable:
            replica.proxy.sever()
        return f"{replica.name} {'cannot' if replica.proxy.unreachable else 'can'} reach the server"

    # Operators.

    async def crash(self) -> str:
        """An operator crashes and another one starts, sometimes beside a second."""
        replica = self._one()
        await self._world.end(replica)
        await self._start()
        return f"crash {replica.name}"

    async def second(self) -> str:
        """A second operator comes, or goes."""
        if len(self._world.replicas) > 1:
            replica = self._one()
            await self._world.end(replica)
            return f"end {replica.name}"
        return f"start {(await self._start()).name} beside the other"

    # Calm.

    async def _calm(self) -> None:
        """End all faults; in bounded time everything is as it should be, and then nothing is written any more."""
        for hold in self._holds:
            hold.release.set()
        self._holds.clear()
        await self.heal_nodes()
        for replica in self._world.replicas:
            replica.proxy.heal()
            replica.proxy.sever()  # what has fallen silent would be found out only after a minute
        try:
            await self._world.one_leads()
            await self._hold_nothing_back()
            await self._rest()
            await self._world.judge()
            self._world.promises.excused.clear()
            told = wait_although_they_fit(self._world)
            assert not told, "\n".join(told)
        except (AssertionError, TimeoutError) as error:
            steps = "\n".join(self.trace[-2 * max(STEPS_BETWEEN_CALMS) :])
            found = f"{str(error) or repr(error)}\nrestless: {self._restless()}\nafter the steps\n{steps}"
            raise AssertionError(f"{found}\n{self._world.history.overview()}") from error

    async def _hold_nothing_back(self) -> None:
        """A supernode that was deleted and discovered again keeps what its profile says."""
        homes = {node["metadata"]["name"].rpartition("-")[0] for node in self._world.history.every("Node")}
        there = self._world.history.objects["SuperNode"]
        await self._world.wait("every supernode is there", lambda: len(there) == len(homes))
        for _, name in [*there]:
            await self._world.patch("SuperNode", name, {"spec": {"reserve": 0}})

    async def _rest(self) -> None:
        """Wait until nothing moves and nothing is written; where a job ends, one that waited for cards moves next."""
        for _ in range(_MOST_JOBS):
            await self._world.wait("every job rests", lambda: not self._restless(), 60)
            await self._world.quiet(within=60)
            if not self._restless():
                return
        raise AssertionError("jobs move again and again")

    def _restless(self) -> list[str]:
        """Jobs that are between two states or will end by themselves, pods and namespaces that have to go, nodes not
        well yet."""
        names, history = self._names(), self._world.history
        restless = [name for name in names if self._moves(name)]
        going = [name for name, pod in self._world.pods().items() if _goes(pod, names)]
        spaces = [space["metadata"]["name"] for space in history.every("Namespace")]
        leaving = [
            space for space in spaces if "deletionTimestamp" in history.objects["Namespace"]["", space]["metadata"]
        ]
        tainted = [node for node in history.every("Node") if node["spec"].get("taints")]
        return restless + going + leaving + [node["metadata"]["name"] for node in tainted]

    def _moves(self, name: str) -> bool:
        job: Json = self._world.get("TrainingJob", name) or {}
        status, template = self._world.status(name), job["spec"]["workers"]["template"]
        if status.get("observedGeneration") != job["metadata"]["generation"]:
            return True
        phase = status.get("phase")
        return phase in (None, "Starting") or (phase == "Running" and bool(template["metadata"].get("annotations")))


def _goes(pod: Json, jobs: list[str]) -> bool:
    """Whether the garbage collector or a kubelet still has to do its part: they may take longer than the operator."""
    about = pod["metadata"]
    return "deletionTimestamp" in about or about.get("labels", {}).get("supernode.io/job") not in jobs


def _weighted(walk: Walk) -> tuple[list[Callable[[], Awaitable[str]]], list[int]]:
    actions = {
        walk.submit: 24,
        walk.delete_job: 8,
        walk.edit: 12,
        walk.delete_pod: 8,
        walk.delete_group: 2,
        walk.doom_namespace: 2,
        walk.delete_supernode: 1,
        walk.harm_node: 6,
        walk.heal_nodes: 2,
        walk.spoil_writes: 12,
        walk.spoil_watches: 8,
        walk.part: 3,
        walk.crash: 5,
        walk.second: 4,
    }
    return list(actions), list(actions.values())
