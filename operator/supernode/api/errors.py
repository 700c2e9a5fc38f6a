"""The base of the project's exceptions, and those of reading objects.

SupernodeError                base of everything this project raises on purpose
├── InvalidObject             an object of the group supernode.io that breaks its schema or its rules
└── InvalidDuration           text that is no duration
"""

from collections.abc import Sequence
from dataclasses import dataclass


class SupernodeError(Exception):
    """Base of every error this project raises on purpose."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong with one field: `path` as in `spec.levels[2].fanOut`, `message` with the remedy."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class InvalidObject(SupernodeError):  # noqa: N818 - the name of the API server's reason, Invalid
    """An object breaks its schema or a rule. `problems` names each field and what to do."""

    def __init__(self, kind: str, name: str, problems: Sequence[FieldProblem]) -> None:
        self.kind = kind
        self.name = name
        self.problems = tuple(problems)
        super().__init__(f"{kind} {name or '(unnamed)'}: " + "; ".join(map(str, self.problems)))


class InvalidDuration(SupernodeError, ValueError):  # noqa: N818 - pairs with InvalidObject
    """Text that is no duration ("1h30m")."""
