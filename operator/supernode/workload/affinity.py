"""Binding a pod to one node through the stock scheduler."""

from typing import Any

Json = dict[str, Any]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def on_node(affinity: Json | None, node: str) -> Json:
    """The user's affinity with "and on this node" added; the input is not changed.

    A field selector on the node's name, not its hostname label: the scheduler then looks at one node only. Terms are
    alternatives, so the node is added to each of them. An empty term matches no node and stays as it is: with a
    field selector it would begin to match.
    """
    here = {"key": "metadata.name", "operator": "In", "values": [node]}
    affinity = dict(affinity or {})
    node_affinity = dict(affinity.get("nodeAffinity") or {})
    required = dict(node_affinity.get(_REQUIRED) or {})
    terms = required.get("nodeSelectorTerms") or [{"matchFields": []}]
    required["nodeSelectorTerms"] = [
        {**term, "matchFields": [*(term.get("matchFields") or ()), here]} if term else term for term in terms
    ]
    node_affinity[_REQUIRED] = required
    affinity["nodeAffinity"] = node_affinity
    return affinity
