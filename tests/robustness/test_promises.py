"""The judge of histories finds each kind of wrong that is planted, at the revision at which it happens."""

from collections.abc import Callable

import pytest
from history import Event, Json, Key, key_of
from promises import Excuse, Promises

from tests.testbed.sound_cluster import SPARE as SOUND_SPARE
from tests.testbed.sound_cluster import Objects


def _group(name: str, members: int) -> Event:
    obj = {"metadata": {"namespace": "a", "name": name, "uid": f"uid-{name}"}, "spec": {"members": members}}
    return Event(0, "CardGroup", ("a", name), obj)


def _ledger(supernode: str, **held: tuple[str, str, str]) -> Event:
    """A supernode whose ledger gives each group (ranks, nodes, cards)."""
    return _lines(
        supernode, *(f"a/{group} uid-{group} {r}@{nodes}:{cards}" for group, (r, nodes, cards) in held.items())
    )


def _lines(supernode: str, *ledger: str) -> Event:
    return Event(0, "SuperNode", ("", supernode), {"metadata": {"name": supernode}, "status": {"ledger": [*ledger]}})


def _node(name: str, *, ready: bool = True) -> Event:
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    return Event(0, "Node", ("", name), {"metadata": {"name": name}, "spec": {}, "status": status})


def _job(name: str, *, phase: str = "Running", **spec: object) -> Event:
    meta = {"namespace": "a", "name": name, "uid": f"job-{name}"}
    return Event(0, "TrainingJob", ("a", name), {"metadata": meta, "spec": spec, "status": {"phase": phase}})


def _pod(
    name: str, group: str, rank: int, cards: str, pin: str = "n0", node: str | None = None, phase: str = "Pending"
) -> Event:
    labels = {"supernode.io/job": group, "supernode.io/group": group, "supernode.io/rank": str(rank)}
    annotations = {"supernode.io/group-uid": f"uid-{group}", "supernode.io/cards": cards}
    field = {"key": "metadata.name", "operator": "In", "values": [pin]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    spec = {"containers": [{"name": "c"}], "affinity": affinity, **({"nodeName": node} if node else {})}
    meta: Json = {"namespace": "a", "name": name, "uid": f"pod-{name}", "labels": labels, "annotations": annotations}
    meta["ownerReferences"] = [{"kind": "TrainingJob", "uid": f"job-{group}"}]
    return Event(0, "Pod", ("a", name), {"metadata": meta, "spec": spec, "status": {"phase": phase}})


def _gone(kind: str, key: Key) -> Event:
    return Event(0, kind, key, None)


def _judged(*events: Event, excused: Excuse | None = None, taken_away: str = "") -> list[str]:
    promises = Promises()
    promises.excused |= {excused} - {None}
    promises.taken_away.add(taken_away)
    for revision, event in enumerate(events, start=1):
        promises.take(Event(revision, event.kind, event.key, event.obj))
    return promises.broken


ALLOCATED = (_group("x", 2), _ledger("s0", x=("0-1", "n[0-1]", "0-1")))
STARTED = (*ALLOCATED, _pod("x-0", "x", 0, "0-1", node="n0"), _pod("x-1", "x", 1, "0-1", pin="n1", node="n1"))
SPARE = _lines("s0", "a/x uid-x 0@n0:0-3 +0@n1:0-3", "a/y uid-y 0@n2:0-3 +0@n1:0-3")
OWN_SPARE = _lines("s0", "a/x uid-x 0@n0:0-3 +0@n0:3-6")
RUNS = (
    *STARTED,
    _pod("x-0", "x", 0, "0-1", node="n0", phase="Running"),
    _pod("x-1", "x", 1, "0-1", pin="n1", node="n1", phase="Running"),
)
GONE = _gone("Pod", ("a", "x-0"))
WAITS = (*ALLOCATED, _pod("x-0", "x", 0, "0-1"))
BOUND = _pod("x-0", "x", 0, "0-1", node="n0")


def test_a_sound_history_is_not_blamed() -> None:
    ends = (_gone("Pod", ("a", "x-0")), _gone("Pod", ("a", "x-1")), _ledger("s0"), _gone("CardGroup", ("a", "x")))
    assert _judged(*STARTED, *ends) == []


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([SPARE], "card ('n1', 0) is booked for a/y (uid-y) and a/x (uid-x)"),
        ([OWN_SPARE], "card ('n0', 3) is booked for a/x (uid-x) and a/x (uid-x)"),
        ([*ALLOCATED, _ledger("s1", y=("0", "n1", "1-2"))], "revision 3: card ('n1', 1) is booked for"),
        ([_ledger("s0", x=("0", "n0", "0-3"), y=("0", "n0", "3"))], "card ('n0', 3) is booked for"),
        ([_group("x", 2), _pod("x-0", "x", 0, "0-1")], "came when 0 of 2 members were booked"),
        ([_group("x", 3), ALLOCATED[1], _pod("x-0", "x", 0, "0-1")], "came when 2 of 3 members were booked"),
        ([*ALLOCATED, _pod("x-0", "x", 0, "2-3")], "pod a/x-0 came for ['n0'] [2, 3], booked is"),
        ([*ALLOCATED, _pod("x-0", "x", 0, "0-1", pin="n1")], "pod a/x-0 came for ['n1'] [0, 1], booked is"),
        ([ALLOCATED[1], _pod("x-0", "x", 0, "0-1")], "pod a/x-0 came for a group that is gone"),
        ([*STARTED, _ledger("s0")], "s0 gave back the cards [0, 1] of pod a/x-0, which still uses them"),
        ([*STARTED, _gone("SuperNode", ("", "s0"))], "s0 gave back the cards [0, 1] of pod a/x-0"),
        ([*STARTED, _pod("o", "x", 0, "1-2", node="n0")], "pod a/o and pod a/x-0 both use [1] of n0"),
        ([*ALLOCATED, _pod("x-0", "x", 0, "0-1", node="n1")], "pod a/x-0 is on n1, pinned to ['n0']"),
        ([*WAITS, _ledger("s0")], "s0 gave back the cards [0, 1] of pod a/x-0, which still uses them"),
        ([*WAITS, _ledger("s0", y=("0", "n0", "0-1"))], "s0 gave back the cards [0, 1] of pod a/x-0"),
        ([*WAITS, _ledger("s0"), BOUND], "pod a/x-0 got n0, whose cards [0, 1] its group does not hold"),
        ([*RUNS, GONE], "pod a/x-0 was deleted while it and all its peers ran soundly"),
        ([*ALLOCATED, _gone("CardGroup", ("a", "x"))], "group a/x went while s0 still booked cards for ['uid-x']"),
    ],
)
def test_each_broken_promise_is_found(events: list[Event], told: str) -> None:
    assert any(told in line for line in _judged(*events)), _judged(*events)


@pytest.mark.parametrize(
    "cause",
    [
        _job("x", suspend=True),
        _job("x", phase="Failed"),
        _pod("x-1", "x", 1, "0-1", pin="n1", node="n1", phase="Failed"),
        _gone("Pod", ("a", "x-1")),
        _node("n1", ready=False),
        _gone("Node", ("", "n1")),
        _gone("Namespace", ("", "a")),
    ],
    ids=["suspended", "ended", "a peer failed", "a peer is gone", "a node is lost", "a node is gone", "namespace"],
)
def test_what_happened_to_a_gang_is_a_cause_to_delete_its_pods(cause: Event) -> None:
    told = "pod a/x-0 was deleted"
    assert not any(told in line for line in _judged(*RUNS, cause, _node("n1"), _job("x"), GONE))
    sound = (Event(0, "Namespace", ("", "a"), {"metadata": {"name": "a"}}), _job("x"), _node("n1"), _node("n0"))
    assert any(told in line for line in _judged(*sound, cause, *sound, *RUNS, GONE)), "it was over when they came"


def test_pods_that_a_device_plugin_could_confuse_come_one_after_the_other() -> None:
    allocated = (_group("x", 2), _ledger("s0", x=("0-1", "n0", "0-1/2-3")))
    first, second = (_pod(f"x-{rank}", "x", rank, cards) for rank, cards in enumerate(("0-1", "2-3")))
    for pod in (first, second):
        pod.obj["metadata"]["annotations"] |= {"predicate-time": "1"}  # type: ignore[index]
    admitted = _pod("x-0", "x", 0, "0-1", node="n0", phase="Running")
    assert _judged(*allocated, first, second) == ["revision 4: pod a/x-1 came while pod a/x-0 was on its way to ['n0']"]
    assert _judged(*allocated, first, admitted, second) == []


def test_pods_that_come_after_their_job_has_gone_are_to_go_too() -> None:
    gone = _gone("TrainingJob", ("a", "x"))
    assert _judged(_job("x"), gone, *RUNS, GONE) == []


@pytest.mark.parametrize("uid", ["pod-x-0", "uid-x"])
def test_what_users_delete_is_no_operators_doing(uid: str) -> None:
    assert _judged(*RUNS, GONE, taken_away=uid) == []


def test_pods_that_came_twice_are_counted() -> None:
    promises = Promises()
    for event in (*ALLOCATED, _pod("x-0", "x", 0, "0-1"), _gone("Pod", ("a", "x-0")), _pod("x-0", "x", 0, "0-1")):
        promises.take(event)
    assert promises.creations["a", "x-0"] == 2


def test_what_is_left_at_rest_is_found() -> None:
    promises = Promises()
    owner = [{"kind": "TrainingJob", "uid": "gone"}]
    service = {"metadata": {"namespace": "a", "name": "x", "ownerReferences": owner}}
    stuck = {"metadata": {"namespace": "a", "name": "y", "uid": "u", "deletionTimestamp": "t", "finalizers": ["f"]}}
    spec = {"spec": {"members": 1}, "status": {}}
    for event in (_ledger("s0", z=("0", "n0", "0")), Event(0, "Service", ("a", "x"), service)):
        promises.take(event)
    promises.take(Event(0, "CardGroup", ("a", "y"), stuck | spec))
    told = promises._orphans()
    assert told == [
        "at rest: s0 books cards for a/z (uid-z), which is not there",
        "at rest: Service a/x belongs to a job that is not there",
        "at rest: CardGroup a/y waits to be deleted: ['f']",
    ]


def _restless(act: Callable[[Objects], object]) -> list[str]:
    """What is told of a sound cluster at rest after this was done to it."""
    objects, promises = Objects(), Promises()
    act(objects)
    for revision, obj in enumerate(objects.items, start=1):
        promises.take(Event(revision, obj["kind"], key_of(obj), obj))
    promises.broken.clear()  # a dump comes in no order
    return promises.at_rest()


def _proven_below_its_span(objects: Objects) -> None:
    objects["CardGroup/big"]["status"]["minimal"] = {"pod": 1, "rack": 1, "node": 4}


def _asks_for_fewer_cards_than_it_names(objects: Objects) -> None:
    objects["Pod/small-0"]["spec"]["containers"][0]["resources"]["requests"]["example.com/card"] = "1"


def _node_told_of_other_cards(objects: Objects) -> None:
    objects["Pod/small-0"]["metadata"]["annotations"]["example.com/card"] = "card-6,card-7"


def _spare_on_the_cards_of_another(objects: Objects) -> None:
    objects.rewrite("SuperNode/sn-1", SOUND_SPARE, "+0@s1-n00:4-5")


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (_proven_below_its_span, "is the minimum, but touches"),
        (_asks_for_fewer_cards_than_it_names, "asks for 1 example.com/card but names 2 cards"),
        (_node_told_of_other_cards, "tells the node to use [6, 7], not [0, 1]"),
        (_spare_on_the_cards_of_another, "card 4 of s1-n00, which is held already"),
    ],
)
def test_wrongs_at_rest_are_found(act: Callable[[Objects], object], told: str) -> None:
    assert any(told in line for line in _restless(act)), _restless(act)


def _card_broke(objects: Objects) -> None:
    objects["Node/s0-n01"]["metadata"]["annotations"]["supernode.io/unhealthy-cards"] = "3"
    objects["SuperNode/sn-0"]["status"]["cards"]["healthy"] = 30  # its package with it


@pytest.mark.parametrize("act", [lambda _: None, _card_broke], ids=["nothing", "a card broke"])
def test_a_sound_cluster_at_rest_is_not_blamed(act: Callable[[Objects], object]) -> None:
    assert _restless(act) == []


def test_where_two_act_a_pod_may_be_late_and_still_must_match_what_was_committed() -> None:
    given_back = [*ALLOCATED, _ledger("s0")]
    late, never = (_pod("x-1", "x", 1, cards, pin="n1", node="n1") for cards in ("0-1", "2-3"))
    assert _judged(*given_back, late) != []
    assert _judged(*given_back, late, excused=Excuse.LATE_PODS) == []
    assert _judged(*given_back, never, excused=Excuse.LATE_PODS) != []
