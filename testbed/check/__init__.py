"""An independent check of a cluster: do placements, ledgers, statuses and pods keep the operator's promises?

It reads the API server only and imports nothing of the operator, so that a mistake there is not repeated here.
Domains, card sets, spans and their minimum are computed anew from node labels and profiles:

    python -m testbed.check [--kubeconfig FILE]

It is meant for a settled cluster. A group may rightly be above today's minimum when cards came free after it was
placed, and on unhealthy cards when they broke while it runs; both are reported.
"""

from __future__ import annotations

from collections.abc import Iterable

from testbed.check.facts import Cluster, Json
from testbed.check.groups import check_group, groups, ledgers
from testbed.check.pods import check_pods
from testbed.check.report import Report, Rule, Violation
from testbed.check.topology import Occupancy, check_counts, check_topology

__all__ = ["Report", "Rule", "Violation", "check"]


def check(objects: Iterable[Json]) -> Report:
    """Hold every rule against the Nodes, Pods and supernode.io objects of one cluster."""
    cluster, report = Cluster(objects), Report()
    check_pods(cluster, report)
    held = ledgers(cluster, report)
    occupancy = Occupancy(cluster, held)
    for group in groups(cluster, held, report):
        check_group(cluster, group, report)
        check_topology(cluster, group, occupancy, report)
    check_counts(cluster, occupancy, report)
    return report
