"""Reading manifests: files, folders and standard input as single objects that know where they came from."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import yaml

from supernode.cli.errors import BadInput
from supernode.cli.scalars import Loader

Json = dict[str, Any]

STDIN = "-"
_SUFFIXES = (".json", ".yaml", ".yml")
_MAX_DEPTH = 200
"""No Kubernetes object is nested nearly as deep; libyaml's recursion ends the process at some ten thousand."""
_MAX_VALUES = 50_000_000
"""Values one document may have after its aliases are resolved: enough for any fleet, too few to fill the memory."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file. `source` is the file, `number` counts the documents of the file from 1."""

    source: str
    number: int
    item: str
    body: Json

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def group(self) -> str | None:
        """The API group, "" for the core group, None when apiVersion is absent."""
        version = self.body.get("apiVersion")
        return None if version is None else str(version).rpartition("/")[0]

    @property
    def name(self) -> str:
        """The object's name, or "" when it has none."""
        metadata = self.body.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        return name if isinstance(name, str) else ""

    def error(self, problem: object) -> BadInput:
        """The error that says what is wrong and where."""
        return _error(self.source, self.number, self.item, problem)


def specified(body: Json) -> Json:
    """An object without its status: what its owner says of it. The status may be of another version of the operator."""
    return {name: part for name, part in body.items() if name != "status"}


def read_documents(paths: Iterable[str]) -> Iterator[Document]:
    """Every object in these files and folders, in order; lists are taken apart, empty documents left out.

    A folder stands for its .json, .yaml and .yml files, by name, not for its subfolders; `-` for standard input.
    Raises BadInput.
    """
    for path in paths:
        for source, data in _read(path):
            for number, content in enumerate(_parse(source, data), start=1):
                if content is not None:
                    yield from _objects(source, number, content)


def _read(path: str) -> Iterator[tuple[str, bytes]]:
    if not path:
        raise BadInput("an empty path: name a file, a folder or - for standard input")
    if path == STDIN:
        yield "standard input", _standard_input()
        return
    try:
        files = sorted(Path(path).iterdir()) if Path(path).is_dir() else [Path(path)]
        chosen = files if files == [Path(path)] else [f for f in files if f.suffix in _SUFFIXES and f.is_file()]
        if not chosen:
            raise BadInput(f"{path}: the folder has no {', '.join(_SUFFIXES)} file; name the files or another folder")
        for file in chosen:
            yield str(file), file.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{path}: cannot be read: {reason}; name a file, a folder or - for standard input") from None


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise BadInput("standard input is closed; give it something to read, or name a file")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise BadInput(f"standard input: cannot be read: {error.strerror}") from None


def _parse(source: str, data: bytes) -> Iterator[object]:
    """The documents of a file as plain JSON values."""
    if data.lstrip()[:1] == b"{":
        try:
            found = list(_json_documents(source, data))
        except ValueError:
            pass  # YAML in flow style begins so too
        else:
            yield from found
            return
    number = 1
    try:
        _check_depth(data)
        for number, content in enumerate(yaml.load_all(data, Loader=Loader), start=1):
            if b"&" in data:
                _check_aliases(content)
            yield orjson.loads(orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS))
            number += 1
    except BadInput as error:
        raise _error(source, number, "", error) from None
    except Exception as error:  # PyYAML's constructors raise whatever a malformed scalar makes Python raise
        reason = re.sub(r"\s+", " ", str(error)) or type(error).__name__
        raise _error(source, number, "", f"is not readable as YAML or JSON: {reason:.300}") from None


def _json_documents(source: str, data: bytes) -> Iterator[object]:
    """JSON documents, one after the other. Raises ValueError where it may be YAML."""
    try:
        yield orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    else:
        return
    text, decoder, at = data.decode(), json.JSONDecoder(), 0
    for number in count(1):
        while text[at : at + 1].isspace():
            at += 1
        if at == len(text):
            return
        try:
            end = decoder.raw_decode(text, at)[1]
        except (ValueError, RecursionError) as error:
            if number == 1 or text[at] != "{":
                raise ValueError from None
            raise _error(source, number, "", f"is not readable as JSON: {error}") from None
        yield orjson.loads(text[at:end])
        at = end


def _check_depth(data: bytes) -> None:
    """Before the parser recurses over the document."""
    depth = 0
    for event in yaml.parse(data, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise BadInput(f"is nested more than {_MAX_DEPTH} deep; no Kubernetes object is")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_aliases(content: object) -> None:
    """Before aliases are resolved: a few lines of them can stand for more than any memory holds, or for themselves."""
    sizes: dict[int, int] = {}

    def size(value: object) -> int:
        if not isinstance(value, dict | list):
            return 1
        known = sizes.get(id(value))
        if known is not None:
            return known
        sizes[id(value)] = _MAX_VALUES + 1  # holds while inside: an alias of what it is part of
        inner = value.values() if isinstance(value, dict) else value
        total = sizes[id(value)] = 1 + sum(map(size, inner))
        return total

    if size(content) > _MAX_VALUES:
        raise BadInput(f"its aliases stand for more than {_MAX_VALUES} values; write them out")


def _objects(source: str, number: int, content: object) -> Iterator[Document]:
    waiting: list[tuple[str, object, str | None]] = [("", content, None)]
    while waiting:
        item, body, default_kind = waiting.pop()
        if not isinstance(body, dict):
            problem = f"is {_a(body)}; it must be an object with apiVersion, kind and metadata"
            raise _error(source, number, item, problem)
        kind = body.get("kind", default_kind)
        if not isinstance(kind, str) or not kind:
            raise _error(source, number, item, "kind: is required and must be text; set it, such as kind: TrainingJob")
        if not isinstance(body.get("apiVersion", ""), str):
            raise _error(source, number, item, f"{kind}: apiVersion: must be text, not {_a(body['apiVersion'])}")
        if not kind.endswith("List"):
            yield Document(source, number, item, {**body, "kind": kind})
            continue
        items = body.get("items")
        if items is not None and not isinstance(items, list):
            raise _error(source, number, item, f"{kind}: items: must be a list, not {_a(items)}")
        inner = kind.removesuffix("List") or None
        below = f"{item}.items" if item else "items"
        waiting += [(f"{below}[{i}]", entry, inner) for i, entry in reversed(list(enumerate(items or ())))]


def _error(source: str, number: int, item: str, problem: object) -> BadInput:
    where = f"{source}, document {number}" + (f", {item}" if item else "")
    return BadInput(f"{where}: {problem}")


def _a(value: object) -> str:
    names = {list: "a list", dict: "an object", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
