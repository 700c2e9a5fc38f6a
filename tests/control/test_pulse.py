"""How late the loop is, and whose doing it was."""

import asyncio
import contextlib
import time

import pytest

from supernode.control import pulse
from supernode.control.observer import Observer


class _Heard(Observer):
    def __init__(self) -> None:
        self.lags: list[tuple[float, float]] = []

    def loop_lag(self, seconds: float, busy: float) -> None:
        self.lags.append((seconds, busy))


async def test_what_holds_the_loop_up_is_its_own_doing() -> None:
    heard = _Heard()
    watching = asyncio.create_task(pulse.watch_loop(heard))
    await asyncio.sleep(2 * pulse.BEAT_SECONDS)
    until = time.thread_time() + 0.3
    while time.thread_time() < until:
        pass
    await asyncio.sleep(2 * pulse.BEAT_SECONDS)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    lag, busy = max(heard.lags)
    assert lag >= 0.3 - pulse.BEAT_SECONDS
    assert lag >= busy >= 0.3 - pulse.BEAT_SECONDS


def test_a_kernel_that_does_not_count_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("/dev/null", "/nowhere"):
        monkeypatch.setattr(pulse, "_SCHEDSTAT", file)
        with pulse._waits() as waits:
            assert waits() == 0
