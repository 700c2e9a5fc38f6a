"""How the engine's tests speak to a cluster: kubectl, as a user does."""

import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed import bed as testbed
from testbed.bed import Bed
from testbed.check.facts import ledger_entries
from testbed.installation import Operator, install

Json = dict[str, Any]


@dataclass
class Cluster:
    """A bed with the operator on it, and how tests speak to it: kubectl, as the administrator."""

    bed: Bed
    operator: Operator

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Output of kubectl; fails the test with its complaint."""
        done = self.try_kubectl(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def try_kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """kubectl, whatever comes of it."""
        command = ["kubectl", "--kubeconfig", str(self.bed.kubeconfig), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=180)

    def apply(self, *objects: Json) -> None:
        """Apply objects."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, kind: str, name: str, namespace: str = "") -> Json | None:
        """One object, ``None`` when there is none."""
        scope = ["-n", namespace] if namespace else []
        text = self.kubectl("get", kind, name, *scope, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else None

    def delete(self, kind: str, *names: str, namespace: str = "", seconds: float = 60.0) -> None:
        """Delete objects and wait until they are gone, which kubectl may miss where others of their names come."""
        uids = {name: found["metadata"]["uid"] for name in names if (found := self.get(kind, name, namespace))}
        scope = ["-n", namespace] if namespace else []
        self.kubectl("delete", kind, *names, *scope, "--wait=false")

        def there(name: str) -> bool:
            found = self.get(kind, name, namespace)
            return found is not None and found["metadata"]["uid"] == uids.get(name)

        self.wait(f"{kind} {' '.join(names)} is gone", lambda: not any(map(there, names)), seconds)

    def new_namespace(self) -> str:
        """Make a namespace that pods can be created in; its name."""
        name = f"test-{uuid.uuid4().hex[:8]}"
        self.kubectl("create", "namespace", name)
        # After an API server was away, Kubernetes' own controllers follow it again within a minute only.
        self.wait("its service account", lambda: self.get("serviceaccount", "default", name), 90)
        return name

    def leave_namespace(self, name: str) -> None:
        """Let a namespace go; when this returns, the cards of its jobs are free."""
        self.try_kubectl("delete", "namespace", name, "--wait=false")
        self.wait("its cards are free", lambda: not any(g.startswith(f"{name}/") for g in self.holders()), 60)

    def every(self, kind: str, namespace: str = "", selector: str = "") -> list[Json]:
        """All objects of a kind, in a namespace or in all."""
        scope = ["-n", namespace] if namespace else ["-A"]
        select = ["-l", selector] if selector else []
        return list(json.loads(self.kubectl("get", kind, *scope, *select, "-o", "json"))["items"])

    def wait(self, what: str, probe: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Poll until ``probe`` gives something true, which is returned; fails with what was waited for."""
        until = time.monotonic() + seconds
        while not (found := probe()):
            assert time.monotonic() < until, f"after {seconds:.0f} s still not: {what}\n{self.state()}"
            time.sleep(0.1)
        return found

    def state(self) -> str:
        """What a person would look at when a test fails."""
        overview = self.try_kubectl("get", "tj,cg,sn,pods,events", "-A", "-o", "wide").stdout[-6000:]
        return f"{overview}\n{self.operator.log.read_text()[-4000:]}"

    def job(self, name: str, namespace: str) -> Json:
        """A TrainingJob; fails when there is none."""
        found = self.get("trainingjob", name, namespace)
        assert found is not None, f"TrainingJob {namespace}/{name} is gone"
        return found

    def wait_phase(self, name: str, namespace: str, phase: str, seconds: float = 30.0) -> Json:
        """Wait until a job is in a phase; the job."""

        def reached() -> Json | None:
            job = self.job(name, namespace)
            return job if job.get("status", {}).get("phase") == phase else None

        found: Json = self.wait(f"TrainingJob {name} is {phase}", reached, seconds)
        return found

    def pods(self, job: str, namespace: str) -> list[Json]:
        """Pods of a job that are not being deleted, by rank."""
        found = [
            p
            for p in self.every("pods", namespace, f"supernode.io/job={job}")
            if "deletionTimestamp" not in p["metadata"]
        ]
        return sorted(found, key=lambda pod: int(pod["metadata"]["labels"]["supernode.io/rank"]))

    def lend_reserves(self) -> None:
        """Let jobs have the nodes every supernode keeps back; one that was deleted and came back keeps them again."""
        for supernode in self.every("supernodes"):
            name = supernode["metadata"]["name"]
            self.kubectl("patch", "supernode", name, "--type=merge", "-p", '{"spec":{"reserve":0}}')

    def ledger(self) -> dict[str, list[Json]]:
        """Ledger entries by supernode."""
        return {sn["metadata"]["name"]: ledger_entries(sn) for sn in self.every("supernodes")}

    def holders(self) -> set[str]:
        """Groups that any ledger names."""
        return {entry["group"] for entries in self.ledger().values() for entry in entries}


@contextmanager
def operated(fleet: Path, *, supernodes: int) -> Iterator[Cluster]:
    """A bed with this fleet, its supernodes discovered and nothing held in reserve, and one running operator."""
    with testbed.start(fleet=fleet) as running:
        operator = Operator(running, install(running))
        operator.start()
        cluster = Cluster(running, operator)
        cluster.wait("its supernodes are discovered", lambda: len(cluster.every("supernodes")) == supernodes)
        cluster.lend_reserves()
        yield cluster
        operator.stop()


def training_job(name: str, namespace: str, *, replicas: int = 2, cards: int = 16, **spec: Any) -> Json:
    """A TrainingJob of ``replicas`` workers with ``cards`` cards each; ``annotations`` go to its pods."""
    annotations = spec.pop("annotations", {})
    template = {
        "metadata": {"annotations": annotations},
        "spec": {"containers": [{"name": "train", "image": "example.invalid/train:1"}]},
    }
    workers = {"replicas": replicas, "cardsPerWorker": cards, "template": template}
    return {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"profile": "ascend-a3-384", "workers": workers, **spec},
    }


def condition(obj: Json, kind: str) -> Json:
    """A condition of an object; an empty one when it is absent."""
    conditions = obj.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {"status": "", "reason": "", "message": ""})
