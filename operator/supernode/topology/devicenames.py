"""Names of whole cards as Ascend's device plugin writes them, such as `Ascend910-4`: the number is the card's index in
its node."""

import re

from supernode.topology.ranges import MAX_CARDS

_DEVICE = re.compile(r"[A-Za-z][A-Za-z0-9]*-(?P<index>[0-9]{1,4})")


def card_index(name: str) -> int | None:
    """The index of the card of this name; None where the name is of another form, as those of parts of cards are."""
    match = _DEVICE.fullmatch(name)
    return int(match["index"]) if match is not None and int(match["index"]) < MAX_CARDS else None
