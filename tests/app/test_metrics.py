"""The metrics of what happens, as Prometheus sees them from the first scrape on."""

import pytest

from supernode import __version__
from supernode.app.metrics import Metrics


def test_a_counter_of_known_labels_begins_at_zero() -> None:
    """Prometheus takes a series that begins at 1 for one that has not increased."""
    value = Metrics().registry.get_sample_value
    kinds = ("rebuilt", "surplus", "orphaned", "incomplete", "doubled", "unreadable")
    assert [value("supernode_ledger_repairs_total", {"kind": kind}) for kind in kinds] == [0] * len(kinds)
    assert value("supernode_reconcile_failures_total", {"kind": "TrainingJob"}) == 0
    assert value("supernode_group_wait_seconds_count", {"size": "513+"}) == 0


@pytest.mark.parametrize(("seconds", "bound"), [(0.6, "1.0"), (2.0, "2.5"), (20.0, "30.0")])
def test_slow_decisions_are_told_apart(seconds: float, bound: str) -> None:
    metrics = Metrics()
    metrics.decided("placed", seconds)

    def counted(limit: str) -> float | None:
        labels = {"outcome": "placed", "le": limit}
        return metrics.registry.get_sample_value("supernode_decision_seconds_bucket", labels)

    assert (counted("0.5"), counted(bound)) == (0, 1)


def test_it_tells_its_version_and_what_its_process_uses() -> None:
    value = Metrics().registry.get_sample_value
    assert value("supernode_build_info", {"version": __version__}) == 1
    assert (value("process_resident_memory_bytes") or 0) > 0
