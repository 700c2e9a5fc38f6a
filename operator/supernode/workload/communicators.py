"""Which ranks talk to each other: the groups of each kind of parallelism, in rank order.

Ranks here are those of cards, one process per card: card rank = member rank x cards per member + position of the card
within the member. They are numbered as `supernode.workload.blocks` says: tensor fastest, then context, data, pipeline.
A group of any kind is an arithmetic sequence, and groups of one kind differ only in where they start.
"""

from dataclasses import dataclass

from supernode.api.trainingjob import Parallelism
from supernode.topology.ranges import format_ints
from supernode.workload.blocks import data_degree


@dataclass(frozen=True, slots=True)
class Communicator:
    """All groups of one kind: group i is starts[i], starts[i] + stride, ..., `size` ranks in all."""

    kind: str
    size: int
    stride: int
    starts: tuple[int, ...]

    def groups(self) -> list[list[int]]:
        """Every group's ranks, ascending."""
        reach = self.size * self.stride
        return [list(range(start, start + reach, self.stride)) for start in self.starts]

    def to_dict(self) -> dict[str, int | str]:
        """starts as ranges: 15,488 ranks stay a few hundred bytes."""
        return {"size": self.size, "stride": self.stride, "starts": format_ints(self.starts)}


def communicators(parallelism: Parallelism, cards: int) -> tuple[Communicator, ...]:
    """The kinds with more than one rank per group, innermost first. Raises `InvalidSpec` when the degrees do not
    multiply to `cards`."""
    data = data_degree(parallelism, cards)
    tensor, context, expert = parallelism.tensor, parallelism.context, parallelism.expert
    dense = tensor * context
    kinds = (
        ("tensor", tensor, 1),
        ("context", context, tensor),
        ("expert", expert, tensor),
        ("data", data, dense),
        ("pipeline", parallelism.pipeline, dense * data),
    )
    return tuple(
        Communicator(kind, size, stride, _starts(size, stride, cards)) for kind, size, stride in kinds if size > 1
    )


def _starts(size: int, stride: int, cards: int) -> tuple[int, ...]:
    reach = size * stride
    return tuple(start + offset for start in range(0, cards, reach) for offset in range(stride))
