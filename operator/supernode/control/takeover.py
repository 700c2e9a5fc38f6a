"""What a new leader does before anything else, so that it acts on what the last one did, and that one acts no more.

1. It writes the number of its term, higher than any before, into the status of every SuperNode. Each of these swaps
   names the version it was decided on, so from then on no swap of an earlier leader can succeed, however late it
   arrives; and the answers are the ledgers as the last leader left them. A SuperNode whose status cannot be written
   again and again, as with a policy or a webhook that fails, holds up no other: it gives no cards until then.
2. It reads every cache anew. A standby's watch may have been silent for a minute without its knowing: a group or a
   node that a ledger names and the cache does not would look as if it were gone. What not every cluster serves, as
   devices, is left as it was where it cannot be read any more.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from supernode.api.errors import SupernodeError
from supernode.api.supernode import SuperNode
from supernode.cluster import resources
from supernode.cluster.backoff import Backoff
from supernode.cluster.errors import ApiError, BadRequest, Conflict, Forbidden, Invalid, NotFound, NotLeading
from supernode.cluster.reflector import Reflector
from supernode.cluster.session import Session
from supernode.cluster.writer import Writer
from supernode.control.caches import Caches
from supernode.control.records import Custom, Key
from supernode.control.supernodes import Ledger
from supernode.control.writes import status_patch

_REFUSALS = 5
"""So often a ledger is not taken, within a second or so, before a term begins without it."""

_NO_REFUSAL = (Conflict, NotFound, NotLeading)
"""What is no answer about a ledger: another has written it, or it is gone, or nothing was sent."""

_log = logging.getLogger(__name__)


class Deposed(SupernodeError):  # noqa: N818 (a state, not a mistake)
    """Another operator has taken the ledgers over, in a later term than ours."""


def check_term(term: int, ledgers: Iterable[Ledger]) -> None:
    """Raise Deposed when a ledger was written in a later term."""
    latest = max((ledger.term for ledger in ledgers), default=0)
    if latest > term:
        raise Deposed(f"this operator's term {term} is over: another one took the ledgers in term {latest}")


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The number of the term that begins, and the supernodes whose ledgers could not be taken, with the reason."""

    term: int
    refused: Mapping[str, str] = field(default_factory=dict)


async def take_over(writer: Writer, caches: Caches, beat: Callable[[], None]) -> TakeOver:
    """Take every ledger that can be taken and read every cache anew. Tries until it succeeds; ``beat`` is called for
    each ledger and each cache that did."""
    always = caches.always()

    async def read(cache: Reflector[Any]) -> None:
        await _repeated(cache.resource.kind, cache.read_again, needed=cache in always)
        beat()

    await read(caches.supernodes)
    taken = await _take_ledgers(writer, caches.supernodes, beat)
    await asyncio.gather(*(read(cache) for cache in caches.filled() if cache is not caches.supernodes))
    return taken


async def _take_ledgers(writer: Writer, supernodes: Reflector[Custom[SuperNode]], beat: Callable[[], None]) -> TakeOver:
    """Write a term into every ledger that is higher than all others, those of rivals doing the same included."""
    pauses = Backoff(0.05, 5.0, random.random)
    term, ours, refusals = 0, set[Key](), Counter[Key]()

    async def take(record: Custom[SuperNode], session: Session) -> None:
        patch = status_patch(resources.SUPERNODES, record.key, {"term": term}, record.resource_version)
        supernodes.put(await patch(session))
        ours.add(record.key)
        beat()

    while others := [record for key, record in supernodes.store.items() if key not in ours]:
        latest = max(record.status.get("term", 0) for record in others)
        if latest >= term:
            term, ours = latest + 1, set()
            others = list(supernodes.store.values())
        results = await writer.run("term", [partial(take, record) for record in others])
        if failed := {r.key: result for r, result in zip(others, results, strict=True) if isinstance(result, ApiError)}:
            problem = next(iter(failed.values()))
            refusals.update(key for key, result in failed.items() if not isinstance(result, _NO_REFUSAL))
            refused = all(isinstance(result, BadRequest | Forbidden | Invalid) for result in failed.values())
            # That none can be written is the server's doing, and will pass, unless it says that they are not taken.
            if (ours or refused) and all(refusals[key] >= _REFUSALS for key in failed):
                _log.error("begins without %d ledgers, whose supernodes give no cards: %s", len(failed), problem)
                return TakeOver(term, {name: str(result) for (_, name), result in failed.items()})
            _log.warning("%d ledgers are not taken over yet, tries again: %s", len(failed), problem)
            await asyncio.sleep(pauses.delay())
            await _repeated("SuperNodes", supernodes.read_again)
    return TakeOver(max(term, 1))


async def _repeated(what: str, read: Callable[[], Awaitable[None]], *, needed: bool = True) -> None:
    """Read until it succeeds, or until the server does not serve or give what is not `needed`."""
    pauses = Backoff(0.1, 5.0, random.random)
    while True:
        try:
            return await read()
        except ApiError as problem:
            if not needed and isinstance(problem, NotFound | Forbidden):
                _log.warning("begins with %s as they were: %s", what, problem)
                return None
            _log.warning("cannot read %s, tries again: %s", what, problem)
            await asyncio.sleep(pauses.delay())
