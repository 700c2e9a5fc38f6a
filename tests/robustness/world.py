"""What the tests of robustness act on: a cluster with users, hardware and operators, and the history of all of it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import yaml
from history import CUSTOM, PATHS, History, Json, Key
from promises import Promises
from replica import Replica

from testbed.bed import Bed
from testbed.check.facts import ledger_entries
from testbed.client import ApiClient, connect
from testbed.errors import ApiError
from testbed.proxy import Call, Proxy

INTERVALS = {
    "supernode.control.allocator.IDLE_INTERVAL": 1.0,
    "supernode.control.waiting.RETELL_SECONDS": 1.0,
    "supernode.control.job.OBSTACLE_INTERVAL": 2.0,
    "supernode.control.obstacles.OBSTACLE_INTERVAL": 2.0,
    "supernode.control.running.OBSTACLE_INTERVAL": 2.0,
}
"""After so many seconds, here, the engine looks, tries or writes again of its own accord."""

QUIET_SECONDS = 2.5
"""Longer than each of these."""

_MERGE = "application/merge-patch+json"
_numbers = itertools.count()


class World:
    """One test's view of the shared cluster: a namespace of its own, and operators that see all of it."""

    def __init__(self, bed: Bed, api: ApiClient, history: History, namespace: str) -> None:
        self.bed = bed
        self.api = api
        self.history = history
        self.namespace = namespace
        self.promises = Promises()
        self.replicas: list[Replica] = []
        self.neighbours: list[World] = []
        self._proxies: list[Proxy] = []

    async def neighbour(self) -> "World":
        """Another namespace of the same cluster, with the same operators and the same history."""
        name = f"robust-{next(_numbers)}"
        await self.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        found = World(self.bed, self.api, self.history, name)
        found.promises, found.replicas, found._proxies = self.promises, self.replicas, self._proxies
        self.neighbours.append(found)
        return found

    # Operators.

    async def replica(self) -> Replica:
        """An operator that listens but does not run yet, with the rights the chart grants."""
        account = yaml.safe_load((self.bed.folder / "operator.kubeconfig").read_text())
        token = account["users"][0]["user"]["token"]
        replica = await Replica(self.bed.url, token, self.bed.folder, f"replica-{next(_numbers)}").open()
        self.replicas.append(replica)
        self._proxies.append(replica.proxy)
        return replica

    async def operator(self, *, elected: bool = False) -> Replica:
        """An operator that leads."""
        replica = await self.replica()
        replica.start(elected=elected)
        await replica.ready()
        return replica

    async def one_leads(self, seconds: float = 30.0) -> None:
        """Wait until one of the operators leads."""
        async with asyncio.timeout(seconds):
            while not any(replica.engine.leader for replica in self.replicas):  # noqa: ASYNC110 (it has no event to set)
                await asyncio.sleep(0.05)

    async def end(self, replica: Replica) -> None:
        """An operator ends at once and for good."""
        await replica.crash()
        self.replicas.remove(replica)

    # Users.

    async def submit(
        self,
        name: str,
        *,
        replicas: int = 2,
        cards: int = 4,
        annotations: dict[str, str] | None = None,
        padding: int = 0,
        **spec: Any,
    ) -> Json:
        """Create a TrainingJob of ``replicas`` workers with ``cards`` cards each.

        Its pods get the ``annotations`` and an environment variable of ``padding`` bytes.
        """
        container: Json = {"name": "train", "image": "example.invalid/train:1"}
        if padding:
            container["env"] = [{"name": "PADDING", "value": padding * "x"}]
        containers = [container]
        template = {"metadata": {"annotations": annotations or {}}, "spec": {"containers": containers}}
        workers = {"replicas": replicas, "cardsPerWorker": cards, "template": template}
        job = {
            "apiVersion": "supernode.io/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"profile": "nvidia-nvl72", "workers": workers, **spec},
        }
        return await self.api.request("POST", self._path("TrainingJob"), job)

    async def patch(self, kind: str, name: str, patch: Json, *, subresource: str = "") -> Json:
        """Merge a patch into an object."""
        path = f"{self._path(kind, name)}{subresource and '/'}{subresource}"
        return await self.api.request("PATCH", path, patch, content_type=_MERGE)

    async def try_patch(self, kind: str, name: str, patch: Json) -> None:
        """Merge a patch into an object, unless it is gone."""
        try:
            await self.patch(kind, name, patch)
        except ApiError as error:
            if error.status != 404:
                raise

    async def edit(self, name: str, **spec: Any) -> Json:
        """Change a TrainingJob's spec."""
        return await self.patch("TrainingJob", name, {"spec": spec})

    async def delete(self, kind: str, name: str, **options: Any) -> None:
        """Delete an object that may be gone already."""
        how = {"propagationPolicy": "Background", **options}
        try:
            told = await self.api.request("DELETE", self._path(kind, name), how)
        except ApiError as error:
            if error.status != 404:
                raise
        else:
            self.promises.taken_away.add(told.get("details", told["metadata"])["uid"])

    async def put_back(self, node: Json) -> None:
        """Create a Node again that was deleted."""
        kept = {key: node["metadata"][key] for key in ("name", "labels", "annotations")}
        await self.api.request("POST", "/api/v1/nodes", {**node, "metadata": kept})

    def _path(self, kind: str, name: str = "") -> str:
        path, scoped = PATHS[kind], kind in ("Pod", "Service", "CardGroup", "TrainingJob")
        if scoped:
            root, _, plural = path.rpartition("/")
            path = f"{root}/namespaces/{self.namespace}/{plural}"
        return f"{path}/{name}" if name else path

    # What is there.

    def get(self, kind: str, name: str) -> Json | None:
        """An object of this namespace, or a cluster-scoped one."""
        objects = self.history.objects[kind]
        return objects.get((self.namespace, name)) or objects.get(("", name))

    def status(self, name: str) -> Json:
        """The status of a TrainingJob, empty while there is none."""
        return (self.get("TrainingJob", name) or {}).get("status") or {}

    def pods(self, job: str | None = None) -> dict[str, Json]:
        """Pods by name, those of one job or all of the namespace."""
        found = self.history.every("Pod", self.namespace)
        return {
            pod["metadata"]["name"]: pod
            for pod in found
            if job is None or pod["metadata"].get("labels", {}).get("supernode.io/job") == job
        }

    def ledgers(self) -> dict[str, list[Json]]:
        """Ledger entries by supernode."""
        return {sn["metadata"]["name"]: ledger_entries(sn) for sn in self.history.every("SuperNode")}

    def holders(self) -> set[str]:
        """Groups ("namespace/name") that any ledger names."""
        return {entry["group"] for entries in self.ledgers().values() for entry in entries}

    async def wait(self, what: str, probe: Callable[[], Any], seconds: float = 30.0) -> Any:
        """See ``History.wait``; fails at once with the error that ended an operator, if one did."""

        def checked() -> Any:
            failures = [replica.failure for replica in self.replicas if replica.failure is not None]
            if failures:
                raise AssertionError("an operator ended by itself") from failures[0]
            return probe()

        return await self.history.wait(what, checked, seconds)

    async def phase(self, name: str, phase: str, seconds: float = 30.0) -> Json:
        """Wait until a TrainingJob is in a phase; its status."""
        await self.wait(f"{name} is {phase}", lambda: self.status(name).get("phase") == phase, seconds)
        return self.status(name)

    async def running(self, name: str, seconds: float = 30.0) -> Json:
        """Wait until a TrainingJob runs and its pods are those of its status; what matters of it, without uids."""
        await self.wait(f"{name} runs", lambda: self.runs(name), seconds)
        status = self.status(name)
        facts = ("spans", "minimal", "proven", "superNodes", "members", "cards", "restarts", "pods")
        group = self.get("CardGroup", name) or {}
        return {
            "pods": {
                pod: (obj["spec"]["nodeName"], obj["metadata"]["annotations"]["supernode.io/cards"])
                for pod, obj in sorted(self.pods(name).items())
            },
            "ledger": {
                supernode: [entry["runs"] for entry in entries if entry["group"] == f"{self.namespace}/{name}"]
                for supernode, entries in sorted(self.ledgers().items())
            },
            "job": {fact: status.get(fact) for fact in facts},
            "group": {fact: group.get("status", {}).get(fact) for fact in ("phase", "placement", *facts[:3])},
        }

    def runs(self, name: str) -> bool:
        """Whether a TrainingJob runs and its pods are those of its status."""
        status, pods = self.status(name), self.pods(name)
        whole = len(pods) == status.get("members") and all(p["status"]["phase"] == "Running" for p in pods.values())
        group = self.get("CardGroup", name) or {}
        settled = status.get("phase") == "Running" and group.get("status", {}).get("phase") == "Allocated"
        return whole and settled and not any("deletionTimestamp" in pod["metadata"] for pod in pods.values())

    async def gone(self, name: str, seconds: float = 30.0) -> None:
        """Wait until nothing of a TrainingJob is left."""
        kinds = ("TrainingJob", "CardGroup", "Service")

        def left() -> bool:
            return bool(
                f"{self.namespace}/{name}" in self.holders()
                or self.pods(name)
                or any(self.get(kind, name) for kind in kinds)
            )

        await self.wait(f"nothing of {name} is left", lambda: not left(), seconds)

    # Judgement.

    async def broken(self) -> list[str]:
        """Promises that did not hold at some revision up to now."""
        for event in await self.history.take():
            self.promises.take(event)
        return self.promises.broken

    async def settled(self, *, quiet: float = QUIET_SECONDS, within: float = 20.0) -> None:
        """Wait until the operators write nothing for ``quiet`` seconds; then every promise must hold."""
        await self.quiet(quiet, within=within)
        await self.judge()

    async def quiet(self, quiet: float = QUIET_SECONDS, *, within: float = 20.0) -> None:
        """Wait until the operators write nothing for ``quiet`` seconds, which must come ``within`` some."""
        loop = asyncio.get_running_loop()
        until, since, writes = loop.time() + within, loop.time(), self._writes()
        while loop.time() - since < quiet:
            await asyncio.sleep(0.05)
            if (now := self._writes()) != writes:
                assert loop.time() < until, f"still writes after {within} s: {self._last_writes()}"
                since, writes = loop.time(), now

    async def judge(self) -> None:
        """Every promise must hold now and have held at every revision."""
        await self.broken()
        told = self.promises.at_rest()
        assert not told, "\n".join(told)

    def missed(self) -> list[str]:
        """Faults that the test injected and no request has met."""
        return [told for proxy in self._proxies for told in proxy.missed]

    def forbidden(self) -> list[str]:
        """Requests for which the operators lacked a right."""
        return [_told(call) for proxy in self._proxies for call in proxy.forbidden]

    def _writes(self) -> int:
        return sum(replica.writes for replica in self.replicas)

    def _last_writes(self) -> list[str]:
        calls = [call for replica in self.replicas for call in replica.proxy.calls if call.writes]
        return [_told(call) for call in calls[-10:]]

    async def clear(self) -> None:
        """Delete everything of these namespaces and let a sound operator tidy up."""
        for replica in [*self.replicas]:
            await self.end(replica)
        operator = await self.operator()
        for each in (self, *self.neighbours):
            await each.clear_namespace()
        await self.end(operator)

    async def clear_namespace(self) -> None:
        """Delete all jobs, groups and pods of the namespace; they are gone then, and their cards free."""
        for kind in ("TrainingJob", "CardGroup", "Pod"):
            await self.api.request("DELETE", self._path(kind), {"propagationPolicy": "Background"})
        prefix = f"{self.namespace}/"
        await self.wait("its cards are free", lambda: not any(h.startswith(prefix) for h in self.holders()), 60)
        await self.wait("its pods are gone", lambda: not self.pods(), 60)


def _told(call: Call) -> str:
    return f"{call.verb} {call.resource} {call.namespace}/{call.name}"


@asynccontextmanager
async def world(bed: Bed) -> AsyncIterator[World]:
    """A world in a new namespace; afterwards its cards are free. A test that failed is not made to fail again."""
    async with connect(bed.kubeconfig) as api, History(api).recording() as history:
        name = f"robust-{next(_numbers)}"
        await api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        found = World(bed, api, history, name)
        try:
            yield found
        finally:
            await found.clear()


async def hold_nothing_back(bed: Bed, supernodes: int) -> None:
    """Let an operator discover the fleet's supernodes, and keep none of their nodes in reserve."""
    async with world(bed) as found:
        await found.operator()
        names: Callable[[], list[Key]] = lambda: list(found.history.objects["SuperNode"])  # noqa: E731
        await found.wait("its supernodes are discovered", lambda: len(names()) == supernodes)
        for _, name in names():
            await found.patch("SuperNode", name, {"spec": {"reserve": 0}})


__all__ = ["CUSTOM", "World", "hold_nothing_back", "world"]
