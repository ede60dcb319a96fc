"""The clocks of an invocation, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any, cast

from executor.outcome import Outcome
from executor.supervisor.watchdog import Watchdog


class Timer:
    """What `call_at` returns."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        """Never fire."""
        self.cancelled = True


class FakeLoop:
    """Just the clock of an event loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Timer, Callable[[], None]]] = []

    def time(self) -> float:
        """Seconds."""
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Arrange a call."""
        timer = Timer()
        heapq.heappush(self._timers, (when, len(self._timers), timer, callback))
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, firing what is due."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer, callback = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled:
                callback()
        self.now = end


def make(wall: float = 100.0) -> tuple[FakeLoop, Watchdog, list[tuple[Outcome, float]]]:
    """A watchdog, its clock, and what it reports."""
    loop = FakeLoop()
    expired: list[tuple[Outcome, float]] = []
    watchdog = Watchdog(
        cast("asyncio.AbstractEventLoop", cast("Any", loop)),
        wall,
        lambda outcome, seconds: expired.append((outcome, seconds)),
    )
    return loop, watchdog, expired


def test_the_wall_time_holds_through_all_phases() -> None:
    """New phases do not move it."""
    loop, watchdog, expired = make(10)
    for _ in range(9):
        watchdog.watch(Outcome.TIMEOUT_IDLE, 5)
        loop.advance(1)
    assert expired == []
    loop.advance(1)
    assert expired == [(Outcome.TIMEOUT_WALL, 10)]


def test_a_phase_ends() -> None:
    """The phase's own limit is told, once."""
    loop, watchdog, expired = make()
    watchdog.watch(Outcome.TIMEOUT_FIRST_BYTE, 3)
    loop.advance(50)
    assert expired == [(Outcome.TIMEOUT_FIRST_BYTE, 3)]
    loop.advance(100)
    assert len(expired) == 1


def test_a_phase_replaces_the_one_before() -> None:
    """Longer or shorter than it."""
    loop, watchdog, expired = make()
    watchdog.watch(Outcome.TIMEOUT_FIRST_BYTE, 3)
    watchdog.watch(Outcome.CLIENT_TIMEOUT, 20)
    loop.advance(10)
    assert expired == []
    watchdog.watch(Outcome.TIMEOUT_IDLE, 1)
    loop.advance(1)
    assert expired == [(Outcome.TIMEOUT_IDLE, 1)]


def test_after_stop_nothing_is_reported() -> None:
    """Not even when a phase begins afterwards."""
    loop, watchdog, expired = make()
    watchdog.watch(Outcome.TIMEOUT_IDLE, 1)
    watchdog.stop()
    watchdog.watch(Outcome.TIMEOUT_IDLE, 1)
    loop.advance(1000)
    assert expired == []
