"""Reading what the API server sends: lines of a watch and Status bodies of errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson

from supernode.cluster.errors import ApiError, error_from_status

_CHUNK_BYTES = 1 << 17
"""Some thirty pods: a few milliseconds of work."""

_SHOWN_BODY_CHARACTERS = 500


async def lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The complete lines of a stream, without their ends and of any length; a last line without its end is dropped.

    However much has come, others on the event loop have their turn now and then.
    """
    head: list[bytes] = []
    while chunk := await content.read(_CHUNK_BYTES):
        if len(chunk) == _CHUNK_BYTES:
            await asyncio.sleep(0)  # there may be more, for which read would not wait
        first, *rest = chunk.split(b"\n")
        head.append(first)
        if rest:
            yield b"".join(head)
            for line in rest[:-1]:
                yield line
            head = [rest[-1]]


async def read_error(response: aiohttp.ClientResponse) -> ApiError:
    """The error that a response with a code of 400 or more stands for, also when something between us answered it."""
    body = await response.read()
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        decoded = None
    status: dict[str, Any]
    if isinstance(decoded, dict):
        status = decoded
    else:
        status = {"message": body.decode(errors="replace").strip()[:_SHOWN_BODY_CHARACTERS] or response.reason}
    return error_from_status(response.status, status, retry_after=_seconds(response.headers.get("Retry-After")))


def _seconds(header: str | None) -> float | None:
    """A Retry-After in seconds; its date form, which the API server does not use, counts as absent."""
    return float(header) if header is not None and header.isdigit() else None
