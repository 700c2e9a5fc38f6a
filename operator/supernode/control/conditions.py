"""Conditions of an object's status: what changed keeps its time, what did not change is not touched."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from supernode.api.conditions import NEVER, ConditionType, Reason

_MESSAGE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class State:
    """What one condition should say now. ``status`` is ``None`` where it is not known yet."""

    status: bool | None
    reason: Reason
    message: str = ""


def timestamp(now: datetime) -> str:
    """The RFC 3339 text of ``now`` (UTC, whole seconds), as the API server writes its own times."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def updated(
    old: list[dict[str, Any]], states: Mapping[ConditionType, State], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The conditions after ``states``; ``lastTransitionTime`` moves only where the status did."""
    before = {c.get("type"): c for c in old}
    result = []
    for kind in ConditionType:
        if kind not in states:
            if kind in before:
                result.append(before[kind])
            continue
        state = states[kind]
        status = "Unknown" if state.status is None else str(state.status)
        previous = before.get(kind, {})
        since = previous.get("lastTransitionTime") if previous.get("status") == status else NEVER
        result.append(
            {
                "type": str(kind),
                "status": status,
                "reason": str(state.reason),
                "message": state.message[:_MESSAGE_LIMIT],
                "lastTransitionTime": timestamp(now) if since in (None, NEVER) else since,
                "observedGeneration": generation,
            }
        )
    return result


def find(status: Mapping[str, Any], kind: ConditionType) -> dict[str, Any]:
    """The condition of a raw status, an empty mapping when it is absent."""
    return next((c for c in status.get("conditions", ()) if c.get("type") == kind), {})


def is_news(before: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    """Whether a condition is more than another message of the state that a raw status told already for this spec."""
    told = find(before, ConditionType(condition["type"]))
    return any(told.get(name) != condition[name] for name in ("status", "reason", "observedGeneration"))


def is_true(status: Mapping[str, Any], kind: ConditionType) -> bool:
    """Whether a raw status has this condition with status True."""
    return find(status, kind).get("status") == "True"
