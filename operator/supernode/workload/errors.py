"""What this package refuses.

SupernodeError
└── InvalidSpec   the job cannot be turned into pods as written; goes into its Stalled condition
"""

from supernode.api.conditions import Reason
from supernode.api.errors import SupernodeError


class InvalidSpec(SupernodeError):  # noqa: N818 - the name of the reason it becomes
    """A TrainingJob contradicts itself or its profile. `field` is the path; the text names it and the remedy."""

    def __init__(self, field: str, problem: str, *, reason: Reason = Reason.INVALID_SPEC) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.reason = reason
