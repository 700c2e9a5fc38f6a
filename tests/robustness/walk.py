"""A random walk: users, hardware, the network and operators do what they like; now and then all is left to calm down.

The seed decides what is done; how it meets what the servers do at that moment differs from run to run. At every calm no
promise may have been broken at any revision, nothing may be written any more, and no job may wait that has room.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from history import Json, of_kinds
from replica import Replica
from world import World

from testbed.check.facts import Cluster
from testbed.check.groups import ledgers
from testbed.check.report import Report
from testbed.faults import (
    CutWatch,
    Delay,
    DropReply,
    DropRequest,
    FailAfter,
    Fault,
    HoldEvents,
    Late,
    Refuse,
    WatchError,
)
from testbed.nodes import READY, UNHEALTHY

STEPS_BETWEEN_CALMS = (10, 40, 160)
"""How many steps may lie between two calms: few tell what went wrong, many let faults meet."""

_MOST_JOBS = 12
_WRITES = (
    ("create", "pods"),
    ("create", "cardgroups"),
    ("create", "services"),
    ("patch", "supernodes/status"),
    ("patch", "cardgroups/status"),
    ("patch", "trainingjobs/status"),
    ("patch", "cardgroups"),
    ("delete", "pods"),
    ("delete", "cardgroups"),
    ("*", "*"),
)
_KINDS = ("nodes", "pods", "services", "supernodes", "cardgroups", "trainingjobs", "*")


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
        self._holds: list[HoldEvents] = []

    async def run(self, steps: int) -> None:
        """Walk so many steps, with a calm now and then and at the end."""
        await self._world.operator(elected=True)
        while self.steps < steps:
            for _ in range(min(self._dice.choice(STEPS_BETWEEN_CALMS), steps - self.steps)):
                await self._step()
            await self._calm()

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
        """A job of up to 16 members."""
        if len(self._names()) >= _MOST_JOBS:
            return await self.delete_job()
        self._jobs += 1
        name, dice = f"job-{self._jobs}", self._dice
        replicas, cards = dice.choice((1, 2, 3, 5, 8, 16)), dice.choice((1, 2, 4))
        ends = dice.choice(({}, {}, {}, {"run-seconds": "2"}, {"fail-seconds": "1"}))
        annotations = {f"testbed.supernode.io/{key}": value for key, value in ends.items()}
        policy = {"maxRestarts": dice.randrange(3)}
        ttl = dice.choice(({}, {"ttlSecondsAfterFinished": 1}))
        priority = dice.randrange(3)
        job = {"replicas": replicas, "cards": cards, "annotations": annotations, "priority": priority, **ttl}
        await self._world.submit(name, **job, faultPolicy=policy)
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

    # Hardware.

    async def harm_node(self) -> str:
        """A node is cordoned, falls silent or has a broken card."""
        node = self._dice.choice(sorted(name for _, name in self._world.history.objects["Node"]))
        kind = self._dice.choice(("cordon", "silent", "card"))
        self._harmed.add(node)
        match kind:
            case "cordon":
                await self._world.patch("Node", node, {"spec": {"unschedulable": True}})
            case "silent":
                await self._world.patch("Node", node, {"metadata": {"annotations": {READY: "Unknown"}}})
            case "card":
                await self._world.patch("Node", node, {"metadata": {"annotations": {UNHEALTHY: "1"}}})
        return f"{kind} {node}"

    async def heal_nodes(self) -> str:
        """Every node is well again."""
        healed: Json = {"metadata": {"annotations": {READY: None, UNHEALTHY: None}}, "spec": {"unschedulable": None}}
        for node in sorted(self._harmed):
            await self._world.patch("Node", node, healed)
        self._harmed.clear()
        return "heal nodes"

    # The network and the API server.

    def _one(self) -> Replica:
        return self._dice.choice(self._world.replicas)

    async def spoil_writes(self) -> str:
        """Some writes fail, or seem to."""
        verb, resource = self._dice.choice(_WRITES)
        fault: Fault = self._dice.choice(
            (
                DropReply(),
                DropRequest(),
                FailAfter(500),
                FailAfter(504),
                Refuse(409),
                Refuse(429, retry_after=1),
                Refuse(500),
                Refuse(503),
                Delay(0.3),
            )
        )
        nth, times = self._dice.randrange(1, 6), self._dice.randrange(1, 6)
        self._one().proxy.inject(
            verb, resource, fault, nth=nth, times=times, when=lambda call: call.writes, may_miss=True
        )
        return f"spoil {verb} {resource} {nth}+{times}: {fault}"

    async def spoil_watches(self) -> str:
        """Some watches break, stand still or tell late."""
        resource = self._dice.choice(_KINDS)
        hold = HoldEvents(after_start=True)
        fault: Fault = self._dice.choice((CutWatch(5), WatchError(410, 5), WatchError(500, 5), Late(0.5), hold))
        if fault is hold:
            self._holds.append(hold)
        replica = self._one()
        replica.proxy.inject("watch", resource, fault, times=self._dice.randrange(1, 4), may_miss=True)
        if self._dice.random() < 0.5:
            replica.proxy.sever()
        return f"spoil watches of {resource}: {fault}"

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
        (await self._world.replica()).start(elected=True)
        return f"crash {replica.name}"

    async def second(self) -> str:
        """A second operator comes, or goes."""
        if len(self._world.replicas) > 1:
            replica = self._one()
            await self._world.end(replica)
            return f"end {replica.name}"
        replica = await self._world.replica()
        replica.start(elected=True)
        return f"start {replica.name} beside the other"

    # Calm.

    async def _calm(self) -> None:
        """End all faults; in bounded time everything is as it should be, and then nothing is written any more."""
        for hold in self._holds:
            hold.release.set()
        self._holds.clear()
        await self.heal_nodes()
        for replica in self._world.replicas:
            replica.proxy.heal()
        try:
            await self._world.one_leads()
            await self._rest()
            await self._world.judge()
            told = self._waits_although_it_fits()
            assert not told, "\n".join(told)
        except (AssertionError, TimeoutError) as error:
            steps = "\n".join(self.trace[-2 * max(STEPS_BETWEEN_CALMS) :])
            found = f"{str(error) or repr(error)}\nrestless: {self._restless()}\nafter the steps\n{steps}"
            raise AssertionError(f"{found}\n{self._world.history.overview()}") from error

    async def _rest(self) -> None:
        """Wait until nothing moves and nothing is written; where a job ends, one that waited for cards moves next."""
        for _ in range(_MOST_JOBS):
            await self._world.wait("every job rests", lambda: not self._restless(), 60)
            await self._world.quiet(within=60)
            if not self._restless():
                return
        raise AssertionError("jobs move again and again")

    def _restless(self) -> list[str]:
        """Jobs that are between two states or will end by themselves, pods that have to go, nodes not well yet."""
        names = self._names()
        restless = [name for name in names if self._moves(name)]
        going = [name for name, pod in self._world.pods().items() if _goes(pod, names)]
        tainted = [node for node in self._world.history.every("Node") if node["spec"].get("taints")]
        return restless + going + [node["metadata"]["name"] for node in tainted]

    def _moves(self, name: str) -> bool:
        job: Json = self._world.get("TrainingJob", name) or {}
        status, template = self._world.status(name), job["spec"]["workers"]["template"]
        if status.get("observedGeneration") != job["metadata"]["generation"]:
            return True
        phase = status.get("phase")
        return phase in (None, "Starting") or (phase == "Running" and bool(template["metadata"].get("annotations")))

    def _waits_although_it_fits(self) -> list[str]:
        """Jobs of which every member would find room now: members of these jobs may lie anywhere.

        While nodes are held for a job that has waited long, room is no claim.
        """
        told = [str(self._world.status(name).get("conditions")) for name in self._names()]
        if any("held for" in conditions for conditions in told):
            return []
        cluster = Cluster(of_kinds(self._world.history.objects))
        free = {host.name: host.cards if host.open else 0 for host in cluster.hosts.values()}
        for holding in ledgers(cluster, Report()):
            for seat in holding.seats.values():
                free[seat.node] = free.get(seat.node, 0) - len(seat.cards)
        found = []
        for name in self._names():
            if self._world.status(name).get("phase") == "Pending":
                workers = self._world.get("TrainingJob", name)["spec"]["workers"]  # type: ignore[index]
                room = sum(max(cards, 0) // workers["cardsPerWorker"] for cards in free.values())
                if room >= workers["replicas"]:
                    found.append(f"{name} waits although {room} members of its kind have room")
        return found


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
        walk.harm_node: 6,
        walk.heal_nodes: 2,
        walk.spoil_writes: 12,
        walk.spoil_watches: 8,
        walk.part: 3,
        walk.crash: 5,
        walk.second: 4,
    }
    return list(actions), list(actions.values())
