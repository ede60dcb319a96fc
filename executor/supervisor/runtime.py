"""The warm side of one plugin: its zygote, its slots, and the workers forked in them.

`PluginRuntime` keeps the zygote of one plugin version, its slots and its spare workers. It has a worker for every
invocation, a spare or a fresh one, and replaces a zygote that was lost. A plugin that nobody calls has no processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from executor.config.limits import Limits
from executor.environments.environment import Environment
from executor.figures.figures import StartTimes
from executor.isolation.host import OutOfSlotsError
from executor.isolation.worker_limits import worker_limits
from executor.supervisor.bytecode import BytecodeError, collect_bytecode
from executor.supervisor.control import ParentLostError
from executor.supervisor.imports import ImportList
from executor.supervisor.output import Stream
from executor.supervisor.plugin_zygote import PluginZygote
from executor.supervisor.ready_worker import ReadyWorker, StartError, start_error
from executor.supervisor.slots import LockdownError, Slot, SlotPool
from executor.supervisor.spares import SpareBudget, SpareLine
from executor.supervisor.worker import WorkerHandle, WorkerSink
from executor.supervisor.zygote import WorkerTask, Zygote
from executor.supervisor.zygote_tree import ZygoteTree
from protocol.control import COMPILE_SOURCE
from protocol.limits import MAX_PATHS
from protocol.messages import Log, Ready

__all__ = ["PROBE_TIME_S", "PluginRuntime", "ProbeResult", "discard_output"]

log = structlog.get_logger("executor.runtime")

PROBE_TIME_S: Final = 60.0
"""Longest time that sources may take to be imported when a plugin is probed."""

ZYGOTE_IDLE_S: Final = 120.0
"""How long the zygote of a plugin is kept although nobody calls the plugin."""

ENVIRONMENT_IDLE_S: Final = 1800.0
"""The same for a plugin with an environment of its own: to import a real SDK again takes whoever calls next seconds."""

SOURCES_BYTES: Final = 16 * 1024
"""Bytes of names of sources that one worker is asked to import: they go into one control datagram."""

TaskKey = tuple[tuple[str, ...], Limits, bool, int]
"""Sources, limits, whether debugging is on, and how many requests a worker may answer."""

LINES_MOST: Final = 256
"""Lines of spares, above which those are looked for that nobody needs any more."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe of a plugin found.

    Attributes:
        report: What the plugin's zygote said when it was ready, such as versions; `None` when no worker was.
        layers: What was seen of each layer of isolation, from inside; empty where there was no slot.
        problem: Why it was not ready.
        traceback: Of the exception that a source raised; empty where there was none.
    """

    report: dict[str, object] | None
    problem: str
    layers: dict[str, object]
    traceback: str = ""


class PluginRuntime:
    """Forks workers for one plugin.

    Args:
        name: Of the plugin.
        root: Its folder.
        tree: Where its zygote comes from.
        budget: Bounds its spare workers; without, there are none.
        has_files: Whether workers are to see the folder.
        environment: What workers import from; not given: the executor's own.
        imports: What the plugin's sources import from outside of its folder.
    """

    def __init__(
        self,
        name: str,
        root: str,
        tree: ZygoteTree,
        *,
        budget: SpareBudget | None = None,
        has_files: bool = True,
        environment: Environment | None = None,
        imports: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.root = root
        self._shown = root if has_files else ""
        self._tree = tree
        self._environment = environment
        self._idle_s = ZYGOTE_IDLE_S if environment is None else ENVIRONMENT_IDLE_S
        self._closed = False
        self._users = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._imports = ImportList(name, imports)
        self._zygote = PluginZygote(name, self._fork_zygote, self._on_replaced)
        self._slots = SlotPool(name, tree.host, self._zygote.obtain)
        self._budget = budget
        self._lines: dict[TaskKey, SpareLine] = {}
        self._idle_timer: asyncio.TimerHandle | None = None
        self._compiling: asyncio.Task[None] | None = None

    @property
    def slots(self) -> SlotPool:
        """Where its workers are."""
        return self._slots

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the runtime open, even when it is retired meanwhile."""
        self._users += 1
        self._idle.clear()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                self._idle.set()
                if not self._closed:
                    self._idle_timer = self._tree.loop.call_later(self._idle_s, self._rest)

    async def obtain_worker(
        self, sources: tuple[str, ...], sink: WorkerSink, limits: Limits, *, debug: bool = False, uses: int = 1
    ) -> ReadyWorker:
        """Take a spare worker that has imported `sources`, or start one.

        The caller must `finish` the worker.

        Raises:
            StartError: There was no spare, and none could be started.
        """
        if self._budget is None:
            return await self.start_worker(sources, sink, limits, debug=debug, uses=uses)
        line = self._line((sources, limits, debug, uses))
        worker = line.take(sink) or await self.start_worker(sources, sink, limits, debug=debug, uses=uses)
        worker.on_finish = line.refill
        return worker

    async def start_worker(
        self, sources: tuple[str, ...], sink: WorkerSink, limits: Limits, *, debug: bool = False, uses: int = 1
    ) -> ReadyWorker:
        """Fork a worker and wait until it is locked down and has imported `sources`.

        The caller must `finish` the worker.

        Raises:
            StartError: It reported an error, ended, broke the protocol, or is not isolated as required. It is gone.
        """
        slot: Slot | None = None
        handle: WorkerHandle | None = None
        try:
            slot = await self._slots.acquire()
            slot.limit(limits)
            grouped = self._tree.host.control_groups is not None
            task = WorkerTask(sources, worker_limits(limits, grouped=grouped, uses=uses), debug)
            asked = time.monotonic()
            handle = WorkerHandle(slot, task, sink, self._tree.readiness)
            message = await handle.channel.receive()
            if isinstance(message, Ready):
                return ReadyWorker(handle, slot, self._slots, _start_times(slot, handle, asked))
            raise await start_error(handle, message)
        except BaseException as error:
            await asyncio.shield(asyncio.ensure_future(self._discard(handle, slot)))
            if isinstance(error, OSError | ParentLostError | OutOfSlotsError | LockdownError):
                raise StartError(f"no worker could be forked: {error}") from error
            raise

    async def warm_up(self) -> None:
        """Make a slot ready for the first worker, with all that is above it, so that no request's clock runs for that.

        Raises:
            StartError: There is none, or it is not isolated as required.
        """
        try:
            self._slots.release(await self._slots.acquire())
        except (OSError, ParentLostError, OutOfSlotsError, LockdownError) as error:
            raise StartError(f"no worker could be forked: {error}") from error

    async def probe(self, sources: tuple[str, ...], limits: Limits, timeout_s: float) -> ProbeResult:
        """Start workers that import these sources, and end them: do they load?"""
        result = ProbeResult({}, "", {})
        with self.in_use():
            for batch in _split(sources):
                result = await self._probe(batch, limits, timeout_s)
                if result.problem:
                    break
        return result

    def compile(self, limits: Limits) -> None:
        """Begin to compile the plugin, unless that was done before; until it is done, every worker compiles it."""
        if self._compiling is None and not self._closed:
            self._compiling = self._tree.loop.create_task(self._compile(limits))

    async def cool(self) -> None:
        """Have no processes until somebody calls the plugin, once it is compiled; unless somebody does meanwhile."""
        if self._compiling is not None:
            await asyncio.wait({self._compiling})
        await self._zygote.wait_settled()
        if self._users == 0 and not self._closed:
            self._slots.end_idle()
            await self._slots.wait_ended()
            self._rest()

    async def retire(self) -> None:
        """Close once nobody uses it any more."""
        await self._idle.wait()
        self.close()

    def close(self) -> None:
        """End the zygote, and with it every worker that still runs."""
        self._closed = True
        for line in self._lines.values():
            line.close()
        self._slots.close()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._compiling is not None:
            self._compiling.cancel()
        self._zygote.close()

    async def wait_closed(self) -> None:
        """Wait until everything of a closed runtime is gone."""
        for line in tuple(self._lines.values()):  # an invocation may still ask for one meanwhile
            await line.wait_closed()
        await self._slots.wait_ended()

    def _line(self, key: TaskKey) -> SpareLine:
        """Find the spares for a task."""
        sources, limits, debug, uses = key
        line = self._lines.get(key)
        if line is None and self._budget is not None:
            if len(self._lines) >= LINES_MOST:
                self._drop_unused_lines()

            async def make(sink: WorkerSink) -> ReadyWorker:
                return await self.start_worker(sources, sink, limits, debug=debug, uses=uses)

            line = self._lines[key] = SpareLine(self._budget, make, limits)
        if line is None:
            raise RuntimeError("there is no budget for spares")
        return line

    def _drop_unused_lines(self) -> None:
        for key, line in list(self._lines.items()):
            if line.unused:
                line.close()
                del self._lines[key]

    def _rest(self) -> None:
        """Let the zygote go when nobody has called the plugin for a while; the next call starts another one."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = None
        busy = self._users or self._zygote.starting or self._slots.idle or self._slots.busy
        if self._zygote.there and not busy:
            self._zygote.rest()
        elif self._users == 0 and not self._closed:
            self._idle_timer = self._tree.loop.call_later(self._idle_s, self._rest)

    async def _probe(self, sources: tuple[str, ...], limits: Limits, timeout_s: float) -> ProbeResult:
        try:
            async with asyncio.timeout(timeout_s):
                worker = await self.start_worker(sources, discard_output(), limits)
        except TimeoutError:
            return ProbeResult(None, f"importing the sources took longer than {timeout_s:g} s", {})
        except StartError as error:
            if error.error is not None:
                return ProbeResult(None, error.error.message, {}, error.error.traceback)
            return ProbeResult(None, str(error), {})
        worker.handle.kill()
        await worker.finish(0)
        return ProbeResult(await self._describe(), "", worker.slot.layers)

    async def _compile(self, limits: Limits) -> None:
        try:
            async with asyncio.timeout(PROBE_TIME_S):
                worker = await self.start_worker((COMPILE_SOURCE,), discard_output(), limits)
                bytecode = await collect_bytecode(worker)
        except (StartError, BytecodeError, TimeoutError, OSError) as error:
            log.warning("bytecode.none", plugin=self.name, reason=str(error) or "it took too long")
            return
        self._zygote.store_bytecode(bytecode)

    async def _describe(self) -> dict[str, object]:
        zygote = await self._zygote.obtain()
        return zygote.ready.result()

    async def _discard(self, handle: WorkerHandle | None, slot: Slot | None) -> None:
        if handle is not None:
            handle.kill()
            await handle.wait_exit(0)
            handle.close()
        if slot is not None:
            self._slots.release(slot)

    async def _fork_zygote(self) -> Zygote:
        fork = partial(self._tree.fork_plugin_zygote, self.name, self._shown, self._environment)
        return await self._imports.fork(fork)

    def _on_replaced(self) -> None:
        self._slots.end_idle()  # those of the one before


def _start_times(slot: Slot, handle: WorkerHandle, asked: float) -> StartTimes:
    """Say how long each phase of the start of a worker has taken that has just become ready."""
    now = time.monotonic()
    forked = handle.child.forked_at or now  # its own word may be read before its parent's
    made_s, slot.made_s = slot.made_s, None
    return StartTimes(slot_s=made_s, fork_s=forked - asked, load_s=now - forked)


def _split(sources: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Split a list of sources into parts that one worker can be asked for."""
    part: list[str] = []
    size = 0
    for source in sources:
        length = len(source.encode()) + 5
        if part and (size + length > SOURCES_BYTES or len(part) == MAX_PATHS):
            yield tuple(part)
            part, size = [], 0
        part.append(source)
        size += length
    if part or not sources:
        yield tuple(part)


def discard_output() -> WorkerSink:
    """Make a sink for the output of a trial: nobody asked for it."""
    return _Ignored()


class _Ignored:
    """Takes output and forgets it."""

    def add_message(self, message: Log) -> None:
        pass

    def feed(self, stream: Stream, data: bytes) -> None:
        pass
