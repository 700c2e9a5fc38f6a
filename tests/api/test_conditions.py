"""The condition model is metav1.Condition."""

from supernode.api.conditions import Condition, ConditionStatus, ConditionType, Reason, ReasonKind


def condition(type_: ConditionType, status: ConditionStatus, reason: Reason, time: str) -> Condition:
    return Condition(type=type_, status=status, reason=reason, last_transition_time=time)


WAITING = condition(ConditionType.ALLOCATED, ConditionStatus.FALSE, Reason.INSUFFICIENT_CARDS, "2026-01-01T00:00:00Z")


def test_a_condition_is_written_as_metav1_has_it() -> None:
    assert WAITING.to_dict() == {
        "type": "Allocated",
        "status": "False",
        "observedGeneration": 0,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "InsufficientCards",
        "message": "",
    }


def test_nobody_is_told_to_correct_a_job_that_has_ended() -> None:
    ending = (
        Reason.POD_REJECTED,
        Reason.MAX_RESTARTS_EXCEEDED,
        Reason.DEADLINE_EXCEEDED,
        Reason.QUEUE_DEADLINE_EXCEEDED,
    )
    assert {reason.kind for reason in ending} == {ReasonKind.FAILED}
