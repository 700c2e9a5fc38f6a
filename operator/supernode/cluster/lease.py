"""Who may lead, as one elector knows it: what the Lease said, when that was seen, and what follows from it. Pure.

Every moment is read from the elector's own clock, in seconds; the times that others write into the Lease are never
compared with it. Others may take the Lease ``seconds`` after *they saw* its last renewal, later than we sent it:

    sent ──── renew_deadline ────┤ no write is sent     ├ writes have ended      ├ another may lead
    0                           10                     12.5                      15 s

The margin between the last two is what two clocks may run apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from supernode.cluster.resources import JsonObject, Key, key_of

_LATEST_RENEWAL = 1.2
"""Up to how many retry periods after the last renewal the next one begins: jitter, so that replicas spread."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a Lease lasts, for how long its holder trusts the last renewal, how often it renews; in seconds.

    Raises ValueError, naming the field, when a holder could still write after others may lead, or would stop leading
    before it renews.
    """

    duration: int = 15
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.retry > 0:
            raise ValueError(f"the retry period of {self.retry:g} s must be over 0")
        if not self.renew_deadline > _LATEST_RENEWAL * self.retry:
            raise ValueError(
                f"the renew deadline of {self.renew_deadline:g} s must be over {_LATEST_RENEWAL:g} times the retry "
                f"period of {self.retry:g} s, as a renewal may be that late"
            )
        if not self.renew_deadline < self.duration:
            raise ValueError(
                f"the renew deadline of {self.renew_deadline:g} s must be under the lease duration of {self.duration} s"
            )

    @property
    def writes_end(self) -> float:
        """Seconds after the last renewal was sent at which no write of ours may be under way any more."""
        return (self.renew_deadline + self.duration) / 2


@dataclass(frozen=True, slots=True)
class Lease:
    """What a coordination.k8s.io Lease says; ``holder`` is "" when it was given up."""

    key: Key
    version: str
    holder: str
    seconds: float
    renewed: str
    transitions: int

    @classmethod
    def of(cls, obj: JsonObject) -> Lease:
        """Read from the object; fields that are not set say that nobody holds it."""
        spec = obj.get("spec") or {}
        return cls(
            key_of(obj),
            obj["metadata"]["resourceVersion"],
            spec.get("holderIdentity") or "",
            float(spec.get("leaseDurationSeconds") or 0),
            spec.get("renewTime") or "",
            spec.get("leaseTransitions") or 0,
        )

    def renewed_since(self, old: Lease | None) -> bool:
        """Whether its holder, or another one, wrote it since; a label that changed is no sign of life."""
        return old is None or (old.holder, old.renewed, old.transitions) != (
            self.holder,
            self.renewed,
            self.transitions,
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """What the elector ``me`` knows: the Lease, when it was first ``seen`` to say this, and when the request was
    ``sent`` by which it was last taken or renewed; ``None`` when ``me`` does not lead.
    """

    me: str
    timing: Timing
    lease: Lease | None = None
    seen: float = 0.0
    sent: float | None = None

    def observe(self, lease: Lease | None, now: float) -> Standing:
        """The Lease is so now, ``None`` for none. Whoever led and reads another holder, or none, does not lead."""
        seen = now if lease is not None and lease.renewed_since(self.lease) else self.seen
        sent = self.sent if lease is not None and lease.holder == self.me else None
        return replace(self, lease=lease, seen=seen, sent=sent)

    def confirm(self, lease: Lease, sent: float, now: float) -> Standing:
        """The request sent at ``sent`` has taken or renewed the Lease, which was answered now."""
        return replace(self.observe(lease, now), sent=sent)

    def resign(self) -> Standing:
        """Stop leading by one's own will."""
        return replace(self, sent=None)

    def free_in(self, now: float) -> float:
        """Seconds until it may be taken, 0 for now: it is free, ours from an answer that was lost, or has expired."""
        if self.lease is None or self.lease.holder in ("", self.me):
            return 0.0
        return max(0.0, self.seen + (self.lease.seconds or self.timing.duration) - now)

    def leads_for(self, now: float) -> float:
        """Seconds for which writes may be sent; 0 when none may."""
        return 0.0 if self.sent is None else max(0.0, self.sent + self.timing.renew_deadline - now)

    def renewal_in(self, now: float, jitter: float) -> float:
        """Seconds until the next renewal, for a holder; ``jitter`` from 0 to 1 delays it by up to a fifth."""
        assert self.sent is not None
        return self.sent + self.timing.retry * (1 + jitter * (_LATEST_RENEWAL - 1)) - now

    def write_seconds(self, now: float) -> float:
        """Seconds within which a write sent now must have ended; 0 when none may be sent."""
        left = self.leads_for(now)
        return left + self.timing.writes_end - self.timing.renew_deadline if left else 0.0
