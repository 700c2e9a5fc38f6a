"""Text that stands for a number: durations ("1h30m") and Kubernetes quantities ("64Gi")."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from supernode.api.errors import InvalidDuration

DURATION_PATTERN: Final = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"
QUANTITY_PATTERN: Final = r"^[0-9]{1,15}(\.[0-9]{1,9})?(k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$"


def parse_duration(text: str) -> int:
    """Seconds in a duration such as "90s", "10m" or "1h30m". Raises InvalidDuration."""
    match = re.fullmatch(DURATION_PATTERN, text)
    if match is None or not text:
        raise InvalidDuration(f"{text!r} is no duration; write hours, minutes and seconds in this order, such as 1h30m")
    hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


_AMOUNT: Final = re.compile(
    r"(?P<number>[0-9]+(\.[0-9]*)?|\.[0-9]+)((?P<suffix>[numkMGTPE]|[KMGTPE]i)|[eE](?P<exponent>[+-]?[0-9]{1,2}))?"
)
_FACTORS: Final[Mapping[str, Fraction]] = {
    **{prefix: Fraction(10) ** (3 * power) for power, prefix in enumerate(("n", "u", "m", "", *"kMGTPE"), start=-3)},
    **{f"{prefix}i": Fraction(1024**power) for power, prefix in enumerate("KMGTPE", start=1)},
}


def whole_number(amount: object) -> int | None:
    """Of a quantity as Kubernetes counts devices by, which a file may have as a number, too: "8", "1k", 2.0; None for
    what is no whole number of them (k8s.io/apimachinery, `resource.Quantity`)."""
    text = str(amount)
    if text.isascii() and text.isdigit():
        return int(text)
    match = _AMOUNT.fullmatch(text)
    if match is None or isinstance(amount, bool):
        return None
    value = Fraction(f"{match['number']}e{match['exponent'] or 0}") * _FACTORS[match["suffix"] or ""]
    return int(value) if value.denominator == 1 else None
