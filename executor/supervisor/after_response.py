"""The time after a whole answer, in which a worker finishes what the endpoint has started (`worker.after_response`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from typing import Final

from executor.config.limits import Limits
from executor.outcome import Outcome
from executor.supervisor.ready_worker import ReadyWorker
from executor.supervisor.verdict import Verdict, end_verdict
from executor.supervisor.worker import WorkerHandle
from protocol.messages import EXIT_OUT_OF_TIME, Ready

__all__ = ["wait_finished"]

STATUS_ENDS: Final = {0: "finished", EXIT_OUT_OF_TIME: "time"}
"""What has ended that time, by the exit status of a worker that is well."""

OF_THE_CLIENT: Final = frozenset({Outcome.CLIENT_GONE, Outcome.CLIENT_TIMEOUT})
"""Interruptions that come too late: they were told when the answer had been sent, which it has."""


async def wait_finished(
    worker: ReadyWorker, limits: Limits, *, deadline: float, take_interruption: Callable[[], Verdict | None]
) -> tuple[str, bool]:
    """Wait until a worker ends or is ready again, its time is over, or the invocation is interrupted.

    Args:
        worker: Has answered. It is killed when it is an interruption that ends the time.
        limits: Say why it has ended.
        deadline: In seconds of the monotonic clock.
        take_interruption: Says why the task was cancelled, and has it go on; `None` when that was somebody else, whose
            cancellation goes on.

    Returns:
        What has ended the time, as in `Figures.after_end`; whether the worker is ready again.
    """
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            ready_again = await _wait_end(worker.handle, left_s)
        except asyncio.CancelledError:
            verdict = take_interruption()
            if verdict is None:
                raise
            if verdict.outcome in OF_THE_CLIENT:
                continue
            worker.handle.kill()
            return verdict.outcome.code, False
        if ready_again:
            return "finished", True
        if worker.handle.child.exited.done():
            return await _explain_end(worker, limits), False
    return "time", False


async def _wait_end(handle: WorkerHandle, timeout_s: float) -> bool:
    """Wait for a worker's end, or until it says that it is ready again; whether it is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            message = await handle.channel.receive()
            if isinstance(message, Ready):
                return True
            await asyncio.wait({handle.child.exited})
    return False


async def _explain_end(worker: ReadyWorker, limits: Limits) -> str:
    """What has ended a worker that has exited after its answer."""
    report = worker.handle.child.exited.result()
    status = os.waitstatus_to_exitcode(report.status) if report is not None else None
    if status in STATUS_ENDS and worker.handle.channel.violation is None:
        return STATUS_ENDS[status]
    return (await end_verdict(worker, None, limits)).outcome.code
