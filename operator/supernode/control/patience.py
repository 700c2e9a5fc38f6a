"""How long the engine waits before it acts of its own accord."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """All in seconds.

    ``hold_after``: a group that has waited so long at the head of its priority gets the nodes held where it would fit
    soonest. ``device_grace``: cards that a node no longer offers count as lost after so long; a device plugin that
    restarts has them back before.
    """

    hold_after: float = 300.0
    device_grace: float = 45.0

    def __post_init__(self) -> None:
        """Raise ValueError for what is no span of time."""
        for name, seconds in (("hold_after", self.hold_after), ("device_grace", self.device_grace)):
            if not 0 <= seconds < float("inf"):
                raise ValueError(f"{name.replace('_', '-')} is {seconds}; it must be a number of seconds from 0")
