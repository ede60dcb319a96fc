"""The clocks of one invocation: one deadline for all of it, one for the phase it is in.

Phases change with every chunk, so changing one only stores a number; the one timer of the event loop is moved only
when a deadline comes closer than it is armed for, and otherwise re-arms itself when it fires early.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from executor.outcome import Outcome

__all__ = ["Watchdog"]


class Watchdog:
    """Calls `expired(outcome, seconds)` once, when the wall time or the current phase's time is over.

    Args:
        loop: Source of monotonic time.
        wall_time_s: Seconds for the whole invocation, from now.
        expired: Told which limit was met, and its value in seconds.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, wall_time_s: float, expired: Callable[[Outcome, float], None]
    ) -> None:
        self._loop = loop
        self._expired = expired
        self._wall_time_s = wall_time_s
        self._wall_deadline = loop.time() + wall_time_s
        self._phase = Outcome.TIMEOUT_WALL
        self._phase_time_s = math.inf
        self._phase_deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = math.inf
        self._arm()

    def watch(self, outcome: Outcome, seconds: float) -> None:
        """Begin a phase that may take `seconds`; it replaces the phase before."""
        self._phase = outcome
        self._phase_time_s = seconds
        self._phase_deadline = self._loop.time() + seconds
        if self._phase_deadline < self._armed_for:
            self._arm()

    def rest(self) -> None:
        """Begin a phase that only the wall time ends."""
        self._phase_deadline = math.inf

    def stop(self) -> None:
        """End all phases."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_for = -math.inf

    def _arm(self) -> None:
        if self._armed_for == -math.inf:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = min(self._wall_deadline, self._phase_deadline)
        self._timer = self._loop.call_at(self._armed_for, self._check)

    def _check(self) -> None:
        now = self._loop.time()
        if now >= self._wall_deadline:
            self._finish(Outcome.TIMEOUT_WALL, self._wall_time_s)
        elif now >= self._phase_deadline:
            self._finish(self._phase, self._phase_time_s)
        else:
            self._timer = None
            self._arm()

    def _finish(self, outcome: Outcome, seconds: float) -> None:
        self.stop()
        self._expired(outcome, seconds)
