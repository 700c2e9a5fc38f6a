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


async def _stalled(seconds: float) -> list[tuple[float, float]]:
    """What is told of a loop that stands still for so long, by its own doing."""
    heard = _Heard()
    watching = asyncio.create_task(pulse.watch_loop(heard))
    await asyncio.sleep(2 * pulse.BEAT_SECONDS)
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    await asyncio.sleep(2 * pulse.BEAT_SECONDS)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    return heard.lags


async def test_what_holds_the_loop_up_is_its_own_doing() -> None:
    lag, busy = max(await _stalled(0.3))
    assert lag >= 0.3 - pulse.BEAT_SECONDS
    assert lag >= busy >= 0.3 - pulse.BEAT_SECONDS


async def test_a_stall_counts_as_all_the_beats_it_held_up() -> None:
    began = time.monotonic()
    lags = [lag for lag, _ in await _stalled(0.5)]
    moments = (time.monotonic() - began) / pulse.BEAT_SECONDS
    assert moments - 3 <= len(lags) <= moments
    longest = max(lags)
    beats = 1 + int(longest / pulse.BEAT_SECONDS)
    assert beats >= 9
    first = lags.index(longest)
    expected = [longest - beat * pulse.BEAT_SECONDS for beat in range(beats)]
    assert lags[first : first + beats] == pytest.approx(expected)


async def test_a_sleep_of_hours_is_told_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "BEATS_TOLD", 3)
    lags = await _stalled(0.5)
    assert sum(lag > 0.3 for lag, _ in lags) == 3


def test_a_kernel_that_does_not_count_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("/dev/null", "/nowhere"):
        monkeypatch.setattr(pulse, "_SCHEDSTAT", file)
        with pulse._waits() as waits:
            assert waits() == 0
