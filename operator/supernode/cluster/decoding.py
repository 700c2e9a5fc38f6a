"""JSON from an API server, which takes more than a fast decoder does: objects nested to any depth, and in the parts of
them that it passes on as they were written, text that is no text."""

import json
import re
from typing import Any

import orjson

DEPTH = 500
"""Levels that are kept of what is nested deeper than a decoder goes.

Twice what `api.reading` takes: a custom resource of which something was cut is refused as nested too deep, and never
taken for what is left of it.
"""

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]|[\]}]', re.DOTALL)


def decoded(data: bytes) -> Any:
    """The value of a JSON text; raises json.JSONDecodeError, which no object of any user is a reason for.

    Null stands for what is nested deeper than `DEPTH`, if a level of it is too deep to be decoded.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        shallow = _cut(data)
    try:
        return orjson.loads(shallow)
    except orjson.JSONDecodeError:
        return json.loads(shallow.decode(errors="replace"))  # also takes halves of surrogate pairs


def _cut(data: bytes) -> bytes:
    kept, depth, start = list[bytes](), 0, 0
    for token in _TOKEN.finditer(data):
        match data[token.start()]:
            case 0x5B | 0x7B:  # [ {
                depth += 1
                if depth == DEPTH + 1:
                    kept += data[start : token.start()], b"null"
            case 0x5D | 0x7D:  # ] }
                if depth == DEPTH + 1:
                    start = token.end()
                depth -= 1
    return b"".join([*kept, data[start:]])
