"""The files of a group: what is in them, how large they are, and what of them changes when a member moves."""

import base64
import gzip
import json
from dataclasses import replace

import pytest

from supernode.topology.ranges import parse_ints
from supernode.workload import PlacedGroup, contradicted, read_digest, render_files, render_pod
from supernode.workload.files import PART_BYTES, PLAIN_BYTES, GroupFiles, object_name

LIMIT = 1 << 20
"""What the API server takes as one object, in bytes of JSON."""


def document(group):
    return json.loads(render_files(group).plain["group.json"])


def test_the_document_says_where_every_rank_is(job, profile, placed):
    found = document(placed(job(cards=768, parallelism={"tensor": 16, "data": 48}), profile("ascend-a3-384")))
    assert found["placement"] == [{"supernode": "sn", "ranks": "0-47", "nodes": "n[0-47]", "cards": ["0-15"]}]
    assert [(d["name"], d["ranks"]) for d in found["domains"]["rack"]][:2] == [("sn/0", "0-3"), ("sn/1", "4-7")]
    assert sum(len(parse_ints(d["ranks"])) for d in found["domains"]["supernode"]) == 48
    assert found["address"] == "llama-<rank>.llama.team-a.svc"
    assert found["communicators"] == {
        "tensor": {"size": 16, "stride": 1, "starts": "0,16," + ",".join(str(16 * i) for i in range(2, 48))},
        "data": {"size": 48, "stride": 16, "starts": "0-15"},
    }
    assert found["levels"][0]["bandwidthGBps"] == 210


@pytest.mark.parametrize("runtime", ["plain", "mpi"])
@pytest.mark.parametrize("per_worker", [8, 1])
def test_15488_cards_fit_objects_the_api_server_takes(job, profile, placed, runtime, per_worker):
    split = {"tensor": 8, "expert": 22, "pipeline": 8, "data": 242}
    group = placed(
        job(cards=15488, workers={"cardsPerWorker": per_worker}, runtime=runtime, parallelism=split),
        profile("ascend-960"),
        *(
            [{"supernode": "sn", "ranks": "0-15487", "nodes": "n[0-1935]", "cards": [str(i) for i in range(8)]}]
            if per_worker == 1
            else []
        ),
    )
    files = render_files(group)
    assert all(len(json.dumps(each)) < LIMIT for each in files.config_maps())
    assert len(files.plain["group.json"]) < 64 * 1024


@pytest.mark.parametrize(("members", "there"), [(1936, True), (15488, False)])
def test_the_names_of_all_are_a_variable_where_linux_takes_it_and_stored_once(job, profile, placed, members, there):
    group = placed(
        job(cards=members, workers={"cardsPerWorker": 1}),
        profile("ascend-960"),
        {"supernode": "sn", "ranks": f"0-{members - 1}", "nodes": f"n[0-{members - 1}]", "cards": ["0"]},
    )
    files = render_files(group)
    env = render_pod(group, 5, files, predicate_time_ns=1)["spec"]["containers"][0]["env"]
    assert [each["valueFrom"]["configMapKeyRef"]["name"] for each in env if each["name"] == "SUPERNODE_HOSTNAMES"] == (
        [files.objects[0]] if there else []
    )
    assert files.packed == {}
    if there:
        names = files.plain["hostnames"]
        assert names.split(",") == [group.address(rank) for rank in range(members)]
        assert len(f"TPU_WORKER_HOSTNAMES={names}\0") < 128 * 1024


def test_a_file_too_large_is_packed_and_put_together_again(job):
    text = "".join(f"{number * 7919 % 1_000_003:07}" for number in range(400_000))
    files = GroupFiles.of(job(cards=8), {"big": text, "small": "x"})
    maps = files.config_maps()
    parts = {name: base64.b64decode(part) for each in maps for name, part in each.get("binaryData", {}).items()}
    assert len(parts) > 1
    assert all(len(part) <= PART_BYTES for part in parts.values())
    assert gzip.decompress(b"".join(parts[name] for name in sorted(parts))).decode() == text
    assert maps[0]["data"] == {"small": "x"}
    assert files.path("big") == "/run/supernode/big"
    spec = {"containers": [{"name": "main", "image": "i"}]}
    files.mount(spec, spec["containers"][0])
    assert (
        "cat /etc/supernode/group/big.gz.* | gzip -dc > /run/supernode/big" in spec["initContainers"][0]["command"][2]
    )
    assert spec["containers"][0]["volumeMounts"] == spec["initContainers"][0]["volumeMounts"]


def test_what_unpacks_is_admitted_wherever_the_worker_is(job):
    """By Pod Security and by quotas of limits; it holds no cards."""
    context = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    main = {
        "name": "main",
        "image": "i",
        "imagePullPolicy": "Never",
        "securityContext": context,
        "resources": {
            "requests": {"cpu": "4", "example.com/card": "8"},
            "limits": {"cpu": "8", "memory": "1Gi", "ephemeral-storage": "1Gi", "hugepages-2Mi": "4Mi"},
            "claims": [{"name": "supernode-cards-0"}],
        },
    }
    spec = {"containers": [main]}
    GroupFiles.of(job(cards=8), {"big": "x" * (PLAIN_BYTES + 1)}).mount(spec, main)
    [unpacker] = spec["initContainers"]
    assert unpacker["securityContext"] == context
    assert unpacker["imagePullPolicy"] == "Never"
    assert unpacker["resources"] == {
        "requests": {"cpu": "4"},
        "limits": {"cpu": "8", "memory": "1Gi", "ephemeral-storage": "1Gi"},
    }


def test_only_what_a_move_changes_changes(job, profile, placed):
    """A worker moves within its rack: its own pod has another node; everyone's variables and host names stay."""
    machine = profile("ascend-a3-384")
    before = placed(job(cards=128, runtime="mpi"), machine)
    moved = before.members[0]._replace(node="n63", domains={**before.members[0].domains, "node": "n63"})
    after = replace(before, members=(moved, *before.members[1:]))
    old, new = render_files(before), render_files(after)
    assert old.digest != new.digest
    assert {name for name in old.plain if old.plain[name] != new.plain[name]} == {"group.json"}
    assert "n63" in new.plain["group.json"]
    for rank in range(8):
        was = render_pod(before, rank, old, predicate_time_ns=1)
        now = render_pod(after, rank, new, predicate_time_ns=1)
        env = [{v["name"]: v.get("value") for v in pod["spec"]["containers"][0]["env"]} for pod in (was, now)]
        assert {name for name in env[0] if env[0][name] != env[1][name]} == (
            {"SUPERNODE_DOMAIN_NODE"} if rank == 0 else set()
        )
    assert object_name(after.job, old.digest) == old.objects[0]


def test_a_group_of_one_has_nobody_to_learn_of(job, profile, placed):
    files = render_files(placed(job(cards=8), profile("ascend-a3-384")))
    assert files.names == []


def test_a_file_of_the_same_name_of_another_job_is_another_object(job, profile, placed):
    group = placed(job(cards=32), profile("ascend-a3-384"))
    other = group.job.model_copy(update={"metadata": group.job.metadata.model_copy(update={"uid": "other"})})
    assert render_files(group).objects != render_files(replace(group, job=other)).objects


def test_what_the_user_mounts_there_stays(job, profile, placed):
    mine = {"name": "mine", "mountPath": "/etc/supernode/group"}
    template = {"containers": [{"name": "main", "image": "i", "volumeMounts": [mine]}]}
    group = placed(job(template, cards=32), profile("ascend-a3-384"))
    pod = render_pod(group, 0, render_files(group), predicate_time_ns=1)
    assert pod["spec"]["containers"][0]["volumeMounts"] == [mine]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ([{"name": "MASTER_PORT", "value": "29500"}], []),
        ([{"name": "MASTER_PORT", "value": "1"}, {"name": "MINE", "value": "x"}], ["MASTER_PORT"]),
        ([{"name": "NODE_RANK", "value": "0"}], ["NODE_RANK"]),
        ([{"name": "RANK", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}], ["RANK"]),
        ([{"name": "MS_SCHED_HOST", "value": "llama-0.llama.team-a.svc"}], ["MS_SCHED_HOST"]),
    ],
)
def test_contradictions_are_named(job, profile, placed, env, expected):
    template = {"containers": [{"name": "main", "image": "i", "env": env}]}
    runtime = "mindspore" if env[0]["name"].startswith("MS_") else "pytorch"
    group: PlacedGroup = placed(job(template, cards=32, runtime=runtime), profile("ascend-a3-384"))
    assert contradicted(group, render_files(group)) == expected


def test_a_digest_is_read_as_it_was_made(job, profile, placed):
    files = render_files(placed(job(cards=16), profile("ascend-a3-384")))
    assert read_digest(files.digest) == files.digest


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x/../../../other/configmaps/settings",
        "9b1906ff7",
        "9b1906ff711",
        "9B1906FF71",
        "9b1906ff71\n",
        "settings-0",
    ],
)
def test_what_somebody_else_wrote_in_its_place_is_no_digest(text):
    """Whoever may edit pods may write there; it becomes a part of a ConfigMap's name."""
    assert read_digest(text) is None
