"""`plan` where groups wait already: what the operator holds for them it gives to nobody who comes later."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import small_fleet as small
from cli_command import Run
from small_fleet import Json

from supernode.cli.ahead import PATIENCE

Answer = Callable[..., Any]

HOLD_AFTER = PATIENCE.hold_after
LONG = HOLD_AFTER + 60


@pytest.fixture
def answer(run: Run, tmp_path: Path) -> Answer:
    """What is answered to a request, or to several, on a supernode of four nodes, the first of which is in use."""

    def answer(request: Json | list[Json], *others: Json, ledger: tuple[str, ...] = (), form: str = "json") -> Any:
        held = small.held("research/runs", "a-n0", "0-3")
        fleet = [small.profile(), *small.nodes("a"), small.supernode(ledger=[held, *ledger]), *others]
        (tmp_path / "fleet.yaml").write_text(small.text(*fleet))
        requests = request if isinstance(request, list) else [request]
        arguments = ("plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", "-o", form)
        ran = run(*arguments, stdin=small.text(*requests).encode())
        assert ran.out, ran.err
        if form != "json":
            return {"text": ran.out}
        found: list[Json] = json.loads(ran.out)["results"]
        return found if isinstance(request, list) else found[0]

    return answer


def waits(name: str, members: int, *, seconds: float = LONG, allocated: str = "False", **spec: Any) -> Json:
    """A group of whole nodes as a cluster has it, for so long without cards."""
    since = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    group = small.group(name, members, **spec)
    group["metadata"] |= {"namespace": "research", "uid": f"uid-{name}", "creationTimestamp": since}
    conditions = [{"type": "Allocated", "status": allocated, "reason": "InsufficientCards", "observedGeneration": 0}]
    return group | {"status": {"conditions": conditions, "waitingSince": since, "phase": "Pending"}}


NEXT = small.group("next", 2)


def test_nodes_held_for_a_group_are_not_given_to_those_who_come_later(answer: Answer) -> None:
    assert answer(NEXT)["feasible"]
    refused = answer(NEXT, waits("big", 4))
    assert (refused["feasible"], refused["reason"]) == (False, "InsufficientCards")
    assert "4 nodes of a held for research/big since" in refused["message"]


@pytest.mark.parametrize(
    ("waiting", "why"),
    [
        (lambda: waits("big", 4, seconds=HOLD_AFTER / 2), "it has not waited long enough"),
        (lambda: waits("big", 4, allocated="True"), "it has its cards, which a lost ledger will be told"),
        (lambda: waits("big", 9), "it fits nowhere, whoever ends"),
        (lambda: waits("big", 4, priority=-1), "who comes later has a higher priority"),
        (lambda: small.group("big", 4), "it is no group of a cluster"),
    ],
)
def test_nothing_is_held(answer: Answer, waiting: Callable[[], Json], why: str) -> None:
    assert answer(NEXT, waiting())["feasible"], why


def test_a_group_in_a_ledger_does_not_wait(answer: Answer) -> None:
    assert answer(NEXT, waits("big", 4))["feasible"] is False
    entry = small.held("research/big", "a-n1", "0-3").replace(" research/big ", " uid-big ")
    assert answer(NEXT, waits("big", 4), ledger=(entry,))["feasible"]


def test_who_waits_and_fits_takes_its_cards_first(answer: Answer) -> None:
    assert answer(NEXT, waits("small", 1, seconds=1))["feasible"]
    assert not answer(NEXT, waits("small", 2, seconds=1))["feasible"]


def test_a_waiting_group_asked_for_again_is_told_what_is_held_for_it(answer: Answer) -> None:
    big = waits("big", 4)
    assert "4 nodes of a held for it since" in answer(again(big), big)["message"]


def again(group: Json) -> Json:
    """The manifest of a group that waits."""
    metadata = {name: group["metadata"][name] for name in ("name", "namespace")}
    return {**{name: part for name, part in group.items() if name != "status"}, "metadata": metadata}


@pytest.mark.parametrize(
    ("other", "members", "seconds", "priority", "fits"),
    [
        ("before", 2, 20, 0, False),
        ("after", 2, 1, 0, True),
        ("of-less-priority", 2, 20, -1, True),
        ("asks-the-same", 3, 20, 0, False),
        ("fits-nowhere", 4, 20, 0, True),
    ],
)
def test_a_group_that_waits_and_fits_is_placed_in_its_turn(
    answer: Answer, other: str, members: int, seconds: float, priority: int, fits: bool
) -> None:
    me = waits("me", 3, seconds=10)
    assert answer(again(me), me)["feasible"]
    assert answer(again(me), me, waits(other, members, seconds=seconds, priority=priority))["feasible"] == fits


@pytest.mark.parametrize(("owner", "fits"), [("uid-of-other", False), ("uid-of-another", True)])
def test_a_group_of_a_job_is_placed_in_the_turn_of_the_job(answer: Answer, owner: str, fits: bool) -> None:
    """A job that is placed again has a new group."""
    me, other, job = waits("me", 3, seconds=10), waits("other", 2, seconds=1), small.job("other")
    other["metadata"]["ownerReferences"] = [{"uid": owner, "controller": True}]
    older = (datetime.now(UTC) - timedelta(seconds=20)).isoformat()
    job["metadata"] |= {"uid": "uid-of-other", "creationTimestamp": older}
    assert answer(again(me), me, other, job)["feasible"] == fits


def test_who_comes_later_is_planned_after_those_who_wait_and_are_asked_for(answer: Answer) -> None:
    me, late = waits("me", 1, seconds=10), waits("late", 1, seconds=5)
    requests = [again(me), NEXT]
    assert [r["feasible"] for r in answer(requests, me)] == [True, True]
    assert [r["feasible"] for r in answer(requests, me, late)] == [True, False]
    assert [r["feasible"] for r in answer([*requests, again(late)], me, late)] == [True, True, False]


def test_a_wait_for_a_preferred_level_that_is_over_is_not_told_again(answer: Answer) -> None:
    topology = {"preferred": {"level": "rack", "wait": "1m"}}
    busy = small.pod("p", "a-n2", 4)
    for seconds, waited in ((50, False), (70, True)):
        me = waits("me", 2, seconds=seconds, topology=topology)
        result = answer(again(me), me, busy)
        assert (result["feasible"], result["message"] is None) == (True, waited)


def test_a_wait_for_a_preferred_level_is_told_as_the_operator_would(answer: Answer) -> None:
    request = small.group(members=2, topology={"preferred": {"level": "rack", "wait": "24h"}})
    result = answer(request, small.pod("p", "a-n2", 4))
    assert (result["feasible"], result["reason"], result["spans"]["rack"]) == (True, None, 2)
    assert result["message"].startswith("waits for one domain of level rack, at most 24h: ")
    shown = answer(request, small.pod("p", "a-n2", 4), form="table")["text"]
    assert "default/g: fits after its wait on box" in shown
    assert "waits for one domain of level rack, at most 24h" in shown


def test_a_preferred_level_that_no_profile_has_is_told(answer: Answer) -> None:
    result = answer(small.group(topology={"preferred": {"level": "rak"}}))
    assert (result["feasible"], result["reason"]) == (False, "UnknownLevel")


@pytest.mark.parametrize("field", ["creationTimestamp", "waitingSince"])
@pytest.mark.parametrize("text", ["soon", "2026-01-01T00:00:00", "9999-12-31T23:59:59Z"])
def test_a_time_that_is_none_is_refused(run: Run, tmp_path: Path, field: str, text: str) -> None:
    group = waits("big", 4)
    (group["metadata"] if field in group["metadata"] else group["status"])[field] = text
    (tmp_path / "fleet.yaml").write_text(small.text(small.profile(), group))
    ran = run("plan", "-f", "-", "--fleet", tmp_path / "fleet.yaml", stdin=small.text(NEXT).encode())
    assert (ran.code, field in ran.err) == (1, True)
