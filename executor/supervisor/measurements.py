"""What is measured of an invocation on its way, and the figures that it amounts to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from executor.figures.figures import Figures, StartTimes
from executor.supervisor.output import OutputLog
from executor.supervisor.verdict import Verdict
from protocol.control import Exited
from protocol.messages import Invoke

__all__ = ["Measurements"]


@dataclass(slots=True)
class Measurements:
    """What is noted on the way, in bytes and in seconds of the monotonic clock.

    Not of the event loop's clock, which uvloop reads once per iteration, in whole milliseconds.
    """

    began: float = field(default_factory=time.monotonic)
    started_at: float = field(default_factory=time.time)
    admitted: float | None = None
    ready: float | None = None
    first_byte: float | None = None
    answered: float | None = None
    reused: bool = False
    after_s: float | None = None
    after_end: str | None = None
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    memory_peak_bytes: int | None = None
    spare: bool | None = None
    start: StartTimes | None = None

    def to_figures(
        self,
        verdict: Verdict,
        *,
        invoke: Invoke,
        rule: str,
        plugin: str,
        output: OutputLog,
        report: Exited | None,
        pid: int | None,
        exit_text: str | None,
    ) -> Figures:
        """Sum up a finished invocation.

        Args:
            verdict: How it ended.
            invoke: What the worker was told.
            rule: The endpoint's declared path.
            plugin: Manifest name of the plugin.
            output: What the endpoint printed and logged.
            report: How the worker ended, when that is known.
            pid: Of the worker, when there was one.
            exit_text: How the worker ended, for people; `None` when there was none.
        """
        return Figures(
            invocation_id=invoke.invocation_id,
            hook_id=invoke.hook_id,
            plugin=plugin,
            method=invoke.method,
            rule=rule,
            outcome=verdict.outcome,
            status=self.status,
            started_at=self.started_at,
            queue_s=(self.admitted if self.admitted is not None else time.monotonic()) - self.began,
            ready_s=_between(self.admitted, self.ready),
            first_byte_s=_between(self.began, self.first_byte),
            duration_s=(self.answered or time.monotonic()) - self.began,
            cpu_user_s=report.utime_s if report else 0.0,
            cpu_system_s=report.stime_s if report else 0.0,
            max_rss_bytes=report.max_rss_bytes if report else 0,
            minor_faults=report.minor_faults if report else 0,
            major_faults=report.major_faults if report else 0,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            pid=pid,
            exit=exit_text,
            log_records=output.records,
            log_dropped_bytes=output.dropped_bytes,
            detail=verdict.private_detail or verdict.detail,
            memory_peak_bytes=self.memory_peak_bytes,
            spare=self.spare,
            start=self.start,
            reused=self.reused,
            after_s=self.after_s,
            after_end=self.after_end,
        )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start
