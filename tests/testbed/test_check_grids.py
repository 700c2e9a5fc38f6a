"""The check's judgement of boxes against enumeration: every legal box passes, every other set of cells is told."""

from itertools import product
from math import prod
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from testbed.check.facts import Cards, Host, Profile, Seat
from testbed.check.grids import check_grids
from testbed.check.groups import Group
from testbed.check.places import cell, placed
from testbed.check.report import Report, Rule
from tests.placement import oracle_box

Json = dict[str, Any]


def described(dims: tuple[int, ...], shapes: list[tuple[int, ...]], *, labelled: bool = True) -> Json:
    """A profile of nodes of two cards along the first axis, in a torus (or a ring, of one axis)."""
    axes = len(dims)
    torus = axes > 1
    level: Json = {"name": "torus", "fanOut": prod(dims), "fabric": "torus" if torus else "ring", "nodeLabel": "torus"}
    node: Json = {"name": "node", "fanOut": 2}
    if torus:
        level |= {"dims": list(dims)}
        node |= {"fabric": "torus", "dims": [2] + [1] * (axes - 1)}
    if labelled:
        level |= {"positionLabel": "at"}
    allocation = {"shapes": [list(shape) for shape in shapes]}
    return {
        "metadata": {"name": "p"},
        "spec": {"card": {"resource": "c"}, "levels": [node, level], "allocation": allocation},
    }


def node_at(place: tuple[int, ...] | str, name: str, domain: str = "t") -> Json:
    text = place if isinstance(place, str) else "-".join(map(str, place))
    return {
        "metadata": {"name": name, "labels": {"torus": domain, "at": text}},
        "spec": {},
        "status": {"capacity": {"c": "2"}, "allocatable": {"c": "2"}},
    }


def hosts_of(profile: Profile, dims: tuple[int, ...], domain: str = "t") -> dict[tuple[int, ...], Host]:
    return {
        place: Host.of(node_at(place, f"{domain}-{number}", domain), profile, domain)
        for number, place in enumerate(product(*map(range, dims)))
    }


def judged(profile: Profile, taken: list[Host], hosts: list[Host], topology: Json | None = None) -> list[str]:
    cards: Cards = frozenset({0, 1})
    seats = {rank: Seat(host.name, cards) for rank, host in enumerate(taken)}
    spec = {"members": len(taken), "cardsPerMember": 2, "topology": topology or {}}
    group = Group("a/g", "uid", spec, {}, None, seats, seats, {})
    report = Report()
    check_grids(group, profile, [(host, cards) for host in taken], hosts, report)
    assert all(violation.rule is Rule.SHAPE for violation in report.violations)
    return [violation.message for violation in report.violations]


DIMS = st.sampled_from([(6,), (3, 4), (2, 2, 3), (4, 2)])


@settings(max_examples=300, deadline=None)
@given(DIMS, st.data())
def test_only_legal_boxes_pass(dims: tuple[int, ...], data: st.DataObject) -> None:
    unit = (2, *(1 for _ in dims[1:])) if len(dims) > 1 else (1,)
    side = st.tuples(
        *(st.integers(1, dim).map(lambda e, one=one: e * one) for dim, one in zip(dims, unit, strict=True))
    )
    listed = data.draw(st.lists(side, min_size=1, max_size=3)) if len(dims) > 1 and data.draw(st.booleans()) else []
    legal = oracle_box.legal_in_cards(dims, unit, listed or None)
    boxes = sorted({tuple(sorted(cells)) for _, cells in oracle_box.legal(dims, None)})
    chosen = set(data.draw(st.sampled_from(boxes)))
    chosen ^= data.draw(st.sets(st.sampled_from(sorted(product(*map(range, dims)))), max_size=2))
    if not chosen:
        return
    profile = Profile.of(described(dims, listed))
    hosts = hosts_of(profile, dims)
    found = judged(profile, [hosts[place] for place in sorted(chosen)], list(hosts.values()))
    fits = len(chosen) == 1 or any(cells == chosen for _, cells in legal)
    event("legal" if fits else "illegal")
    assert (not found) == fits, found


def test_a_box_lies_in_one_torus_and_has_the_shape_asked_for() -> None:
    profile = Profile.of(described((3, 4), []))
    one, other = hosts_of(profile, (3, 4), "t"), hosts_of(profile, (3, 4), "u")
    near = [one[0, 0], one[0, 1]]
    hosts = [*one.values(), *other.values()]
    assert judged(profile, near, hosts, {"shape": [2, 2]}) == []
    assert "asked for is [4, 1]" in judged(profile, near, hosts, {"shape": [4, 1]})[0]
    assert "several domains of torus" in judged(profile, [one[0, 0], other[0, 0]], hosts)[0]


def test_without_labels_names_give_the_order_of_a_whole_ring() -> None:
    profile = Profile.of(described((6,), [], labelled=False))
    hosts = list(hosts_of(profile, (6,)).values())
    assert judged(profile, [hosts[5], hosts[0]], hosts) == []
    assert "are no box" in judged(profile, [hosts[5], hosts[1]], hosts)[0]
    assert "not known" in judged(profile, hosts[:2], hosts[:5])[0]


def test_hosts_in_doubt_stand_outside() -> None:
    profile = Profile.of(described((3, 4), []))
    nodes = [node_at(*pair) for pair in [("0-0", "a"), ("0-0", "b"), ("0-1", "c"), ("3-0", "d"), ("unknown", "e")]]
    assert [host.name for host in placed(Host.of(node, profile, "t") for node in nodes)] == ["c"]


@pytest.mark.parametrize(
    ("text", "found"), [("1-3", (1, 3)), ("1.0", (1, 0)), ("1", None), ("3-0", None), ("a-b", None), ("", None)]
)
def test_positions(text: str, found: tuple[int, ...] | None) -> None:
    assert cell(text, (3, 4)) == found
