"""What keeps the pods of a group from being bound to the cards that ledgers give it."""

from typing import Any

import pytest
from known_cluster import Cluster, Follower

from supernode.control.fleet import FleetState
from supernode.control.nodehealth import NodeHealth

NODE = "sn-0-n1"


def trouble(cluster: Cluster, cards: int, state: FleetState | None = None) -> str | None:
    """What keeps a pod, which the scheduler cannot bind, from these cards."""
    return NodeHealth(cluster.caches, state or cluster.state).card_trouble(NODE, cards, stuck=True)


@pytest.mark.parametrize(
    ("booked", "node", "unfit"),
    [
        ("0-3", {}, None),
        ("0-3", {"ill": "3"}, "card 3 of sn-0-n1 does not work"),
        ("0-3", {"ill": "1-2"}, "cards 1-2 of sn-0-n1 do not work"),
        ("0-3", {"usable": 3}, "sn-0-n1 offers 3 cards, fewer than the 4 that groups have there"),
        ("0-3", {"usable": 0}, None),
        ("0-2", {"usable": 3}, None),
        ("0-2", {"usable": 3, "ill": "0"}, "card 0 of sn-0-n1 does not work"),
        ("0-2", {"ill": "3"}, None),
    ],
    ids=[
        "all work",
        "one is called ill",
        "two are called ill",
        "one is missing",
        "the device plugin is away",
        "one is missing that may be nobody's",
        "one that the group has is missing",
        "nobody's is called ill",
    ],
)
async def test_cards_that_do_not_work_are_left(booked: str, node: dict[str, Any], unfit: str | None) -> None:
    cluster = Cluster()
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:{booked}")
    cluster.node(NODE, **node)
    await cluster.state.refresh()
    cards = 0b1111 if booked == "0-3" else 0b0111
    assert trouble(cluster, cards) == unfit


async def test_a_failed_card_takes_its_package_from_newcomers_and_not_from_those_on_it() -> None:
    cluster = Cluster()
    cluster.package(2)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:2")
    cluster.node(NODE, usable=3, ill="3")
    await cluster.state.refresh()
    assert cluster.state.fleet.supernodes["sn-0"].node(NODE).free == 0b0011
    assert not trouble(cluster, 0b0100)
    cluster.book("sn-0", f"ml/g1 uid-1 0@{NODE}:3")
    await cluster.state.refresh()
    assert trouble(cluster, 0b1000)


async def test_one_more_card_that_is_missing_is_waited_for_beside_a_failed_package() -> None:
    cluster = Cluster(grace=60.0)
    cluster.package(2)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:0-2")
    cluster.node(NODE, usable=3, ill="3")
    await cluster.state.refresh()
    cluster.node(NODE, usable=2, ill="3")
    await cluster.state.refresh()
    assert not trouble(cluster, 0b0111)


async def test_cards_are_not_missed_while_a_device_plugin_may_bring_them_back() -> None:
    cluster = Cluster()
    state = FleetState(cluster.caches, device_grace=60.0)
    cluster.caches.listener = Follower(state)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:0-3")
    await state.refresh()
    cluster.node(NODE, usable=3)
    await state.refresh()
    assert not trouble(cluster, 0b1111, state)


async def test_of_claimed_devices_only_those_count_that_are_the_groups_own() -> None:
    """A driver says which are ill; how many are left says nothing of the others."""
    cluster = Cluster(claimed=True)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:0-1")
    cluster.book("sn-0", f"ml/g1 uid-1 0@{NODE}:2-3")
    cluster.slice(NODE, tainted=3)
    await cluster.state.refresh()
    assert not trouble(cluster, 0b0011)
    assert trouble(cluster, 0b1100)


@pytest.mark.parametrize(
    ("published", "unfit"),
    [
        ({}, None),
        ({"gone": 0}, "card 0 of sn-0-n1 does not work"),
        ({"gone": 2}, "card 2 of sn-0-n1 does not work"),
        ({"gone": 3}, "the driver does not publish card 3 of sn-0-n1 any more"),
        ({"devices": 1}, "the driver does not publish cards 1-3 of sn-0-n1 any more"),
        ({"devices": 0}, None),
        ({"generation": 2, "count": 2}, None),
    ],
    ids=["all", "not the first", "not one between", "not the highest", "only one", "none at all", "not all slices yet"],
)
async def test_a_device_that_a_driver_does_not_publish_any_more_has_failed(
    published: dict[str, Any], unfit: str | None
) -> None:
    """Devices are numbered anew when one falls off the bus. A driver that publishes none is away."""
    cluster = Cluster(claimed=True)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:0-3")
    cluster.slice(NODE, **published)
    await cluster.state.refresh()
    assert trouble(cluster, 0b1111) == unfit


async def test_a_device_that_is_gone_is_no_loss_of_those_who_have_others() -> None:
    cluster = Cluster(claimed=True)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:0-1")
    cluster.slice(NODE, gone=3)
    await cluster.state.refresh()
    assert not trouble(cluster, 0b0011)
