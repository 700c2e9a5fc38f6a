"""A placed group as its workers need to know it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from supernode.api.topology import Block
from supernode.api.trainingjob import TrainingJob
from supernode.topology.ledger import Homed
from supernode.topology.profile import Profile
from supernode.workload.identity import pod_address


class Placed(Homed, Protocol):
    """A member with the domains it lies in, by level, the node and each level above."""

    @property
    def domains(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class PlacedGroup:
    """All that is rendered for a job comes from this and the job's own spec.

    uid: of the CardGroup, which bears the job's name. members: all of them, in rank order.
    """

    job: TrainingJob
    uid: str
    profile: Profile
    members: tuple[Placed, ...]
    blocks: tuple[Block, ...] = ()

    @cached_property
    def cards_per_member(self) -> int:
        """Cards of each member."""
        return self.members[0].cards.bit_count()

    @property
    def cards(self) -> int:
        """Cards of the whole group."""
        return len(self.members) * self.cards_per_member

    def address(self, rank: int) -> str:
        """Where the other members reach a rank: its DNS name. A group of one has no others, and needs no name."""
        return pod_address(self.job, rank) if len(self.members) > 1 else "localhost"

    @property
    def master(self) -> str:
        """Address of rank 0."""
        return self.address(0)
