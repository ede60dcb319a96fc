"""Workers that are kept for another request of the same hook (`worker.max_invocations`), and watched meanwhile.

Theory of operation
-------------------
A worker that has answered, and says READY again, may wait here for the next request with the same key: runtime (one
version of one plugin), hook, settings, limits, debugging. Nothing that has another key ever gets it. It still runs
what a stranger wrote, threads among it: it is limited as in an invocation, its processor time and its output are
counted anew, and it is ended when it exceeds any of that, says something out of turn, be it one byte of a message,
ends, or has waited for too long. What it prints meanwhile is logged as of the invocation before, which has begun it.

Whatever changes what is served ends all that wait, and what was taken before is not kept afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import structlog

from executor.config.limits import Limits
from executor.config.worker import WorkerSettings
from executor.outcome import Outcome
from executor.supervisor.output import LogRecord, OutputLog
from executor.supervisor.ready_worker import ReadyWorker
from executor.supervisor.usage_watch import UsageWatch
from protocol.codec import pack

__all__ = ["Keeper", "KeptKey", "KeptWorkers", "settings_digest"]

log = structlog.get_logger("executor.kept")

LOOK_PAUSE_S: Final = 1.0
"""Between two looks at waiting workers."""

MOST: Final = 256
"""Workers that wait, of all hooks together; above that, the one that has waited longest is ended."""


class KeptKey(NamedTuple):
    """What has to be the same for a worker to be used again."""

    runtime: object
    hook_id: str
    settings: bytes
    limits: Limits
    debug: bool


def settings_digest(settings: Mapping[str, object]) -> bytes:
    """Tell settings apart, also `1` from `True`."""
    return hashlib.sha256(pack([dict(settings)])).digest()


class Keeper:
    """Takes and keeps workers for one invocation.

    Args:
        workers: All that are kept.
        key: Of the invocation.
        settings: How often a worker is used, and how long it may wait.
    """

    def __init__(self, workers: KeptWorkers, key: KeptKey, settings: WorkerSettings) -> None:
        self._workers = workers
        self._key = key
        self._settings = settings
        self._generation = workers.generation
        self._left = settings.max_invocations

    @property
    def uses(self) -> int:
        """How many requests a worker answers."""
        return self._settings.max_invocations

    @property
    def again(self) -> bool:
        """Whether the worker of this invocation may answer another request after it."""
        return self._left > 1 and self._generation == self._workers.generation

    def take(self) -> ReadyWorker | None:
        """Take a worker that waits, if there is one."""
        waiting = self._workers.take(self._key)
        if waiting is None:
            return None
        self._left = waiting.left
        return waiting.worker

    def discard(self, worker: ReadyWorker) -> None:
        """End a worker that was taken and cannot be used."""
        self._workers.discard(worker, self._key.hook_id, "unusable")

    def keep(self, worker: ReadyWorker, emit: Callable[[LogRecord], None]) -> bool:
        """Let a worker wait for the next request, unless it must not; whether it does.

        Args:
            worker: Is ready again.
            emit: Takes each line of its output until the next request.
        """
        if not self.again or not worker.waits:
            return False
        waiting = _Waiting(self._workers, self._key, worker, self._left - 1, emit)
        self._workers.add(waiting, self._settings.idle_time)
        return True


class KeptWorkers:
    """All workers that wait for another request.

    Attributes:
        generation: Counts what has ended all of them.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._waiting: list[_Waiting] = []
        self._enders: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self, key: KeptKey) -> _Waiting | None:
        """Take the one that has waited for the shortest time."""
        for waiting in tuple(reversed(self._waiting)):
            if waiting.key == key and waiting.look(last=True):
                self._waiting.remove(waiting)
                waiting.stop()
                return waiting
        return None

    def add(self, waiting: _Waiting, idle_s: float) -> None:
        """Let a worker wait for `idle_s` seconds."""
        self._waiting.append(waiting)
        waiting.watch(idle_s)
        if len(self._waiting) > MOST:
            self.end(self._waiting[0], "too many")

    def end(self, waiting: _Waiting, reason: str) -> None:
        """End one that waits."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            waiting.stop()
            self.discard(waiting.worker, waiting.key.hook_id, reason)

    def renew(self) -> None:
        """End all that wait; those that are in use are not kept."""
        self.generation += 1
        for waiting in tuple(self._waiting):
            self.end(waiting, "renewed")

    async def wait_ended(self) -> None:
        """Wait until all that were to end have ended."""
        while self._enders:
            await asyncio.wait(self._enders)

    def discard(self, worker: ReadyWorker, hook_id: str, reason: str) -> None:
        """Begin to end a worker that waits no more."""
        log.info("kept.ended", hook_id=hook_id, pid=worker.handle.pid, reason=reason)
        task = asyncio.get_running_loop().create_task(_end(worker))
        self._enders.add(task)
        task.add_done_callback(self._enders.discard)


class _Waiting:
    """One worker that waits."""

    def __init__(
        self, workers: KeptWorkers, key: KeptKey, worker: ReadyWorker, left: int, emit: Callable[[LogRecord], None]
    ) -> None:
        self.key = key
        self.worker = worker
        self.left = left
        self._workers = workers
        self._output = OutputLog(
            limit_bytes=key.limits.log_output,
            line_bytes=key.limits.log_line,
            emit=emit,
            flooded=lambda: self._tell(Outcome.LIMIT_LOG_OUTPUT.code),
        )
        self._timers: list[asyncio.TimerHandle] = []
        self._usage: UsageWatch | None = None
        self._stopped = False
        worker.handle.use_sink(self._output)
        worker.handle.channel.rest()

    def look(self, *, last: bool = False) -> bool:
        """End it, unless it waits as it should; whether it does, by all that has come of it until now.

        Args:
            last: It is to be used. What it has begun to say would be taken for the beginning of its next answer.
        """
        handle = self.worker.handle
        handle.read_all()
        if not self._stopped and (not self.worker.waits or (last and handle.channel.mid_message)):
            self._tell("misbehaved")
        return not self._stopped

    def watch(self, idle_s: float) -> None:
        """Begin to watch it."""
        loop = asyncio.get_running_loop()
        self._timers = [loop.call_later(idle_s, self._tell, "idle"), loop.call_later(LOOK_PAUSE_S, self._look_again)]
        handle = self.worker.handle
        self._usage = UsageWatch(
            self.worker.slot, handle.child, self.key.limits, lambda outcome, _: self._tell(outcome.code)
        )

    def stop(self) -> None:
        """Watch it no more."""
        self._stopped = True
        for timer in self._timers:
            timer.cancel()
        if self._usage is not None:
            self._usage.stop()
        self._output.close()

    def _look_again(self) -> None:
        if self.look():
            self._timers[1] = asyncio.get_running_loop().call_later(LOOK_PAUSE_S, self._look_again)

    def _tell(self, reason: str) -> None:
        self._workers.end(self, reason)


async def _end(worker: ReadyWorker) -> None:
    worker.handle.kill()
    with contextlib.suppress(OSError):
        await worker.finish(0)
