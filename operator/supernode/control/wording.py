"""Phrases that statuses and the command line share."""

from collections.abc import Mapping

from supernode.placement.cost import ALL_REDUCE_BYTES, ALL_TO_ALL_BYTES, MIB


def spans_text(spans: Mapping[str, int], minimal: Mapping[str, int], *, proven: bool = True) -> str:
    """`1 supernode, 2 racks, 8 nodes`, in the order of ``spans``; the minimum is told where it is less.

    A minimum that is not ``proven`` is called a lower bound.
    """
    bound = "minimal" if proven else "at least"
    parts = []
    for level, count in spans.items():
        least = minimal.get(level, count)
        text = f"{count} {level}{'' if count == 1 else 's'}"
        parts.append(text if count == least else f"{text} ({bound} {least})")
    return ", ".join(parts)


def estimate_text(estimate: Mapping[str, int]) -> str:
    """What status.estimate says, in milliseconds."""
    reduced, exchanged = (_milliseconds(estimate[f"{name}Microseconds"]) for name in ("allReduce", "allToAll"))
    return (
        f"estimated: all-reduce of {ALL_REDUCE_BYTES // MIB} MiB in {reduced}, "
        f"all-to-all of {ALL_TO_ALL_BYTES // MIB} MiB a card in {exchanged}"
    )


def _milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:.3g} ms"
