"""Which cards pods that others make have."""

import pytest

from supernode.topology.podcards import named_devices

CARD = "example.com/card"


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
