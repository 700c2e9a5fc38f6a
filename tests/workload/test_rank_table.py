"""Rank tables as the vendor's documents want them, for every generation, held against the placement they come from."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hccl_reader import Wrong, read
from published_nodes import node, servers_of

from supernode.topology.ranges import card_indices
from supernode.workload import AddressesMissing, render_files, render_pod, server_of
from supernode.workload.ranktable import ANNOTATIONS, rank_table

CASES = {
    "A2: two servers": ("ascend-a2", 16, ()),
    "A2: part of a server": ("ascend-a2", 4, ()),
    "A3: a supernode of 48 servers": ("ascend-a3-384", 768, ()),
    "A3: two supernodes": (
        "ascend-a3-384",
        96,
        [("sn-1", "0-2", "a-[5-7]", ["0-15"]), ("sn-4", "3-5", "b-[0-2]", ["0-15"])],
    ),
    "A3: 2 + 14 cards of two servers": ("ascend-a3-384", 28, [("sn", "0-1", "a-[3-4]", ["2-15"])]),
    "950: 1024": ("ascend-950", 1024, ()),
    "960-like: 15488": ("ascend-960", 15488, ()),
}


@pytest.fixture(params=CASES, name="group")
def group_(request, job, profile, placed):
    machine, cards, runs = CASES[request.param]
    per_worker = {"cardsPerWorker": 14} if cards == 28 else {}
    placement = [dict(zip(("supernode", "ranks", "nodes", "cards"), run, strict=True)) for run in runs]
    return placed(job(cards=cards, workers=per_worker), profile(machine), *placement)


def test_ranks_follow_the_placement(group):
    servers = servers_of(group)
    seats = read(rank_table(group, servers))
    name = {member.node: servers[member.node].address for member in group.members}
    if group.profile.rank_table == "2.0":
        name = {node: f"pod_{node}" for node in name}
    assert seats == [(name[member.node], index) for member in group.members for index in card_indices(member.cards)]


BLOCKS = {"ascend-a2": (64, 8), "ascend-a3-384": (768, 16), "ascend-950": (1024, 8), "ascend-960": (15488, 8)}


@pytest.mark.parametrize("machine", BLOCKS)
def test_blocks_stay_runs_of_ranks_of_one_domain(job, profile, placed, machine):
    """The cards of a tensor group lie in one server; the table keeps them together and in order."""
    cards, tensor = BLOCKS[machine]
    group = placed(job(cards=cards, parallelism={"tensor": tensor}), profile(machine))
    seats = read(rank_table(group, servers_of(group)))
    assert len(seats) == cards
    for start in range(0, cards, tensor):
        assert len({server for server, _ in seats[start : start + tensor]}) == 1
        assert all(after[1] == before[1] + 1 for before, after in pairwise(seats[start : start + tensor]))


def test_the_old_name_of_the_annotation_is_read(job, profile, placed):
    group = placed(job(cards=32), profile("ascend-a3-384"))
    assert read(rank_table(group, servers_of(group, key="baseDeviceInfos")))


def test_a_large_table_is_packed(job, profile, placed):
    group = placed(job(cards=15488), profile("ascend-960"))
    files = render_files(group, servers_of(group))
    assert files.path("ranktable.json") == "/run/supernode/ranktable.json"
    assert all(len(json.dumps(each)) < 1 << 20 for each in files.config_maps())


@pytest.mark.parametrize(
    ("runtime", "env", "told"),
    [
        ("pytorch", {}, True),
        ("pytorch", {"PET_RDZV_BACKEND": "static", "NNODES": "4"}, True),
        ("pytorch", {"PET_RDZV_BACKEND": "c10d"}, False),
        ("pytorch", {"NNODES": "3:4"}, False),
        ("pytorch", {"PET_NNODES": "3:4"}, False),
        ("plain", {"PET_RDZV_BACKEND": "c10d"}, True),
    ],
)
def test_processes_that_number_themselves_are_told_no_ranks(job, profile, placed, runtime, env, told):
    """torch_npu goes by any table it finds; torchrun's elastic rendezvous by who is there, and by their names."""
    variables = [{"name": name, "value": value} for name, value in env.items()]
    template = {"containers": [{"name": "main", "image": "i", "env": variables}]}
    group = placed(job(template, workers={"replicas": 4}, runtime=runtime), profile("ascend-a2"))
    files = render_files(group, servers_of(group))
    pod = render_pod(group, 0, files, predicate_time_ns=1)
    assert ("ranktable.json" in files.names) == told
    assert ("RANK_TABLE_FILE" in {each["name"] for each in pod["spec"]["containers"][0]["env"]}) == told


@pytest.mark.parametrize(
    ("first", "second", "listed"),
    [
        (["UBG", "ROCE"], ["UBG", "ROCE"], (3, "ROCE")),
        (["UBOE", "UBG", "ROCE"], ["ROCE", "UBOE", "UBG"], (3, "ROCE")),
        (["UBG", "UBOE"], ["UBG", "UBOE"], (2, "UBOE")),
        (["UBG"], ["UBG"], (2, "UBG")),
        (["UBG", "ROCE"], ["UBG"], (2, "UBG")),
        (["UBOE"], ["UBG"], None),
        ([], [], None),
    ],
)
def test_of_the_networks_beyond_the_supernode_one_is_listed_for_all(job, profile, placed, first, second, listed):
    group = placed(job(cards=16), profile("ascend-950"))
    servers = {f"n{at}": server_of(node(f"n{at}", at, 8, outer=kinds)) for at, kinds in enumerate((first, second))}
    text = rank_table(group, servers)
    assert read(text)
    found = {
        tuple((layer["net_layer"], layer["net_instance_id"].rpartition(" ")[2]) for layer in rank["level_list"][2:])
        for rank in json.loads(text)["rank_list"]
    }
    assert found == {(listed,) if listed else ()}


def at(*addresses: tuple[str, str]) -> dict:
    """The status of a node."""
    return {"status": {"addresses": [{"type": kind, "address": address} for kind, address in addresses]}}


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (at(("InternalIP", "10.0.0.7")), ("10.0.0.7", "10.0.0.7")),
        (at(("InternalIP", "fd00::7"), ("InternalIP", "10.0.0.7")), ("10.0.0.7", "10.0.0.7")),
        (at(("ExternalIP", "203.0.113.7"), ("InternalIP", "10.0.0.7")), ("10.0.0.7", "10.0.0.7")),
        (at(("InternalIP", "fd00::7"), ("Hostname", "n1")), ("n1", None)),
        (at(("Hostname", "n1")), ("n1", None)),
        ({}, ("n1", None)),
    ],
)
def test_a_host_is_told_by_an_ipv4_address_or_not_at_all(job, profile, placed, status, told):
    group = placed(job(cards=32), profile("ascend-a3-384"))
    published = {name: part for name, part in node("n1", 1, 16).items() if name != "status"}
    text = rank_table(group, servers_of(group) | {"n1": server_of(published | status)})
    assert read(text)
    server = json.loads(text)["server_list"][1]
    assert (server["server_id"], server.get("host_ip")) == told


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (4294967295, "node n1: device 0 has no SuperDeviceID"),
        (-1, "node n1: device 0 has no SuperDeviceID"),
        (17, "device 0 of node n1 and device 1 of node n1 have the same SuperDeviceID, 17"),
        (3, "device 3 of node n0 and device 0 of node n1 have the same SuperDeviceID, 3"),
    ],
)
def test_devices_of_a_supernode_have_ids_of_their_own(job, profile, placed, identity, message):
    group = placed(job(cards=32), profile("ascend-a3-384"))
    with pytest.raises(AddressesMissing, match=message):
        rank_table(group, servers_of(group) | {"n1": server_of(node("n1", 1, 16, identity=identity))})


@pytest.mark.parametrize(
    ("first", "second", "outer", "listed"),
    [
        ((0, 1), (0, 1), (), (0, 1)),
        ((0, 1), (0,), ("ROCE",), (0, 3)),
        ((0,), (0, 1), ("UBG",), (0, 2)),
        ((0, 1), (0,), (), "no network that all members share is published of every device"),
        ((0,), (0,), (), "no network that all members share is published of every device"),
        ((0, 1), (1,), ("ROCE",), "node n1: device 0 has no level 0 in its levelList"),
        ((0, 1), (), ("ROCE",), "node n1: device 0 has no level 0 in its levelList"),
    ],
)
def test_of_the_networks_inside_the_supernode_those_are_listed_that_all_have(
    job, profile, placed, first, second, outer, listed
):
    group = placed(job(cards=16), profile("ascend-950"))
    nodes = [node(f"n{at}", at, 8, inner=inner, outer=outer) for at, inner in enumerate((first, second))]
    servers = {f"n{at}": server_of(each) for at, each in enumerate(nodes)}
    if isinstance(listed, str):
        with pytest.raises(AddressesMissing, match=listed):
            rank_table(group, servers)
        return
    text = rank_table(group, servers)
    assert read(text)
    found = {tuple(layer["net_layer"] for layer in rank["level_list"]) for rank in json.loads(text)["rank_list"]}
    assert found == {listed}


def test_members_of_one_server_need_no_addresses_of_devices(job, profile, placed):
    run = {"supernode": "sn", "ranks": "0-1", "nodes": "n0", "cards": ["0-3", "4-7"]}
    group = placed(job(workers={"replicas": 2, "cardsPerWorker": 4}), profile("ascend-a2"), run)
    assert read(rank_table(group, servers_of(group, ip=False))) == [("192.168.0.0", card) for card in range(8)]
    apart = placed(job(cards=16), profile("ascend-a2"))
    with pytest.raises(AddressesMissing, match="node n0: device 0 has no IP, by which other servers reach it"):
        rank_table(apart, servers_of(apart, ip=False))


BROKEN = {
    "no annotation": ({"metadata": {"name": "n0"}}, "node n0 has no annotation huawei.com/npu.base-device-infos"),
    "no JSON": ({"metadata": {"name": "n0", "annotations": {ANNOTATIONS[0]: "{"}}}, "node n0.*cannot be read"),
    "a list": ({"metadata": {"name": "n0", "annotations": {ANNOTATIONS[0]: "[1]"}}}, "node n0.*cannot be read"),
    "no device": ({"metadata": {"name": "n0", "annotations": {ANNOTATIONS[0]: "{}"}}}, "publishes no device 0"),
    "no id in the supernode": (
        {"metadata": {"name": "n0", "annotations": {ANNOTATIONS[0]: json.dumps({f"x-{i}": {} for i in range(16)})}}},
        "device 0 has no SuperDeviceID",
    ),
}


SEVERAL_SUPERNODES = {
    "1.2": ("ascend-a3-384", 32, {"ip": False}, "node b-1: device 0 has no IP, by which other supernodes reach it"),
    "2.0": ("ascend-950", 16, {"outer": ["UBG"]}, "no network beyond the supernode .* is published of every device"),
}


@pytest.mark.parametrize("table", SEVERAL_SUPERNODES)
def test_devices_of_several_supernodes_reach_each_other_by_what_is_published_of_all(job, profile, placed, table):
    machine, cards, published, message = SEVERAL_SUPERNODES[table]
    held = [f"0-{cards // 2 - 1}"]
    group = placed(
        job(cards=cards),
        profile(machine),
        {"supernode": "sn-1", "ranks": "0", "nodes": "a-0", "cards": held},
        {"supernode": "sn-2", "ranks": "1", "nodes": "b-1", "cards": held},
    )
    assert group.profile.rank_table == table
    servers = servers_of(group)
    assert read(rank_table(group, servers))
    broken = servers | {"b-1": server_of(node("b-1", 1, cards // 2, **published))}
    with pytest.raises(AddressesMissing, match=message):
        rank_table(group, broken)
    rank_table(replace(group, members=tuple(m._replace(supernode="sn-1") for m in group.members)), broken)


@pytest.mark.parametrize("case", BROKEN)
def test_what_a_node_does_not_say_is_named(job, profile, placed, case):
    broken, message = BROKEN[case]
    group = placed(job(cards=32), profile("ascend-a3-384"))
    with pytest.raises(AddressesMissing, match=message):
        rank_table(group, servers_of(group) | {"n0": server_of(broken)})


@pytest.mark.parametrize(
    "break_it",
    [
        lambda table: table["server_list"].reverse(),
        lambda table: table["server_list"][0]["device"].reverse(),
        lambda table: table["server_list"][0]["device"][0].update(rank_id="5"),
        lambda table: table["super_pod_list"][0]["server_list"].pop(),
        lambda table: table["server_list"][1]["device"][0].update(super_device_id="0"),
    ],
)
def test_the_reader_sees_what_is_wrong(job, profile, placed, break_it):
    group = placed(job(cards=32), profile("ascend-a3-384"))
    table = json.loads(rank_table(group, servers_of(group)))
    break_it(table)
    with pytest.raises(Wrong):
        read(json.dumps(table))
