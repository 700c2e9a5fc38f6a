"""The reference page has every metric as the operator exports it, and the alerts ask for metrics that there are."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import Configuration
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from supernode.app.metrics import Metrics
from supernode.cluster.credentials import Credentials
from supernode.cluster.elector import Elector
from supernode.cluster.lease import Lease, Timing
from supernode.cluster.session import Session
from supernode.control.engine import Engine
from supernode.control.figures import CacheFigures, Figures, LeaderFigures
from supernode.control.observer import Observer
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Level, Profile

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "metrics.md").read_text()
RULES = yaml.safe_load((ROOT / "charts" / "supernode-operator" / "files" / "rules.yaml").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
OF_PROMETHEUS = {"instance", "le"}


class Shown(Engine):
    """An engine that leads a fleet of one supernode."""

    def figures(self) -> Figures:
        levels = (Level("node", fan_out=8, cards=8), Level("rack", fan_out=2, cards=16))
        view = SuperNodeView("sn", Profile("p", "card", levels), [Node("n", 8, 255, path=("sn",))])
        moment = datetime.now(UTC)
        leader = LeaderFigures(Fleet([view]), {"p": 1}, {"Running": 1}, 0, (), moment, 0.0, 0, 64, 0, 0)
        return Figures(True, (CacheFigures("nodes", 1, 0.0, 1, 0),), leader)


class Held(Elector):
    """An elector that knows the Lease."""

    @property
    def lease(self) -> Lease | None:
        return Lease(("default", "lease"), "1", "me", 15.0, "", 3)


async def exported() -> list[Metric]:
    """Every metric with all its labels: after one call of every kind, on a replica that leads."""
    metrics, session = Metrics(), Session(Credentials(lambda: Configuration(host="http://127.0.0.1:1")))
    metrics.watch(Shown(session, metrics, identity="me"), Held(session, ("default", "lease"), "me", Timing()))
    calls: dict[str, tuple[Any, ...]] = {
        "decided": ("placed", 0.1),
        "allocated": (2, 1.0, {"rack": 1}, {"rack": 1}),
        "ledger_conflict": (),
        "deposed": (),
        "ledger_repaired": ("rebuilt",),
        "reconciled": ("TrainingJob", 0.1, True),
        "restarted": (1,),
        "job_running": (1.0,),
        "requested": ("get", "pods", 200),
        "loop_lag": (0.1, 0.1),
    }
    assert calls.keys() == {name for name in vars(Observer) if not name.startswith("_")}
    for name, values in calls.items():
        getattr(metrics, name)(*values)
    text = (await metrics.text(generate_latest)).decode()
    return [family for family in text_string_to_metric_families(text) if family.name.startswith("supernode_")]


def name_of(metric: Metric) -> str:
    return metric.name + "_total" if metric.type == "counter" else metric.name


def labels_of(metric: Metric) -> list[str]:
    return list(dict.fromkeys(label for sample in metric.samples for label in sample.labels if label != "le"))


async def test_the_page_has_every_metric_with_its_type_labels_and_meaning() -> None:
    rows = [
        f"| `{name_of(m)}` | {m.type} | {', '.join(f'`{label}`' for label in labels_of(m))} | {m.documentation} |"
        for m in await exported()
    ]
    assert sorted(line for line in PAGE.splitlines() if line.startswith("| `supernode_")) == sorted(rows)


async def test_names_have_the_units_and_endings_of_prometheus() -> None:
    for metric in await exported():
        assert metric.documentation.endswith("."), metric.name
        if metric.type == "histogram":
            assert metric.name.endswith("_seconds"), metric.name
        if metric.type == "gauge":
            assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket")), metric.name


@pytest.mark.parametrize("alert", ALERTS)
async def test_an_alert_asks_for_metrics_and_labels_that_there_are(alert: str) -> None:
    metrics = await exported()
    known = {sample.name: set(sample.labels) for metric in metrics for sample in metric.samples}
    expression, told = ALERTS[alert]["expr"], str(ALERTS[alert]["annotations"])
    names = re.findall(r"supernode_\w+", expression)
    assert names
    assert [name for name in names if name not in known] == []
    labels = set.union(*(known[name] for name in names)) | OF_PROMETHEUS
    grouped = {label for found in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", found)}
    matched = set(re.findall(r"(\w+)=\"", expression))
    assert grouped | matched <= labels
    assert set(re.findall(r"\$labels\.(\w+)", told)) <= grouped


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_on_the_page(alert: str) -> None:
    assert f"| `{alert}` |" in PAGE
