"""What the engine tells whoever watches it; the metrics of the running operator are one such observer."""

from supernode.control.draft import RepairKind


class Observer:
    """Receives the engine's measurements; this base class ignores them. All durations are in seconds."""

    def decided(self, outcome: str, seconds: float) -> None:
        """A placement decision was made; ``outcome`` is ``placed`` or the refusal's reason."""

    def allocated(self, members: int, waited: float, spans: dict[str, int], minimal: dict[str, int]) -> None:
        """A group got its cards, ``waited`` seconds after it first asked for them."""

    def ledger_conflict(self) -> None:
        """A ledger swap lost against another writer and was rolled back."""

    def deposed(self) -> None:
        """A term ended because another operator had taken the ledgers."""

    def ledger_repaired(self, kind: RepairKind) -> None:
        """A ledger was not as it must be and was mended."""

    def reconciled(self, kind: str, seconds: float, failed: bool) -> None:
        """A key of ``kind`` was reconciled."""

    def restarted(self, times: int) -> None:
        """Failed pods of a job are being replaced; failures at one time count once."""

    def job_running(self, seconds: float) -> None:
        """All pods of a job run for the first time on its cards, ``seconds`` after it got them."""

    def requested(self, verb: str, resource: str, code: int) -> None:
        """The API server answered a request with this HTTP status; 0: it did not answer."""

    def loop_lag(self, seconds: float, busy: float) -> None:
        """The event loop came back so much later than asked; all but ``busy`` seconds of it had no core."""
