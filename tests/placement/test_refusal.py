"""What a refusal says would help: it does, and where it says so nothing smaller does."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from supernode.api.conditions import Reason
from supernode.placement import Block, Placement, Refusal, Request, Spares, plan
from supernode.placement.result import Opening
from supernode.topology.discovery import NodeFacts, discover
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.ledger import LedgerEntry, Run
from supernode.topology.node import Node
from supernode.topology.ranges import card_indices
from supernode.topology.taints import Taint
from supernode.topology.views import build_fleet
from tests.placement.fleets import fleets, profile_of, requests, scattered

Cards = Mapping[tuple[str, str], int]
"""(supernode, node) to cards (bitmask) that come free."""


@st.composite
def cases(draw: st.DrawFn) -> tuple[Fleet, Request]:
    """Fuller fleets than elsewhere, so that most requests are refused for now."""
    fleet = draw(st.one_of(fleets(), scattered().map(lambda case: case[0])))
    views = []
    for view in fleet.supernodes.values():
        more = {
            node.name: draw(st.sampled_from([0, node.all_cards, 1, node.all_cards & 0b1010])) for node in view.nodes
        }
        barred = {
            node.name: replace(
                node, held=draw(st.integers(0, 9)) == 9, unbindable=draw(st.sampled_from([0, 0, 0, 0, 1]))
            )
            for node in view.take(more).nodes
        }
        views.append(view.with_nodes(barred))
    return fleet.replace(*views), draw(requests(fleet.profiles["p"]))


@st.composite
def mixed(draw: st.DrawFn) -> tuple[Fleet, Request]:
    """The same with supernodes of a second profile, q."""
    fleet, request = draw(cases())
    other, _ = draw(cases())
    profile = replace(other.profiles["p"], name="q")
    views = [
        SuperNodeView(f"q{view.name}", profile, view.nodes, cordoned=view.cordoned, reserve=view.reserve)
        for view in other.supernodes.values()
    ]
    return Fleet([*fleet.supernodes.values(), *views], [*fleet.profiles.values(), profile]), request


def after(fleet: Fleet, cards: Cards) -> Fleet:
    """The fleet with just these cards available beside those that were."""
    views = []
    for view in fleet.supernodes.values():
        uncordoned = any(name == view.name for name, _ in cards)
        nodes = []
        for node in view.nodes:
            free = (0 if view.cordoned else node.free) | cards.get((view.name, node.name), 0)
            nodes.append(
                Node(node.name, node.cards, node.all_cards, node.all_cards & ~free, path=node.path, at=node.at)
            )
        views.append(
            SuperNodeView(
                view.name, view.profile, nodes, cordoned=view.cordoned and not uncordoned, reserve=view.reserve
            )
        )
    return Fleet(views, fleet.profiles)


def closed(fleet: Fleet) -> Iterator[tuple[tuple[str, str], int]]:
    """Each node's cards that are not available."""
    for view in fleet.supernodes.values():
        for node in view.nodes:
            mask = node.all_cards & ~(0 if view.cordoned else node.free)
            if mask:
                yield (view.name, node.name), mask


def fits(fleet: Fleet, request: Request, cards: Iterable[tuple[tuple[str, str], int]]) -> bool:
    opened: dict[tuple[str, str], int] = {}
    for place, mask in cards:
        opened[place] = opened.get(place, 0) | mask
    return isinstance(plan(after(fleet, opened), request), Placement)


def assert_helps(fleet: Fleet, request: Request, refusal: Refusal) -> None:
    """The named change gives the request a place; and where it is the least, no change of fewer cards does."""
    change = {(opening.supernode, node): mask for opening in refusal.change for node, mask in opening.nodes.items()}
    cost = sum(mask.bit_count() for mask in change.values())
    assert cost == sum(opening.cards for opening in refusal.change)
    assert f"{cost} more card" in refusal.message
    for (supernode, name), mask in change.items():
        node = fleet.supernodes[supernode].node(name)
        assert mask & ~node.all_cards == 0
        assert fleet.supernodes[supernode].cordoned or not mask & node.free
    assert fits(fleet, request, change.items())
    if not refusal.least:
        return
    if all(request.cards_per_member == profile.cards_per_node for profile in fleet.profiles.values()):
        nodes = list(closed(fleet))
        smaller = [
            some
            for count in range(len(nodes) + 1)
            for some in combinations(nodes, count)
            if sum(mask.bit_count() for _, mask in some) < cost
        ]
    else:
        single = [(place, 1 << card) for place, mask in closed(fleet) for card in card_indices(mask)]
        smaller = list(combinations(single, cost - 1)) if cost <= 3 else []
    for some in smaller:
        assert not fits(fleet, request, some), some


def entry(group: str, node: str, cards: str) -> LedgerEntry:
    return LedgerEntry(group, group, (Run("0", node, (cards,)),))


def test_a_message_names_where_who_and_what() -> None:
    profile = profile_of("p", ("node", 4), ("rack", 4), ("supernode", 2))
    states = {"n0": (0b1111, 0b0011), "n1": (0b1100, 0), "n2": (0b1111, 0), "n3": (0b1111, 0), "n4": (0b1111, 0b1111)}
    nodes = [
        Node(name, 4, healthy, taken, name != "n2", ("s", f"s/{int(name[1]) // 4}"))
        for name, (healthy, taken) in states.items()
    ]
    ledger = [entry("research/a", "n0", "0"), entry("research/b", "n4", "0-3")]
    view = SuperNodeView("s", profile, nodes, ledger=ledger)
    refusal = plan(Fleet([view]), Request("r", 4, 4, required="rack"))
    assert isinstance(refusal, Refusal)
    assert refusal.change == (Opening("s/0", "s", {"n0": 0b0011, "n1": 0b0011, "n2": 0b1111}),)
    assert refusal.message.endswith(
        "it takes 8 more cards, on nodes n0, n1, n2 in s/0: "
        "1 of research/a, 1 in use, 2 unhealthy, 4 cordoned or not ready"
    )


def test_cards_that_nobody_can_be_bound_to_are_not_called_closed() -> None:
    profile = profile_of("p", ("node", 4), ("supernode", 2))
    nodes = [Node("n0", 4, 0b1110, 0b0001, path=("s",), unbindable=0b1000), Node("n1", 4, 15, 15, path=("s",))]
    refusal = plan(Fleet([SuperNodeView("s", profile, nodes)]), Request("r", 1, 4))
    assert isinstance(refusal, Refusal)
    assert refusal.message.endswith("it takes 2 more cards, on node n0 in s: 1 in use, 1 unhealthy")


def test_cards_held_for_groups_that_come_first_are_called_so_where_nothing_else_bars_them() -> None:
    profile = profile_of("p", ("node", 4), ("supernode", 2))
    nodes = [Node("n0", 4, 0b1110, 0b0010, path=("s",), held=True), Node("n1", 4, 15, 0, False, ("s",), held=True)]
    refusal = plan(Fleet([SuperNodeView("s", profile, nodes)]), Request("r", 2, 4))
    assert isinstance(refusal, Refusal)
    assert refusal.message.endswith(
        "it takes 8 more cards, on nodes n0, n1 in s: 1 in use, 1 unhealthy, 4 cordoned or not ready, "
        "2 held for groups that come first"
    )


@pytest.mark.parametrize("request_", [Request("r", 3, 4, max_span={"rack": 2}), Request("r", 3, 4, spares=Spares(1))])
@pytest.mark.parametrize("held", [False, True])
def test_under_max_span_and_with_spares_cards_that_are_held_or_cannot_be_bound_to_are_part_of_a_change(
    request_: Request, held: bool
) -> None:
    profile = profile_of("p", ("node", 4), ("rack", 2), ("supernode", 2))
    barred = {"held": True} if held else {"unbindable": 0b1000}
    nodes = [Node(f"n{i}", 4, 15, path=("s", f"s/{i // 2}")) for i in range(4)]
    view = SuperNodeView("s", profile, [*nodes[:2], *(replace(node, **barred) for node in nodes[2:])])
    refusal = plan(Fleet([view]), request_)
    assert isinstance(refusal, Refusal)
    assert [opening.nodes for opening in refusal.change] == [dict.fromkeys(("n2", "n3"), 15 if held else 0b1000)]


TEAM = (Taint("gpu", "team-a"),)
BOTH = (*TEAM, Taint("maintenance", effect="NoExecute"))
ADVICE = "; to use tainted nodes, add gpu=team-a:NoSchedule to tolerations of profile p"


@pytest.mark.parametrize(
    ("closed", "request_", "says"),
    [
        (
            {"n0": TEAM, "n1": TEAM, "n2": TEAM, "n4": ()},
            Request("r", 5, 4),
            "needs 5 whole nodes; 1 supernode can give 4, 1 is cordoned or not ready, "
            "3 are tainted gpu=team-a:NoSchedule; it takes 4 more cards, on node n0 in s: "
            "4 tainted gpu=team-a:NoSchedule" + ADVICE,
        ),
        (
            {"n0": BOTH, "n1": BOTH, "n4": TEAM, "n5": TEAM},
            Request("r", 4, 4, required="rack"),
            "needs 4 whole nodes in one rack; the best, s/0, has 2 healthy and free, "
            "2 are tainted gpu=team-a:NoSchedule and maintenance:NoExecute; it takes 8 more cards, on nodes n0, n1 in "
            "s/0: 8 tainted gpu=team-a:NoSchedule and maintenance:NoExecute; to use tainted nodes, add "
            "gpu=team-a:NoSchedule, maintenance:NoExecute to tolerations of profile p",
        ),
        (
            {"n0": ()},
            Request("r", 8, 4),
            "needs 8 whole nodes; 1 supernode can give 7, 1 is cordoned or not ready; it takes 4 more cards, on node "
            "n0 in s: 4 cordoned or not ready",
        ),
        (
            {"n0": TEAM},
            Request("r", 9, 4),
            "needs 9 whole nodes; 1 supernode can give 8; this is with every card healthy and free, so ask for less "
            "or loosen the topology",
        ),
    ],
)
def test_taints_are_named_with_what_to_do(closed: dict[str, tuple[Taint, ...]], request_: Request, says: str) -> None:
    profile = profile_of("p", ("node", 4), ("rack", 4), ("supernode", 2))
    nodes = [
        Node(name, 4, 15, 0, name not in closed, ("s", f"s/{i // 4}"), taints=closed.get(name, ()))
        for i, name in enumerate(f"n{number}" for number in range(8))
    ]
    refusal = plan(Fleet([SuperNodeView("s", profile, nodes)]), request_)
    assert isinstance(refusal, Refusal)
    assert refusal.message == says


def test_a_box_that_tainted_nodes_forbid_says_so() -> None:
    profile = profile_of("p", ("node", 4), ("supernode", 4), fabrics={"supernode": "ring"}, positions=("supernode",))
    nodes = [Node(f"n{i}", 4, 15, 0, i % 2 == 0, ("s",), (i,), taints=TEAM if i % 2 else ()) for i in range(4)]
    refusal = plan(Fleet([SuperNodeView("s", profile, nodes)]), Request("r", 2, 4))
    assert isinstance(refusal, Refusal)
    assert refusal.message == (
        "needs a run of 2 whole nodes in one supernode; the best, s, has 2 of 4 node domains wholly free, at most 1 of "
        "them in a legal run; it takes 4 more cards, on node n1 in s: 4 tainted gpu=team-a:NoSchedule" + ADVICE
    )


def test_a_second_block_of_a_rack_costs_what_it_adds() -> None:
    profile = profile_of("p", ("node", 2), ("rack", 4), ("supernode", 2))
    taken = [[0b01, 0b01, 0b01, 0b01], [0b01, 0b11, 0b11, 0b11]]
    nodes = [
        Node(f"n{rack}{at}", 2, 0b11, mask, path=("s", f"s/{rack}"))
        for rack, masks in enumerate(taken)
        for at, mask in enumerate(masks)
    ]
    refusal = plan(Fleet([SuperNodeView("s", profile, nodes)]), Request("r", 4, 2, blocks=(Block("rack", 2),)))
    assert isinstance(refusal, Refusal)
    assert refusal.change == (Opening("s/0", "s", dict.fromkeys(("n00", "n01", "n02", "n03"), 0b01)),)
    assert refusal.least


def test_what_cannot_be_gives_no_advice() -> None:
    profile = profile_of("p", ("node", 4), ("supernode", 2), reserve=1)
    view = SuperNodeView("s", profile, [Node(f"n{i}", 4, 15, path=("s",)) for i in range(2)])
    refusal = plan(Fleet([view]), Request("r", 2, 4))
    assert isinstance(refusal, Refusal)
    assert (refusal.stalled, refusal.change, refusal.least) == (True, (), False)


@pytest.mark.parametrize(
    ("capacity", "allocatable", "says"),
    [
        (4, 3, "3 more cards, on nodes t00, t01, t02 in s: 3 unhealthy"),
        (3, 3, "3 more cards, on nodes t00, t01, t02 in s: 3 unhealthy"),
        (0, 0, "12 more cards, on nodes t00, t01, t02 in s: 12 unhealthy"),
    ],
    ids=["not offered", "off the bus", "the device plugin is away"],
)
def test_a_group_that_lost_cards_keep_out_waits_for_them(capacity: int, allocatable: int, says: str) -> None:
    """A rack of 18 trays, two in reserve, of which three have lost cards."""
    profile = profile_of("p", ("node", 4), ("supernode", 18), reserve=2, node_selector={"kind": "p"})
    labels = {"kind": "p", "label/supernode": "s"}
    cards = [(capacity, allocatable) if tray < 3 else (4, 4) for tray in range(18)]
    nodes = [
        NodeFacts(f"t{tray:02}", labels, {profile.resource: has}, {profile.resource: offers})
        for tray, (has, offers) in enumerate(cards)
    ]
    refusal = plan(build_fleet(discover([profile], nodes), [profile], nodes), Request("r", 16, 4, required="supernode"))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.stalled) == (Reason.INSUFFICIENT_CARDS, False)
    assert refusal.message == (
        f"needs 16 whole nodes; 1 supernode can give 13, 2 of 18 are reserved, 3 have unhealthy cards; it takes {says}"
    )


FLAT = (("node", 8), ("supernode", 4))
BUSY = [0xFF] * 4


@pytest.mark.parametrize(
    ("taken", "says", "cards", "least"),
    [
        (
            {"a": [0, 0, 0, 0xFF], "b": [0, 0, 1, 1]},
            "on profile b: needs 4 whole nodes; 1 supernode can give 2, 2 are in use; it takes 2 more cards, on nodes "
            "b-2, b-3 in b: 2 in use; profile a does not fit either",
            2,
            True,
        ),
        (
            {"a": [0, 0, 1, 1], "b": [0, 0, 1, 1], "c": BUSY},
            "on profile a: needs 4 whole nodes; 1 supernode can give 2, 2 are in use; it takes 2 more cards, on nodes "
            "a-2, a-3 in a: 2 in use; profiles b, c do not fit either",
            2,
            True,
        ),
        (
            {"a": [0, 0, 0], "b": BUSY},
            "on profile b: needs 4 whole nodes; 1 supernode can give 0, 4 are in use; it takes 32 more cards, on 4 "
            "nodes in b: 32 in use; profile a does not fit either",
            32,
            True,
        ),
        (
            {name: [0, 0] for name in "abcde"},
            "on profile a: needs 4 whole nodes; 1 supernode can give 2; this is with every card healthy and free, so "
            "ask for less or loosen the topology; the other 4 profiles do not fit either",
            0,
            False,
        ),
        (
            {"a": BUSY},
            "needs 4 whole nodes; 1 supernode can give 0, 4 are in use; it takes 32 more cards, on 4 nodes in a: 32 in "
            "use",
            32,
            True,
        ),
    ],
)
def test_of_several_profiles_the_one_is_named_that_is_nearest(
    taken: dict[str, list[int]], says: str, cards: int, least: bool
) -> None:
    views = [
        SuperNodeView(
            name,
            profile_of(name, *FLAT),
            [Node(f"{name}-{at}", 8, 0xFF, mask, path=(name,)) for at, mask in enumerate(masks)],
        )
        for name, masks in taken.items()
    ]
    refusal = plan(Fleet(views), Request("r", 4, 8))
    assert isinstance(refusal, Refusal)
    assert (refusal.message, refusal.cards, refusal.least) == (says, cards, least)


def test_a_change_is_not_the_least_where_that_of_another_profile_is_only_a_bound() -> None:
    """Where a reserve meets members that are part of a node the least change is not known."""

    def supernode(name: str, nodes: int, *, reserve: int) -> SuperNodeView:
        found = [Node(f"{name}{at}", 8, 0xFF, 1, path=(name,)) for at in range(nodes)]
        return SuperNodeView(name, profile_of(name, *FLAT), found, reserve=reserve)

    known, bound = supernode("a", 4, reserve=0), supernode("b", 5, reserve=1)
    alone, both = plan(Fleet([known]), Request("r", 8, 4)), plan(Fleet([known, bound]), Request("r", 8, 4))
    assert isinstance(alone, Refusal)
    assert isinstance(both, Refusal)
    assert both.change == alone.change
    assert (alone.least, both.least) == (True, False)


LEND = ", or lend the reserve: lower spec.reserve of "


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request("r", 4, 4, required="supernode"), "so ask for less or loosen the topology" + LEND + "the supernodes"),
        (Request("r", 8, 4), "so ask for less or loosen the topology" + LEND + "the supernodes"),
        (
            Request("r", 3, 4, required="supernode", spares=Spares(1, "supernode")),
            "so ask for less or loosen the topology" + LEND + "the supernodes",
        ),
        (
            Request("r", 14, 2, blocks=(Block("node", 2),)),
            "so ask for less or loosen the topology" + LEND + "the supernodes",
        ),
        (Request("r", 25, 1), "so ask for less or loosen the topology" + LEND + "the supernodes"),
        (
            Request("r", 13, 1, required="supernode", max_span={"node": 4}),
            "so ask for less or loosen the topology" + LEND + "the supernodes",
        ),
        (Request("r", 5, 4, required="supernode"), "so ask for less or loosen the topology"),
        (Request("r", 9, 4), "so ask for less or loosen the topology"),
        (Request("r", 33, 1), "so ask for less or loosen the topology"),
    ],
)
def test_a_group_that_only_the_reserve_keeps_out_is_told_so(request_: Request, says: str) -> None:
    profile = profile_of("p", ("node", 4), ("supernode", 8), reserve=1)
    views = [SuperNodeView(s, profile, [Node(f"{s}{i}", 4, 15, 15, path=(s,)) for i in range(4)]) for s in "ab"]
    refusal = plan(Fleet(views), request_)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == Reason.NEVER_FITS
    assert refusal.message.endswith(says)


@pytest.mark.parametrize(("members", "reason"), [(12, Reason.INSUFFICIENT_CARDS), (13, Reason.NEVER_FITS)])
def test_partly_used_nodes_may_hold_later_what_the_reserve_keeps_out(members: int, reason: Reason) -> None:
    profile = profile_of("p", ("node", 4), ("supernode", 4), reserve=2)
    view = SuperNodeView("s", profile, [Node(f"n{at}", 4, 15, 0, path=("s",)) for at in range(4)])
    fleet, request = Fleet([view]), Request("r", members, 1)
    refusal = plan(fleet, request)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    worn = fleet.replace(view.take({node.name: 1 for node in view.nodes}))
    assert isinstance(plan(worn, request), Placement) == (not refusal.stalled)


@pytest.mark.parametrize(("members", "says"), [(4, f"another shape{LEND}supernode s"), (5, "or another shape")])
def test_a_box_that_only_the_reserve_keeps_out_is_told_so(members: int, says: str) -> None:
    profile = profile_of(
        "p", ("node", 4), ("supernode", 8), fabrics={"supernode": "ring"}, positions=("supernode",), reserve=1
    )
    nodes = [Node(f"n{i}", 4, 15, 0, path=("s",), at=(i,)) for i in range(4)]
    refusal = plan(Fleet([SuperNodeView("s", profile, nodes)]), Request("r", members, 4))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == Reason.NEVER_FITS
    assert refusal.message.endswith(says)


@pytest.mark.parametrize(
    ("cards", "taken", "says"),
    [
        (1, [0, 0], "1 supernode can give 0, 2 of 2 are reserved; lend the reserve: lower spec.reserve of supernode s"),
        (
            4,
            [0, 0b0111],
            "1 supernode can give 0, 2 of 2 are reserved; this is with every card healthy and free, so ask for less or "
            "loosen the topology, or lend the reserve: lower spec.reserve of supernode s",
        ),
    ],
)
def test_a_reserve_of_the_whole_supernode_is_named_whatever_the_members(
    cards: int, taken: list[int], says: str
) -> None:
    profile = profile_of("p", ("node", 4), ("supernode", 2), reserve=2)
    nodes = [Node(f"n{at}", 4, 15, mask, path=("s",)) for at, mask in enumerate(taken)]
    refusal = plan(Fleet([SuperNodeView("s", profile, nodes)]), Request("r", 1, cards))
    assert isinstance(refusal, Refusal)
    assert refusal.message.partition("; ")[2] == says


@pytest.mark.parametrize("fabric", ["switch", "ring"])
@pytest.mark.parametrize(
    ("closed", "says"),
    [
        ("a", "; 1 of 2 supernodes are cordoned; "),
        ("ab", "; 2 of 2 supernodes are cordoned: uncordon one of them; "),
    ],
)
def test_what_is_cordoned_is_counted_and_of_all_one_has_to_be_opened(fabric: str, closed: str, says: str) -> None:
    profile = profile_of("p", ("node", 4), ("supernode", 8), fabrics={"supernode": fabric}, positions=("supernode",))
    views = [
        SuperNodeView(
            name,
            profile,
            [Node(f"{name}{at}", 4, 15, 15, path=(name,), at=(at,)) for at in range(4)],
            cordoned=name in closed,
        )
        for name in "ab"
    ]
    refusal = plan(Fleet(views), Request("r", 2, 4, required="supernode"))
    assert isinstance(refusal, Refusal)
    assert says in refusal.message


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(cases(), mixed(), scattered()))
def test_the_named_change_helps(case: tuple[Fleet, Request]) -> None:
    fleet, request = case
    outcome = plan(fleet, request)
    if isinstance(outcome, Placement) or outcome.stalled:
        return
    event("no change named" if not outcome.change else "the least" if outcome.least else "a bound")
    if outcome.change:
        assert_helps(fleet, request, outcome)
