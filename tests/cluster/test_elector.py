"""Electors on a real API server, behind proxies that make it slow, wrong or unreachable for one of them."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from cluster_helpers import NAMESPACES, until

from supernode.cluster.elector import Elector
from supernode.cluster.errors import NotLeading, Unavailable
from supernode.cluster.lease import Timing
from supernode.cluster.resources import EVENTS, LEASES, JsonObject
from supernode.cluster.session import Session
from testbed.faults import Delay, DropReply, FailAfter, HalfOpen, HoldEvents, Pause, Refuse
from testbed.proxy import Proxy

pytestmark = pytest.mark.cluster

TIMING = Timing(duration=4, renew_deadline=2.5, retry=0.5)
NAME = "election"


class Candidate:
    """An elector and the terms it led, each as [began, ended]."""

    def __init__(self, session: Session, namespace: str, name: str) -> None:
        self.elector = Elector(session, (namespace, NAME), name, TIMING)
        self.terms: list[list[float]] = []
        self.task = asyncio.create_task(self.elector.run(self.lead))
        self.ending = 0.0

    async def lead(self) -> None:
        term = [time.monotonic()]
        self.terms.append(term)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self.ending)
            term.append(time.monotonic())

    @property
    def leads(self) -> bool:
        return bool(self.terms) and len(self.terms[-1]) == 1

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


Contend = Callable[..., Candidate]


@pytest.fixture
async def contend(session: Session, proxied: Session, namespace: str) -> AsyncIterator[Contend]:
    """Starts a candidate; all are stopped in the end, before the sessions they use are closed."""
    started: list[Candidate] = []

    def start(
        name: str, *, by_proxy: bool = False, kind: type[Candidate] = Candidate, namespace: str = namespace
    ) -> Candidate:
        started.append(kind(proxied if by_proxy else session, namespace, name))
        return started[-1]

    yield start
    for candidate in started:
        await candidate.stop()


async def lease_of(session: Session, namespace: str) -> JsonObject:
    return await session.get(LEASES, (namespace, NAME))


def apart(*candidates: Candidate) -> bool:
    """Whether no two terms overlap."""
    terms = sorted((term[0], term[1] if len(term) > 1 else float("inf")) for c in candidates for term in c.terms)
    return all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(terms))


async def test_of_several_that_start_together_one_leads(contend: Contend, session: Session, namespace: str) -> None:
    candidates = [contend(name) for name in "abc"]
    await until(lambda: any(c.leads for c in candidates))
    await asyncio.sleep(2 * TIMING.retry)
    assert [c.leads for c in candidates].count(True) == 1
    spec = (await lease_of(session, namespace))["spec"]
    leader = next(c for c in candidates if c.leads)
    assert spec["holderIdentity"] == leader.elector.identity
    assert spec["leaseDurationSeconds"] == TIMING.duration
    assert spec["leaseTransitions"] == 0


async def test_a_stopped_leader_hands_over_at_once(contend: Contend, session: Session, namespace: str) -> None:
    first = contend("first")
    await until(lambda: first.leads)
    second = contend("second")
    await asyncio.sleep(2 * TIMING.retry)
    assert not second.leads
    first.ending = 0.3
    await first.stop()
    stopped = time.monotonic()
    await until(lambda: second.leads)
    assert second.terms[0][0] - stopped < 1.5, "the watch tells of the release, no time-out is waited for"
    assert apart(first, second)
    assert (await lease_of(session, namespace))["spec"]["leaseTransitions"] == 1


async def test_renewals_keep_the_lease_for_longer_than_it_lasts(contend: Contend) -> None:
    first, second = contend("first"), contend("second")
    await until(lambda: first.leads or second.leads)
    leader = first if first.leads else second
    await asyncio.sleep(1.5 * TIMING.duration)
    assert leader.leads
    assert len(first.terms) + len(second.terms) == 1


async def test_who_cannot_reach_the_server_has_stopped_before_another_starts(contend: Contend, proxy: Proxy) -> None:
    cut_off = contend("cut-off", by_proxy=True)
    await until(lambda: cut_off.leads)
    other = contend("other")
    await asyncio.sleep(TIMING.retry)
    proxy.unreachable = True
    proxy.sever()
    await until(lambda: not cut_off.leads)
    assert not other.leads
    with pytest.raises(NotLeading):
        cut_off.elector.guard()
    await until(lambda: other.leads)
    proxy.heal()
    await asyncio.sleep(2 * TIMING.retry)
    assert not cut_off.leads
    assert apart(cut_off, other)


async def test_a_leader_that_ends_slowly_may_not_write_any_more(
    contend: Contend, proxy: Proxy, proxied: Session, namespace: str
) -> None:
    """Its coroutine still runs when others may lead; what it sends then does not go out."""
    slow = contend("slow", by_proxy=True)
    slow.ending = 3 * TIMING.duration
    await until(lambda: slow.leads)
    writing = proxied.guarded(slow.elector.guard)
    event = {"metadata": {"generateName": "late-", "namespace": namespace}}
    proxy.inject("*", "leases", Refuse(500), times=None)
    await until(lambda: not slow.elector.leads)
    assert slow.leads, "still ending"
    calls = len(proxy.calls)
    with pytest.raises(NotLeading):
        await writing.create(EVENTS, event)
    assert [call for call in proxy.calls[calls:] if call.resource == "events"] == []
    await writing.list(EVENTS, namespace)
    slow.ending = 0.0
    slow.task.cancel()


async def test_a_write_under_way_ends_before_another_may_lead(
    contend: Contend, proxy: Proxy, proxied: Session, namespace: str
) -> None:
    leader = contend("leader", by_proxy=True)
    await until(lambda: leader.leads)
    proxy.inject("create", "namespaces", HalfOpen())
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await proxied.guarded(leader.elector.guard).create(NAMESPACES, {"metadata": {"name": f"{namespace}-late"}})
    assert caught.value.maybe_applied
    assert time.monotonic() - began < TIMING.duration


@pytest.mark.parametrize(
    "fault", [Refuse(500), Refuse(429, retry_after=1), DropReply(), FailAfter(500), Refuse(409), Delay(0.7)], ids=repr
)
async def test_one_bad_answer_to_a_renewal_changes_nothing(contend: Contend, proxy: Proxy, fault: Any) -> None:
    leader, other = contend("leader", by_proxy=True), contend("other")
    await until(lambda: leader.leads or other.leads)
    if other.leads:
        await other.stop()
        await until(lambda: leader.leads)
    proxy.inject("patch", "leases", fault)
    await asyncio.sleep(1.5 * TIMING.duration)
    assert leader.leads
    assert len(leader.terms) == 1


async def test_a_lease_taken_without_an_answer_is_ours_all_the_same(contend: Contend, proxy: Proxy) -> None:
    proxy.inject("create", "leases", DropReply())
    candidate = contend("candidate", by_proxy=True)
    await until(lambda: candidate.leads, TIMING.duration)


async def test_a_lease_older_than_it_was_is_taken_all_the_same(
    contend: Contend, session: Session, namespace: str
) -> None:
    """After a restore of etcd with a bumped revision: what a replica knows of the Lease was never written there."""
    metadata = {"namespace": namespace, "name": NAME}
    await session.create(LEASES, {"metadata": metadata, "spec": {"holderIdentity": ""}})
    later = await session.create(LEASES, {"metadata": {"namespace": namespace, "name": "later"}, "spec": {}})
    candidate = contend("candidate")
    version = later["metadata"]["resourceVersion"]
    candidate.elector._reflector.put({"metadata": {**metadata, "resourceVersion": version}, "spec": {}})
    await until(lambda: candidate.leads)


async def test_labels_on_the_lease_disturb_nobody(contend: Contend, session: Session, namespace: str) -> None:
    leader = contend("leader")
    await until(lambda: leader.leads)
    for number in range(10):
        await session.merge_patch(LEASES, (namespace, NAME), {"metadata": {"labels": {"n": str(number)}}})
        await asyncio.sleep(0.2)
    await asyncio.sleep(TIMING.retry * 2)
    assert leader.leads
    assert len(leader.terms) == 1
    assert (await lease_of(session, namespace))["metadata"]["labels"] == {"n": "9"}


async def test_who_finds_the_lease_gone_or_given_to_another_stops(
    contend: Contend, session: Session, namespace: str
) -> None:
    leader = contend("leader")
    await until(lambda: leader.leads)
    await session.delete(LEASES, (namespace, NAME))
    await until(lambda: len(leader.terms) == 2 and leader.leads)
    await session.merge_patch(LEASES, (namespace, NAME), {"spec": {"holderIdentity": "by-hand"}})
    await until(lambda: not leader.leads)
    given = time.monotonic()
    await until(lambda: leader.leads)
    assert time.monotonic() - given > TIMING.duration - 1, "nobody renews it, but that takes a lease to know"


async def test_a_freeze_longer_than_the_lease_is_noticed_before_anything_is_sent(contend: Contend) -> None:
    """The whole process stands still, as under SIGSTOP: no timer fires meanwhile, the clock goes on."""
    leader = contend("leader")
    await until(lambda: leader.leads)
    assert leader.elector.guard() > 0
    time.sleep(TIMING.renew_deadline + 0.5)  # noqa: ASYNC251 (the freeze)
    with pytest.raises(NotLeading):
        leader.elector.guard()
    await until(lambda: len(leader.terms[0]) == 2)
    await until(lambda: leader.leads)


async def test_who_does_not_want_to_lead_lets_others(contend: Contend) -> None:
    class Unwilling(Candidate):
        async def lead(self) -> None:
            self.terms.append([time.monotonic(), time.monotonic()])

    unwilling = contend("unwilling", kind=Unwilling)
    await until(lambda: bool(unwilling.terms))
    willing = contend("willing")
    await until(lambda: willing.leads)
    await asyncio.sleep(TIMING.duration + 1)
    assert len(unwilling.terms) == 1
    assert willing.leads


async def test_a_failure_while_leading_surfaces_after_the_lease_is_given_up(
    contend: Contend, session: Session, namespace: str
) -> None:
    class Failing(Candidate):
        async def lead(self) -> None:
            raise ArithmeticError("broken")

    failing = contend("failing", kind=Failing)
    with pytest.raises(ExceptionGroup) as caught:
        await failing.task
    failing.task = asyncio.create_task(asyncio.sleep(0))
    assert caught.group_contains(ArithmeticError)
    assert (await lease_of(session, namespace))["spec"]["holderIdentity"] == ""


async def test_without_rights_it_waits_for_them(contend: Contend, proxy: Proxy) -> None:
    proxy.inject("create", "leases", Refuse(403), times=3)
    patient = contend("patient", by_proxy=True)
    await until(lambda: patient.leads)


async def test_without_the_namespace_of_its_lease_it_waits_and_says_so(
    contend: Contend, proxy: Proxy, session: Session, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    missing = f"{namespace}-later"
    patient = contend("patient", by_proxy=True, namespace=missing)
    await asyncio.sleep(5 * TIMING.retry)
    writes = [call for call in proxy.calls if call.writes]
    assert 2 <= len(writes) <= 6, "once each retry period"
    assert f'cannot write the Lease {missing}/{NAME}, tries again: namespaces "{missing}" not found' in caplog.text
    await session.create(NAMESPACES, {"metadata": {"name": missing}})
    await until(lambda: patient.leads)
    await session.delete(NAMESPACES, ("", missing))


async def test_a_leader_stopped_amid_a_renewal_gives_the_lease_up(
    contend: Contend, proxy: Proxy, session: Session, namespace: str
) -> None:
    """The renewal is applied, but neither its answer nor the watch tells: the release names a version that is gone."""
    leader = contend("leader", by_proxy=True)
    await until(lambda: leader.leads)
    proxy.inject("watch", "leases", HoldEvents(), times=None)
    proxy.sever()
    await until(lambda: sum(call.verb == "watch" for call in proxy.calls) == 2)
    applied = Pause(applied=True)
    proxy.inject("patch", "leases", applied)
    await asyncio.wait_for(applied.reached.wait(), 10)
    await leader.stop()
    assert (await lease_of(session, namespace))["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize("answered", [True, False])
async def test_who_is_stopped_while_taking_the_lease_gives_it_up(
    contend: Contend, proxy: Proxy, session: Session, namespace: str, answered: bool
) -> None:
    taking = Pause(applied=True)
    proxy.inject("create", "leases", taking)
    candidate = contend("stopped", by_proxy=True)
    await asyncio.wait_for(taking.reached.wait(), 10)
    if answered:
        asyncio.get_running_loop().call_later(0.2, taking.release.set)
    await candidate.stop()
    assert (await lease_of(session, namespace))["spec"]["holderIdentity"] == ""
    assert not candidate.terms


async def test_it_stands_still_while_a_renewal_hangs_and_stops_in_time(contend: Contend, proxy: Proxy) -> None:
    leader = contend("leader", by_proxy=True)
    await until(lambda: leader.leads)
    proxy.inject("patch", "leases", Pause(), times=None)
    hung = time.monotonic()
    await until(lambda: not leader.leads)
    assert time.monotonic() - hung < TIMING.duration


@pytest.mark.parametrize("times", [1, 2], ids=["opening a connection", "about to send its body"])
async def test_a_write_whose_term_ends_meanwhile_is_not_sent(
    proxy: Proxy, proxied: Session, namespace: str, times: int
) -> None:
    """``times`` is how often it is asked about before the end: first before it opens a connection."""
    asked = 0

    def guard() -> float:
        nonlocal asked
        asked += 1
        if asked > times:
            raise NotLeading("the term ended meanwhile")
        return 5.0

    with pytest.raises(NotLeading):
        await proxied.guarded(guard).create(NAMESPACES, {"metadata": {"name": f"{namespace}-late"}})
    assert not any(call.verb == "create" for call in proxy.calls)
    assert asked == times + 1
    await proxied.guarded(lambda: 5.0).list(NAMESPACES)
