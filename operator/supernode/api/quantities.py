"""Text that stands for a number: durations ("1h30m") and Kubernetes quantities ("64Gi")."""

import re
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
