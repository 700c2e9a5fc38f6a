"""Which taints keep new pods off a node, and which of these a profile's pods tolerate.

The rules are the scheduler's (k8s.io/api/core/v1, `Toleration.ToleratesTaint`), but for taints of nodes in trouble: a
toleration of every key lets pods run on there, and gives no new cards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supernode.api.tolerations import TROUBLE, TaintEffect, TolerationOperator

if TYPE_CHECKING:
    from supernode.api.tolerations import Toleration as TolerationSpec

SHOWN = 3
"""Taints a message names before it only counts the others."""

_BARRING = (TaintEffect.NO_SCHEDULE, TaintEffect.NO_EXECUTE)


@dataclass(frozen=True, slots=True)
class Taint:
    """A node's taint. Its text is kubectl's: `key=value:effect`."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"

    def __str__(self) -> str:
        return f"{self.key}{'=' if self.value else ''}{self.value}:{self.effect}"

    @property
    def trouble(self) -> bool:
        """Whether it says that the node is in trouble or on its way out, which no profile tolerates."""
        return self.key.startswith(TROUBLE)


@dataclass(frozen=True, slots=True)
class Toleration:
    """Taints that are tolerated: of this key (empty: of any), value (None: of any) and effect (empty: of any)."""

    key: str = ""
    value: str | None = None
    effect: str = ""

    @classmethod
    def from_spec(cls, spec: TolerationSpec) -> Toleration:
        """From the validated API form."""
        value = None if spec.operator is TolerationOperator.EXISTS else spec.value or ""
        return cls(spec.key or "", value, str(spec.effect or ""))

    def tolerates(self, taint: Taint) -> bool:
        """Whether pods with this toleration may be put on nodes with this taint."""
        return self.key in ("", taint.key) and self.value in (None, taint.value) and self.effect in ("", taint.effect)


def barring(taints: Iterable[Taint], tolerations: Collection[Toleration]) -> tuple[Taint, ...]:
    """The taints that keep new pods with these tolerations off a node."""
    return tuple(
        taint
        for taint in taints
        if taint.effect in _BARRING and (taint.trouble or not any(each.tolerates(taint) for each in tolerations))
    )


# In messages.

Tainted = Counter[tuple[Taint, ...]]
"""How many nodes, or cards of them, all of these taints bar."""


def described(tainted: Tainted) -> list[tuple[int, str]]:
    """How many of them, and with what, for a message."""
    shown = tainted.most_common(SHOWN)
    parts = [(count, f"tainted {' and '.join(map(str, taints))}") for taints, count in shown]
    more = tainted.total() - sum(count for _, count in shown)
    return [*parts, (more, "tainted otherwise")] if more else parts


def remedy(tainted: Tainted, profile: str) -> str:
    """What opens them, as the end of a message; empty where there are none."""
    taints = dict.fromkeys(taint for taints, _ in tainted.most_common() for taint in taints)
    if not taints:
        return ""
    named = ", ".join(map(str, list(taints)[:SHOWN]))
    others = f" and {len(taints) - SHOWN} others" if len(taints) > SHOWN else ""
    return f"; to use tainted nodes, add {named}{others} to tolerations of profile {profile}"
