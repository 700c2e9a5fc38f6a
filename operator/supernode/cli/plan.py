"""`plan`: which requests would fit, where, and why not: the operator's own decision, with nothing submitted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from supernode.api import names
from supernode.api.cardgroup import CardGroup, CardGroupSpec
from supernode.api.conditions import Reason
from supernode.api.errors import InvalidObject
from supernode.api.reading import KINDS, parse
from supernode.api.trainingjob import TrainingJob
from supernode.cli.ahead import Ahead, who_is_ahead
from supernode.cli.documents import Document, Json
from supernode.cli.errors import BadInput, is_name
from supernode.cli.inventory import Say, Snapshot, read
from supernode.control.grouping import claim_for, request_for
from supernode.control.planner import Ask
from supernode.placement import Placement, Refusal, Request, estimate
from supernode.topology.fleet import Fleet
from supernode.topology.node import Member
from supernode.topology.ranges import card_indices
from supernode.workload import InvalidSpec

_REQUESTS: Final = ("TrainingJob", "CardGroup")
_MADE_UP: Final = "xxxxx"
"""For the five characters that the API server adds to `generateName`."""


Wanted = TrainingJob | CardGroup


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one request, called "namespace/name".

    request is None when a job's claim could not be made out. wait: what the group waits for before it settles for this
    placement. seconds: how long the decision took. estimate: of the placement, as in a group's status.
    """

    name: str
    request: Request | None
    answer: Placement | Refusal
    wait: str | None = None
    seconds: float = 0.0
    estimate: dict[str, int] | None = None

    @property
    def fits(self) -> bool:
        return isinstance(self.answer, Placement)


def read_requests(documents: Iterable[Document], say: Say) -> list[Wanted]:
    """The requests among these documents. What is none is passed over, and told in one line. Raises BadInput."""
    wanted: list[Wanted] = []
    skipped: Counter[str] = Counter()
    for document in documents:
        if not _may_be_request(document):
            skipped[document.kind] += 1
            continue
        try:
            body = _request(document)
        except InvalidObject as problem:
            raise document.error(problem) from None
        _check_names(document, body)
        wanted.append(body)
    if skipped:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(skipped.items()))
        say(f"passed over, no request: {kinds}")
    if not wanted:
        raise BadInput("-f: the files hold no request; give TrainingJob or CardGroup objects")
    return wanted


def _request(document: Document) -> Wanted:
    body = _called(document.body)
    if document.kind == "TrainingJob":
        return read(TrainingJob, body)
    if document.kind == "CardGroup":
        return read(CardGroup, body)
    parse(document.kind, body)  # says that there is no such kind
    raise AssertionError(document.kind)


def _called(body: Json) -> Json:
    """With a name such as the API server would make up, where it is to make up one."""
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name") or not isinstance(metadata.get("generateName"), str):
        return body
    return {**body, "metadata": {**metadata, "name": metadata["generateName"] + _MADE_UP}}


def _check_names(document: Document, body: Wanted) -> None:
    name, namespace = body.metadata.name, body.metadata.namespace
    if not name:
        raise document.error(f"{document.kind} (unnamed): metadata.name: is required; set it, or generateName")
    for field, text in (("name", name), ("namespace", namespace or "default")):
        if not is_name(text):
            raise document.error(f"{document.kind} {name}: metadata.{field}: {text!r} is no name; correct it")


def _may_be_request(document: Document) -> bool:
    """Also what has a misspelt kind of ours, which the parser will refuse."""
    if document.group not in (None, names.GROUP):
        return False
    return document.kind in _REQUESTS or (document.group == names.GROUP and document.kind not in KINDS)


def plan_all(
    snapshot: Snapshot,
    wanted: Sequence[Wanted],
    moment: datetime,
    *,
    namespace: str = "default",
    independent: bool = False,
) -> list[Result]:
    """Answer the requests in order, each after what the earlier ones took, or each on the fleet as it is.

    moment: now; namespace: of requests that name none.
    """
    called = [(f"{body.metadata.namespace or namespace}/{body.metadata.name}", body) for body in wanted]
    ahead, results = who_is_ahead(snapshot, moment, {name for name, _ in called}), []
    for name, body in called:
        result, after = _plan_one(ahead, body, name)
        results.append(result)
        ahead = ahead if independent else after
    return results


def _plan_one(ahead: Ahead, body: Wanted, name: str) -> tuple[Result, Ahead]:
    """The answer, and what stands after it."""
    try:
        spec = claim_of(ahead.fleet, body)
    except InvalidSpec as problem:
        return Result(name, None, Refusal(problem.reason, str(problem), stalled=True)), ahead
    turn, ask, now = ahead.reach(name, spec)
    started = time.perf_counter()
    wait, answer = None, now.decide(turn, ask)
    if isinstance(answer, Refusal) and answer.reason == Reason.PREFERRED_LEVEL_WAIT:
        wait, answer = answer.message, now.decide(turn, Ask(ask.request))
    seconds, request = time.perf_counter() - started, request_for(name, spec)
    if isinstance(answer, Refusal):
        return Result(name, request, answer, wait, seconds), now
    found = estimate_of(now.fleet, answer.profile, answer.members)
    return Result(name, request, answer, wait, seconds, found), now.taken(answer)


def claim_of(fleet: Fleet, body: Wanted) -> CardGroupSpec:
    """What a request claims as a group. Raises InvalidSpec."""
    if isinstance(body, CardGroup):
        return body.spec
    return claim_for(body, fleet)


def to_document(results: Sequence[Result]) -> dict[str, Any]:
    """The results in the form that other tools read (docs/cli.md)."""
    return {"results": [_to_dict(result) for result in results]}


def _to_dict(result: Result) -> dict[str, Any]:
    answer = result.answer
    if isinstance(answer, Refusal):
        return result_document(result.name, answer, result.seconds)
    return result_document(result.name, answer, result.seconds, result.estimate) | {"message": result.wait}


class Seated(Protocol):
    """Where a group goes, or is after a repair."""

    @property
    def members(self) -> tuple[Member, ...]: ...
    @property
    def spares(self) -> tuple[Member, ...]: ...
    @property
    def spans(self) -> Mapping[str, int]: ...
    @property
    def minimal(self) -> Mapping[str, int]: ...
    @property
    def proven(self) -> bool: ...


def result_document(
    name: str, answer: Seated | Refusal, seconds: float, estimated: dict[str, int] | None = None
) -> dict[str, Any]:
    """What every result has, whatever was asked."""
    placed = answer if not isinstance(answer, Refusal) else None
    refused = answer if isinstance(answer, Refusal) else None
    return {
        "name": name,
        "feasible": placed is not None,
        "members": [{"rank": member.rank, **seat_document(member)} for member in (placed.members if placed else ())],
        "spares": [seat_document(spare) for spare in (placed.spares if placed else ())],
        "spans": dict(placed.spans) if placed else {},
        "minimal": dict(placed.minimal) if placed else {},
        "proven": answer.proven,
        "estimate": estimated,
        "reason": str(refused.reason) if refused else None,
        "message": refused.message if refused else None,
        "change": _change(refused) if refused else [],
        "decisionSeconds": round(seconds, 6),
    }


def _change(refused: Refusal) -> list[dict[str, Any]]:
    return [
        {"domain": opening.domain, "nodes": {name: list(card_indices(mask)) for name, mask in opening.nodes.items()}}
        for opening in refused.change
    ]


def estimate_of(fleet: Fleet, profile: str, members: Sequence[Member]) -> dict[str, int] | None:
    """How long collectives would take, as in a group's status; None where the profile does not say enough."""
    found = estimate(fleet.profiles[profile], members)
    return found.to_dict() if found else None


def seat_document(member: Member) -> dict[str, Any]:
    """Where a member or a spare lies."""
    return {"node": member.node, "cards": list(card_indices(member.cards)), "domains": dict(member.domains)}
