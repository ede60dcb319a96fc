"""Spare workers: made before they are asked for, so that a request finds one that has imported its source already.

Theory of operation
-------------------
Workers with the same task (sources, limits, debugging) can stand in for one another; each task has a *line*. A line is
as long as requests come in during the time that it takes to make a worker, and one more; when none has come for a
while, it is empty. What is taken is replaced when its request has been answered, or after a moment: a request that has
its worker should not wait for the processor because another one is being made. A request that finds none forks a worker
of its own and waits for it.

A spare is a worker like any other: locked down, limited, used for one request only. It has imported what a stranger
wrote, so it is watched while it waits: one that says something out of turn, ends, floods the log or is busy without a
request is thrown away, and its line stays empty for a while.

`SpareBudget` bounds the spares of all lines together, by number and by the memory that is left on the host. When it is
used up, the longest line gives one to a line that has none: a busy hook cannot keep others from having any.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import psutil
import structlog

from executor.config.limits import Limits
from executor.config.model import SpareSettings
from executor.supervisor.output import Stream
from executor.supervisor.process_tree import look_at_processes
from executor.supervisor.ready_worker import ReadyWorker, StartError
from executor.supervisor.worker import WorkerSink
from protocol.messages import Log

__all__ = ["HeldOutput", "SpareBudget", "SpareLine"]

log = structlog.get_logger("executor.spares")

LOOK_PAUSE_S: Final = 1.0
"""Between two looks at waiting spares."""

BUSY_S: Final = 0.1
"""CPU seconds that a waiting spare may use between two looks."""

PENALTY_S: Final = 60.0
"""How long a line stays empty after one of its spares has misbehaved or could not be made."""

MEMORY_LOOK_S: Final = 0.5
"""For how long the host's free memory is taken to be what it was."""

REFILL_PAUSE_S: Final = 0.01
"""From a request to the making of what is missing, at most: most requests have been answered before."""

WEIGHT: Final = 0.2
"""Of the newest observation, in moving averages."""

OUTPUT_MOST: Final = 64 * 1024
"""Bytes of output that are held for a spare, each piece counting at least PIECE_COST."""

PIECE_COST: Final = 64


class HeldOutput:
    """Holds what a worker says until it is known for whom, and passes it on from then on.

    Attributes:
        flooded: Whether more came than is held; the rest was dropped.
    """

    def __init__(self) -> None:
        self.flooded = False
        self._sink: WorkerSink | None = None
        self._held: list[Log | tuple[Stream, bytes]] = []
        self._cost = 0

    def add_message(self, message: Log) -> None:
        """A `LOG` message came."""
        if self._sink is not None:
            self._sink.add_message(message)
        else:
            self._hold(message, len(message.message))

    def feed(self, stream: Stream, data: bytes) -> None:
        """Bytes came from descriptor 1 or 2."""
        if self._sink is not None:
            self._sink.feed(stream, data)
        else:
            self._hold((stream, data), len(data))

    def pass_to(self, sink: WorkerSink) -> None:
        """Give everything to `sink`, and what comes from now on."""
        self._sink = sink
        for piece in self._held:
            if isinstance(piece, Log):
                sink.add_message(piece)
            else:
                sink.feed(*piece)
        self._held.clear()

    def _hold(self, piece: Log | tuple[Stream, bytes], size: int) -> None:
        self._cost += max(size, PIECE_COST)
        if self._cost > OUTPUT_MOST:
            self.flooded = True
        else:
            self._held.append(piece)


class SpareBudget:
    """Bounds the spares of all lines.

    Args:
        settings: How many, and how much memory is to be left. May be replaced at any time.
    """

    def __init__(self, settings: SpareSettings) -> None:
        self.settings = settings
        self._lines: list[SpareLine] = []
        self._free_bytes = 0
        self._looked_at = -math.inf

    @property
    def used(self) -> int:
        """How many spares there are, and are being made."""
        return sum(line.size for line in self._lines)

    @property
    def ready(self) -> int:
        """How many spares wait."""
        return sum(line.ready for line in self._lines)

    def join(self, line: SpareLine) -> None:
        """Take account of a line."""
        self._lines.append(line)

    def leave(self, line: SpareLine) -> None:
        """Forget a line, which has ended its spares."""
        if line in self._lines:
            self._lines.remove(line)

    def allows(self, line: SpareLine) -> bool:
        """Whether a line may make one more. Another line may have to give one for it."""
        if line.size >= self.settings.per_task or not self._has_memory():
            return False
        if self.used < self.settings.total:
            return True
        longest = max(self._lines, key=lambda other: other.ready, default=line)
        return longest.ready > line.size + 1 and longest.give_up()

    def _has_memory(self) -> bool:
        now = time.monotonic()
        if now - self._looked_at > MEMORY_LOOK_S:
            self._looked_at = now
            try:
                self._free_bytes = psutil.virtual_memory().available
            except OSError:  # no descriptor is left to look: nor are there any for a worker
                self._free_bytes = 0
        return self._free_bytes > self.settings.free_memory


class SpareLine:
    """The spares for one task.

    Args:
        budget: Bounds all lines.
        make: Makes a worker whose output goes to a sink.
        limits: How long it may take to make one.
    """

    def __init__(
        self, budget: SpareBudget, make: Callable[[WorkerSink], Awaitable[ReadyWorker]], limits: Limits
    ) -> None:
        self._budget = budget
        self._make = make
        self._time_s = limits.first_byte_time
        self._waiting: deque[_Spare] = deque()
        self._makers: set[asyncio.Task[None]] = set()
        self._enders: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._refiller: asyncio.TimerHandle | None = None
        self._last_request = -math.inf
        self._interval_s = math.inf
        self._make_s = 0.0
        self._punished_until = -math.inf
        self._closed = False
        budget.join(self)

    @property
    def ready(self) -> int:
        """How many spares wait."""
        return len(self._waiting)

    @property
    def size(self) -> int:
        """How many spares wait or are being made."""
        return len(self._waiting) + len(self._makers)

    @property
    def unused(self) -> bool:
        """Whether nobody has asked for a while, and nothing is left."""
        return self.size == 0 and self._wanted() == 0

    def take(self, sink: WorkerSink) -> ReadyWorker | None:
        """Take a spare for a request, if there is one; its output goes to `sink`. See to it that there will be more."""
        self._note_request()
        taken: ReadyWorker | None = None
        while self._waiting and taken is None:
            spare = self._waiting.pop()  # the last one made: its memory is still in the processor's caches
            if spare.well():
                spare.output.pass_to(sink)
                taken = spare.worker
                taken.spare = True
            else:
                self._discard(spare)
        if self._refiller is None:
            self._refiller = asyncio.get_running_loop().call_later(REFILL_PAUSE_S, self.refill)
        return taken

    def refill(self) -> None:
        """Begin to make what is missing."""
        if self._refiller is not None:
            self._refiller.cancel()
            self._refiller = None
        if self._closed or time.monotonic() < self._punished_until:
            return
        while self.size < self._wanted() and self._budget.allows(self):
            maker = asyncio.get_running_loop().create_task(self._make_one())
            self._makers.add(maker)
            maker.add_done_callback(self._makers.discard)

    def give_up(self) -> bool:
        """End one spare, so that another line can have one; whether there was any."""
        if not self._waiting:
            return False
        self._discard(self._waiting.popleft())
        return True

    def close(self) -> None:
        """End all spares, and make no more."""
        self._closed = True
        self._budget.leave(self)
        for timer in (self._timer, self._refiller):
            if timer is not None:
                timer.cancel()
        for maker in self._makers:
            maker.cancel()
        while self._waiting:
            self._discard(self._waiting.popleft())

    async def wait_closed(self) -> None:
        """Wait until all spares that were to end have ended."""
        while tasks := self._makers | self._enders:
            await asyncio.wait(tasks)

    def _note_request(self) -> None:
        now = time.monotonic()
        interval = now - self._last_request
        self._last_request = now
        if interval > self._budget.settings.idle_time:
            self._interval_s = math.inf
        elif math.isinf(self._interval_s):
            self._interval_s = interval
        else:
            self._interval_s += WEIGHT * (interval - self._interval_s)

    def _wanted(self) -> int:
        """How many spares there should be now."""
        settings = self._budget.settings
        silence = time.monotonic() - self._last_request
        if silence > settings.idle_time:
            return 0
        interval = max(self._interval_s, silence, 1e-4)
        meanwhile = 0 if math.isinf(interval) else math.ceil(self._make_s / interval)
        return min(settings.per_task, 1 + meanwhile)

    async def _make_one(self) -> None:
        output = HeldOutput()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._time_s):
                worker = await self._make(output)
        except (StartError, TimeoutError) as error:
            log.info("spares.not_made", reason=str(error) or "it took too long")
            self._punish()
            return
        self._make_s += WEIGHT * (time.monotonic() - began - self._make_s)
        spare = _Spare(worker, output)
        if self._closed:
            self._discard(spare)
            return
        self._count_once(spare)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_PAUSE_S, self._look)

    def _count_once(self, spare: _Spare) -> None:
        """Let a spare wait, from now on in place of the task that has made it."""
        maker = asyncio.current_task()
        if maker is not None:
            self._makers.discard(maker)
        self._waiting.append(spare)

    def _look(self) -> None:
        """End the spares that are too many, and those that do not wait quietly."""
        self._timer = None
        wanted = self._wanted()
        for spare in list(self._waiting):
            if not spare.well() or spare.busy():
                self._waiting.remove(spare)
                self._discard(spare)
                log.warning("spares.misbehaved", pid=spare.worker.handle.pid)
                self._punish()
            elif len(self._waiting) > wanted:
                self._waiting.remove(spare)
                self._discard(spare)
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(LOOK_PAUSE_S, self._look)
        self.refill()

    def _punish(self) -> None:
        self._punished_until = time.monotonic() + PENALTY_S

    def _discard(self, spare: _Spare) -> None:
        task = asyncio.get_running_loop().create_task(spare.end())
        self._enders.add(task)
        task.add_done_callback(self._enders.discard)


class _Spare:
    """One waiting worker."""

    __slots__ = ("_cpu_s", "output", "worker")

    def __init__(self, worker: ReadyWorker, output: HeldOutput) -> None:
        self.worker = worker
        self.output = output
        self._cpu_s: float | None = None

    def well(self) -> bool:
        """Whether it waits as it should: it lives, and has said nothing since it was ready."""
        return self.worker.waits and not self.output.flooded

    def busy(self) -> bool:
        """Whether it has used the processor since the last look, although nobody has asked it anything."""
        before, self._cpu_s = self._cpu_s, self._cpu_seconds()
        return before is not None and self._cpu_s - before > BUSY_S

    def _cpu_seconds(self) -> float:
        slot, pid = self.worker.slot, self.worker.handle.pid
        if slot.group is not None and slot.group.counts_cpu:
            usage = self.worker.usage()
            return (usage.cpu_s if usage is not None else None) or 0.0
        if slot.client.pid is None or pid is None:
            return 0.0
        return look_at_processes(slot.client.pid, pid)[0]

    async def end(self) -> None:
        """End it."""
        self.worker.handle.kill()
        with contextlib.suppress(OSError):
            await self.worker.finish(0)
