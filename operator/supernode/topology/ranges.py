"""Compact text for runs of integers, card sets and node names.

A ledger that named 8192 cards one by one would not fit an API object; written as ranges it is a line.

    ints    "0-2,7"             ascending inside a run, order kept between runs
    cards   "0-7,9"             a set of card indices in a node, held as an int bitmask
    nodes   "a-n[000-047],b-n1" a run replaces one digit group of the name; order kept

Every parser refuses malformed or unreasonably large text with `RangeError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from supernode.api.errors import SupernodeError

MAX_ITEMS = 1 << 20
"""Most items one text may stand for: ten times the largest fleet planned for."""

MAX_CARDS = 1024
"""Card indices run from 0 to MAX_CARDS - 1: far above any node, low enough to keep bitmasks small."""

_INT_RUN = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")
_NODE_RUN = re.compile(r"([a-z0-9.-]*)\[([0-9]{1,18})-([0-9]{1,18})\]([a-z0-9.-]*)")
_NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_DIGITS = re.compile(r"[0-9]+")
_MAX_NAME = 253
_MAX_DIGITS = 18


class RangeError(SupernodeError, ValueError):
    """Text that is not a well-formed range, or stands for more items than any fleet has."""


def format_ints(values: Iterable[int]) -> str:
    """`[0, 1, 2, 7]` as `"0-2,7"`; order is kept, so `[7, 0, 1]` is `"7,0-1"`. Empty input gives `""`."""
    runs: list[list[int]] = []
    for value in values:
        if value < 0:
            raise RangeError(f"negative number {value} in a range: only 0 and above can be written")
        if runs and runs[-1][1] + 1 == value:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def parse_ints(text: str, *, max_items: int = MAX_ITEMS) -> list[int]:
    """Inverse of `format_ints`. Raises RangeError on malformed text, or when it stands for more than max_items."""
    values: list[int] = []
    for part in _parts(text):
        match = _INT_RUN.fullmatch(part)
        if match is None:
            raise RangeError(f"{_quoted(part)} is not a range: write a number such as 7 or a run such as 0-7")
        low, high = int(match[1]), int(match[2] or match[1])
        _check_run(part, low, high, max_items - len(values))
        values.extend(range(low, high + 1))
    return values


@lru_cache(
    4096
)  # nodes of a fleet have a few sets of cards, of which pods and claims are written and read all the time
def format_cards(mask: int) -> str:
    """A card bitmask as ranges: `0b1011111111` is `"0-7,9"`."""
    return format_ints(card_indices(mask))


@lru_cache(4096)
def parse_cards(text: str) -> int:
    """Inverse of `format_cards`. Raises RangeError on malformed text, a repeated index or one above MAX_CARDS - 1."""
    mask = 0
    for index in parse_ints(text, max_items=MAX_CARDS):
        if index >= MAX_CARDS:
            raise RangeError(
                f"card index {index} in {_quoted(text)} is too large: the highest allowed is {MAX_CARDS - 1}"
            )
        if mask >> index & 1:
            raise RangeError(f"card index {index} appears twice in {_quoted(text)}")
        mask |= 1 << index
    return mask


def card_indices(mask: int) -> Iterator[int]:
    """Indices of the set bits, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def format_nodes(names: Sequence[str]) -> str:
    """Node names as text: consecutive names that differ by one in one digit group become `prefix[lo-hi]suffix`.

    Order and repeats are kept. Raises RangeError when a name is not a Kubernetes node name (DNS-1123 subdomain).
    """
    parts: list[str] = []
    start = 0
    while start < len(names):
        first = _checked_name(names[start])
        text, count = _longest_run(names, start)
        if len(text) > sum(map(len, names[start : start + count])) + count - 1:
            text, count = first, 1
        parts.append(text)
        start += count
    return ",".join(parts)


def parse_nodes(text: str, *, max_items: int = MAX_ITEMS) -> list[str]:
    """Inverse of `format_nodes`. Raises RangeError on malformed text, or when it stands for more than max_items."""
    names: list[str] = []
    for part in _parts(text):
        match = _NODE_RUN.fullmatch(part)
        if match is None:
            names.append(_checked_name(part))
            continue
        prefix, low, high, suffix = match.groups()
        _check_run(part, int(low), int(high), max_items - len(names))
        width = len(low)
        names.extend(_checked_name(f"{prefix}{i:0{width}d}{suffix}") for i in range(int(low), int(high) + 1))
    if len(names) > max_items:
        raise RangeError(f"{_quoted(text)} stands for {len(names)} nodes; at most {max_items} are accepted")
    return names


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which `r2` comes before `r10`. Total: distinct names never compare equal."""
    parts = re.split(r"([0-9]+)", name)
    key = tuple((1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts))
    return (*key, (2, 0, name))


def _longest_run(names: Sequence[str], start: int) -> tuple[str, int]:
    """The run that begins at `start` as text, and how many names it stands for; a lone name is a run of one."""
    first = names[start]
    if start + 1 == len(names):
        return first, 1
    for group in reversed(list(_DIGITS.finditer(first))):
        low, prefix, suffix = group[0], first[: group.start()], first[group.end() :]
        number, width = int(low), len(low)
        count = 1
        while start + count < len(names) and names[start + count] == f"{prefix}{number + count:0{width}d}{suffix}":
            count += 1
        high = f"{number + count - 1:0{width}d}"
        if count > 1 and len(high) <= _MAX_DIGITS:
            return f"{prefix}[{low}-{high}]{suffix}", count
    return first, 1


def _parts(text: str) -> list[str]:
    return text.split(",") if text else []


def _check_run(part: str, low: int, high: int, room: int) -> None:
    if high < low:
        raise RangeError(f"{_quoted(part)} runs backwards: write the lower number first")
    if high - low + 1 > room:
        raise RangeError(f"{_quoted(part)} stands for {high - low + 1} items; at most {room} more are accepted here")


def _checked_name(name: str) -> str:
    if len(name) > _MAX_NAME or _NODE_NAME.fullmatch(name) is None:
        raise RangeError(
            f"{_quoted(name)} is not a node name (lower-case letters, digits, '-' and '.') or a run of them"
        )
    return name


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
