"""What became of the pods of a gang, and whether the job answers for it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

from supernode.control.jobview import JobView
from supernode.control.podstatus import TAKEN
from supernode.control.records import PodRecord, parse_time
from supernode.control.refusals import Refusals, is_refused


@dataclass(frozen=True, slots=True)
class Losses:
    """What became of pods in their places.

    ``failed`` are to be replaced, ``refused`` are those of them, not counted before, that a kubelet would not take, and
    ``own`` those that the job's failure policy counts. ``counts`` says whether they are one more restart, ``restarts``
    how many there were with it. ``halted`` says that no gang can form: a member is not gone yet, cannot come again, or
    is on a node that is not ready. ``spreads`` says that the other pods that are there now may fail with those that
    did, or with a member that others took away, as a drain does, a node that shuts down or one that needs the room:
    they are not the job's failure.
    ``crashes`` is how often containers of one pod were restarted in their place, of the pod where it was most often;
    ``crashed`` is that pod, where this is more often than was counted before.
    """

    failed: tuple[PodRecord, ...]
    refused: tuple[PodRecord, ...]
    own: tuple[PodRecord, ...]
    refusals: Refusals
    counts: bool
    restarts: int
    halted: bool
    spreads: bool
    crashes: int
    crashed: PodRecord | None

    @classmethod
    def of(cls, view: JobView, pods: Collection[PodRecord], members: int) -> Self:
        """Count the failures among these pods, of a gang of so many members."""
        counted = set(view.job.status.get("replacing", ()))
        hung = bool(view.unready)
        broken = _broken_in_place(view, pods, counted)
        failed = (*(p for p in pods if p.phase == "Failed" and not p.deleting), *broken)
        going = bool(view.lost) or any(p.deleting and p.uid not in counted for p in pods)
        fresh = [p for p in failed if p.uid not in counted]
        gone = view.job.status.get("phase") == "Running" and len(pods) < members
        torn = going or gone or any(p.reason in TAKEN for p in fresh)
        refused = tuple(p for p in fresh if is_refused(p))
        refusals = Refusals.of(view.job.status)
        refusals = refusals.once_more(view.now) if refused else refusals
        own = tuple(p for p in fresh if not (refusals.forgiven and is_refused(p)))
        # What hardware does is not the job's failure.
        counts = not torn and not hung and not view.unfit and bool(_newly_failed(view, own))
        restarts = view.job.status.get("restarts", 0) + counts
        crashes, crashed = _crashes(view, [p for p in pods if p.uid not in counted])
        spreads = counts or torn or (hung and bool(failed))
        return cls(failed, refused, own, refusals, counts, restarts, going or hung, spreads, crashes, crashed)

    def beyond(self, limit: int) -> PodRecord | None:
        """The pod whose failure is one more than the job may have; no edit of the limit ends a healthy job."""
        last = self.own[0] if self.counts else self.crashed
        return last if self.restarts + self.crashes > limit else None


def _broken_in_place(view: JobView, pods: Iterable[PodRecord], counted: Collection[str]) -> tuple[PodRecord, ...]:
    """The pods whose containers were restarted in their place while a member's node is not ready, or was: new ones come
    instead, since what a kubelet has counted of a pod it counts on."""
    there = (p for p in pods if not p.deleting and not p.finished)
    told = view.job.status.get("containerRestarts", 0)
    return tuple(p for p in there if p.uid in counted or (view.unready and p.restarts > told))


def _crashes(view: JobView, pods: Collection[PodRecord]) -> tuple[int, PodRecord | None]:
    """Restarts of containers where there were most, and the pod of these where that is more than was told before."""
    told = view.job.status.get("containerRestarts", 0)
    if view.unready:
        return told, None
    worst = max(pods, key=lambda p: p.restarts, default=None)
    crashes = worst.restarts if worst else 0
    return crashes, worst if crashes > told else None


def _newly_failed(view: JobView, own: Iterable[PodRecord]) -> list[PodRecord]:
    """Without the pods that were there when a failure was counted last: a gang that lost one fails one by one."""
    before = parse_time(view.job.status.get("restartOf"))
    return [pod for pod in own if before is None or pod.created is None or pod.created > before]
