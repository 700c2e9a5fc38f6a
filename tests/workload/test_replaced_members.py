"""After any worker was replaced, all that names it is right, and nothing else has changed."""

import json
from dataclasses import replace
from itertools import product

import pytest
from hccl_reader import read
from published_nodes import servers_of

from supernode.api.trainingjob import Runtime
from supernode.topology.ledger import decode_placement
from supernode.topology.node import Member
from supernode.topology.ranges import card_indices
from supernode.workload import AddressesMissing, render_claims, render_files, render_pod, render_service

DEVICES = {"driver": "d.io", "deviceClass": "c", "namePattern": "npu-{index}", "selectAttribute": "uuid"}
PINNING = {
    "annotation": {"mode": "annotation", "key": "huawei.com/Ascend910"},
    "env": {"mode": "env", "key": "ASCEND_VISIBLE_DEVICES"},
    "dra": {"mode": "dra", "devices": DEVICES},
    "none": {"mode": "none"},
}
LEVELS = [
    {"name": "node", "fanOut": 16},
    {"name": "rack", "fanOut": 4, "nodeLabel": "example.com/rack"},
    {"name": "supernode", "fanOut": 4, "nodeLabel": "example.com/supernode"},
]
MOVES = {
    "to other cards of its node": ("sn", None, 0xFF00),
    "to another node of its rack": ("sn", "n3", 0xFF),
    "to other cards of another node": ("sn", "n3", 0xFF00),
    "to another rack": ("sn", "n14", 0xFF),
    "to another supernode": ("other", "x-n77", 0xFF),
}
PLACES = [("sn", f"n{number}") for number in (0, 1, 2, 4, 5, 6)]
TABLES = (None, "1.0", "1.2", "2.0")


def member(rank, supernode, node, cards):
    rack = f"{supernode}/{int(''.join(filter(str.isdigit, node))) // 4}"
    return Member(rank, supernode, node, cards, {"node": node, "rack": rack, "supernode": supernode})


def group_of(job, profile, placed, runtime, table, pinning):
    """Six workers of half a node, on two racks, in blocks of three."""
    machine = profile(
        "ascend-a3-384", levels=LEVELS, allocation={}, rankTable=table, pinning=PINNING[pinning], card=CARD
    )
    described = job(cards=48, runtime=runtime, workers={"cardsPerWorker": 8}, parallelism={"tensor": 8, "data": 6})
    group = placed(described, machine)
    return replace(group, members=tuple(member(rank, *place, 0xFF) for rank, place in enumerate(PLACES)))


CARD = {"resource": "huawei.com/Ascend910"}


def moved(group, rank, move):
    supernode, node, cards = MOVES[move]
    there = member(rank, supernode, node or group.members[rank].node, cards)
    members = (*group.members[:rank], there, *group.members[rank + 1 :])
    return replace(group, members=members)


def values(node):
    return {card: f"{node}/{card}" for card in range(16)}


def rendered(group, servers):
    """(the files, each rank's pod, each rank's claims)."""
    files = render_files(group, servers if group.profile.rank_table else None)
    claims = [render_claims(group, rank, values(each.node)) for rank, each in enumerate(group.members)]
    pods = [
        render_pod(group, rank, files, predicate_time_ns=1, claims=claims[rank]) for rank in range(len(group.members))
    ]
    return files, pods, claims


def env(pod):
    """Of what comes from a file only which; the files are looked at by themselves."""
    variables = pod["spec"]["containers"][0]["env"]
    sources = {each["name"]: each.get("valueFrom", {}).get("configMapKeyRef", {}) for each in variables}
    return {each["name"]: each.get("value", sources[each["name"]].get("key")) for each in variables}


def differing(one, other):
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def without_files(pod):
    """The pod but for which files it mounts."""
    text = json.dumps(pod)
    digest = pod["metadata"]["annotations"]["supernode.io/files"]
    return json.loads(text.replace(digest, ""))


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("rank", [0, 2, 3, 5])
@pytest.mark.parametrize(
    ("runtime", "table", "pinning"),
    [
        *product(Runtime, [None], ["annotation"]),
        *product([Runtime.PLAIN], TABLES, ["annotation"]),
        *product([Runtime.MINDSPORE], ["1.2", "2.0"], ["annotation"]),
        *product([Runtime.PLAIN], [None], PINNING),
        (Runtime.MPI, "1.0", "dra"),
    ],
    ids=str,
)
def test_what_names_a_replaced_worker_is_right_and_nothing_else_changed(
    job, profile, placed, runtime, table, pinning, rank, move
):
    before = group_of(job, profile, placed, runtime, table, pinning)
    after = moved(before, rank, move)
    old, new = before.members[rank], after.members[rank]
    servers = servers_of(before, more=[new.node])
    (files, pods, claims), (files_now, pods_now, claims_now) = rendered(before, servers), rendered(after, servers)

    assert differing(files.plain, files_now.plain) == {"group.json"} | ({"ranktable.json"} if table else set())
    _document_is_right(json.loads(files.plain["group.json"]), json.loads(files_now.plain["group.json"]), after)
    if table:
        _table_is_right(files.plain["ranktable.json"], files_now.plain["ranktable.json"], after, servers, rank)
    for other in set(range(6)) - {rank}:
        assert without_files(pods[other]) == without_files(pods_now[other])
        assert claims[other] == claims_now[other]
    _pod_is_right(pods[rank], pods_now[rank], old, new, pinning)
    assert (claims[rank] != claims_now[rank]) == (pinning == "dra")
    if new.node != old.node:
        everything = json.dumps([dict(files_now.plain), pods_now, claims_now, render_service(after.job)])
        assert f'"{old.node}"' not in everything.replace("\\", "")
        assert servers[old.node].address not in everything


def _document_is_right(was, now, group):
    assert differing(was, now) <= {"placement", "domains"}
    seats = [(supernode, seat.rank, seat.node, seat.cards) for supernode, seat in decode_placement(now["placement"])]
    assert sorted(seats, key=lambda seat: seat[1]) == [(m.supernode, m.rank, m.node, m.cards) for m in group.members]
    for level in ("rack", "supernode"):
        found = {
            rank: domain["name"] for domain in now["domains"][level] for rank in map(int, _expanded(domain["ranks"]))
        }
        assert found == {m.rank: m.domains[level] for m in group.members}


def _expanded(text):
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _table_is_right(was, now, group, servers, rank):
    layered = group.profile.rank_table == "2.0"
    name = {node: f"pod_{node}" if layered else server.address for node, server in servers.items()}
    seats = read(now)
    assert seats == [(name[m.node], card) for m in group.members for card in card_indices(m.cards)]
    changed = {at for at, (one, other) in enumerate(zip(read(was), seats, strict=True)) if one != other}
    assert changed == set(range(rank * 8, rank * 8 + 8))
    if layered:
        ranks = [json.loads(text)["rank_list"] for text in (was, now)]
        assert {one["rank_id"] for one, other in zip(*ranks, strict=True) if one != other} == changed


def _pod_is_right(was, now, old, new, pinning):
    expected = {f"SUPERNODE_DOMAIN_{level.upper()}" for level in differing(old.domains, new.domains)}
    if old.cards != new.cards:
        expected |= set() if pinning == "none" else {"SUPERNODE_CARDS"}
        expected |= {PINNING["env"]["key"]} if pinning == "env" else set()
    assert differing(env(was), env(now)) == expected
    annotations = differing(was["metadata"]["annotations"], now["metadata"]["annotations"])
    told = {"supernode.io/cards"} | ({PINNING["annotation"]["key"]} if pinning == "annotation" else set())
    assert annotations == {"supernode.io/files"} | (told if old.cards != new.cards else set())
    same = [("metadata", "name"), ("metadata", "labels"), ("spec", "hostname"), ("spec", "subdomain")]
    assert all(was[part][field] == now[part][field] for part, field in same)
    for pod, place in ((was, old), (now, new)):
        terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert terms["nodeSelectorTerms"] == [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [place.node]}]}
        ]


@pytest.mark.parametrize("table", ["1.0", "1.2"])
def test_a_table_that_its_format_cannot_express_is_refused_in_words(job, profile, placed, table):
    """The last worker comes to the node of the first: ranks of servers would interleave, which HCCL does not take."""
    group = group_of(job, profile, placed, Runtime.PLAIN, table, "annotation")
    members = (*group.members[:-1], member(5, "sn", "n0", 0xFF00))
    with pytest.raises(AddressesMissing, match=f"ranks of node n0 do not follow one another; format {table}"):
        render_files(replace(group, members=members), servers_of(group))


def test_layers_of_a_rank_do_not_mind_where_its_neighbours_are(job, profile, placed):
    group = group_of(job, profile, placed, Runtime.PLAIN, "2.0", "annotation")
    members = (*group.members[:-1], member(5, "sn", "n0", 0xFF00))
    seats = read(render_files(replace(group, members=members), servers_of(group)).plain["ranktable.json"])
    assert [node for node, _ in seats][::8] == [f"pod_{each.node}" for each in members]
