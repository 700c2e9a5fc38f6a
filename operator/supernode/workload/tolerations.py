"""Tolerations of the taints that card nodes have."""

from collections.abc import Iterable, Mapping
from typing import Any

from supernode.topology.taints import Toleration

Json = dict[str, Any]


def tolerations(own: Iterable[Mapping[str, Any]], tolerated: Iterable[Toleration]) -> list[Mapping[str, Any]]:
    """The user's own, and those of the profile that differ from all of them in more than `tolerationSeconds`."""
    own = list(own)
    known = [_meaning(toleration) for toleration in own]
    added = (_to_json(toleration) for toleration in tolerated)
    return [*own, *(toleration for toleration in added if _meaning(toleration) not in known)]


def _to_json(toleration: Toleration) -> Json:
    value = {"operator": "Exists"} if toleration.value is None else {"operator": "Equal", "value": toleration.value}
    fields = {"key": toleration.key, **value, "effect": toleration.effect}
    return {name: text for name, text in fields.items() if text}


def _meaning(toleration: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the API server tells tolerations of a pod apart by."""
    operator = toleration.get("operator") or "Equal"
    return (operator, *(toleration.get(name) or "" for name in ("key", "value", "effect")))
