"""Placement decisions that leave the event loop alive: watches, probes and writers must not wait for them."""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TypeVar

from supernode.api.conditions import Reason
from supernode.control.observer import Observer
from supernode.control.slices import Slices
from supernode.placement import Placement, Refusal, Request, plan
from supernode.placement.plan import eligible
from supernode.topology.fleet import Fleet
from supernode.topology.profile import UnknownLevel

_log = logging.getLogger(__name__)

T = TypeVar("T")

INLINE_SECONDS = 0.005
"""A decision expected to take longer goes to a thread; handing it over costs about 0.2 ms and makes the loop share."""

_KINDS = 4096


@dataclass(frozen=True, slots=True)
class Ask:
    """What groups that ask for the same have in common: from one fleet all of them get the same answer.

    ``preferred`` is the level whose one domain is waited for and how long at most, as the spec says it; ``None`` where
    none is preferred or that time is over.
    """

    request: Request
    preferred: tuple[str, str] | None = None

    @property
    def narrow(self) -> Request:
        """The request with its preferred level insisted on."""
        assert self.preferred is not None
        return replace(self.request, preferred=self.preferred[0])

    @property
    def bounded(self) -> bool:
        """Whether ``maxSpan`` may come to bind: a decision of the same kind then takes a thousand times longer."""
        return any(most > 1 for most in self.request.max_span.values())

    @property
    def kind(self) -> Hashable:
        """Decisions of one kind take about equally long: they read the same tables, which the first of them fills."""
        ask = self.request
        size = (ask.members - 1).bit_length()
        limits = tuple(sorted(ask.max_span))
        return (
            ask.profile,
            ask.resource,
            ask.precision,
            ask.required,
            ask.cards_per_member,
            size,
            ask.blocks,
            ask.spares,
            ask.shape,
            limits,
            self.preferred,
        )


def decide(fleet: Fleet, ask: Ask) -> Placement | Refusal:
    """Place now, or refuse. Pure: the same fleet and ask give the same answer in any thread."""
    wide = plan(fleet, ask.request)
    if ask.preferred is None or (isinstance(wide, Refusal) and wide.stalled):
        return wide
    if (misspelt := _unknown_level(fleet, ask)) is not None:
        return misspelt
    if isinstance(wide, Refusal):
        return wide
    narrow = plan(fleet, ask.narrow)
    if isinstance(narrow, Placement):
        return narrow
    if narrow.stalled:
        return wide
    level, wait = ask.preferred
    message = f"waits for one domain of level {level}, at most {wait}: {narrow.message}"
    return replace(narrow, reason=Reason.PREFERRED_LEVEL_WAIT, message=message, level=level)


def _unknown_level(fleet: Fleet, ask: Ask) -> Refusal | None:
    """The refusal where no profile that the request may use has its preferred level."""
    assert ask.preferred is not None
    profiles = eligible(fleet, ask.request)
    problem = None
    for profile in () if isinstance(profiles, Refusal) else profiles:
        try:
            profile.level_index(ask.preferred[0])
        except UnknownLevel as unknown:
            problem = problem or unknown
        else:
            return None
    if problem is None:
        return None
    text = f"topology.preferred: {problem}; name one of them"
    return Refusal(Reason.UNKNOWN_LEVEL, text, level=problem.level, stalled=True)


class Planner:
    """Decides one ask at a time: at once where decisions of its kind were short, else in a thread."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._expected: dict[Hashable, float] = {}
        self._slices = Slices()

    async def decide(self, fleet: Fleet, ask: Ask) -> tuple[Placement | Refusal, float]:
        """The answer, and the processor seconds it took."""
        answer, seconds = await self._answer(fleet, ask)
        self._observer.decided("placed" if isinstance(answer, Placement) else str(answer.reason), seconds)
        return answer, seconds

    async def would_place(self, fleet: Fleet, request: Request) -> Placement | Refusal:
        """The answer to a question that decides nothing, and is not counted."""
        answer, _ = await self._answer(fleet, Ask(request))
        return answer

    async def _answer(self, fleet: Fleet, ask: Ask) -> tuple[Placement | Refusal, float]:
        kind = ask.kind
        inline = not ask.bounded and self._expected.get(kind, INLINE_SECONDS) < INLINE_SECONDS
        answer, seconds = _timed(fleet, ask) if inline else await asyncio.to_thread(_timed, fleet, ask)
        if len(self._expected) >= _KINDS:
            self._expected.clear()
        self._expected[kind] = max(seconds, self._expected.get(kind, 0.0) / 2)
        await self._slices.turn()
        return answer, seconds

    async def run(self, question: Callable[[Fleet, Request], T], fleet: Fleet, request: Request) -> T:
        """Any pure question about a fleet and a request, in a thread."""
        return await asyncio.to_thread(question, fleet, request)

    def expect_long(self) -> None:
        """Much of the fleet changed: what decisions remember of it is void."""
        self._expected.clear()


def _timed(fleet: Fleet, ask: Ask) -> tuple[Placement | Refusal, float]:
    started = time.thread_time()
    try:
        answer = decide(fleet, ask)
    except Exception as mistake:  # it would end the operator, and end it again after every restart
        _log.exception("no decision about %s", ask.request)
        text = f"the operator failed to decide ({mistake!r}); report this with the operator's log"
        answer = Refusal(Reason.DECISION_FAILED, text, stalled=True)
    return answer, time.thread_time() - started
