"""Places in rings and tori come from labels; a node whose place is in doubt stands outside, with the reason."""

import pytest

from supernode.topology.discovery import NodeFacts, ProblemKind, discover
from supernode.topology.positions import PositionError, parse_position
from supernode.topology.profile import Level, Profile
from supernode.topology.views import build_fleet

RESOURCE = "example.com/card"
TORUS = Profile(
    "torus",
    RESOURCE,
    (
        Level("node", 4, 4),
        Level("cube", 8, 32, fabric="torus", dims=(2, 4), node_label="cube", position_label="xy"),
        Level("supernode", 2, 64, node_label="pod"),
    ),
)
RACKS = Profile(
    "racks",
    RESOURCE,
    (
        Level("node", 4, 4),
        Level("rack", 2, 8, node_label="rack"),
        Level("supernode", 4, 32, fabric="ring", node_label="ring", position_label="place"),
    ),
)


def node(name: str, **labels: str) -> NodeFacts:
    return NodeFacts(name, labels, {RESOURCE: 4}, {RESOURCE: 4})


@pytest.mark.parametrize(
    ("text", "grid", "position"),
    [
        ("0", (8,), 0),
        ("7", (8,), 7),
        (" 3 ", (8,), 3),
        ("1-3", (2, 4), 7),
        ("1.0", (2, 4), 4),
        ("0_2", (2, 4), 2),
        ("1x0x3", (2, 2, 4), 11),
    ],
)
def test_positions_are_row_major(text: str, grid: tuple[int, ...], position: int) -> None:
    assert parse_position(text, grid) == position


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("8", "lies outside 8"),
        ("1-3", "has 2 numbers, but 8 has 1 axes"),
        ("a", "is no position"),
        ("1--3", "is no position"),
        ("-1", "is no position"),
        ("", "is no position"),
        ("999999999999", "is no position"),
    ],
)
def test_what_is_no_position_is_told(text: str, says: str) -> None:
    with pytest.raises(PositionError, match=says):
        parse_position(text, (8,))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "label xy is missing or says unknown"),
        ("unknown", "label xy is missing or says unknown"),
        ("-1", "label xy is missing or says unknown"),
        ("2-0", "lies outside 2x4"),
        ("0-0-0", "has 3 numbers, but 2x4 has 2 axes"),
        ("left", "'left' is no position; write one number per axis of 2x4"),
    ],
)
def test_a_node_without_a_place_stands_outside(value: str | None, says: str) -> None:
    labels = {} if value is None else {"xy": value}
    found = discover([TORUS], [node("a", cube="0", pod="p", xy="0-1"), node("b", cube="0", pod="p", **labels)])
    assert found.supernodes["p"].nodes == ("a",)
    assert found.unassigned == {"torus": ("b",)}
    (problem,) = found.problems
    assert (problem.kind, problem.subject) == (ProblemKind.UNASSIGNED, "torus")
    assert "of profile torus stand outside, because their place is unknown: nodes b: " in problem.message
    assert says in problem.message


def test_two_nodes_at_one_place_both_stand_outside() -> None:
    nodes = [node(name, cube="0", pod="p", xy=xy) for name, xy in [("a", "0-1"), ("b", "0.1"), ("c", "1-1")]]
    nodes.append(node("d", cube="1", pod="p", xy="0-1"))
    found = discover([TORUS], nodes)
    assert found.supernodes["p"].nodes == ("c", "d")
    assert found.unassigned == {"torus": ("a", "b")}
    assert "label xy: a and b name the same position" in found.problems[0].message


def test_a_rack_has_one_place_and_its_own() -> None:
    nodes = [
        node("a", ring="p", rack="0", place="0"),
        node("b", ring="p", rack="0", place="1"),
        node("c", ring="p", rack="1", place="2"),
        node("d", ring="p", rack="2", place="2"),
        node("e", ring="p", rack="3", place="3"),
        node("f", ring="p", rack="3", place="3"),
    ]
    found = discover([RACKS], nodes)
    assert found.supernodes["p"].nodes == ("e", "f")
    (problem,) = found.problems
    assert "nodes a,b: label place: nodes of p/0 name different positions" in problem.message
    assert "nodes c,d: label place: p/1 and p/2 name the same position" in problem.message


def test_many_bad_labels_make_one_short_message() -> None:
    nodes = [node(f"n{i}", cube="0", pod=f"p{i}", xy=f"{i}-9") for i in range(500)]
    found = discover([TORUS], nodes)
    (problem,) = found.problems
    assert "497 more for such reasons" in problem.message
    assert len(problem.message) < 500
    assert len(found.unassigned["torus"]) == 500


def test_a_supernode_without_placed_nodes_is_not_made() -> None:
    found = discover([TORUS], [node("a", cube="0", pod="p")])
    assert found.supernodes == {}
    assert found.unassigned == {"torus": ("a",)}


def test_nodes_of_a_view_are_in_the_order_of_their_places() -> None:
    places = {"a": "1-0", "b": "0-3", "c": "0-0", "d": "1-3"}
    nodes = [node(name, cube="0", pod="p", xy=xy) for name, xy in places.items()]
    nodes.append(node("0", cube="1", pod="p", xy="1-3"))
    fleet = build_fleet(discover([TORUS], nodes), [TORUS], nodes)
    view = fleet.supernodes["p"]
    assert [n.name for n in view.nodes] == ["c", "b", "a", "d", "0"]
    assert [n.at for n in view.nodes] == [(-1, 0), (-1, 3), (-1, 4), (-1, 7), (-1, 7)]
