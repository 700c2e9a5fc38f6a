"""Conditions keep their transition time for as long as their status stays."""

from datetime import UTC, datetime, timedelta

from supernode.api.conditions import ConditionType, Reason
from supernode.control.conditions import State, find, is_true, updated

THEN = datetime(2026, 1, 1, tzinfo=UTC)
LATER = THEN + timedelta(minutes=5)
WAITING = {ConditionType.ALLOCATED: State(False, Reason.INSUFFICIENT_CARDS, "needs 8")}


def test_a_condition_is_written_as_metav1_has_it() -> None:
    assert updated([], WAITING, generation=3, now=THEN) == [
        {
            "type": "Allocated",
            "status": "False",
            "reason": "InsufficientCards",
            "message": "needs 8",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 3,
        }
    ]


def test_another_reason_keeps_the_time_and_another_status_has_its_own() -> None:
    before = updated([], WAITING, generation=1, now=THEN)
    [same] = updated(before, {ConditionType.ALLOCATED: State(False, Reason.NO_DOMAIN_FITS)}, generation=1, now=LATER)
    assert (same["reason"], same["lastTransitionTime"]) == ("NoDomainFits", "2026-01-01T00:00:00Z")
    [other] = updated(before, {ConditionType.ALLOCATED: State(True, Reason.ALLOCATED)}, generation=1, now=LATER)
    assert other["lastTransitionTime"] == "2026-01-01T00:05:00Z"


def test_conditions_not_spoken_of_stay() -> None:
    before = updated([], WAITING, generation=1, now=THEN)
    after = updated(before, {ConditionType.READY: State(None, Reason.WAITING_FOR_CARDS)}, generation=2, now=LATER)
    assert before[0] in after
    assert find({"conditions": after}, ConditionType.READY)["status"] == "Unknown"
    assert not is_true({"conditions": after}, ConditionType.READY)


def test_a_message_too_long_for_the_api_is_cut() -> None:
    state = {ConditionType.READY: State(False, Reason.INVALID_SPEC, "x" * 100_000)}
    assert len(updated([], state, generation=1, now=THEN)[0]["message"]) <= 32768
