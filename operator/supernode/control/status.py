"""What the statuses of CardGroups and SuperNodes say: pure functions from records and decisions to status documents."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from supernode.api import names
from supernode.api.conditions import ConditionType, Reason
from supernode.api.profile import SuperNodeProfile
from supernode.api.supernode import SuperNode
from supernode.control.conditions import State, find, is_true, timestamp, updated
from supernode.control.fleet import FleetState
from supernode.control.grouping import Group, request_for
from supernode.control.records import Custom, PodRecord
from supernode.control.supernodes import Standing, counts, shape_of, standing
from supernode.control.wording import spans_text, stranded_text
from supernode.placement import Placement, Refusal, Request, estimate
from supernode.topology.discovery import Found
from supernode.topology.fleet import SuperNodeView
from supernode.topology.ledger import LedgerEntry, encode_placement
from supernode.topology.node import Member
from supernode.topology.profile import Profile

Json = dict[str, Any]


def difference(old: Json, new: Json) -> Json:
    """The merge patch that turns ``old`` into ``new``; empty when they are equal."""
    patch: Json = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            if inner := difference(before, value):
                patch[name] = inner
        elif before != value:
            patch[name] = value
    return patch


# CardGroups.


def request_of(group: Group) -> Request:
    """The group's claim as the planner takes it, whatever it prefers."""
    assert group.model is not None
    return request_for(f"{group.key[0]}/{group.key[1]}", group.model.spec)


def waiting_group(group: Group, refusal: Refusal, now: datetime) -> Json:
    """The status of a group that got no cards, with the reason."""
    states = {
        ConditionType.READY: State(False, refusal.reason, refusal.message),
        ConditionType.RECONCILING: State(
            not refusal.stalled, refusal.reason, "" if refusal.stalled else refusal.message
        ),
        ConditionType.STALLED: State(refusal.stalled, refusal.reason, refusal.message if refusal.stalled else ""),
        ConditionType.ALLOCATED: State(False, refusal.reason, refusal.message),
    }
    since = group.status.get("waitingSince") or timestamp(now)
    return _group(group, "Stalled" if refusal.stalled else "Pending", states, now, waitingSince=since)


def allocated_group(group: Group, placement: Placement, profile: Profile | None, now: datetime) -> Json:
    """The status of a group that the ledgers hold. profile: that of the placement; None where it is gone."""
    members = len(placement.members)
    cards = sum(member.cards.bit_count() for member in placement.held)
    spans = spans_text(placement.spans, placement.minimal, proven=placement.proven)
    spares = f" and {len(placement.spares)} spares" if placement.spares else ""
    message = f"{members} members{spares} hold {cards} cards; {spans}"
    return _group(
        group,
        "Allocated",
        _allocated(message),
        now,
        profile=placement.profile,
        placement=encode_placement(placement.members),
        **({"spares": encode_placement(placement.spares)} if placement.spares else {}),
        spans=dict(placement.spans),
        minimal=dict(placement.minimal),
        proven=placement.proven,
        **_estimate(placement, profile),
        allocatedAt=group.status.get("allocatedAt") or timestamp(now),
        waitingSince=group.status.get("waitingSince") or timestamp(group.created),
    )


def _allocated(message: str) -> dict[ConditionType, State]:
    return {
        ConditionType.READY: State(True, Reason.ALLOCATED, message),
        ConditionType.RECONCILING: State(False, Reason.ALLOCATED),
        ConditionType.STALLED: State(False, Reason.ALLOCATED),
        ConditionType.ALLOCATED: State(True, Reason.ALLOCATED, message),
    }


def _estimate(placement: Placement, profile: Profile | None) -> Json:
    known = all(member.domains for member in placement.members)
    found = estimate(profile, placement.members) if profile is not None and known else None
    return {} if found is None else {"estimate": found.to_dict()}


def confirmed_group(group: Group, now: datetime) -> Json:
    """The status of an allocated group whose spec changed in a field that moves no card, or can be read again."""
    message = find(group.status, ConditionType.ALLOCATED).get("message", "")
    return {**group.status, **_group(group, "Allocated", _allocated(message), now)}


def releasing_group(group: Group, stranded: Sequence[PodRecord], now: datetime) -> Json:
    """The status of a group that is being deleted while pods of it still run; what it holds stays as it is."""
    message = f"its cards are given back once no pod of it runs any more{stranded_text(stranded)}"
    states = {
        ConditionType.READY: State(False, Reason.RELEASED, message),
        ConditionType.RECONCILING: State(True, Reason.RELEASED, message),
    }
    return {**group.status, **_group(group, "Releasing", states, now)}


def doubled_group(group: Group, stranded: Sequence[PodRecord], now: datetime) -> Json:
    """The status of a group that was given another's cards, while pods of it still run, which its job ends for that."""
    message = "another group had cards of it before; it gets others once no pod of it runs any more"
    message += stranded_text(stranded)
    states = {
        ConditionType.READY: State(False, Reason.RELEASED, message),
        ConditionType.RECONCILING: State(True, Reason.RELEASED, message),
        ConditionType.STALLED: State(False, Reason.RELEASED),
        ConditionType.ALLOCATED: State(False, Reason.RELEASED, message),
    }
    waited = None if is_true(group.status, ConditionType.ALLOCATED) else group.status.get("waitingSince")
    return {**group.status, **_group(group, "Releasing", states, now, waitingSince=waited or timestamp(now))}


def invalid_group(group: Group, now: datetime) -> Json:
    """The status of a group without cards whose spec cannot be read."""
    return waiting_group(group, Refusal(Reason.INVALID_SPEC, _invalid(group), stalled=True), now)


def unreadable_group(group: Group, now: datetime) -> Json:
    """The status of a group that has its cards, and whose spec cannot be read any more; it keeps them."""
    message = _invalid(group)
    states = {
        ConditionType.READY: State(False, Reason.INVALID_SPEC, message),
        ConditionType.RECONCILING: State(False, Reason.INVALID_SPEC),
        ConditionType.STALLED: State(True, Reason.INVALID_SPEC, message),
    }
    return {**group.status, **_group(group, "Stalled", states, now)}


def homeless_group(group: Group, node: str, now: datetime) -> Json:
    """The status of a group whose ledger went with its SuperNode, as to which supernode this node of it belongs; what
    it holds stays as it was told."""
    message = (
        f"node {node} belongs to no supernode any more, so nothing says what the group has. Its pods run on; none is "
        "made again and no end of one counts meanwhile. Create its SuperNode and SuperNodeProfile again, or correct "
        "the node's labels; to place the job elsewhere, suspend and resume it"
    )
    states = {
        ConditionType.READY: State(False, Reason.SUPER_NODE_MISSING, message),
        ConditionType.RECONCILING: State(False, Reason.SUPER_NODE_MISSING),
        ConditionType.STALLED: State(True, Reason.SUPER_NODE_MISSING, message),
    }
    return {**group.status, **_group(group, "Stalled", states, now)}


def _invalid(group: Group) -> str:
    return group.error or "the spec cannot be read"


def reconstruct(
    profile: str, members: tuple[Member, ...], spares: tuple[Member, ...], answer: Placement | Refusal | None
) -> Placement:
    """The placement behind a committed ledger, after a crash lost the decision itself.

    ``answer`` is what the group would be given in today's fleet without it, ``None`` where that is not known: its
    minimal spans are the placement's if it is on the same profile. They are proven only where they are the group's own:
    cards may have come free since, or broken, and the fleet that it was decided on is not known any more.
    """
    spans: dict[str, set[str]] = {}
    for member in members:
        for level, domain in member.domains.items():
            spans.setdefault(level, set()).add(domain)
    counts = {level: len(domains) for level, domains in spans.items()}
    if isinstance(answer, Placement) and answer.profile == profile:
        minimal = min(counts, answer.minimal, key=lambda spans: [spans.get(level, 0) for level in answer.minimal])
        proven = answer.proven and answer.minimal == counts
        return Placement(profile, members, counts, minimal, proven, spares=spares)
    return Placement(profile, members, counts, counts, proven=False, spares=spares)


def _group(group: Group, phase: str, states: dict[ConditionType, State], now: datetime, **fields: Any) -> Json:
    old = group.status.get("conditions", [])
    return {
        "observedGeneration": group.generation,
        "phase": phase,
        "conditions": updated(old, states, generation=group.generation, now=now),
        **fields,
    }


# SuperNodeProfiles and SuperNodes.


def profile_status(record: Custom[SuperNodeProfile], state: FleetState, now: datetime) -> Json:
    """The whole status of a profile: what discovery found of it, and what it could not place."""
    name, discovery = record.key[1], state.discovery
    problems = [p.message for p in discovery.problems if p.of_profile and p.subject == name]
    message = "; ".join(problems)
    uncreated = {n: words for n, words in state.uncreated.items() if discovery.supernodes[n].profile == name}
    if record.model is None:
        ready = State(False, Reason.INVALID_SPEC, record.error or "the spec cannot be read")
    elif name not in discovery.matching:
        ready = State(True, Reason.NO_NODES, "no node matches it here")
    elif uncreated:
        first, words = min(uncreated.items())
        text = f"{len(uncreated)} of its SuperNodes cannot be created, so their nodes give no cards; {first}: {words}"
        ready = State(False, Reason.CREATION_FORBIDDEN, "; ".join((text, *problems)))
    else:
        ready = State(True, Reason.DISCOVERED, message)
    stalled = State(not ready.status, ready.reason, "" if ready.status else ready.message)
    states = {
        ConditionType.READY: ready,
        ConditionType.RECONCILING: State(False, ready.reason),
        ConditionType.STALLED: stalled,
    }
    unassigned = len(discovery.unassigned.get(name, ()))
    return {
        "observedGeneration": record.generation,
        "superNodes": discovery.formed.get(name, 0) - len(uncreated),
        "nodes": discovery.matching.get(name, 0) - unassigned,
        "unassignedNodes": unassigned,
        "conditions": updated(record.status.get("conditions", []), states, generation=record.generation, now=now),
    }


def discovered_supernode(found: Found) -> Json:
    """The SuperNode that node labels tell of."""
    return {
        "metadata": {"name": found.name, "labels": {names.LABEL_DISCOVERED: "true"}},
        "spec": {"profile": found.profile, "nodeSelector": dict(found.node_selector)},
    }


def supernode_status(record: Custom[SuperNode], view: SuperNodeView | None, state: FleetState, now: datetime) -> Json:
    """The whole status of a SuperNode, its ledger as it is."""
    status: Json = {"observedGeneration": record.generation}
    status |= {name: record.status[name] for name in ("ledger", "term") if name in record.status}
    if record.status.get("ledger") and record.status.get("shape"):
        status["shape"] = record.status["shape"]
    elif view is not None:
        status["shape"] = shape_of(view.profile)
    if view is not None:
        status |= counts(view)
    status["conditions"] = updated(
        record.status.get("conditions", []),
        _supernode_states(record, view, state),
        generation=record.generation,
        now=now,
    )
    return status


def ledger_patch(
    record: Custom[SuperNode],
    entries: Iterable[LedgerEntry],
    view: SuperNodeView | None,
    state: FleetState,
    term: int,
    now: datetime,
) -> Json:
    """The patch of a SuperNode's status that swaps its ledger in ``term`` and brings its counts along."""
    ledger = [entry.text for entry in entries]
    return difference(record.status, {**supernode_status(record, view, state, now), "ledger": ledger, "term": term})


def _supernode_states(
    record: Custom[SuperNode], view: SuperNodeView | None, state: FleetState
) -> dict[ConditionType, State]:
    name = record.key[1]
    if record.model is None:
        found = Standing(Reason.INVALID_SPEC, record.error or "the spec cannot be read", ready=False)
    else:
        cordoned = record.model.spec.cordoned
        found = standing(view, state.troubles.get(name), state.conflicts.get(name), cordoned=cordoned)
    reason, message, ready = found.reason, found.message, found.ready
    stalled = not ready and reason != Reason.NO_NODES
    return {
        ConditionType.READY: State(ready, reason, message),
        ConditionType.RECONCILING: State(reason == Reason.NO_NODES, reason),
        ConditionType.STALLED: State(stalled, reason, message if stalled else ""),
    }
