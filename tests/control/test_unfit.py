"""Whether the pods of a group will ever be bound to the cards that ledgers give it."""

from typing import Any

import pytest
from test_fleet import Cluster, Follower

from supernode.control.fleet import FleetState

NODE = "sn-0-n1"


@pytest.mark.parametrize(
    ("booked", "node", "unfit"),
    [
        ("0-3", {}, False),
        ("0-3", {"ill": "3"}, True),
        ("0-3", {"usable": 3}, True),
        ("0-3", {"usable": 0}, False),
        ("0-2", {"usable": 3}, False),
        ("0-2", {"usable": 3, "ill": "0"}, True),
        ("0-2", {"ill": "3"}, False),
    ],
    ids=[
        "all work",
        "one is called ill",
        "one is missing",
        "the device plugin is away",
        "one is missing that may be nobody's",
        "one that the group has is missing",
        "nobody's is called ill",
    ],
)
async def test_cards_that_do_not_work_are_left(booked: str, node: dict[str, Any], unfit: bool) -> None:
    cluster = Cluster()
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:{booked}")
    cluster.node(NODE, **node)
    await cluster.state.refresh()
    cards = 0b1111 if booked == "0-3" else 0b0111
    assert cluster.state.unfit(NODE, cards) is unfit


async def test_a_failed_card_takes_its_package_from_newcomers_and_not_from_those_on_it() -> None:
    cluster = Cluster()
    cluster.package(2)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:2")
    cluster.node(NODE, usable=3, ill="3")
    await cluster.state.refresh()
    assert cluster.state.fleet.supernodes["sn-0"].node(NODE).free == 0b0011
    assert not cluster.state.unfit(NODE, 0b0100)
    cluster.book("sn-0", f"ml/g1 uid-1 0@{NODE}:3")
    await cluster.state.refresh()
    assert cluster.state.unfit(NODE, 0b1000)


async def test_one_more_card_that_is_missing_is_waited_for_beside_a_failed_package() -> None:
    cluster = Cluster(grace=60.0)
    cluster.package(2)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:0-2")
    cluster.node(NODE, usable=3, ill="3")
    await cluster.state.refresh()
    cluster.node(NODE, usable=2, ill="3")
    await cluster.state.refresh()
    assert not cluster.state.unfit(NODE, 0b0111)


async def test_cards_are_not_missed_while_a_device_plugin_may_bring_them_back() -> None:
    cluster = Cluster()
    state = FleetState(cluster.caches, device_grace=60.0)
    cluster.caches.listener = Follower(state)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:0-3")
    await state.refresh()
    cluster.node(NODE, usable=3)
    await state.refresh()
    assert not state.unfit(NODE, 0b1111)


async def test_of_claimed_devices_only_those_count_that_are_the_groups_own() -> None:
    """A driver says which are ill; how many are left says nothing of the others."""
    cluster = Cluster(claimed=True)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:0-1")
    cluster.book("sn-0", f"ml/g1 uid-1 0@{NODE}:2-3")
    cluster.slice(NODE, tainted=3)
    await cluster.state.refresh()
    assert not cluster.state.unfit(NODE, 0b0011)
    assert cluster.state.unfit(NODE, 0b1100)


@pytest.mark.parametrize(
    ("published", "unfit"),
    [
        ({}, False),
        ({"gone": 0}, True),
        ({"gone": 2}, True),
        ({"gone": 3}, True),
        ({"devices": 1}, True),
        ({"devices": 0}, False),
        ({"generation": 2, "count": 2}, False),
    ],
    ids=["all", "not the first", "not one between", "not the highest", "only one", "none at all", "not all slices yet"],
)
async def test_a_device_that_a_driver_does_not_publish_any_more_has_failed(
    published: dict[str, Any], unfit: bool
) -> None:
    """Devices are numbered anew when one falls off the bus. A driver that publishes none is away."""
    cluster = Cluster(claimed=True)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:0-3")
    cluster.slice(NODE, **published)
    await cluster.state.refresh()
    assert cluster.state.unfit(NODE, 0b1111) is unfit


async def test_a_device_that_is_gone_is_no_loss_of_those_who_have_others() -> None:
    cluster = Cluster(claimed=True)
    cluster.book("sn-0", f"ml/g0 uid-0 0@{NODE}:0-1")
    cluster.slice(NODE, gone=3)
    await cluster.state.refresh()
    assert not cluster.state.unfit(NODE, 0b0011)
