"""Objects that another version of the operator has written: what of them counts, and what is told."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import small_fleet as small
from cli_command import Run
from small_fleet import Json

from supernode.api.reading import parse
from supernode.cli.errors import NotThere
from supernode.cli.inventory import Inventory, Snapshot, snapshot
from supernode.cli.live import Reader
from supernode.cli.plan import plan_all
from supernode.cluster.errors import NotFound
from supernode.cluster.resources import RESOURCESLICES, SUPERNODES, Resource
from supernode.cluster.session import Session
from supernode.control.supernodes import Ledger
from supernode.placement import Placement

STORED = {"uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
HELD = [small.held("research/x", "a-n0", "0-3")]


def cluster(supernode: Json) -> Snapshot:
    """What is read of a cluster of four nodes and this SuperNode."""
    inventory = Inventory()
    inventory.add_profile(small.profile())
    for node in small.nodes("a"):
        inventory.add_node(node)
    inventory.add_supernode(supernode | {"metadata": supernode["metadata"] | STORED})
    return snapshot(inventory)


def placed(fleet: Snapshot, members: int) -> set[str]:
    """The nodes that a group of whole nodes gets."""
    request = parse("CardGroup", small.group(members=members))
    [result] = plan_all(fleet, [request], datetime.now(UTC))
    return {member.node for member in result.answer.members} if isinstance(result.answer, Placement) else set()


@pytest.mark.parametrize("name", ["a", "by-hand"])
def test_cards_stay_taken_whose_supernode_has_a_spec_that_cannot_be_read(name: str) -> None:
    found = cluster(small.supernode(name, ledger=HELD, reserve="two"))
    assert found.discovery.assigned["a-n0"] == "a"
    assert "spec.reserve" in found.troubles[name].message
    assert placed(found, 4) == set()
    assert placed(found, 3) == (set() if name == "a" else {"a-n1", "a-n2", "a-n3"})


def stored(body: Json, *, newer: bool) -> Json:
    """As a cluster gives it, whose definitions have a default that nobody here knows."""
    namespaced = {"namespace": "research"} if body["kind"] in ("CardGroup", "TrainingJob") else {}
    spec = body["spec"] | ({"fromTheFuture": 3} if newer else {})
    return body | {"metadata": body["metadata"] | STORED | namespaced, "spec": spec}


ON_THE_RACK = {"topology": {"required": "rack"}}
OBJECTS = [small.profile(), small.supernode(ledger=HELD), small.group("x", 1), small.group("waits", 2, **ON_THE_RACK)]


@pytest.mark.parametrize("captured", [False, True])
def test_a_default_of_newer_definitions_changes_no_answer(run: Run, tmp_path: Path, captured: bool) -> None:
    """The operator passes over what it does not know of what an API server has taken."""
    answers = []
    for newer in (False, True):
        objects = [stored(body, newer=newer) for body in OBJECTS]
        requests = [stored(body, newer=newer) for body in (small.group("late", 2), small.job("j", cards=4))]
        if captured:
            (tmp_path / "fleet.yaml").write_text(small.text(*small.nodes("a"), *objects))
            text = small.text(*requests).encode()
            ran = run("plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", "-o", "json", stdin=text)
            assert (ran.code, ran.err) == (3, "")
            results = json.loads(ran.out)["results"]
            answers.append([(result["feasible"], result["message"], result["members"]) for result in results])
        else:
            inventory = Inventory()
            for node in small.nodes("a"):
                inventory.add_node(node)
            for add, body in zip(
                (inventory.add_profile, inventory.add_supernode, inventory.add_group, inventory.add_group),
                objects,
                strict=True,
            ):
                add(body)
            found = snapshot(inventory)
            assert not found.troubles
            answers.append([placed(found, members) for members in (1, 2)] + [[group.key for group in found.waiting]])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("body", [*OBJECTS[:3], small.job(cards=4)], ids=lambda body: body["kind"])
def test_what_is_written_by_hand_has_no_unknown_field(run: Run, tmp_path: Path, body: Json) -> None:
    wrong = body | {"spec": body["spec"] | {"fromTheFuture": 3}}
    asked = body["kind"] == "TrainingJob"
    request, objects = (wrong, OBJECTS[:1]) if asked else (small.group(), [wrong])
    (tmp_path / "fleet.yaml").write_text(small.text(*objects))
    ran = run("plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", stdin=small.text(request).encode())
    assert (ran.code, "spec.fromTheFuture: is unknown" in ran.err) == (1, True)


@pytest.mark.parametrize("ledger", [[{"group": "research/x"}], "research/x", 7, {"a": "b"}])
def test_a_ledger_of_another_form_closes_its_supernode(ledger: Any) -> None:
    body = small.supernode()
    body["status"] = {"ledger": ledger}
    found = cluster(body)
    assert "another version of the operator" in (Ledger.of(found.supernodes["a"]).error or "")
    assert "status.ledger cannot be read" in found.troubles["a"].message
    assert placed(found, 1) == set()


def test_a_status_with_words_of_another_version_is_passed_over(run: Run, tmp_path: Path) -> None:
    condition = {"type": "Ready", "status": "True", "reason": "NotKnownHere", "message": "", "lastTransitionTime": "x"}
    status = {"conditions": [condition, condition | {"type": "Levitating"}], "fromTheFuture": 3, "phase": "Hovering"}
    group = small.group("x", 1) | {"status": status}
    group["metadata"]["namespace"] = "research"
    supernode = small.supernode(ledger=HELD)
    supernode["status"] |= status | {"cards": "many"}
    fleet = [small.profile() | {"status": status}, *small.nodes("a")[1:], supernode, group]
    (tmp_path / "fleet.yaml").write_text(small.text(*fleet))
    job = small.job(cards=4) | {"status": status}
    planned = run("plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", stdin=small.text(job).encode())
    assert (planned.code, planned.err) == (0, "")
    repaired = run("plan", "--repair", "--fleet", tmp_path / "fleet.yaml", "-o", "json")
    assert [result["name"] for result in json.loads(repaired.out)["results"]] == ["research/x"]


@pytest.mark.parametrize(
    ("resource", "remedy"),
    [
        (SUPERNODES, "install the operator or choose another context"),
        (RESOURCESLICES, "needs Kubernetes 1.34 or newer"),
    ],
)
async def test_what_to_do_is_told_where_a_cluster_lacks_a_kind(resource: Resource, remedy: str) -> None:
    class Older(Session):
        def __init__(self) -> None:
            pass

        async def list(self, *_: Any, **__: Any) -> Json:
            raise NotFound("the server could not find the requested resource", status=404)

    with pytest.raises(NotThere, match=remedy):
        [body async for body in Reader(Older()).every(resource)]
