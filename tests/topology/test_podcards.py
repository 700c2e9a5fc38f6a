"""Which cards pods that others make have."""

from typing import Any

import pytest

from supernode.topology.podcards import extended_requests, named_devices

CARD = "example.com/card"


def container(cards: int, **fields: Any) -> dict[str, Any]:
    return {"resources": {"limits": {CARD: str(cards), "cpu": "4"}, "requests": {CARD: str(cards)}}, **fields}


def sidecar(cards: int) -> dict[str, Any]:
    return container(cards, restartPolicy="Always")


@pytest.mark.parametrize(
    ("init", "containers", "cards"),
    [
        ([], [container(4), container(2), {}], 6),
        ([container(4)], [container(2)], 4),
        ([container(4), container(5)], [container(6)], 6),
        ([sidecar(4)], [container(4)], 8),
        ([sidecar(1), sidecar(2)], [container(4)], 7),
        ([sidecar(1), container(8), sidecar(2)], [container(4)], 9),
        ([container(8), sidecar(1)], [container(4)], 8),
        ([sidecar(3)], [{}], 3),
    ],
    ids=[
        "all containers",
        "an init container that asks for more",
        "init containers that run one after the other",
        "a sidecar runs on beside the containers",
        "and beside other sidecars",
        "and beside init containers after it",
        "but not beside those before it",
        "only a sidecar asks",
    ],
)
def test_how_many_cards_a_pod_is_given(init: list[Any], containers: list[Any], cards: int) -> None:
    assert extended_requests({"initContainers": init, "containers": containers}) == {CARD: cards}


def test_only_extended_resources_count_and_a_limit_is_a_request() -> None:
    resources = {"limits": {CARD: "2", "example.com/nic": "1", "memory": "4Gi"}, "requests": {"cpu": "1"}}
    assert extended_requests({"containers": [{"resources": resources}]}) == {CARD: 2, "example.com/nic": 1}


@pytest.mark.parametrize(
    ("text", "requested", "named"),
    [
        ("card-8,card-9", 2, 0b11 << 8),
        ("Ascend910-0, Ascend910-3", 2, 0b1001),
        ("card-1,card-0", 2, 0b11),
        ("card-1023", 1, 1 << 1023),
        ("card-1024", 1, None),
        ("card-0,card-0", 2, None),
        ("card-0,card-1", 1, None),
        ("card-0", 2, None),
        ("card-2c-100-0", 1, None),
        ("card-0,", 1, None),
        ("0,1", 2, None),
        ("", 1, None),
    ],
    ids=[
        "of its kind",
        "with a space, of another name",
        "in any order",
        "the highest there can be",
        "above it",
        "one twice",
        "more than requested, which no device plugin heeds",
        "fewer than requested",
        "a slice of a card",
        "a trailing comma",
        "bare numbers",
        "nothing",
    ],
)
def test_the_annotation_named_like_the_resource_says_which_cards(text: str, requested: int, named: int | None) -> None:
    assert named_devices({CARD: text}, {CARD: requested}).get(CARD) == named


def test_each_resource_has_an_annotation_of_its_own() -> None:
    annotations = {CARD: "card-1", "example.com/nic": "nic-0", "example.com/other": "other-5"}
    named = named_devices(annotations, {CARD: 1, "example.com/nic": 1, "example.com/none": 1})
    assert named == {CARD: 0b10, "example.com/nic": 0b1}
