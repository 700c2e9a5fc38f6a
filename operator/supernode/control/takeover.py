"""What a new leader does before anything else, so that it acts on what the last one did, and that one acts no more.

1. It writes the number of its term, higher than any before, into the status of every SuperNode. Each of these swaps
   names the version it was decided on, so from then on no swap of an earlier leader can succeed, however late it
   arrives; and the answers are the ledgers as the last leader left them.
2. It reads every cache anew. A standby's watch may have been silent for a minute without its knowing: a group or a
   node that a ledger names and the cache does not would look as if it were gone.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable

from supernode.api.errors import SupernodeError
from supernode.api.supernode import SuperNode
from supernode.cluster import resources
from supernode.cluster.backoff import Backoff
from supernode.cluster.errors import ApiError
from supernode.cluster.reflector import Reflector
from supernode.cluster.writer import Writer
from supernode.control.caches import Caches
from supernode.control.records import Custom, Key
from supernode.control.supernodes import Ledger
from supernode.control.writes import status_patch

_log = logging.getLogger(__name__)


class Deposed(SupernodeError):  # noqa: N818 (a state, not a mistake)
    """Another operator has taken the ledgers over, in a later term than ours."""


def check_term(term: int, ledgers: Iterable[Ledger]) -> None:
    """Raise Deposed when a ledger was written in a later term."""
    latest = max((ledger.term for ledger in ledgers), default=0)
    if latest > term:
        raise Deposed(f"this operator's term {term} is over: another one took the ledgers in term {latest}")


async def take_over(writer: Writer, caches: Caches) -> int:
    """Take every ledger and read every cache anew; the number of the term that begins. Tries until it succeeds."""
    await _repeated("SuperNodes", caches.supernodes.read_again)
    term = await _take_ledgers(writer, caches.supernodes)
    others = [reflector for reflector in caches.filled() if reflector is not caches.supernodes]
    await asyncio.gather(*(_repeated(reflector.resource.kind, reflector.read_again) for reflector in others))
    return term


async def _take_ledgers(writer: Writer, supernodes: Reflector[Custom[SuperNode]]) -> int:
    """Write a term into every ledger that is higher than all others, those of rivals doing the same included."""
    pauses = Backoff(0.05, 5.0, random.random)
    term, ours = 0, set[Key]()
    while others := [record for key, record in supernodes.store.items() if key not in ours]:
        latest = max(record.status.get("term", 0) for record in others)
        if latest >= term:
            term, ours = latest + 1, set()
            others = list(supernodes.store.values())
        calls = [status_patch(resources.SUPERNODES, r.key, {"term": term}, r.resource_version) for r in others]
        results = await writer.run("term", calls)
        for record, result in zip(others, results, strict=True):
            if not isinstance(result, ApiError):
                supernodes.put(result)
                ours.add(record.key)
        if failed := [result for result in results if isinstance(result, ApiError)]:
            _log.warning("%d ledgers are not taken over yet, tries again: %s", len(failed), failed[0])
            await asyncio.sleep(pauses.delay())
            await _repeated("SuperNodes", supernodes.read_again)
    return max(term, 1)


async def _repeated(what: str, read: Callable[[], Awaitable[None]]) -> None:
    """Read until it succeeds."""
    pauses = Backoff(0.1, 5.0, random.random)
    while True:
        try:
            return await read()
        except ApiError as problem:
            _log.warning("cannot read %s, tries again: %s", what, problem)
            await asyncio.sleep(pauses.delay())
