"""The judge of histories finds each kind of wrong that is planted, at the revision at which it happens."""

import pytest
from history import Event, Json, Key
from promises import Promises


def _group(name: str, members: int) -> Event:
    obj = {"metadata": {"namespace": "a", "name": name, "uid": f"uid-{name}"}, "spec": {"members": members}}
    return Event(0, "CardGroup", ("a", name), obj)


def _ledger(supernode: str, **held: tuple[str, str, str]) -> Event:
    """A supernode whose ledger gives each group (ranks, nodes, cards)."""
    ledger = [f"a/{group} uid-{group} {ranks}@{nodes}:{cards}" for group, (ranks, nodes, cards) in held.items()]
    return Event(0, "SuperNode", ("", supernode), {"metadata": {"name": supernode}, "status": {"ledger": ledger}})


def _pod(name: str, group: str, rank: int, cards: str, pin: str = "n0", node: str | None = None) -> Event:
    labels = {"supernode.io/job": group, "supernode.io/group": group, "supernode.io/rank": str(rank)}
    annotations = {"supernode.io/group-uid": f"uid-{group}", "supernode.io/cards": cards}
    field = {"key": "metadata.name", "operator": "In", "values": [pin]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    spec = {"containers": [{"name": "c"}], "affinity": affinity, **({"nodeName": node} if node else {})}
    obj: Json = {"metadata": {"namespace": "a", "name": name, "labels": labels, "annotations": annotations}}
    return Event(0, "Pod", ("a", name), obj | {"spec": spec, "status": {"phase": "Pending"}})


def _gone(kind: str, key: Key) -> Event:
    return Event(0, kind, key, None)


def _judged(*events: Event, late_pods: bool = False) -> list[str]:
    promises = Promises()
    promises.late_pods = late_pods
    for revision, event in enumerate(events, start=1):
        promises.take(Event(revision, event.kind, event.key, event.obj))
    return promises.broken


ALLOCATED = (_group("x", 2), _ledger("s0", x=("0-1", "n[0-1]", "0-1")))
STARTED = (*ALLOCATED, _pod("x-0", "x", 0, "0-1", node="n0"), _pod("x-1", "x", 1, "0-1", pin="n1", node="n1"))


def test_a_sound_history_is_not_blamed() -> None:
    ends = (_gone("Pod", ("a", "x-0")), _gone("Pod", ("a", "x-1")), _ledger("s0"), _gone("CardGroup", ("a", "x")))
    assert _judged(*STARTED, *ends) == []


@pytest.mark.parametrize(
    ("events", "told"),
    [
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
        ([*ALLOCATED, _gone("CardGroup", ("a", "x"))], "group a/x went while s0 still booked cards for ['uid-x']"),
    ],
)
def test_each_broken_promise_is_found(events: list[Event], told: str) -> None:
    assert any(told in line for line in _judged(*events)), _judged(*events)


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


def test_where_two_act_a_pod_may_be_late_and_still_must_match_what_was_committed() -> None:
    given_back = [*ALLOCATED, _ledger("s0")]
    late, never = _pod("x-1", "x", 1, "0-1", pin="n1"), _pod("x-1", "x", 1, "2-3", pin="n1")
    assert _judged(*given_back, late) != []
    assert _judged(*given_back, late, late_pods=True) == []
    assert _judged(*given_back, never, late_pods=True) != []
