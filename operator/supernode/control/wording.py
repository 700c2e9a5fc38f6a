"""Phrases that statuses and the command line share."""

from collections.abc import Collection, Mapping, Sequence

from supernode.control.records import PodRecord
from supernode.placement.cost import ALL_REDUCE_BYTES, ALL_TO_ALL_BYTES, MIB
from supernode.topology.ranges import format_nodes, natural_key

_GIVE_UP_THE_NODE = "delete the node, or taint it node.kubernetes.io/out-of-service once its machine is off"


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


def former_text(pods: Sequence[PodRecord]) -> str:
    """What is to be added where pods of an earlier job of the same name are there still; empty without any."""
    have = "have" if len(pods) > 1 else "has"
    return f"; {_some(pods)} of an earlier job of this name {have} yet to go" if pods else ""


def orphans_text(pods: Sequence[PodRecord]) -> str:
    """What is to be added where pods that nobody owns keep an earlier group; empty without any."""
    keep = "keep" if len(pods) > 1 else "keeps"
    return f"; {_some(pods)}, which nobody owns, {keep} its cards: delete them" if pods else ""


def awaited_text(pod: PodRecord | None) -> str:
    """What is to be added where another pod has to be admitted by its node first; empty without any."""
    return f"; waits for pod {'/'.join(pod.key)} on {pod.place}" if pod is not None else ""


def _some(pods: Sequence[PodRecord]) -> str:
    """The first by its name, and how many more."""
    return pods[0].key[1] + (f" and {len(pods) - 1} more" if len(pods) > 1 else "")


def stranded_text(pods: Sequence[PodRecord]) -> str:
    """What is to be added where pods are being deleted whose nodes are not ready; empty without any."""
    if not pods:
        return ""
    nodes = format_nodes(sorted({pod.node for pod in pods if pod.node}, key=natural_key))
    return f"; {_some(pods)} cannot end on {nodes}, not ready: {_GIVE_UP_THE_NODE}"


def unready_text(nodes: Collection[str]) -> str:
    """What is to be added where members are on nodes that are not ready; empty without any."""
    if not nodes:
        return ""
    named = format_nodes(sorted(nodes, key=natural_key))
    return (
        f"; not ready: {named}; pods that fail meanwhile are not counted, and come again once it is. If its machine is "
        f"lost, {_GIVE_UP_THE_NODE}"
    )


def _milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:.3g} ms"
