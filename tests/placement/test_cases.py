"""Worked cases, one or more per rule and machine: `cases/*.yaml`, in the notation of `cases/README.md`."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from supernode.api.profile import SuperNodeProfileSpec
from supernode.placement import Block, Placement, Refusal, Request, Spares, plan
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Profile
from supernode.topology.ranges import format_cards
from tests.placement.check import violations

CASES = Path(__file__).with_name("cases")
SHIPPED = Path(__file__).parents[2] / "examples" / "profiles"

Case = dict[str, Any]


def cases() -> Iterator[Any]:
    for path in sorted(CASES.glob("*.yaml")):
        document = yaml.safe_load(path.read_text())
        for case in document["cases"]:
            known = {"profiles": document.get("profiles", {}), **document.get("defaults", {}), **case}
            yield pytest.param(known, id=f"{path.stem}: {case['name']}")


ALL = list(cases())


@pytest.mark.parametrize("case", ALL)
def test_worked_case(case: Case) -> None:
    fleet, request = fleet_of(case), request_of(case)
    for earlier in case.get("first", ()):
        placed = plan(fleet, request_of(earlier))
        assert isinstance(placed, Placement), placed
        fleet = fleet.take(placed.held)
    outcome = plan(fleet, request)
    if "refused" in case:
        check_refusal(case, outcome)
    else:
        check_placement(case, fleet, request, outcome)


def check_refusal(case: Case, outcome: Placement | Refusal) -> None:
    assert isinstance(outcome, Refusal), outcome
    assert outcome.reason == case["refused"], outcome
    assert "level" not in case or outcome.level == case["level"], outcome
    assert outcome.stalled != case.get("waits", False), outcome
    for words in case["says"]:
        assert words in outcome.message, outcome.message


def check_placement(case: Case, fleet: Fleet, request: Request, outcome: Placement | Refusal) -> None:
    assert isinstance(outcome, Placement), outcome
    assert violations(fleet, request, outcome) == []
    assert outcome.proven
    assert list(outcome.spans.items()) == list(case["spans"].items())
    assert outcome.minimal == outcome.spans
    if "takes" in case:
        assert drawn(case, outcome) == {name: squeezed(text) for name, text in case["takes"].items()}
    if "cards" in case:
        assert [format_cards(member.cards) for member in outcome.members] == case["cards"]


def test_there_are_enough_cases_and_none_twice() -> None:
    names = [param.id for param in ALL]
    assert len(names) >= 80
    assert len(names) == len(set(names))


def test_every_shipped_profile_has_a_case() -> None:
    used = {param.values[0]["profile"] for param in ALL}
    assert {path.stem for path in SHIPPED.glob("*.yaml")} <= used


def request_of(case: Case) -> Request:
    members, cards = (int(part) for part in case["ask"].split(" x "))
    return Request(
        "case",
        members,
        cards,
        profile=case.get("wants"),
        precision=case.get("precision"),
        required=case.get("required"),
        blocks=tuple(Block(level, size) for level, size in case.get("blocks", {}).items()),
        max_span=case.get("maxSpan", {}),
        shape=tuple(int(extent) for extent in case["shape"].split("x")) if "shape" in case else (),
        spares=Spares(**case["spares"]) if "spares" in case else None,
    )


def fleet_of(case: Case) -> Fleet:
    views: list[SuperNodeView] = []
    profiles = {case["profile"]: profile_of(case, case["profile"])}
    for name, drawing in case.get("fleet", {}).items():
        options = drawing if isinstance(drawing, dict) else {"nodes": drawing}
        kind: str = options.get("profile") or case["profile"]
        profile = profiles.setdefault(kind, profile_of(case, kind))
        nodes = nodes_of(name, options["nodes"], profile, case.get("letters", {}))
        reserve = options.get("reserve", case.get("reserve"))
        groups = [nodes] if profile.above else [[node] for node in nodes]
        for group in groups:
            owner = name if profile.above else group[0].name
            cordoned = options.get("cordoned", False)
            views.append(SuperNodeView(owner, profile, group, cordoned=cordoned, reserve=reserve))
    return Fleet(views, profiles)


def profile_of(case: Case, name: str) -> Profile:
    """The profile of the file's head or of examples/profiles, with the case's `rules` in its allocation."""
    spec = case["profiles"].get(name) or yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())["spec"]
    spec = {**spec, "allocation": {**spec.get("allocation", {}), **case.get("rules", {})}}
    return Profile.from_spec(name, SuperNodeProfileSpec.model_validate(spec))


def nodes_of(name: str, text: str, profile: Profile, letters: dict[str, str]) -> list[Node]:
    """The nodes of a drawing; a domain above the node is named by its position."""
    nodes: list[Node] = []
    racks = [rack for row in text.split("|") for rack in expanded(row)]
    rows = [number for number, row in enumerate(text.split("|")) for _ in expanded(row)]
    for position, (row, rack) in enumerate(zip(rows, racks, strict=True)):
        inner = [f"r{position}", f"g{row}"][: len(profile.above) - 1]
        path = tuple("/".join([name, *inner[::-1][:depth]]) for depth in range(len(profile.above)))
        nodes += [
            node_of(f"{name}-{len(nodes) + i:04}", letter, path, profile, letters) for i, letter in enumerate(rack)
        ]
    return [replace(node, at=at_of(i, profile)) for i, node in enumerate(nodes) if node.cards]


def at_of(place: int, profile: Profile) -> tuple[int, ...]:
    """Positions as drawn, as far as the profile has them: children of a ring or torus stand side by side."""
    size, found = 1, []
    for level in profile.above:
        found.append(place // size % level.fan_out if level.position_label else -1)
        size *= level.fan_out
    return tuple(found[::-1])


def node_of(name: str, letter: str, path: tuple[str, ...], profile: Profile, letters: dict[str, str]) -> Node:
    cards = profile.cards_per_node
    picture = letters[letter].replace(" ", "") if letter in letters else {"#": "#", "_": ""}.get(letter, ".") * cards
    assert letter in letters or letter in ".#x_", f"draw letter {letter} under `letters`"
    ill, taken = (sum(1 << i for i, card in enumerate(picture) if card == sign) for sign in "!#")
    node = Node(name, len(picture), 0, taken, letter != "x", path)
    return replace(node, healthy=node.all_cards & ~ill)


def expanded(row: str) -> list[str]:
    """The racks of a row: `2*.. #.` is `..`, `..`, `#.`."""
    found: list[str] = []
    for token in row.split():
        times, star, rack = token.rpartition("*")
        found += [rack] * int(times if star else 1)
    return found


def squeezed(text: str) -> str:
    return "".join(rack for row in text.split("|") for rack in expanded(row))


def drawn(case: Case, placement: Placement) -> dict[str, str]:
    """Members per node, of the drawn supernodes that give any; `s` where there are only spares."""
    held = Counter(member.node for member in placement.members)
    spare = {member.node for member in placement.spares}
    found = {}
    for name, drawing in case["fleet"].items():
        text = squeezed(drawing["nodes"] if isinstance(drawing, dict) else drawing)
        nodes = [f"{name}-{i:04}" for i in range(len(text))]
        if any(held[node] for node in nodes):
            found[name] = "".join(str(held[node] or ("s" if node in spare else "-")) for node in nodes)
    return found
