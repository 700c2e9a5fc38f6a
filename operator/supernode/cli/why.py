"""`why`: how one job or group stands, and what led there."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from supernode.api.conditions import NEVER, Reason
from supernode.api.errors import SupernodeError
from supernode.api.trainingjob import TrainingJob
from supernode.cli.documents import Json
from supernode.cli.errors import NotThere
from supernode.cli.inventory import Snapshot, read
from supernode.cli.jobs import cards_of, outer_first
from supernode.cli.live import Reader
from supernode.cli.output import members_table, show, table
from supernode.cluster import resources
from supernode.cluster.resources import Key
from supernode.control.wording import estimate_text
from supernode.topology.ledger import decode_placement
from supernode.topology.node import Member
from supernode.topology.views import seated
from supernode.workload import explain_blocks, worker_shape


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be explained. A job's group has the job's name."""

    key: Key
    job: Json | None
    group: Json | None


async def read_case(reader: Reader, key: Key) -> Case:
    """The job and the group of this name. Raises NotThere when there is neither."""
    job = await reader.find(resources.TRAININGJOBS, key)
    group = await reader.find(resources.CARDGROUPS, key)
    if job is None and group is None:
        namespace, name = key
        raise NotThere(f"there is no TrainingJob and no CardGroup {name} in namespace {namespace}; see `jobs -A`")
    return Case(key, job, group)


def print_case(out: Console, case: Case, snapshot: Snapshot) -> None:
    """The job, then its group: state, conditions, spans against the minimum, and where the members lie."""
    if case.job is not None:
        _print_job(out, case.job, snapshot)
    if case.group is not None:
        if case.job is not None:
            show(out)
        _print_group(out, case.group, snapshot)


def _print_job(out: Console, job: Json, snapshot: Snapshot) -> None:
    status = job.get("status", {})
    _title(out, "TrainingJob", job)
    pods = ", ".join(f"{number} {state}" for state, number in status.get("pods", {}).items() if number)
    members = f", {status['members']} members" if "members" in status else ""
    _line(out, f"{cards_of(job)} cards{members}; {status.get('restarts', 0)} restarts; pods: {pods or 'none'}")
    _conditions(out, status)
    if job["spec"].get("parallelism"):
        _parallelism(out, job, snapshot)


def _parallelism(out: Console, job: Json, snapshot: Snapshot) -> None:
    """How each kind of group is kept together, or what is wrong with the degrees."""
    profile = snapshot.profiles.get(job.get("status", {}).get("profile") or job["spec"].get("profile") or "")
    if profile is None:
        return
    if job["spec"].get("topology", {}).get("blocks"):
        _line(out, "topology.blocks says what stays together; parallelism adds nothing to it")
        return
    try:
        wanted = read(TrainingJob, job)
        assert wanted.spec.parallelism is not None
        kept = explain_blocks(wanted.spec.parallelism, worker_shape(wanted, profile), profile)
    except SupernodeError as problem:
        _line(out, str(problem))
        return
    rows = [[each.groups, str(each.cards), f"one {each.level}" if each.level else "-", each.why] for each in kept]
    show(out)
    show(out, table(["GROUPS", "CARDS", "KEPT IN", "WHY"], rows, numbers=["CARDS"]), indent=2)


def _print_group(out: Console, group: Json, snapshot: Snapshot) -> None:
    spec, status = group["spec"], group.get("status", {})
    _title(out, "CardGroup", group)
    on = f" on {status['profile']}" if status.get("profile") else ""
    _line(out, f"{spec['members']} members of {spec.get('cardsPerMember', 1)} cards{on}")
    _conditions(out, status)
    if status.get("spans"):
        _spans(out, status, snapshot)
    if status.get("estimate"):
        _line(out, estimate_text(status["estimate"]))
    for field, numbers in (("placement", "RANKS"), ("spares", "SPARES")):
        if members := _members(out, status, field, snapshot):
            show(out)
            show(out, members_table(members, numbers), indent=2)


def _title(out: Console, kind: str, obj: Json) -> None:
    meta, phase = obj["metadata"], obj.get("status", {}).get("phase", "not looked at yet")
    show(out, Text.assemble(f"{kind} ", (f"{meta['namespace']}/{meta['name']}", "bold"), f": {phase}"))


def _conditions(out: Console, status: Json) -> None:
    conditions = status.get("conditions", ())
    rows = [
        [*(condition[part] for part in ("type", "status", "reason")), _since(condition["lastTransitionTime"])]
        for condition in conditions
    ]
    if rows:
        show(out, table(["CONDITION", "STATUS", "REASON", "SINCE"], rows), indent=2)
    for message in dict.fromkeys(c["message"] for c in conditions if c.get("message")):
        _line(out, message)
    for reason in dict.fromkeys(c["reason"] for c in conditions):
        meaning = next((known.meaning for known in Reason if known == reason), None)
        if meaning is not None:
            _line(out, f"{reason}: {meaning}")


def _since(time: str) -> str:
    return "-" if time == NEVER else time


def _spans(out: Console, status: Json, snapshot: Snapshot) -> None:
    spans = outer_first(status["spans"], snapshot.profiles.get(status.get("profile", "")))
    minimal = status.get("minimal", {})
    bound = "MINIMUM" if status.get("proven", True) else "LOWER BOUND"
    rows = [[level, str(count), str(minimal.get(level, "-"))] for level, count in spans.items()]
    show(out)
    show(out, table(["LEVEL", "TOUCHED", bound], rows, numbers=["TOUCHED", bound]), indent=2)


def _members(out: Console, status: Json, field: str, snapshot: Snapshot) -> list[Member]:
    """The placed members, or the spares; the domains of a node that is gone are unknown."""
    try:
        seats = decode_placement(status.get(field, ()))
    except SupernodeError as problem:
        _line(out, f"status.{field} cannot be read: {problem}")
        return []
    views = snapshot.fleet.supernodes
    members = (member for name, seat in seats for member in seated(views.get(name), name, [seat]))
    return [snapshot.located(member) for member in members]


def _line(out: Console, text: str) -> None:
    show(out, text, indent=2)
