"""Waiting groups: whose turn it is, who is decided together, and when a message is written again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fleets import profile_of

from supernode.api.cardgroup import CardGroup
from supernode.api.conditions import Reason
from supernode.api.reading import parse
from supernode.control.records import Custom
from supernode.control.waiting import RETELL_PAUSE, RETELL_SECONDS, Waiting, turn_of
from supernode.placement import Refusal
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROFILE = profile_of("p", ("node", 4), ("supernode", 4))
REFUSED = Refusal(Reason.INSUFFICIENT_CARDS, "needs more")


def fleet(free: int) -> Fleet:
    """One supernode of four nodes, so many of them free."""
    nodes = [Node(f"n{n}", 4, 0b1111, 0 if n < free else 0b1111, path=("sn",)) for n in range(4)]
    return Fleet([SuperNodeView("sn", PROFILE, nodes)])


def group(name: str, members: int = 3, *, age: float = 0, told: bool = False, **spec: Any) -> Custom[CardGroup]:
    """A group that asks for whole nodes, created ``age`` seconds ago."""
    manifest = {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "CardGroup",
        "metadata": {"name": name, "namespace": "d"},
        "spec": {"members": members, "cardsPerMember": 4, **spec},
    }
    said = [{"type": "Allocated", "status": "False", "observedGeneration": 1}] if told else []
    return Custom(
        key=("d", name),
        uid=f"uid-{name}",
        resource_version="1",
        generation=1,
        created=NOW - timedelta(seconds=age),
        deleting=False,
        finalizers=(),
        labels={},
        owner_uid=None,
        model=parse(CardGroup, manifest),
        error=None,
        status={"conditions": said},
    )


def put(groups: Waiting, one: Custom[CardGroup], *, moment: float = 0.0) -> None:
    """A group of no job waits."""
    groups.put(one, turn_of(one, None), NOW, moment)


def waiting(*groups: Custom[CardGroup]) -> Waiting:
    found = Waiting()
    for one in groups:
        put(found, one)
    return found


def refuse_all(groups: Waiting, version: int = 1, moment: float = 0.0) -> list[str]:
    """Refuse every line; the names of those who are told at once."""
    for _, line in groups.queue():
        groups.refused(line, REFUSED, fleet(0), version)
    return [told.key[1] for told, _ in groups.to_tell(1000, moment)]


def heads(groups: Waiting) -> list[str]:
    return [line.head.key[1] for _, line in groups.queue() if line.head is not None]


def test_those_who_ask_for_the_same_stand_in_one_line() -> None:
    groups = waiting(*(group(f"g{i}", age=i) for i in range(5)), group("other", members=2))
    assert heads(groups) == ["g4", "other"]
    assert sorted(refuse_all(groups)) == ["g0", "g1", "g2", "g3", "g4", "other"]
    assert heads(groups) == []
    put(groups, group("late"))
    [(_, line)] = groups.queue()
    assert (line.answer, line.version) == (REFUSED, 1), "the answer of its line holds for a newcomer"
    assert refuse_all(groups) == ["late"]


def test_so_many_are_told_at_a_time_each_once() -> None:
    groups = waiting(*(group(f"g{i}", members=1 + i // 3) for i in range(6)))
    for _, line in groups.queue():
        groups.refused(line, REFUSED, fleet(0), 1)
    told = []
    while groups.untold:
        some = groups.to_tell(2, 0.0)
        assert len(some) <= 2
        told += [one.key[1] for one, answer in some if answer is REFUSED]
    assert sorted(told) == [f"g{i}" for i in range(6)]
    assert refuse_all(groups) == []


def test_who_is_awake_again_is_not_told_the_answer_that_held_before() -> None:
    groups = waiting(group("g"))
    for _, line in groups.queue():
        groups.refused(line, REFUSED, fleet(0), 1)
    groups.wake_all()
    assert groups.to_tell(2, 0.0) == []
    assert refuse_all(groups, 2) == ["g"]


def test_priority_comes_first_then_age() -> None:
    groups = waiting(group("young"), group("old", members=2, age=9), group("urgent", members=1, priority=5))
    assert heads(groups) == ["urgent", "old", "young"]
    [_, (_, line), _] = groups.queue()
    groups.forget(("d", "old"))
    assert (line.head, len(groups)) == (None, 2)


def test_who_left_a_line_leaves_no_turn_in_it() -> None:
    """Its head may wait for days, while others come and give up."""
    groups = waiting(group("first", age=9), group("urgent", priority=5))
    [(_, line)] = groups.queue()
    for number in range(100):
        put(groups, group(f"g{number}", age=number / 100))
        groups.forget(("d", f"g{number}"))
    assert sum(map(len, line._orders.values())) <= 5
    assert heads(groups) == ["urgent"]
    groups.forget(("d", "urgent"))
    assert heads(groups) == ["first"]


def test_a_line_wakes_when_its_need_is_met_and_not_before() -> None:
    groups = waiting(group("two", members=2), group("three"))
    refuse_all(groups)
    groups.supernodes_changed(fleet(1), {"sn"})
    assert heads(groups) == []
    groups.supernodes_changed(fleet(2), {"sn"})
    assert heads(groups) == ["two"]
    groups.wake_all()
    assert heads(groups) == ["three", "two"]
    assert all(line.answer_for(turn, 1) is None for turn, line in groups.queue()), "no answer holds any more"


def test_a_write_of_its_own_status_wakes_nobody() -> None:
    groups = waiting(group("g"))
    refuse_all(groups)
    put(groups, replace(group("g", told=True), resource_version="2"))
    assert heads(groups) == []
    put(groups, replace(group("g", priority=3), generation=2))
    assert heads(groups) == ["g"], "an edited spec is looked at"


def test_who_could_not_be_told_is_told_again() -> None:
    """The API server did not take the first status of a group."""
    groups = waiting(group("lost"), group("other"))
    assert sorted(refuse_all(groups)) == ["lost", "other"]
    put(groups, group("lost"), moment=1.0)
    put(groups, group("other", told=True), moment=1.0)
    assert refuse_all(groups) == ["lost"]
    put(groups, group("lost", told=True), moment=2.0)
    assert refuse_all(groups) == []


def test_those_told_before_a_restart_are_not_told_again() -> None:
    groups = waiting(group("known", told=True), group("new"))
    assert refuse_all(groups) == ["new"]


def test_a_preferred_level_is_waited_for_and_then_given_up() -> None:
    topology = {"preferred": {"level": "supernode", "wait": "60s"}}
    groups = waiting(group("g", age=20, topology=topology))
    [(_, line)] = groups.queue()
    assert line.ask.preferred == ("supernode", "60s")
    refuse_all(groups)
    assert groups.next_time() == 40.0
    groups.time_passed(NOW + timedelta(seconds=40), 40.0)
    [(_, line)] = groups.queue()
    assert line.ask.preferred is None
    assert groups.next_time() is None


def test_messages_are_brought_up_to_date_one_by_one_and_only_after_a_change() -> None:
    groups = waiting(group("a", members=2, age=1), group("b"))
    refuse_all(groups)
    assert groups.to_retell(100.0) is None, "nothing changed"
    assert groups.next_time() is None
    groups.follow(2)
    assert groups.next_time() == RETELL_SECONDS
    assert groups.to_retell(RETELL_SECONDS - 1) is None
    found = groups.to_retell(RETELL_SECONDS)
    assert found is not None
    assert found[1].key[1] == "a"
    groups.retold(("d", "a"), RETELL_SECONDS, 0.0)
    assert groups.to_retell(RETELL_SECONDS) is None, "never two at a time"
    groups.follow(3)
    later = RETELL_SECONDS + RETELL_PAUSE
    found = groups.to_retell(later)
    assert found is not None
    assert found[1].key[1] == "b", "a round ends before the next begins"
    groups.retold(("d", "b"), later, 0.0)
    groups.follow(3)
    assert groups.next_time() == 2 * RETELL_SECONDS
    assert groups.to_retell(2 * RETELL_SECONDS) is not None


def test_dear_messages_come_seldom() -> None:
    groups = waiting(group("a", members=2, age=1), group("b"))
    refuse_all(groups)
    groups.follow(2)
    assert groups.to_retell(50.0) is not None
    groups.retold(("d", "a"), 50.0, 0.1)
    assert groups.next_time() == 60.0


def test_those_whose_request_is_wrong_are_not_among_those_that_waiting_helps() -> None:
    groups = waiting(group("a"), group("b"), group("wrong", members=2))
    assert {one.key[1] for one in groups.hopeful()} == {"a", "b", "wrong"}
    ((_, line),) = (pair for pair in groups.queue() if pair[1].head is not None and pair[1].head.key[1] == "wrong")
    line.answer = Refusal(Reason.NEVER_FITS, "no supernode is that large", stalled=True)
    assert {one.key[1] for one in groups.hopeful()} == {"a", "b"}
    assert len(groups) == 3
