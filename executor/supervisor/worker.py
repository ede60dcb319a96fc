"""A worker, seen from the supervisor: its process, what it says and prints, and its end.

A worker's end is believed only after what it had sent was read: drain, then reap, then classify. One that breaks the
protocol is killed when that is seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Final, Protocol

from executor.supervisor.channel import Channel, LogSink
from executor.supervisor.control import Child
from executor.supervisor.output_pipes import OutputPipes, OutputSink
from executor.supervisor.pipes import close_quietly, open_pipes
from executor.supervisor.readiness import Readiness
from executor.supervisor.slots import Slot
from executor.supervisor.zygote import WorkerTask
from protocol.control import Exited

__all__ = ["WorkerHandle", "WorkerSink", "describe_exit"]

KILL_TIME_S: Final = 5.0
"""Longest wait for the slot to report a worker that it was to kill. Then the slot is killed, with all that is in it."""

BIRTH_TIME_S: Final = 5.0
"""Longest wait for the slot to tell the process id of a worker that has answered already."""

SLOT_KILL_TIME_S: Final = 10.0
"""Longest wait for the end of a killed slot. Then something in it hangs in the kernel."""


class WorkerSink(LogSink, OutputSink, Protocol):
    """Where a worker's side effects go while its messages wait for the invocation."""


class WorkerHandle:
    """One worker process.

    Args:
        slot: Where it is forked.
        task: What it is for.
        sink: Takes its output.
        readiness: Waits for its pipes.

    Attributes:
        child: What the slot knows of it.
        channel: Between us and it.

    Raises:
        OSError: No descriptors left.
        ParentLostError: The slot is gone.
    """

    def __init__(self, slot: Slot, task: WorkerTask, sink: WorkerSink, readiness: Readiness) -> None:
        self._slot = slot
        ours, theirs = open_pipes()
        write_fd, read_fd, stdout, stderr = ours
        try:
            self.child: Child = slot.client.fork_worker(task, theirs)
        except BaseException:
            close_quietly(ours)
            raise
        try:
            self.channel = Channel(write_fd, read_fd, readiness, sink, self.kill)
            self._output = OutputPipes(stdout, stderr, readiness, sink)
        except BaseException:
            self.kill()
            slot.spoilt = True  # whoever got it next would find the worker still there
            for descriptor in ours:
                readiness.forget(descriptor)
            close_quietly(ours)
            raise

    @property
    def pid(self) -> int | None:
        """Process id, once known."""
        return self.child.pid

    async def wait_pid(self) -> None:
        """Wait until the process id is known: a worker may have answered before its slot has its turn to tell."""
        await self.child.wait_forked(BIRTH_TIME_S)

    def use_sink(self, sink: WorkerSink) -> None:
        """Have output go there from now on; what there is of it goes to the sink that was there."""
        self.read_all()
        self.channel.sink = self._output.sink = sink

    def read_all(self) -> None:
        """Take what there is of messages and output: all of it, unless that is a flood."""
        self.channel.read_all()
        self._output.read()

    def kill(self) -> None:
        """End the process and everything that it has started, at once."""
        self._slot.kill_worker(self.child)

    async def wait_exit(self, grace_s: float) -> Exited | None:
        """Wait for the process to end, killing it after `grace_s` seconds; then take its last output.

        Returns:
            The slot's report, or `None` when the slot itself was lost, could not fork, or does not tell.
        """
        report = await self._wait_report(grace_s)
        self.channel.read_last()
        self._output.read()
        return report

    async def _wait_report(self, grace_s: float) -> Exited | None:
        exited = self.child.exited
        if not exited.done():
            await asyncio.wait({exited}, timeout=grace_s)
        if not exited.done():
            self.kill()
            await asyncio.wait({exited}, timeout=KILL_TIME_S)
        if not exited.done():
            self._slot.kill()
            await asyncio.wait({exited}, timeout=SLOT_KILL_TIME_S)
        if not exited.done():
            self.child.failure = "killed, its end was not reported"
            await self._slot.end()
        return exited.result() if exited.done() else None

    def close(self) -> None:
        """Close all pipes. The worker, if it still runs, sees their end."""
        self.channel.close()
        self._output.close()


def describe_exit(report: Exited | None, failure: str = "") -> str:
    """How a process ended, for people: `exit 3`, `signal 9 (SIGKILL)`; or why that is not known."""
    if report is None:
        return failure or "lost with its slot"
    code = os.waitstatus_to_exitcode(report.status)
    if code >= 0:
        return f"exit {code}"
    with contextlib.suppress(ValueError):
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"signal {-code}"
