"""Phrases that statuses and the command line share."""

from collections.abc import Mapping


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
