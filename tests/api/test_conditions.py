"""Conditions keep their transition time for as long as their status stays."""

from supernode.api.conditions import Condition, ConditionStatus, ConditionType, Reason, find_condition, set_condition


def condition(type_: ConditionType, status: ConditionStatus, reason: Reason, time: str) -> Condition:
    return Condition(type=type_, status=status, reason=reason, last_transition_time=time)


WAITING = condition(ConditionType.ALLOCATED, ConditionStatus.FALSE, Reason.INSUFFICIENT_CARDS, "2026-01-01T00:00:00Z")


def test_a_new_type_is_added() -> None:
    ready = condition(ConditionType.READY, ConditionStatus.TRUE, Reason.RECONCILED, "2026-01-01T00:00:00Z")
    assert set_condition((WAITING,), ready) == (WAITING, ready)


def test_another_reason_keeps_the_time() -> None:
    later = condition(ConditionType.ALLOCATED, ConditionStatus.FALSE, Reason.NO_DOMAIN_FITS, "2026-01-01T00:05:00Z")
    (now,) = set_condition((WAITING,), later)
    assert (now.reason, now.last_transition_time) == ("NoDomainFits", "2026-01-01T00:00:00Z")


def test_another_status_has_its_own_time() -> None:
    later = condition(ConditionType.ALLOCATED, ConditionStatus.TRUE, Reason.ALLOCATED, "2026-01-01T00:05:00Z")
    assert set_condition((WAITING,), later) == (later,)


def test_conditions_are_found_by_type() -> None:
    assert find_condition((WAITING,), ConditionType.ALLOCATED) is WAITING
    assert find_condition((WAITING,), ConditionType.READY) is None


def test_a_condition_is_written_as_metav1_has_it() -> None:
    assert WAITING.to_dict() == {
        "type": "Allocated",
        "status": "False",
        "observedGeneration": 0,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "InsufficientCards",
        "message": "",
    }
