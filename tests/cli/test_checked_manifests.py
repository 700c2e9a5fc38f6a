"""Objects of a captured fleet say what they say in their cluster; mistakes in one written by hand are told."""

import json
from pathlib import Path
from typing import Any

import pytest
import small_fleet as small
from cli_command import Run
from hypothesis import given
from hypothesis import strategies as st
from small_fleet import RESOURCE, Json

from supernode.api import names
from supernode.cli.manifests import checked_claim, checked_config_map, checked_node, checked_pod, checked_slice
from supernode.cli.manifests import checked_taint_rule as checked_rule
from supernode.control.records import convert_node, convert_pod
from supernode.topology.deviceinfo import read_config_map
from supernode.topology.devices import read_claim, read_slice, read_taint_rule

TEXT = st.sampled_from(["", "a", "b", "Always", "c-0", "True", "False", "0-3"])
TIMES = st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00.5Z"])
AMOUNTS = st.sampled_from(["0", "1", "2", "16", "1k", "2Ki"])


def some(required: dict[str, Any] | None = None, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """Objects that have some of the optional fields."""
    fixed = {
        name: part if isinstance(part, st.SearchStrategy) else st.just(part) for name, part in (required or {}).items()
    }
    return st.fixed_dictionaries(fixed, optional=optional)


def several(item: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(item, max_size=3)


def meta(*, known: tuple[str, ...] = (), **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    texts = st.dictionaries(st.sampled_from(["a", *known]), TEXT | AMOUNTS | st.just("card-0,card-1"), max_size=6)
    required = {"name": "x", "namespace": "research", "uid": "u", "creationTimestamp": TIMES}
    return some(required, labels=texts, annotations=texts, resourceVersion=TEXT, deletionTimestamp=TIMES, **more)


AMOUNTS_OF = some(
    limits=st.dictionaries(st.sampled_from([RESOURCE, "example.com/nic"]), AMOUNTS),
    requests=st.dictionaries(st.sampled_from([RESOURCE, "cpu"]), AMOUNTS),
)
CONTAINER = some(
    {"name": TEXT}, image=TEXT, resources=AMOUNTS_OF, restartPolicy=TEXT, env=several(some({"name": TEXT}))
)
STATE = some(
    waiting=some(reason=TEXT, message=TEXT),
    terminated=some({"exitCode": st.integers(0, 2)}, reason=TEXT),
    running=some(startedAt=TIMES),
)
CONTAINER_STATUS = some(
    {"name": TEXT, "restartCount": st.integers(0, 3), "ready": st.booleans()}, state=STATE, lastState=STATE
)
POD_CONDITION = some(
    {"type": st.sampled_from(["PodScheduled", "Ready"]), "status": st.sampled_from(["True", "False"])},
    reason=TEXT,
    message=TEXT,
    lastTransitionTime=TIMES,
)
FIELD = some({"key": st.sampled_from(["metadata.name", "a"]), "operator": "In"}, values=several(TEXT))
AFFINITY = some(
    nodeAffinity=some(
        requiredDuringSchedulingIgnoredDuringExecution=some(
            {"nodeSelectorTerms": several(some(matchFields=several(FIELD)))}
        )
    ),
    podAntiAffinity=some(),
)
PODS = some(
    {
        "metadata": meta(
            known=(
                names.LABEL_GROUP,
                names.LABEL_JOB,
                names.LABEL_RANK,
                names.ANNOTATION_CARDS,
                names.ANNOTATION_FILES,
                names.ANNOTATION_GROUP_UID,
                RESOURCE,
            ),
            ownerReferences=several(some({"kind": TEXT, "uid": TEXT}, controller=st.booleans())),
        )
    },
    spec=some({"containers": several(CONTAINER)}, initContainers=several(CONTAINER), nodeName=TEXT, affinity=AFFINITY),
    status=some(
        phase=st.sampled_from(["Pending", "Running", "Succeeded"]),
        reason=TEXT,
        message=TEXT,
        startTime=TIMES,
        conditions=several(POD_CONDITION),
        initContainerStatuses=several(CONTAINER_STATUS),
        containerStatuses=several(CONTAINER_STATUS),
    ),
)
CARDS = st.dictionaries(st.sampled_from([RESOURCE, "example.com/nic", "cpu", "memory"]), AMOUNTS)
TAINT = some({"key": TEXT, "effect": st.sampled_from(["NoSchedule", "NoExecute", "None"])}, value=TEXT, timeAdded=TIMES)
NODES = some(
    {
        "metadata": meta(known=(f"{names.GROUP}/unhealthy-cards", "baseDeviceInfos")),
        "status": some(
            {
                "capacity": CARDS,
                "allocatable": CARDS,
                "conditions": st.lists(some({"type": "Ready", "status": TEXT}), min_size=1, max_size=1),
            },
            addresses=several(some({"type": TEXT, "address": TEXT})),
        ),
    },
    spec=some(unschedulable=st.booleans(), taints=several(TAINT)),
)
ATTRIBUTES = st.dictionaries(
    TEXT, some(int=st.integers(0, 9)) | some(string=TEXT) | some(bool=st.booleans()), max_size=3
)
DEVICE = some({"name": TEXT}, attributes=ATTRIBUTES, taints=several(TAINT), capacity=some())
POOL = some({"name": TEXT, "generation": st.integers(0, 3), "resourceSliceCount": st.integers(1, 3)})
SLICES = some(
    {"metadata": meta(), "spec": some({"driver": TEXT, "pool": POOL}, nodeName=TEXT, devices=several(DEVICE))}
)
RESULT = some({"driver": TEXT, "pool": TEXT, "device": TEXT, "request": TEXT}, adminAccess=st.booleans())
CLAIMS = some(
    {"metadata": meta(known=(names.LABEL_GROUP,)), "spec": some()},
    status=some(allocation=some(devices=some(results=several(RESULT)))),
)
RULES = some(
    {"metadata": meta(), "spec": some({"taint": TAINT}, deviceSelector=some(driver=TEXT, pool=TEXT, device=TEXT))}
)
REPORTS = some({"metadata": meta()}, data=st.dictionaries(TEXT, TEXT))

KINDS = {
    "Pod": (PODS, checked_pod, convert_pod),
    "Node": (NODES, checked_node, convert_node),
    "ResourceSlice": (SLICES, checked_slice, read_slice),
    "ResourceClaim": (CLAIMS, checked_claim, read_claim),
    "DeviceTaintRule": (RULES, checked_rule, read_taint_rule),
    "ConfigMap": (REPORTS, checked_config_map, read_config_map),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_captured_object_says_what_it_says_in_its_cluster(kind: str, data: st.DataObject) -> None:
    objects, checked, read = KINDS[kind]
    body = data.draw(objects)
    before = json.dumps(body)
    assert read(checked(body)) == read(body)
    assert json.dumps(body) == before


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_null_means_absent(kind: str, data: st.DataObject) -> None:
    objects, checked, read = KINDS[kind]
    body = data.draw(objects)
    added = data.draw(st.sets(st.sampled_from(["labels", "annotations", "ownerReferences", "deletionTimestamp"])))
    metadata = dict.fromkeys(added) | body["metadata"]
    more = {"spec": None, "status": None} | body
    assert read(checked({**more, "metadata": metadata})) == read(body)


def fleet(tmp_path: Path, *objects: Json) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(small.text(small.profile(), small.node("a-n0"), *objects))
    return path


def test_cards_of_sidecars_are_not_given_away(run: Run, tmp_path: Path) -> None:
    pod = small.pod("p", "a-n0", 2)
    pod["spec"]["initContainers"] = [pod["spec"]["containers"][0] | {"name": "side", "restartPolicy": "Always"}]
    ran = run("plan", "-f", "-", "--fleet", fleet(tmp_path, pod), stdin=small.text(small.group(cards=1)).encode())
    assert ran.code == 3


@pytest.mark.parametrize("amount", [2, "2", 2.0, "2.0", "2e0", "2000m"])
def test_cards_are_counted_however_they_are_written(run: Run, tmp_path: Path, amount: Any) -> None:
    pod, node = small.pod("p", "a-n1", 2), small.node("a-n1", cards=2)
    pod["spec"]["containers"][0]["resources"] = {"limits": {RESOURCE: amount}}
    node["status"] = {"capacity": {RESOURCE: amount}}
    path = fleet(tmp_path, small.pod("q", "a-n0", 4), node)
    request = small.text(small.group(cards=2)).encode()
    assert run("plan", "-f", "-", "--fleet", path, stdin=request).code == 0
    path = fleet(tmp_path, small.pod("q", "a-n0", 4), node, pod)
    assert run("plan", "-f", "-", "--fleet", path, stdin=request).code == 3


@pytest.mark.parametrize("amount", ["1.5", "500m", "-1", "two", True])
def test_a_pod_of_no_whole_number_of_cards_is_refused(run: Run, tmp_path: Path, amount: Any) -> None:
    path = fleet(tmp_path, small.pod("p", "a-n0", amount))
    ran = run("map", "--fleet", path)
    assert (ran.code, "Pod p: spec.containers[0].resources.limits" in ran.err) == (1, True)
