"""The demo: ``make demo``. A real control plane, simulated supernodes, the operator, and jobs that land or are refused.

Everything stays up afterwards; running it again takes the same test bed and starts over with fresh jobs.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from testbed import bed as beds
from testbed.bed import Bed
from testbed.check import check
from testbed.check.reading import read
from testbed.errors import TestbedError
from testbed.floor import pinned_pod, raw_client, until_bound
from testbed.installation import Operator, install, kubectl
from testbed.paths import PROJECT
from testbed.processes import heed_signals

Json = dict[str, Any]

NAME = "demo"
NAMESPACE = "demo"
FLEET = PROJECT / "examples" / "fleets" / "mixed.yaml"
JOBS = PROJECT / "examples" / "demo"
INTACT = "ascend-a3-384-0"
"""The supernode of the fleet that has all of its nodes and cards."""
INTACT_NODES = "accelerator-type=module-a3-16-super-pod,huawei.com/topotree.superpodid=0"
NODES, CARDS, RESOURCE = 48, 16, "huawei.com/Ascend910"
SETTLED_WITHIN = 60.0

REFUSED = {"second-superpod", "too-large"}
"""Jobs that are meant to be refused; every other one is meant to run."""
METRICS = re.compile(
    r'supernode_cards\{profile="ascend-a3-384",state="(allocated|free)"'
    r"|supernode_decision_seconds_(sum|count)|supernode_span_(domains|excess)_total"
)

_BEGAN = time.monotonic()


def main() -> None:
    """Run the demo; a failure is one message and exit code 1."""
    heed_signals()
    try:
        with _demo_bed() as bed:
            operator = install_operator(bed)
            floor = measure_floor(bed)
            operator.start()
            say(f"the operator runs and serves {operator.url}/metrics")
            lend_reserve(bed)
            bound, answered = apply_superpod(bed)
            apply_others(bed)
            show(bed, operator)
            show_times(bound, answered, floor)
            passed = show_check(bed)
            show_next_steps(bed)
    except TestbedError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit("demo: interrupted; what it had started is stopped")
    sys.exit(0 if passed else 1)


def say(message: str) -> None:
    """A line of progress with the time since the start."""
    print(f"[{time.monotonic() - _BEGAN:5.1f} s] {message}", flush=True)


def headline(text: str) -> None:
    """The title of a part of the output."""
    print(f"\n== {text}", flush=True)


@contextmanager
def _demo_bed() -> Iterator[Bed]:
    """The demo's bed. An interrupt ends what this run started; a failure leaves it for a look."""
    before = beds.running(NAME)
    bed = beds.start(NAME, FLEET, owned=False, progress=say)
    try:
        yield bed
    except KeyboardInterrupt:
        bed.stop_program("operator")
        if before is None:
            bed.stop()
        raise
    except TestbedError:
        say(f"the test bed stays up for a look, its logs are in {bed.folder}; stop it with: make down")
        raise


def install_operator(bed: Bed) -> Operator:
    """Apply the charts; the jobs of an earlier run are gone afterwards, and no operator runs yet."""
    bed.stop_program("operator")
    operator = Operator(bed, install(bed))
    say("charts applied: the four kinds, the operator's rights, the profiles of the machines")
    if NAMESPACE in _names(bed, "namespaces"):
        operator.start()
        kubectl(bed, "delete", "namespace", NAMESPACE, "--timeout=60s")
        operator.stop()
        say("the jobs of the last run are removed")
    kubectl(bed, "create", "namespace", NAMESPACE)
    _wait("the namespace is ready for pods", lambda: "default" in _names(bed, "serviceaccounts", NAMESPACE))
    return operator


def measure_floor(bed: Bed) -> float:
    """Seconds until 48 pods of a raw client are bound to the nodes of the intact SuperPoD, with no operator about."""
    nodes = json.loads(kubectl(bed, "get", "nodes", "-l", INTACT_NODES, "-o", "json"))["items"]
    pods = [
        pinned_pod(f"floor-{i}", NAMESPACE, node["metadata"]["name"], RESOURCE, CARDS) for i, node in enumerate(nodes)
    ]
    seconds = raw_client(bed, pods)
    say(f"for comparison: a raw client had {len(pods)} pinned pods bound after {seconds:.2f} s (deleted again)")
    return seconds


def lend_reserve(bed: Bed) -> None:
    """A SuperPoD keeps two nodes back for repairs; a job that wants all 48 needs them."""
    _wait("the supernodes are discovered", lambda: INTACT in _names(bed, "supernodes"))
    kubectl(bed, "patch", "supernode", INTACT, "--type=merge", "--patch", '{"spec":{"reserve":0}}')
    say(f"{INTACT} keeps 2 of its 48 nodes in reserve; the demo lends them out: spec.reserve=0")


def apply_superpod(bed: Bed) -> tuple[float, float]:
    """Apply the job of 768 cards; seconds from the start of kubectl until all its pods are bound, and kubectl's own."""
    say("kubectl apply -f examples/demo/1-superpod.yaml: 768 cards, required to lie in one supernode")
    answered = 0.0

    def submit() -> None:
        nonlocal answered
        began = time.monotonic()
        kubectl(bed, "apply", "-f", str(JOBS / "1-superpod.yaml"))
        answered = time.monotonic() - began

    seconds = until_bound(bed, NAMESPACE, "supernode.io/job=superpod", NODES, submit)
    say(f"{NODES} pods of 16 cards are bound")
    return seconds, answered


def apply_others(bed: Bed) -> None:
    """Apply the other jobs, and wait until each has what it is meant to get."""
    for file in ("2-others.yaml", "3-refused.yaml"):
        names = kubectl(bed, "apply", "-f", str(JOBS / file), "-o", "name").split()
        say(f"kubectl apply -f examples/demo/{file}: " + ", ".join(name.rpartition("/")[2] for name in names))
    _wait("every job runs or is refused", lambda: all(map(_settled, _objects(bed, "trainingjobs,cardgroups"))))
    say("every job runs or is refused")


def _settled(obj: Json) -> bool:
    """Whether a job or group is refused, if it is meant to be, or else is placed and its pods run."""
    ready = _ready(obj)
    if obj["metadata"]["name"] in REFUSED:
        return ready.get("reason") in ("InsufficientCards", "NoDomainFits", "NeverFits")
    return ready.get("status") == "True" and "spans" in obj["status"]


def _ready(obj: Json) -> Json:
    conditions = obj.get("status", {}).get("conditions", ())
    return next((condition for condition in conditions if condition["type"] == "Ready"), {})


def show(bed: Bed, operator: Operator) -> None:
    """Tables of supernodes and jobs, the refusals in full, some metrics."""
    headline("supernodes (kubectl supernode map)")
    _supernode(bed, "map")
    headline("jobs (kubectl supernode jobs)")
    _supernode(bed, "jobs", "--namespace", NAMESPACE)
    headline("refused: the reason, and what is missing")
    for job in _objects(bed, "trainingjobs"):
        if job["metadata"]["name"] in REFUSED:
            ready = _ready(job)
            print(f"{job['metadata']['name']}: {job['status']['phase']}, {ready['reason']}\n  {ready['message']}")
    headline(f"some metrics of {operator.url}/metrics")
    print(*(line for line in operator.get("/metrics")[1].splitlines() if METRICS.match(line)), sep="\n", flush=True)


def _supernode(bed: Bed, *arguments: str) -> None:
    """Run the project's kubectl plugin, its output straight to ours."""
    command = ["kubectl", "supernode", *arguments]
    if subprocess.run(command, env={**os.environ, "KUBECONFIG": str(bed.kubeconfig)}, check=False).returncode:
        raise TestbedError(f"{' '.join(command)} failed")


def show_times(bound: float, answered: float, floor: float) -> None:
    """What the operator adds to what the cluster itself needs."""
    headline("time until 48 pods are bound")
    print(f"operator, from the start of kubectl apply   {bound:6.2f} s   (kubectl itself {answered:.2f} s)")
    print(f"raw client, 64 connections, same nodes      {floor:6.2f} s")


def show_check(bed: Bed) -> bool:
    """Hold the cluster against every rule, with code that shares nothing with the operator's; whether all hold."""
    headline("independent check (python -m testbed.check)")
    report = check(read(bed.kubeconfig))
    print(*report.lines(), sep="\n")
    print("every rule holds" if not report.violations else f"{len(report.violations)} VIOLATIONS")
    return not report.violations


def show_next_steps(bed: Bed) -> None:
    """How to look around, and how to stop."""
    print(
        f"""
== look around (docs/tutorial.md goes on from here)
. .venv/bin/activate
export KUBECONFIG={shlex.quote(str(bed.kubeconfig))}
kubectl get tj,cg,sn -n {NAMESPACE}
kubectl supernode why superpod -n {NAMESPACE}
kubectl describe tj second-superpod -n {NAMESPACE}
kubectl explain trainingjob.spec.topology
make down    # stops everything; what was built stays for the next time"""
    )


def _objects(bed: Bed, kinds: str) -> list[Json]:
    items: list[Json] = json.loads(kubectl(bed, "get", kinds, "-n", NAMESPACE, "-o", "json"))["items"]
    return items


def _names(bed: Bed, kind: str, namespace: str = "default") -> set[str]:
    lines = kubectl(bed, "get", kind, "-n", namespace, "-o", "name").split()
    return {line.rpartition("/")[2] for line in lines}


def _wait(what: str, holds: Callable[[], bool]) -> None:
    until = time.monotonic() + SETTLED_WITHIN
    while not holds():
        if time.monotonic() > until:
            raise TestbedError(f"after {SETTLED_WITHIN:.0f} s it is still not so that {what}")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
