"""Why an invocation ended: an outcome, with words for the client and words for the operator only."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Final

from executor.config.limits import Limits
from executor.isolation.control_groups import GroupUsage
from executor.outcome import Outcome
from executor.supervisor.ready_worker import ReadyWorker, StartError
from executor.supervisor.worker import WorkerHandle, describe_exit
from protocol.messages import Error

__all__ = ["ERROR_OUTCOMES", "Verdict", "crash_verdict", "end_verdict", "error_verdict", "start_verdict"]

ERROR_OUTCOMES: Final = {
    "load": Outcome.ENDPOINT_LOAD,
    "raised": Outcome.ENDPOINT_RAISED,
    "not_found": Outcome.ENDPOINT_REJECTED,
    "wrong_type": Outcome.ENDPOINT_WRONG_TYPE,
    "body": Outcome.ENDPOINT_BODY,
    "cancelled": Outcome.WORKER_CRASHED,
    "internal": Outcome.WORKER_INTERNAL,
}
"""The `code` of a worker's `ERROR` message and the outcome that it means."""

CUT_TIME_S: Final = 1.0
"""For how long the end of a worker is waited for that has stopped within a frame; it is told within milliseconds."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an invocation ended.

    Attributes:
        outcome: How.
        detail: Words for the client, too; for `ENDPOINT_REJECTED` all that it gets.
        private_detail: Words for the operator.
        traceback: Of the endpoint; shown to the client only when debugging.
    """

    outcome: Outcome
    detail: str = ""
    private_detail: str = ""
    traceback: str = ""


def error_verdict(error: Error) -> Verdict:
    """Say what a worker's `ERROR` message means."""
    outcome = ERROR_OUTCOMES.get(error.code, Outcome.WORKER_PROTOCOL)
    if outcome is Outcome.ENDPOINT_REJECTED:
        return Verdict(outcome, error.message, traceback=error.traceback)
    return Verdict(outcome, private_detail=error.message, traceback=error.traceback)


def start_verdict(error: StartError) -> Verdict:
    """Say why there was no worker."""
    if error.error is not None:
        return error_verdict(error.error)
    return Verdict(Outcome.WORKER_INTERNAL, private_detail=str(error))


async def end_verdict(worker: ReadyWorker, message: object, limits: Limits) -> Verdict:
    """Find out why a worker ended other than with `END`.

    Args:
        worker: Has ended, is about to, or is ended here.
        message: What came last of it; `None` when its pipe was at its end.
        limits: What it might use.
    """
    handle = worker.handle
    if isinstance(message, Error):
        return error_verdict(message)
    if handle.channel.violation is not None and not (handle.channel.was_cut and await _was_killed(handle)):
        return Verdict(Outcome.WORKER_PROTOCOL, private_detail=str(handle.channel.violation))
    report = await handle.wait_exit(0)
    peak_bytes = report.max_rss_bytes if report is not None and worker.slot.group is None else 0
    return crash_verdict(describe_exit(report, handle.child.failure), worker.usage(), limits, peak_bytes=peak_bytes)


async def _was_killed(handle: WorkerHandle) -> bool:
    """Whether a worker whose words ended within a frame was killed while it wrote, as for want of memory."""
    exited = handle.child.exited
    await asyncio.wait({exited}, timeout=CUT_TIME_S)
    if not exited.done():
        return False
    report = exited.result()
    return report is None or os.WIFSIGNALED(report.status)


def crash_verdict(exit_text: str, usage: GroupUsage | None, limits: Limits, *, peak_bytes: int = 0) -> Verdict:
    """Say why a worker ended without a word.

    Args:
        exit_text: How its process ended, for people.
        usage: What it had used, where a control group counts that.
        limits: What it might use.
        peak_bytes: The most that one of its processes had in memory, where a resource limit bounds that: whoever gets
            no more seldom gets to say so.
    """
    if (usage is not None and usage.oom_kills) or peak_bytes > limits.memory:
        return Verdict(Outcome.LIMIT_MEMORY, f"limit {limits.memory} bytes", private_detail=exit_text)
    used_s = (usage.cpu_s if usage is not None else None) or 0.0
    if "SIGXCPU" in exit_text or used_s >= limits.cpu_time:
        return Verdict(Outcome.TIMEOUT_CPU, f"limit {limits.cpu_time:g} s of processor time", private_detail=exit_text)
    return Verdict(Outcome.WORKER_CRASHED, private_detail=exit_text)
