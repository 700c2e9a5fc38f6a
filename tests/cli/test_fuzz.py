"""Whatever a file holds: an answer or an error, soon; never a traceback, never another exit status.

A fixed few hundred documents by default; `make fuzz` tries 10 000 new ones.
"""

import copy
import os
import time
from pathlib import Path
from typing import Any

import pytest
import small_fleet as small
from cli_command import Run
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from small_fleet import Json

DOCUMENTS = int(os.environ.get("FUZZ_DOCUMENTS", "0"))
"""How many new documents to try; 0: the fixed ones."""

SOON = 1.0
"""Seconds of processor time that one command may take."""

REQUESTS = [
    small.group(
        "g", 2, 4, topology={"required": "rack", "blocks": [{"level": "node", "members": 1}]}, precision="bf16"
    ),
    small.job(cards=8, parallelism={"tensor": 4}, topology={"maxSpan": {"rack": 2}}),
    small.job("k", cards=4, profile="box", priority=3),
    small.group("t", 2, 4, profile="torus", topology={"shape": [2, 4]}),
]
WAITS = small.group("waits", 4, topology={"preferred": {"level": "rack", "wait": "1h"}}) | {
    "status": {
        "waitingSince": "2026-01-01T00:00:00Z",
        "conditions": [{"type": "Allocated", "status": "False", "observedGeneration": 1}],
    }
}
WAITS["metadata"] |= {"namespace": "research", "uid": "w", "creationTimestamp": "2026-01-01T00:00:00Z"}
WAITS["metadata"]["ownerReferences"] = [{"uid": "j", "controller": True}]
MEMBER = small.pod("m", "a-n2", 1, **{"supernode.io/group": "x", "supernode.io/rank": "0"})
MEMBER["metadata"] |= {
    "ownerReferences": [{"uid": "u", "controller": True}],
    "creationTimestamp": "2026-01-01T00:00:00Z",
}
MEMBER["spec"] |= {
    "initContainers": [MEMBER["spec"]["containers"][0] | {"name": "side", "restartPolicy": "Always"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "values": ["a-n2"]}]}]
            }
        }
    },
}
MEMBER["status"] = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": "x"}],
    "containerStatuses": [
        {
            "name": "main",
            "restartCount": 1,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "m"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
        }
    ],
}
STORED = small.job("waits", cards=4)
STORED["metadata"] |= {"uid": "j", "creationTimestamp": "2025-01-01T00:00:00Z"}
FLEET = [
    WAITS,
    STORED,
    small.profile(allocation={"memberSizes": [1, 2, 4], "reserve": 1}),
    *small.nodes("a"),
    small.supernode("a", ledger=[small.held("research/x", "a-n0", "0-1", "2-3", ranks="0-1")], reserve=0),
    small.pod("p", "a-n1", 2, **{"supernode.io/group": "y"}),
    MEMBER,
    small.profile("claims", nodeSelector={"example.com/supernode": "a"}, **small.BY_CLAIMS),
    small.published("a-n3", 4, 1),
    small.claimed("c", "a-n3", 2),
    small.barred("a-n3", 3),
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "mindx-dl-deviceinfo-a-n2"},
        "data": {"DeviceInfoCfg": '{"DeviceInfo":{"DeviceList":{"example.com/card-Unhealthy":"card-1"}}}'},
    },
]

TORUS = small.profile(
    "torus",
    nodeSelector={"example.com/torus": "t"},
    uplink={"bandwidth": 25, "latency": 5},
    levels=[
        {"name": "node", "fanOut": 4, "fabric": "torus", "dims": [2, 2], "bandwidth": 300, "latency": 1},
        {
            "name": "supernode",
            "fanOut": 4,
            "fabric": "torus",
            "dims": [2, 2],
            "bandwidth": 300,
            "nodeLabel": "example.com/torus",
            "positionLabel": "example.com/xy",
        },
    ],
)
for place in range(4):
    node = small.node(f"t{place}", "none")
    node["metadata"]["labels"] = {"example.com/torus": "t", "example.com/xy": f"{place // 2}-{place % 2}"}
    FLEET.append(node)
FLEET.append(TORUS)

ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, -1, 3, 10**6, 1.5, float("nan"), float("inf")]),
    st.sampled_from(
        ["", "x", "0-9", "9-0", "a-n[0-3]", "a-n[0-99999999]", "²", "\x00", "[", "node", "supernode", "-1"]
    ),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=2),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, part in inner for place in ((*path, key), *_places(part, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, documents: list[Json]) -> str:
    """The documents with up to three values replaced, removed or moved; sometimes cut as text."""
    made: Any = copy.deepcopy(documents)
    for _ in range(draw(st.integers(0, 3))):
        places = _places(made)
        if not places:
            break
        *parents, last = draw(st.sampled_from(places))
        at = made
        for part in parents:
            at = at[part]
        match draw(st.sampled_from(["replace", "remove", "rename"])):
            case "replace":
                at[last] = draw(ODD)
            case "remove":
                del at[last]
            case "rename" if isinstance(at, dict):
                at[draw(st.text(max_size=6))] = at.pop(last)
    text = small.text(*made)
    if draw(st.integers(0, 9)) == 0:
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(st.text(max_size=4)) + text[start + draw(st.integers(0, 20)) :]
    return text


AS_WRITTEN = st.just(small.text(*REQUESTS)), st.just(small.text(*FLEET))
INPUTS = st.one_of(
    st.tuples(mutated(REQUESTS), AS_WRITTEN[1]),
    st.tuples(AS_WRITTEN[0], mutated(FLEET)),
    st.tuples(mutated(REQUESTS), mutated(FLEET)),
)


QUIET = settings(
    max_examples=DOCUMENTS or 300,
    derandomize=not DOCUMENTS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@QUIET
@given(inputs=INPUTS, output=st.sampled_from(["table", "json", "yaml"]))
def test_no_document_brings_the_plan_down(run: Run, tmp_path: Path, inputs: tuple[str, str], output: str) -> None:
    requests, fleet = (text.encode(errors="surrogatepass") for text in inputs)
    (tmp_path / "fleet.yaml").write_bytes(fleet)
    started = time.process_time()
    ran = run("plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", "-o", output, stdin=requests)
    assert time.process_time() - started < SOON
    assert ran.code in (0, 1, 3)
    last = ran.err.splitlines()[-1] if ran.err else ""
    assert (ran.code == 1) == last.startswith("error: ")
    assert bool(ran.out) == (ran.code != 1)
    event(f"ended with {ran.code}")


@settings(QUIET, max_examples=(DOCUMENTS or 500) // 10)
@given(fleet=mutated(FLEET), name=st.sampled_from([None, "a", "b"]))
def test_no_document_brings_the_map_down(run: Run, tmp_path: Path, fleet: str, name: str | None) -> None:
    (tmp_path / "fleet.yaml").write_bytes(fleet.encode(errors="surrogatepass"))
    assert run("map", *([name] if name else []), "--fleet", tmp_path / "fleet.yaml").code in (0, 1)


@pytest.mark.parametrize("size", [0, 1, 100])
@settings(QUIET, max_examples=50)
@given(data=st.data())
def test_no_bytes_bring_the_plan_down(run: Run, size: int, data: st.DataObject) -> None:
    content = data.draw(st.binary(min_size=size, max_size=size))
    assert run("plan", "-f", "-", stdin=content).code == 1
