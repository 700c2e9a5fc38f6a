"""YAML as kubectl reads it: which plain scalars are numbers, booleans or null; all others are text.

kubectl turns YAML into JSON by a fork of go-yaml v2 (`sigs.k8s.io/yaml`, `goyaml.v2/resolve.go`), which knows neither
times nor numbers in base 60, as YAML 1.1 and PyYAML do: `24:00:00` and `2026-01-01` are text. JSON has one kind of
number, so `16.0` and `1.6e1` are 16.
"""

from __future__ import annotations

import base64
import math
import re
from typing import Any, Final

import yaml

_BOOLEAN: Final = re.compile(r"[yY]|yes|Yes|YES|on|On|ON|true|True|TRUE|[nN]|no|No|NO|off|Off|OFF|false|False|FALSE")
_TRUE: Final = ("y", "yes", "on", "true")
_NULL: Final = re.compile(r"~|null|Null|NULL|")
_NUMBER: Final = re.compile(
    r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9_]+)([eE][-+]?[0-9][0-9_]*)?)"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_OCTAL: Final = re.compile(r"[-+]?0[0-7]+")
_BASED: Final = re.compile(r"[-+]?0[box][0-9a-fA-F]+")
_WHOLE: Final = 2**63
"""Whole numbers beyond it are inexact ones."""


class Loader(yaml.CSafeLoader):
    """Of safe YAML, with the scalars of kubectl."""


def number(text: str) -> int | float | str:
    """The number that a plain scalar stands for; the text itself where it is out of range. Raises ValueError for what
    JSON has no number for."""
    plain = text.replace("_", "")
    if _OCTAL.fullmatch(plain):
        return int(plain, 8)
    if _BASED.fullmatch(plain):
        return int(plain, 0)
    if plain.lstrip("+-").isdigit() and abs(int(plain)) < _WHOLE:
        return int(plain)
    if plain.lstrip("+-.").lower() in ("inf", "nan"):
        raise ValueError(f"{text} is no number in JSON")
    value = float(plain)
    if not math.isfinite(value):
        return text
    return int(value) if value.is_integer() and abs(value) < _WHOLE else value


def _number(loader: Loader, node: Any) -> int | float | str:
    return number(loader.construct_scalar(node))


def _boolean(loader: Loader, node: Any) -> bool:
    return str(loader.construct_scalar(node)).lower() in _TRUE


def _binary(loader: Loader, node: Any) -> str:
    return base64.b64decode(loader.construct_scalar(node)).decode()


def _text(loader: Loader, node: Any) -> str:
    return str(loader.construct_scalar(node))


_TAG: Final = "tag:yaml.org,2002:"
Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", _BOOLEAN, [*"yYnNtTfFoO"]),
    ("null", _NULL, ["~", "n", "N", ""]),
    ("float", _NUMBER, [*"-+.0123456789"]),
    ("merge", re.compile("<<"), ["<"]),
):
    Loader.add_implicit_resolver(_TAG + _tag, re.compile(f"(?:{_pattern.pattern})$"), _first)
for _tag, _construct in {
    "bool": _boolean,
    "int": _number,
    "float": _number,
    "binary": _binary,
    "timestamp": _text,
}.items():
    Loader.add_constructor(_TAG + _tag, _construct)
