"""What the API server, or the way to it, may answer to any request: the operator's jobs come to the same end."""

import asyncio
import random
from collections.abc import Callable

import pytest
from history import Json
from replica import REQUEST_SECONDS
from scenario import JOB, PODS, PODS_OF_A_LIFE, life, undisturbed
from world import World

from testbed.faults import Delay, DropReply, DropRequest, FailAfter, Fault, HalfOpen, Refuse
from testbed.proxy import Call

pytestmark = pytest.mark.cluster


def _share(share: float, seed: int = 1) -> Callable[[Call], bool]:
    """Spoils this share of the writes, always the same ones of a row of calls."""
    dice = random.Random(seed)
    return lambda call: call.writes and dice.random() < share


def _first_of_each() -> Callable[[Call], bool]:
    """Spoils the first write of each verb and resource."""
    seen: set[tuple[str, str]] = set()

    def first(call: Call) -> bool:
        new = call.writes and (call.verb, call.resource) not in seen
        seen.add((call.verb, call.resource))
        return new

    return first


AMBIGUOUS = [
    pytest.param(DropReply(), id="dropped"),
    pytest.param(FailAfter(500), id="500", marks=pytest.mark.nightly),
    pytest.param(FailAfter(504), id="504", marks=pytest.mark.nightly),
]
REFUSED = [
    pytest.param(Refuse(409), id="409"),
    pytest.param(Refuse(503), id="503"),
    pytest.param(Refuse(403), id="403", marks=pytest.mark.nightly),
    pytest.param(Refuse(429, retry_after=1), id="429", marks=pytest.mark.nightly),
    pytest.param(Refuse(500), id="500", marks=pytest.mark.nightly),
    pytest.param(Refuse(504), id="504", marks=pytest.mark.nightly),
    pytest.param(DropRequest(), id="cut", marks=pytest.mark.nightly),
    pytest.param(Delay(0.5), id="slow", marks=pytest.mark.nightly),
]


async def _compare(world: World, fault: Fault, when: Callable[[Call], bool]) -> None:
    expected: list[Json] = await undisturbed(world)
    operator = await world.replica()
    operator.proxy.inject("*", "*", fault, times=None, when=when)
    operator.start()
    # What is forbidden is tried again only now and then, and here several times in a row.
    assert await life(world, seconds=180.0) == expected
    assert operator.failure is None
    operator.proxy.heal()
    await world.settled()


@pytest.mark.parametrize("fault", AMBIGUOUS)
async def test_writes_that_were_applied_although_they_seem_to_have_failed(world: World, fault: Fault) -> None:
    await _compare(world, fault, _share(0.3))
    assert world.promises.creations.total() == PODS_OF_A_LIFE, "no pod came twice"


@pytest.mark.parametrize("fault", REFUSED)
async def test_writes_that_were_refused(world: World, fault: Fault) -> None:
    await _compare(world, fault, _share(0.3))


@pytest.mark.nightly
async def test_silence_after_the_first_write_of_each_kind(world: World) -> None:
    await _compare(world, HalfOpen(), _first_of_each())


async def test_silence_instead_of_lists_is_not_waited_for_long(world: World) -> None:
    """Neither of lists that fill a cache, where the server has no WatchList, nor of those that begin a term."""
    operator = await world.replica()
    old = Refuse(422)
    operator.proxy.inject("watch", "*", old, times=None, when=lambda call: "sendInitialEvents" in call.query)
    operator.proxy.inject("list", "*", HalfOpen(), times=8)
    operator.proxy.inject("list", "supernodes", HalfOpen(), nth=2, times=2)
    operator.start()
    await life(world, seconds=20 * REQUEST_SECONDS)


async def test_throttling_halves_what_is_under_way(world: World) -> None:
    operator = await world.operator()
    most = operator.leader.writer.limit
    operator.proxy.inject("create", "pods", Refuse(429, retry_after=1), times=4)
    await world.submit(JOB, replicas=PODS, cards=2)
    await world.running(JOB)
    assert operator.leader.writer.limit == most // 2


async def test_a_refused_pod_template_ends_its_job_and_no_other(world: World) -> None:
    other = await world.neighbour()
    operator = await world.operator()
    ours = world.namespace
    wrong = Refuse(422, field="spec.containers")
    operator.proxy.inject("create", "pods", wrong, times=None, when=lambda call: call.namespace == ours)
    await world.submit(JOB, replicas=4, cards=2)
    await other.submit(JOB, replicas=4, cards=2)
    await world.phase(JOB, "Failed")
    await other.running(JOB)
    await world.wait("its cards are free", lambda: f"{world.namespace}/{JOB}" not in world.holders())
    await world.settled()


@pytest.mark.parametrize(
    ("resource", "runtime", "code"),
    [
        ("cardgroups", "plain", 403),
        ("services", "plain", 403),
        ("configmaps", "plain", 403),
        ("secrets", "mpi", 403),
        ("pods", "plain", 422),
        ("secrets", "mpi", 400),
    ],
)
async def test_what_is_forbidden_is_told_and_tried_again_now_and_then(
    world: World, resource: str, runtime: str, code: int
) -> None:
    """By rights and quotas, or by policies and webhooks, which say no field that were wrong."""
    operator = await world.operator()
    operator.proxy.inject("create", resource, Refuse(code), times=None)
    await world.submit(JOB, replicas=4, cards=2, runtime=runtime)
    status = await world.phase(JOB, "Stalled")
    assert [c["reason"] for c in status["conditions"] if c["status"] == "True" and c["type"] == "Stalled"] == [
        "CreationForbidden"
    ]
    before = operator.writes
    await asyncio.sleep(3.0)
    assert operator.writes - before < 10, "no more than a few more attempts"
    operator.proxy.heal()
    await world.running(JOB)
    await world.settled()


async def test_a_job_whose_every_write_fails_holds_up_no_other(world: World) -> None:
    other = await world.neighbour()
    operator = await world.operator()
    operator.proxy.inject("*", "*", Refuse(500), times=None, when=lambda call: call.namespace == world.namespace)
    for number in range(20):
        await world.submit(f"poor-{number}", replicas=1, cards=1)
    for number in range(3):
        await other.submit(f"fine-{number}", replicas=4, cards=2)
        await other.running(f"fine-{number}", 10)
    before = operator.writes
    await asyncio.sleep(5.0)
    assert operator.writes - before < 20 * 5 * 2, "each waits longer and longer between its attempts"
    operator.proxy.heal()
    for number in range(20):
        await world.running(f"poor-{number}", 60)
    await world.settled()
