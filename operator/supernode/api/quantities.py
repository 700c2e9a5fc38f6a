"""Text that stands for a number: Kubernetes quantities ("64Gi", "500m") and durations ("1h30m").

Quantities follow `resource.Quantity` of k8s.io/apimachinery.
"""

import re
from decimal import Decimal
from typing import Final

from supernode.api.errors import InvalidQuantity

DURATION_PATTERN: Final = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"
QUANTITY_PATTERN: Final = r"^[0-9]{1,15}(\.[0-9]{1,9})?(k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$"

_QUANTITY: Final = re.compile(
    r"([+-]?[0-9]{1,30}(?:\.[0-9]{0,30})?|[+-]?\.[0-9]{1,30})(?:([eE][+-]?[0-9]{1,3})|([a-zA-Z]{0,2}))"
)
_SUFFIXES: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def parse_duration(text: str) -> int:
    """Seconds in a duration such as "90s", "10m" or "1h30m". Raises InvalidQuantity."""
    match = re.fullmatch(DURATION_PATTERN, text)
    if match is None or not text:
        raise InvalidQuantity(f"{text!r} is no duration; write hours, minutes and seconds in this order, such as 1h30m")
    hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def format_duration(seconds: int) -> str:
    """The shortest duration text for whole seconds: 5400 is "1h30m"."""
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def parse_quantity(text: str | int) -> Decimal:
    """The number a Kubernetes quantity stands for: "16" is 16, "2Ki" 2048, "500m" 0.5. Raises InvalidQuantity."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None or (match[3] or "") not in _SUFFIXES:
        raise InvalidQuantity(f"{text!r} is no quantity; write a number with an optional suffix, such as 16 or 64Gi")
    if match[2]:
        return Decimal(match[1]) * Decimal(f"1{match[2]}")
    return Decimal(match[1]) * _SUFFIXES[match[3] or ""]
