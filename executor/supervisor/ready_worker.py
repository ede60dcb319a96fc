"""A worker that waits for its one invocation, and why there may be none."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace

from executor.figures.figures import StartTimes
from executor.isolation.control_groups import GroupUsage
from executor.supervisor.control import Child
from executor.supervisor.process_tree import SoFar, look_at_worker
from executor.supervisor.slots import Slot, SlotPool
from executor.supervisor.worker import WorkerHandle, describe_exit
from protocol.control import Exited
from protocol.messages import Error

__all__ = ["ReadyWorker", "StartError", "start_error"]


class StartError(Exception):
    """A worker did not become ready.

    Attributes:
        error: The worker's `ERROR` message, when it sent one.
    """

    def __init__(self, detail: str, error: Error | None = None) -> None:
        super().__init__(detail)
        self.error = error


class ReadyWorker:
    """A worker that has imported its source and waits for its one invocation.

    Args:
        handle: Its pipes.
        slot: Where it is; given back by `finish`.
        pool: Where the slot comes from.
        start: How long each phase of its start has taken.

    Attributes:
        spare: Whether it was there before it was asked for.
        on_finish: Called when it has done its work, if anybody wants to know.
    """

    __slots__ = ("_before", "_pool", "handle", "on_finish", "slot", "spare", "start")

    def __init__(
        self,
        handle: WorkerHandle,
        slot: Slot,
        pool: SlotPool,
        start: StartTimes,
    ) -> None:
        self.handle = handle
        self.slot = slot
        self.start = start
        self.spare = False
        self.on_finish: Callable[[], None] | None = None
        self._pool = pool
        self._before = SoFar()

    @property
    def waits(self) -> bool:
        """Whether it is still there, and has said nothing since it was ready."""
        return self.handle.channel.quiet and self.slot.usable and not self.handle.child.exited.done()

    def usage(self) -> GroupUsage | None:
        """What the worker and all its processes have used so far, where a control group counts it."""
        return self.slot.usage()

    async def measure_anew(self) -> bool:
        """Begin to measure what it uses anew; whether that can be done."""
        if self.handle.pid is None:
            return False
        try:
            await asyncio.to_thread(self.slot.measure_anew, self.handle.pid)
            self._before = look_at_worker(self.handle.pid)
        except OSError:
            return False
        return True

    def report_so_far(self) -> Exited | None:
        """Tell what was used since it is measured, in the words of a report of its end; None when it has ended."""
        if self.handle.pid is None:
            return None
        try:
            seen = look_at_worker(self.handle.pid)
        except OSError:
            return None
        report = self._since_measured(_make_report(self.handle.child, 0, seen))
        usage = self.usage()
        if usage is None or usage.cpu_s is None:
            return report
        system_s = min(report.stime_s if usage.cpu_system_s is None else usage.cpu_system_s, usage.cpu_s)
        return replace(report, utime_s=usage.cpu_s - system_s, stime_s=system_s)  # finer than the kernel's ticks

    def _report_kill(self) -> Exited | None:
        """Report its end in place of the slot, where the kernel has killed both: memory had run out."""
        usage = self.usage()
        if usage is None or not usage.oom_kills or self.slot.client.alive:
            return None
        system_s = usage.cpu_system_s or 0.0
        user_s = max(0.0, (usage.cpu_s or 0.0) - system_s)
        used = SoFar(user_s=user_s, system_s=system_s, peak_rss_bytes=usage.memory_peak_bytes or 0)
        return _make_report(self.handle.child, int(signal.SIGKILL), used)

    def _since_measured(self, report: Exited) -> Exited:
        """Take off what was used before it was measured anew, for earlier requests; the peak is that of all of them."""
        before = self._before
        return replace(
            report,
            utime_s=max(0.0, report.utime_s - before.user_s),
            stime_s=max(0.0, report.stime_s - before.system_s),
            minor_faults=max(0, report.minor_faults - before.minor_faults),
            major_faults=max(0, report.major_faults - before.major_faults),
        )

    async def finish(self, grace_s: float, on_exit: Callable[[], None] | None = None) -> Exited | None:
        """Wait for its end, at most `grace_s` seconds before it is killed, and give its slot back.

        Call it once, whatever happened to the worker; it must not be cancelled.

        Args:
            grace_s: For its end.
            on_exit: Called when it has ended, and the slot still shows what it has used.

        Returns:
            How it ended and what it used; `None` when nobody is left who knows.
        """
        if self.on_finish is not None:
            self.on_finish()
        try:
            report = await self.handle.wait_exit(grace_s)
            if on_exit is not None:
                on_exit()
            if report is None:
                return self._report_kill()
            return self._since_measured(report)
        finally:
            self.handle.close()
            self._pool.release(self.slot)


def _make_report(child: Child, status: int, used: SoFar) -> Exited:
    """Say what a worker has used in the words of a slot's report of its end."""
    return Exited(
        id=child.id,
        status=status,
        utime_s=used.user_s,
        stime_s=used.system_s,
        max_rss_bytes=used.peak_rss_bytes,
        minor_faults=used.minor_faults,
        major_faults=used.major_faults,
        killed_descendants=0,
    )


async def start_error(handle: WorkerHandle, message: object) -> StartError:
    """Say why a worker did not become ready, with what it said instead."""
    if isinstance(message, Error):
        return StartError(message.message, message)
    if handle.channel.violation is not None:
        return StartError(f"the worker broke the protocol: {handle.channel.violation}")
    report = await handle.wait_exit(0)
    return StartError(f"the worker ended before it was ready ({describe_exit(report, handle.child.failure)})")
