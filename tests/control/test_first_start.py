"""How long jobs take to start is measured once for each allocation, not again after a restart."""

from datetime import datetime, timedelta

from test_job import MEMBERS, NOW, group, job, look, pod

from supernode.control.jobstatus import first_start
from supernode.control.jobview import GroupView
from supernode.control.records import PodRecord

MINUTE = timedelta(minutes=1)


class Life:
    """A job whose every status is written. ``measured``: when it got its cards, for each start that is measured."""

    def __init__(self) -> None:
        self.status: dict[str, object] = {}
        self.measured: list[datetime] = []

    def goes_on(self, minutes: int, its_group: GroupView | None, *pods: PodRecord) -> None:
        after = look(job(self.status), its_group, *pods, now=NOW + minutes * MINUTE).status
        assert after is not None
        if (since := first_start(self.status, after)) is not None:
            self.measured.append(since)
        self.status = after


RUNNING = (pod(0), pod(1))


def test_the_first_time_that_all_pods_run_is_measured_and_no_restart() -> None:
    life = Life()
    life.goes_on(0, group())
    life.goes_on(1, group(MEMBERS))
    life.goes_on(2, group(MEMBERS), pod(0), pod(1, "Pending"))
    life.goes_on(3, group(MEMBERS), *RUNNING)
    assert life.measured == [NOW + MINUTE]
    life.goes_on(200, group(MEMBERS), pod(0), pod(1, "Failed"))
    life.goes_on(201, group(MEMBERS), pod(0), pod(1, "Pending", uid="again"))
    life.goes_on(202, group(MEMBERS), pod(0), pod(1, uid="again"))
    assert life.status["phase"] == "Running"
    assert life.measured == [NOW + MINUTE]


def test_pods_that_run_at_once_are_measured() -> None:
    life = Life()
    life.goes_on(1, group(MEMBERS), *RUNNING)
    assert life.measured == [NOW + MINUTE]


def test_another_allocation_is_another_start() -> None:
    life = Life()
    life.goes_on(1, group(MEMBERS), *RUNNING)
    life.goes_on(200, group())
    life.goes_on(210, group(MEMBERS), pod(0), pod(1, "Pending"))
    life.goes_on(211, group(MEMBERS), *RUNNING)
    assert life.measured == [NOW + MINUTE, NOW + 210 * MINUTE]
