"""The check's minimum against plain enumeration, and against the operator's own planner."""

from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernode.api.reading import parse
from supernode.placement import Placement, Request, plan
from supernode.placement.request import Block
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.node import Node
from supernode.topology.profile import Profile as OperatorProfile
from testbed.check.facts import Cards, Host, Profile
from testbed.check.minimum import Claim, NotRecomputedError, Vector, aligned, minimum

Json = dict[str, Any]


def described(inner: int, member_sizes: list[int], whole: bool, fabric: str = "switch") -> Json:
    """A profile: packages of `inner` cards, 4 cards per node, racks, supernodes."""
    levels: list[Json] = [{"name": "package", "fanOut": inner, "fabric": fabric}] if inner > 1 else []
    levels += [
        {"name": "node", "fanOut": 4 // inner},
        {"name": "rack", "fanOut": 2, "nodeLabel": "example.com/rack"},
        {"name": "supernode", "fanOut": 2, "nodeLabel": "example.com/supernode"},
    ]
    return {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "SuperNodeProfile",
        "metadata": {"name": "p"},
        "spec": {
            "card": {"resource": "example.com/card"},
            "levels": levels,
            "allocation": {"memberSizes": member_sizes, "wholeNodesAcrossNodes": whole},
        },
    }


def host(profile: Profile, supernode: int, rack: int, place: int) -> Host:
    name = f"s{supernode}-r{rack}-n{place}"
    home, inside = f"s{supernode}", str(rack)
    domains = {"supernode": (home,), "rack": (home, inside), "node": (name,)}
    return Host(name, profile, home, domains, 4, frozenset(range(4)), 4, True)


Fleets = tuple[list[Host], dict[str, Cards], dict[str, int]]


@st.composite
def fleets(draw: st.DrawFn, profile: Profile) -> Fleets:
    """Up to six uneven nodes in up to two supernodes of up to two racks, some of their cards taken."""
    hosts: list[Host] = []
    for supernode, rack in product(range(2), range(2)):
        hosts += [host(profile, supernode, rack, place) for place in range(draw(st.integers(0, 2)))]
    hosts = hosts[:6]
    cards = st.frozensets(st.integers(0, 3)) | st.just(frozenset(range(4)))
    free = {host.name: draw(cards) for host in hosts}
    keep = {host.supernode: draw(st.integers(0, 1)) for host in hosts}
    return hosts, free, keep


@st.composite
def questions(draw: st.DrawFn) -> tuple[Json, Fleets, Claim]:
    inner, whole = draw(st.sampled_from([1, 2])), draw(st.booleans())
    obj = described(inner, [], whole, draw(st.sampled_from(["switch", "ring"])))
    profile = Profile.of(obj)
    cards = draw(st.sampled_from([1, 2, 3, 4]))
    step = draw(st.sampled_from([1, 1, 2]))
    members = step * draw(st.integers(1, 4 // step))
    blocks = {draw(st.sampled_from(["node", "rack", "supernode"])): step} if step > 1 else {}
    required = draw(st.sampled_from([None, None, "supernode", "rack", "node"]))
    limits = draw(st.dictionaries(st.sampled_from(["rack", "node", "supernode"]), st.integers(1, 3), max_size=1))
    return obj, draw(fleets(profile)), Claim(members, cards, required, blocks, limits)


def enumerated(profile: Profile, fleet: Fleets, claim: Claim) -> Vector | None:
    """The least vector among all ways to say how many members each node has, with nothing clever about it."""
    hosts, free, keep = fleet
    most = [_most(free[host.name], claim.cards, profile.nests) for host in hosts]
    vectors = []
    for counts in product(*(range(count + 1) for count in most)):
        if sum(counts) == claim.members and _legal(profile, hosts, free, keep, claim, counts):
            used = [host for host, count in zip(hosts, counts, strict=True) if count]
            vectors.append(tuple(len({host.domains[level] for host in used}) for level in profile.counted))
    allowed = [v for v in vectors if all(v[profile.counted.index(level)] <= n for level, n in claim.max_span.items())]
    return min(allowed, default=None)


def _legal(
    profile: Profile,
    hosts: list[Host],
    free: Mapping[str, Cards],
    keep: Mapping[str, int],
    claim: Claim,
    counts: tuple[int, ...],
) -> bool:
    used = [(host, count) for host, count in zip(hosts, counts, strict=True) if count]
    if profile.whole_nodes and len(used) > 1 and claim.cards != profile.node.cards:
        return False
    for level in profile.counted:
        totals: dict[tuple[str, ...], int] = {}
        for host, count in used:
            totals[host.domains[level]] = totals.get(host.domains[level], 0) + count
        if any(total % claim.blocks.get(level, 1) for total in totals.values()):
            return False
        if level == claim.required and len(totals) > 1:
            return False
    for supernode, kept in keep.items():
        whole = [host for host in hosts if host.supernode == supernode and len(free[host.name]) == host.cards]
        taken = [host for host in whole if any(other is host for other, _ in used)]
        if taken and len(whole) - len(taken) < kept:
            return False
    return True


def _most(free: Cards, cards: int, nests: tuple[tuple[int, int], ...]) -> int:
    sets = [frozenset(chosen) for chosen in combinations(sorted(free), cards) if aligned(chosen, nests)]
    return max(n for n in range(len(free) // cards + 1) if any(map(_disjoint, combinations(sets, n))))


def _disjoint(sets: tuple[Cards, ...]) -> bool:
    return len(frozenset().union(*sets)) == sum(map(len, sets))


@given(questions())
def test_the_minimum_is_that_of_enumeration(question: tuple[Json, Fleets, Claim]) -> None:
    obj, fleet, claim = question
    profile = Profile.of(obj)
    assert minimum(profile, *fleet, claim) == enumerated(profile, fleet, claim)


@given(questions())
def test_the_planner_reaches_it(question: tuple[Json, Fleets, Claim]) -> None:
    """Two programs with nothing in common agree whether the claim fits, and on the fewest domains."""
    obj, fleet, claim = question
    profile = Profile.of(obj)
    answer = plan(_snapshot(obj, fleet), _request(claim))
    least = minimum(profile, *fleet, claim)
    if isinstance(answer, Placement):
        assert tuple(answer.spans[level] for level in profile.counted) == least
        assert answer.spans == answer.minimal
    else:
        assert least is None, answer


def _snapshot(obj: Json, fleet: Fleets) -> Fleet:
    hosts, free, keep = fleet
    profile = OperatorProfile.from_spec("p", parse("SuperNodeProfile", obj).spec)
    return Fleet(list(_views(profile, hosts, free, keep)), {"p": profile})


def _views(
    profile: OperatorProfile, hosts: list[Host], free: Mapping[str, Cards], keep: Mapping[str, int]
) -> Iterator[SuperNodeView]:
    for name, reserve in keep.items():
        nodes = [
            Node(
                host.name,
                4,
                0b1111,
                0b1111 & ~sum(1 << card for card in free[host.name]),
                True,
                (name, "/".join(host.domains["rack"])),
            )
            for host in hosts
            if host.supernode == name
        ]
        yield SuperNodeView(name, profile, nodes, reserve=reserve)


def _request(claim: Claim) -> Request:
    return Request(
        "r",
        claim.members,
        claim.cards,
        required=claim.required,
        blocks=tuple(Block(level, members) for level, members in claim.blocks.items()),
        max_span=claim.max_span,
    )


def test_blocks_inside_a_node_keep_to_their_package() -> None:
    profile = Profile.of(described(2, [], False))
    hosts = [host(profile, 0, 0, 0)]
    claim = Claim(2, 1, blocks={"package": 2})
    assert minimum(profile, hosts, {hosts[0].name: frozenset({1, 2})}, {}, claim) is None
    assert minimum(profile, hosts, {hosts[0].name: frozenset({1, 2, 3})}, {}, claim) == (1, 1, 1)


@pytest.mark.parametrize(
    ("cards", "fits"),
    [
        ({0, 1}, True),
        ({1, 2}, False),
        ({0, 1, 2}, True),
        ({1, 2, 3}, True),
        ({0, 2, 4}, False),
        ({0, 1, 4, 5}, True),
        ({0, 1, 2, 4}, False),
    ],
)
def test_alignment_in_packages_of_two(cards: set[int], fits: bool) -> None:
    assert aligned(cards, [(2, 0)]) is fits


@pytest.mark.parametrize(
    ("cards", "fits"),
    [
        ({0, 1, 2}, True),
        ({2, 3, 4}, False),
        ({0, 1, 2, 3, 4, 5, 6, 7}, True),
        ({0, 1, 3, 4, 5, 7}, True),
        ({0, 1, 2, 3, 4, 5}, False),
        ({0, 1, 2, 5, 6, 7}, False),
        ({1, 5}, False),
    ],
)
def test_alignment_in_two_rings_of_four(cards: set[int], fits: bool) -> None:
    assert aligned(cards, [(4, 8)]) is fits


def test_what_the_method_cannot_do_is_said() -> None:
    profile = Profile.of(described(2, [], False))
    with pytest.raises(NotRecomputedError, match="package"):
        minimum(profile, [], {}, {}, Claim(2, 1, required="package"))
    obj = described(1, [], False)
    obj["spec"]["levels"][1]["fabric"] = "ring"
    with pytest.raises(NotRecomputedError, match="ring"):
        minimum(Profile.of(obj), [], {}, {}, Claim(2, 1))
