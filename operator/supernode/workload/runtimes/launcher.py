"""What a runtime adds to the workers of a group."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from supernode.workload.files import GroupFiles
from supernode.workload.placed import PlacedGroup

Value = str | Mapping[str, Any]
"""Of an environment variable: as text, or as the `valueFrom` by which the kubelet finds it."""


def _nothing(_: PlacedGroup) -> dict[str, str]:
    return {}


def _same_command(_: int) -> None:
    return None


def _as_placed(_: Mapping[str, str]) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Launcher:
    """A runtime, as functions of the placed group.

    environment: the variables of one rank, given where the files are. derived: variables that refer to others by
    `$(NAME)`; they stand after the user's own, whose values they then take. files: name to content of what all workers
    find beside the group's document. command: what the card container of a rank runs instead of the user's command,
    None to leave it. numbers_itself: whether processes get ranks of an order and a number of their own, given the
    values that the template sets for the container with the cards: a rank table would contradict them. ssh: workers get
    a key pair by which they reach each other. first_decides: rank 0 starts the others' work: it comes once they run and
    have names, and the job ends when it ends.
    """

    environment: Callable[[PlacedGroup, int, GroupFiles], Mapping[str, Value]]
    derived: Mapping[str, str] = field(default_factory=dict)
    files: Callable[[PlacedGroup], dict[str, str]] = _nothing
    command: Callable[[int], list[str] | None] = _same_command
    numbers_itself: Callable[[Mapping[str, str]], bool] = _as_placed
    ssh: bool = False
    first_decides: bool = False
