"""The answers of `plan`, for people and for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from math import prod
from typing import Any

import orjson
import yaml
from rich.console import Console
from rich.text import Text

from supernode.cli.output import Cell, Grid, members_table, show, table
from supernode.cli.plan import Result, to_document
from supernode.control.wording import estimate_text, spans_text
from supernode.placement import Box, Placement, Refusal, Request
from supernode.topology.ranges import format_ints

_SHOWN_HOMES = 8
"""Domains whose ranks are named before the others are only counted."""


def write_results(out: Console, results: Sequence[Result], form: str) -> None:
    """Write the results as `table`, `json` or `yaml`."""
    if form == "table":
        _print_results(out, results)
    else:
        write_document(to_document(results), form)


def write_document(document: Mapping[str, Any], form: str) -> None:
    """Write a document to standard output as `json` or `yaml`."""
    if form == "json":
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    else:
        yaml.dump(document, sys.stdout, Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.CSafeDumper):
    """Writes what occurs twice twice: members of one node share their domains."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _print_results(out: Console, results: Sequence[Result]) -> None:
    """An overview when there are several requests, then each answer with its placement or the reason against it."""
    if len(results) > 1:
        show(out, _overview(results))
    for index, result in enumerate(results):
        if index or len(results) > 1:
            show(out)
        _print_result(out, result)


def _overview(results: Sequence[Result]) -> Grid:
    rows: list[list[Cell]] = []
    for result in results:
        answer, request = result.answer, result.request
        size = [str(request.cards), f"{request.members} x {request.cards_per_member}"] if request else ["-", "-"]
        if isinstance(answer, Placement):
            text = spans_text(answer.spans, answer.minimal, proven=answer.proven)
            fits = Text("yes", style="green") if result.wait is None else Text("later", style="yellow")
            rows.append([result.name, *size, fits, text])
        else:
            rows.append([result.name, *size, Text("no", style="red"), str(answer.reason)])
    return table(["REQUEST", "CARDS", "MEMBERS", "FITS", "SPANS OR REASON"], rows, numbers=["CARDS"])


def _print_result(out: Console, result: Result) -> None:
    answer = result.answer
    if isinstance(answer, Refusal):
        show(out, Text.assemble((result.name, "bold"), ": ", ("does not fit", "red"), f": {answer.reason}"))
        show(out, answer.message, indent=2)
        if answer.stalled:
            show(out, "waiting cannot help", indent=2)
        return
    fits = ("fits", "green") if result.wait is None else ("fits after its wait", "yellow")
    show(out, Text.assemble((result.name, "bold"), ": ", fits, f" on {answer.profile}"))
    lines = [result.wait] if result.wait is not None else []
    lines += [f"touches {spans_text(answer.spans, answer.minimal, proven=answer.proven)}{_certainty(answer)}"]
    if answer.box is not None:
        lines.append(_box(answer.box))
    if result.request is not None:
        lines += _shape(result.request, answer)
        lines += _blocks(result.request, answer)
    if result.estimate is not None:
        lines.append(estimate_text(result.estimate))
    for line in lines:
        show(out, line, indent=2)
    show(out, members_table(answer.members), indent=2)
    if answer.spares:
        show(out, members_table(answer.spares, "SPARES"), indent=2)


def _certainty(placement: Placement) -> str:
    if not placement.proven:
        return "; the search budget ran out before the minimum was proven"
    return "; no placement touches fewer" if placement.spans == placement.minimal else ""


def _box(box: Box) -> str:
    start = "-".join(map(str, box.anchor))
    if not box.unit:
        what = f"{prod(box.extents)} neighbours" if prod(box.extents) > 1 else "one child"
        return f"takes {what} in {box.level} {box.domain}, from position {start}"
    sides = "x".join(str(extent * one) for extent, one in zip(box.extents, box.unit, strict=True))
    return f"takes a box of {sides} cards of {box.level} {box.domain}, from position {start}"


def _shape(request: Request, placement: Placement) -> list[str]:
    """For a shape of several whole domains, which have no box of their own."""
    if not request.shape or placement.box is not None:
        return []
    return [f"is a shape of {'x'.join(map(str, request.shape))} cards, made up of whole domains"]


def _blocks(request: Request, placement: Placement) -> list[str]:
    """For each level with blocks, how many there are, and the ranks that each of its domains got."""
    lines = []
    outermost = next(iter(placement.spans))
    for block in request.blocks:
        level = outermost if block.level == "supernode" else block.level
        number = request.members // block.members
        text = f"{number} block{'' if number == 1 else 's'} of {block.members} members, each in one {level}"
        if level in placement.spans:
            homes = groupby(placement.members, key=lambda member: member.domains[level])
            parts = [f"{format_ints(member.rank for member in there)} in {home}" for home, there in homes]
            more = f" and {len(parts) - _SHOWN_HOMES} more" if len(parts) > _SHOWN_HOMES else ""
            text += f": ranks {', '.join(parts[:_SHOWN_HOMES])}{more}"
        lines.append(text)
    return lines
