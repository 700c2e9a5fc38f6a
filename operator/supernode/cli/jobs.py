"""`jobs`: every training job, where it runs or what it waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from rich.console import Console
from rich.text import Text

from supernode.api.conditions import ConditionType
from supernode.cli.documents import Json
from supernode.cli.output import Cell, compact, show, table
from supernode.control.conditions import find
from supernode.control.wording import spans_text
from supernode.topology.profile import Profile

_STYLES: Final = {"Running": "green", "Succeeded": "green", "Failed": "red", "Stalled": "red"}
_AT_EASE: Final = ("Running", "Succeeded")


def print_jobs(out: Console, jobs: Iterable[Json], profiles: Mapping[str, Profile], *, all_namespaces: bool) -> None:
    """One row for each job; why it is so for those that neither run nor succeeded."""
    rows = [_row(job, profiles, all_namespaces=all_namespaces) for job in jobs]
    headers = ["NAME", "PHASE", "CARDS", "SUPERNODES", "SPANS", "RESTARTS", "REASON", "MESSAGE"]
    show(out, table(["NAMESPACE", *headers] if all_namespaces else headers, rows, numbers=["CARDS", "RESTARTS"]))


def outer_first(spans: Mapping[str, int], profile: Profile | None) -> dict[str, int]:
    """Spans as the API server keeps them, by name, in the order of the profile's levels, outermost first."""
    order = profile.level_names[::-1] if profile is not None else ()
    return {level: spans[level] for level in (*order, *sorted(spans.keys() - set(order))) if level in spans}


def cards_of(job: Json) -> str:
    """Cards of a job as far as they are known without its profile."""
    status, spec = job.get("status", {}), job["spec"]
    workers = spec.get("workers", {})
    asked = spec.get("cards") or workers.get("replicas", 0) * workers.get("cardsPerWorker", 0)
    return str(status.get("cards") or asked or "-")


def _row(job: Json, profiles: Mapping[str, Profile], *, all_namespaces: bool) -> list[Cell]:
    meta, status = job["metadata"], job.get("status", {})
    phase = status.get("phase") or "-"
    ready = {} if phase in _AT_EASE else find(status, ConditionType.READY)
    spans = outer_first(status.get("spans", {}), profiles.get(status.get("profile", "")))
    return [
        *([meta["namespace"]] if all_namespaces else []),
        meta["name"],
        Text(phase, style=_STYLES.get(phase, "yellow")),
        cards_of(job),
        compact(status.get("superNodes", ())) or "-",
        spans_text(spans, status.get("minimal", {}), proven=status.get("proven", True)) or "-",
        str(status.get("restarts", 0)),
        ready.get("reason", ""),
        ready.get("message", ""),
    ]
