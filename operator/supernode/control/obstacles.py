"""What keeps jobs from their groups and pods, remembered until it is worth asking again."""

import logging
import time

from supernode.api.conditions import Reason
from supernode.cluster.errors import ApiError, BadRequest, Invalid, NotJson
from supernode.control.jobview import OBSTACLE_INTERVAL, Obstacle
from supernode.control.records import Key

_log = logging.getLogger(__name__)


class Obstacles:
    """What the API server answered or a spec led to, by the job's uid."""

    def __init__(self) -> None:
        self._met: dict[str, tuple[Obstacle, float]] = {}

    def meet(self, uid: str, reason: Reason, message: str, *, final: bool = False) -> None:
        """A job met an obstacle; one that is ``final`` stays until the job is gone."""
        self._met[uid] = (Obstacle(reason, message, final), time.monotonic() + OBSTACLE_INTERVAL / 2)

    def of(self, uid: str) -> Obstacle | None:
        """What a job met not long ago."""
        obstacle, until = self._met.get(uid, (None, 0.0))
        if obstacle is not None and not obstacle.final and until <= time.monotonic():
            del self._met[uid]
            return None
        return obstacle

    def forget(self, uid: str) -> None:
        """The job is gone."""
        self._met.pop(uid, None)


def is_mistake(problem: ApiError) -> bool:
    """Whether the server finds the object itself wrong, so that no waiting helps.

    Policies and most webhooks answer with the same codes, but name no field; what they deny they may let pass later.
    """
    if isinstance(problem, BadRequest):
        return "cannot be handled as a" in problem.message
    causes = problem.details.get("causes") or ()
    named = bool(causes) and all(cause.get("field") for cause in causes)
    return isinstance(problem, NotJson) or (isinstance(problem, Invalid) and named)


def mistaken(what: str, job: Key, mistake: Exception) -> str:
    """Log what nobody foresaw; the words for the job's status."""
    _log.error("no decision about %s of job %s/%s", what, *job, exc_info=mistake)
    return f"the operator failed to make out {what} ({mistake!r}); report this with the operator's log"
